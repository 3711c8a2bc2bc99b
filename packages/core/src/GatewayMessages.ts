/**
 * The messages that a gateway sends in addition to the protocol: the marks of its own feed and the elements of
 * its repair, which the protocol cannot express.
 *
 * A gateway has one connection to the server and serves its feed to many clients. Its
 * gaps are gaps of every client, so it sends them to the clients that ask for them, at
 * the same place. Pass `extension` to `MeshClient.layer` or `MeshStream.connect` to receive
 * them as elements. A client without it receives them as `UnknownMessage`.
 *
 * On the wire, `type` is the element's tag in camel case (`resync`, `restated`, `repaired`,
 * `repairFailed`, `connected`, `disconnected`), and the other members are those of its
 * codec in `MeshEvent`.
 *
 * @since 0.2.0
 */
import * as Schema from "effect/Schema"
import { DecodeError } from "./DecodeError.ts"
import type { Extension } from "./internal/session/extension.ts"
import * as MeshEvent from "./MeshEvent.ts"

export type { Extension } from "./internal/session/extension.ts"

/**
 * The elements that a gateway sends as additional messages.
 *
 * @category models
 * @since 0.2.0
 */
export type GatewayElement = MeshEvent.Restated | MeshEvent.Lifecycle

const Element = Schema.Union([
  MeshEvent.Resync,
  MeshEvent.Restated,
  MeshEvent.Repaired,
  MeshEvent.RepairFailed,
  MeshEvent.Connected,
  MeshEvent.Disconnected
])

const codec = /*#__PURE__*/ Schema.toCodecJson(Element)
const encodeElement = /*#__PURE__*/ Schema.encodeSync(codec)
const decodeElement = /*#__PURE__*/ Schema.decodeUnknownResult(codec)

/**
 * The `type` of each additional message, by the tag of its element.
 *
 * @category constants
 * @since 0.2.0
 */
export const typeOf = {
  Resync: "resync",
  Restated: "restated",
  Repaired: "repaired",
  RepairFailed: "repairFailed",
  Connected: "connected",
  Disconnected: "disconnected"
} as const satisfies { readonly [Tag in GatewayElement["_tag"]]: string }

const tagOf: ReadonlyMap<string, string> = /*#__PURE__*/ new Map(
  /*#__PURE__*/ Object.entries(typeOf).map(([tag, type]) => [type, tag])
)

/**
 * The `type`s of the additional messages.
 *
 * @category constants
 * @since 0.2.0
 */
export const types: ReadonlySet<string> = /*#__PURE__*/ new Set(/*#__PURE__*/ tagOf.keys())

/**
 * The WebSocket subprotocol that asks a gateway for the additional messages. The query parameter
 * `marks=1` and the header `x-makima-marks: 1` do the same.
 *
 * @category constants
 * @since 0.2.0
 */
export const subprotocol = "makima.marks"

/**
 * Encodes an element as a text frame.
 *
 * **Details**
 *
 * `position` is the place of the element in a log, if the gateway has one. It is an
 * additional member of the message.
 *
 * **Example** (A mark on the wire)
 *
 * ```ts
 * import * as GatewayMessages from "@makima-stream/core/GatewayMessages"
 *
 * console.log(GatewayMessages.encodeFrame({ _tag: "Resync", epoch: 2, reason: { _tag: "Started" } }))
 * // {"type":"resync","epoch":2,"reason":{"_tag":"Started"}}
 * ```
 *
 * @category codecs
 * @since 0.2.0
 */
export const encodeFrame = (element: GatewayElement, position?: number): string => {
  // The codec of a struct returns an object, which the type of a JSON value does not say.
  const { _tag, ...members } = encodeElement(element) as { readonly _tag: GatewayElement["_tag"] }
  return JSON.stringify({ type: typeOf[_tag], ...members, ...(position === undefined ? {} : { position }) })
}

/**
 * Decodes the additional messages of a gateway, as the option `extension` of `MeshClient` and of
 * `MeshStream.connect`.
 *
 * **When to use**
 *
 * Use it for a client of a gateway that asks for marks: with the query parameter
 * `marks=1` or the `subprotocol`.
 *
 * **Details**
 *
 * - The `epoch` of an element is that of the client's own connection, because only that
 *   number means something in its stream.
 * - `Disconnected` and `Connected` are about the gateway's connection to the server. In between,
 *   the client's own connection stays open, its status is `Offline`, and nothing is
 *   complete. The next `Resync` opens the next complete stretch.
 * - A message of one of these types with an invalid member is a bad frame.
 *
 * **Example** (A client of a gateway)
 *
 * ```ts
 * import * as Layer from "effect/Layer"
 * import * as GatewayMessages from "@makima-stream/core/GatewayMessages"
 * import * as MeshClient from "@makima-stream/core/MeshClient"
 * import * as MeshSocket from "@makima-stream/core/MeshSocket"
 *
 * const layer = MeshClient.layer({ extension: GatewayMessages.extension }).pipe(
 *   Layer.provide(MeshSocket.layer({ url: "http://127.0.0.1:8787", query: { marks: "1" } }))
 * )
 * console.log(Layer.isLayer(layer)) // true
 * ```
 *
 * @category constructors
 * @since 0.2.0
 */
export const extension: Extension = {
  decode({ type, ...members }, epoch, size) {
    const _tag = tagOf.get(type)
    if (_tag === undefined) return undefined
    const decoded = decodeElement({ ...members, ...(_tag === "Restated" ? {} : { epoch }), _tag })
    if (decoded._tag === "Success") return decoded.success
    return new DecodeError({
      problem: "InvalidMessage",
      messageType: type,
      path: [],
      expected: "a message of a gateway",
      size
    })
  }
}
