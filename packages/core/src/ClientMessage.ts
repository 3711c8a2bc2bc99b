/**
 * The messages from a client to the server: requests to subscribe and to unsubscribe.
 *
 * A program rarely creates these messages: the session derives them from an `Interest`. Servers and test doubles decode
 * them with this module. `ServerMessage` is the other direction.
 *
 * @since 0.1.0
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { DecodeError } from "./DecodeError.ts"
import * as Frame from "./internal/wire/frame.ts"
import * as Wire from "./internal/wire/message.ts"
import { toDecodeError } from "./internal/wire/schemaError.ts"
import { TaskId } from "./TaskId.ts"

/**
 * Requests the updates of every task that the caller may see.
 *
 * @category schemas
 * @since 0.1.0
 */
export const SubscribeAll = Wire.message("SubscribeAll", "subscribeAll", {})

/**
 * Undoes `SubscribeAll`.
 *
 * @category schemas
 * @since 0.1.0
 */
export const UnsubscribeAll = Wire.message("UnsubscribeAll", "unsubscribeAll", {})

/**
 * Requests the updates of one task.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Subscribe = Wire.message("Subscribe", "subscribe", { taskId: TaskId })

/**
 * Undoes `Subscribe`.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Unsubscribe = Wire.message("Unsubscribe", "unsubscribe", { taskId: TaskId })

/**
 * Requests the agent's output of one task. The protocol has no request for the output of all tasks.
 *
 * @category schemas
 * @since 0.1.0
 */
export const SubscribeOutput = Wire.message("SubscribeOutput", "subscribeOutput", { taskId: TaskId })

/**
 * Undoes `SubscribeOutput`.
 *
 * @category schemas
 * @since 0.1.0
 */
export const UnsubscribeOutput = Wire.message("UnsubscribeOutput", "unsubscribeOutput", { taskId: TaskId })

/**
 * Every message that a client can send. The encoded side is the JSON object on the wire, the decoded side is a value with a
 * `_tag`.
 *
 * @category schemas
 * @since 0.1.0
 */
export const ClientMessage = Schema.Union([
  SubscribeAll,
  UnsubscribeAll,
  Subscribe,
  Unsubscribe,
  SubscribeOutput,
  UnsubscribeOutput
])

/**
 * A message from a client to the server.
 *
 * @category models
 * @since 0.1.0
 */
export type ClientMessage = typeof ClientMessage.Type

const encode = /*#__PURE__*/ Schema.encodeSync(ClientMessage)
const decode = /*#__PURE__*/ Schema.decodeUnknownResult(ClientMessage)

/**
 * Encodes a message as the text of one frame. Throws if the value is not a message, which is possible only with a cast.
 *
 * **Example** (The request for all updates)
 *
 * ```ts
 * import * as ClientMessage from "@makima-stream/core/ClientMessage"
 *
 * console.log(ClientMessage.encodeFrame({ _tag: "SubscribeAll" })) // {"type":"subscribeAll"}
 * ```
 *
 * @category codecs
 * @since 0.1.0
 */
export const encodeFrame = (message: ClientMessage): string => JSON.stringify(encode(message))

/**
 * Decodes a text frame, or a binary frame that contains UTF-8. Never throws. A leading byte order mark is ignored.
 *
 * **Example** (Decoding a client's frame in a server)
 *
 * ```ts
 * import * as Result from "effect/Result"
 * import * as ClientMessage from "@makima-stream/core/ClientMessage"
 *
 * const result = ClientMessage.decodeFrame(`{"type":"subscribe","taskId":"7f1c"}`)
 * console.log(Result.isSuccess(result)) // true
 * ```
 *
 * @category codecs
 * @since 0.1.0
 */
export const decodeFrame = (frame: string | Uint8Array): Result.Result<ClientMessage, DecodeError> => {
  const parsed = Frame.parse(frame)
  if ("_tag" in parsed) return Result.fail(parsed)
  const result = decode(parsed.object)
  return Result.isSuccess(result)
    ? Result.succeed(result.success)
    : Result.fail(toDecodeError(result.failure, frame.length))
}
