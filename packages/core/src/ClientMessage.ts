/**
 * What a client says to the server: the six subscription messages.
 *
 * The wire's vocabulary in one direction; `ServerMessage` is the other. A
 * program seldom builds these itself: it states an `Interest`, and the session
 * that owns the wire derives the messages from it. Servers and test doubles
 * decode them here.
 *
 * @since 0.1.0
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { DecodeError } from "./DecodeError.ts"
import * as Frame from "./internal/frame.ts"
import * as Wire from "./internal/wire.ts"
import { TaskId } from "./TaskId.ts"

/**
 * Asks for the updates of every task that the caller may see.
 *
 * @category schemas
 * @since 0.1.0
 */
export const SubscribeAll = Schema.Struct({ _tag: Wire.tag("SubscribeAll", "subscribeAll") }).pipe(
  Schema.encodeKeys({ _tag: "type" })
)

/**
 * Undoes `SubscribeAll`.
 *
 * @category schemas
 * @since 0.1.0
 */
export const UnsubscribeAll = Schema.Struct({ _tag: Wire.tag("UnsubscribeAll", "unsubscribeAll") }).pipe(
  Schema.encodeKeys({ _tag: "type" })
)

/**
 * Asks for the updates of one task.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Subscribe = Schema.Struct({ _tag: Wire.tag("Subscribe", "subscribe"), taskId: TaskId }).pipe(
  Schema.encodeKeys({ _tag: "type" })
)

/**
 * Undoes `Subscribe`.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Unsubscribe = Schema.Struct({ _tag: Wire.tag("Unsubscribe", "unsubscribe"), taskId: TaskId }).pipe(
  Schema.encodeKeys({ _tag: "type" })
)

/**
 * Asks for the agent's output of one task. The protocol has no way to ask for
 * the output of all tasks.
 *
 * @category schemas
 * @since 0.1.0
 */
export const SubscribeOutput = Schema.Struct({
  _tag: Wire.tag("SubscribeOutput", "subscribeOutput"),
  taskId: TaskId
}).pipe(Schema.encodeKeys({ _tag: "type" }))

/**
 * Undoes `SubscribeOutput`.
 *
 * @category schemas
 * @since 0.1.0
 */
export const UnsubscribeOutput = Schema.Struct({
  _tag: Wire.tag("UnsubscribeOutput", "unsubscribeOutput"),
  taskId: TaskId
}).pipe(Schema.encodeKeys({ _tag: "type" }))

/**
 * Every message that a client may send: the wire's JSON object on the encoded
 * side, a `_tag`ged value on the other.
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
 * Encodes a message as the text of one frame.
 *
 * **Example** (The frame that asks for everything)
 *
 * ```ts
 * import { ClientMessage } from "@makima-stream/core"
 *
 * console.log(ClientMessage.encodeFrame({ _tag: "SubscribeAll" })) // {"type":"subscribeAll"}
 * ```
 *
 * @category codecs
 * @since 0.1.0
 */
export const encodeFrame = (message: ClientMessage): string =>
  // A reconnect asks for everything again: ten thousand tasks are ten thousand of these. What is no message at all, by a
  // cast, is for the schema to refuse.
  "taskId" in message &&
  typeof message.taskId === "string" &&
  message.taskId !== "" &&
  Object.hasOwn(taskTypes, message._tag)
    ? `{"type":"${taskTypes[message._tag]}","taskId":${JSON.stringify(message.taskId)}}`
    : JSON.stringify(encode(message))

const taskTypes = {
  Subscribe: "subscribe",
  Unsubscribe: "unsubscribe",
  SubscribeOutput: "subscribeOutput",
  UnsubscribeOutput: "unsubscribeOutput"
} as const

/**
 * Decodes a text frame, or a binary frame that holds UTF-8. Never throws.
 *
 * **Example** (What a server does with a client's frame)
 *
 * ```ts
 * import { Result } from "effect"
 * import { ClientMessage } from "@makima-stream/core"
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
  if (Result.isFailure(parsed)) return Result.fail(parsed.failure)
  const result = decode(parsed.success)
  return Result.isSuccess(result)
    ? Result.succeed(result.success)
    : Result.fail(Frame.invalidMessage(frame, undefined, result.failure))
}
