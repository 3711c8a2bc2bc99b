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
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Ref from "effect/Ref"
import * as Schema from "effect/Schema"
import * as Socket from "effect/socket/Socket"
import { DecodeError } from "./DecodeError.ts"
import type { Extension } from "./internal/session/extension.ts"
import * as MeshEvent from "./MeshEvent.ts"
import type { Query } from "./MeshSocket.ts"

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

// ---------------------------------------------------------------------------
// positions
// ---------------------------------------------------------------------------

/**
 * Options of `resume`.
 *
 * @category options
 * @since 0.2.0
 */
export interface ResumeOptions {
  /**
   * The position of the last frame that was received: where the next connection continues. Set it to start there: 0 is
   * the beginning of the log, `undefined` its end. Save it to continue after a restart of the program. Defaults to a
   * reference with `undefined`.
   */
  readonly position?: Ref.Ref<number | undefined> | undefined
}

/**
 * Makes a socket to a gateway with a log that continues after the last frame it has received, so that nothing is
 * missing and nothing is doubled after a lost connection.
 *
 * **When to use**
 *
 * Use it for a client of a gateway that has the option `log`. `connect` makes the socket, with the parameters of each
 * dial as its option `query`.
 *
 * **Details**
 *
 * - The parameters are `since`, with the position, and `marks`.
 * - Each frame of such a gateway has a `position`. The socket reads it when the frame is pulled.
 * - The stream still has a `Disconnected` and a `Resync` for the lost connection.
 * - If the log has removed some of what was missed, a `Resync` with the reason `LogTruncated` says so in a stream of
 *   `MeshStream.connect` with `extension`. In a stream of `MeshClient` the `Reconnected` that follows stands for it.
 *
 * **Gotchas**
 *
 * - The position is that of the last frame that was pulled. A consumer may not have handled it yet. A program that saves
 *   the position after each event that it has handled receives some events twice after a restart, and loses none.
 * - A position belongs to one log. Forget it if the gateway gets another log.
 * - Without a position, a connection that ends before its first frame is not continued. The `Resync` marks the gap.
 *
 * **Example** (A client that loses nothing)
 *
 * ```ts
 * import * as Layer from "effect/Layer"
 * import * as Socket from "effect/socket/Socket"
 * import * as GatewayMessages from "@makima-stream/core/GatewayMessages"
 * import * as MeshClient from "@makima-stream/core/MeshClient"
 * import * as MeshSocket from "@makima-stream/core/MeshSocket"
 *
 * const socket = GatewayMessages.resume((query) => MeshSocket.make({ url: "http://127.0.0.1:8787", query }))
 * const layer = MeshClient.layer({ extension: GatewayMessages.extension }).pipe(
 *   Layer.provide(Layer.effect(Socket.Socket, socket))
 * )
 * console.log(Layer.isLayer(layer)) // true
 * ```
 *
 * @category constructors
 * @since 0.2.0
 */
export const resume = <E, R>(
  connect: (query: Effect.Effect<Query>) => Effect.Effect<Socket.Socket, E, R>,
  options?: ResumeOptions
): Effect.Effect<Socket.Socket, E, R> =>
  Effect.gen(function* () {
    const position = options?.position ?? (yield* Ref.make<number | undefined>(undefined))
    const query = Effect.map(Ref.get(position), (since) => ({
      marks: "1",
      since: since === undefined ? "new" : `${since}`
    }))
    const socket = yield* connect(query)
    return Socket.make({
      writer: socket.writer,
      reader: Effect.map(socket.reader, (reader) => {
        // The frames of a pull have been received when the next pull begins: one that was interrupted in between is repeated.
        let pulled: number | undefined
        const received = Effect.suspend(() => (pulled === undefined ? Effect.void : Ref.set(position, pulled)))
        const pull = Effect.map(reader.pull, (frames) => {
          pulled = lastPosition(frames) ?? pulled
          return frames
        })
        return { ...reader, pull: Effect.andThen(received, pull) }
      })
    })
  })

/** The position of the newest frame that has one. Acknowledgements have none. */
const lastPosition = (frames: ReadonlyArray<string | Uint8Array>): number | undefined => {
  for (let i = frames.length - 1; i >= 0; i--) {
    const frame = frames[i] ?? ""
    const position = positionOf(typeof frame === "string" ? frame : new TextDecoder().decode(frame))
    if (position !== undefined) return position
  }
  return undefined
}

/**
 * Reads the member `position` of a frame. A gateway writes it last, which needs no parser: quotes and braces inside of the
 * other members cannot end a frame in this way.
 */
const positionOf = (text: string): number | undefined => {
  const match = /,"position":(\d{1,15})\}\s*$/.exec(text.slice(-40))
  if (match !== null) return Number(match[1])
  if (!text.includes('"position"')) return undefined
  try {
    const value: unknown = JSON.parse(text)
    return Predicate.hasProperty(value, "position") && typeof value.position === "number" ? value.position : undefined
  } catch {
    return undefined
  }
}
