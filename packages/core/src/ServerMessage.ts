/**
 * What the server says to a client: task updates, agent output, errors and
 * acknowledgements.
 *
 * The wire's vocabulary in one direction; `ClientMessage` is the other.
 * `MeshEvent` is what a consumer of the resilient stream sees, of which the
 * data messages here are a part. The schemas hold the wire's JSON object on
 * their encoded side and a `_tag`ged value, with `null` and missing as an absent
 * property, on the other.
 *
 * @since 0.1.0
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import { DecodeError } from "./DecodeError.ts"
import * as Frame from "./internal/wire/frame.ts"
import * as HotPath from "./internal/wire/fastDecode.ts"
import * as Wire from "./internal/wire/message.ts"
import { TaskId } from "./TaskId.ts"

/**
 * A task changed.
 *
 * **Details**
 *
 * `version` grows with each update of a task, where the server gives one.
 * `status` is an open set: a value never seen before is valid. `updatedFields`
 * names what changed, `updatedBy` who changed it.
 *
 * @category schemas
 * @since 0.1.0
 */
export const TaskUpdated = Wire.message("TaskUpdated", "taskUpdated", {
  taskId: TaskId,
  version: Wire.optional(Schema.Int),
  status: Wire.optional(Schema.String),
  updatedFields: Wire.optional(Schema.Array(Schema.String)),
  updatedBy: Wire.optional(Schema.String)
})

/**
 * A task changed: see the schema of the same name.
 *
 * @category models
 * @since 0.1.0
 */
export interface TaskUpdated extends Schema.Schema.Type<typeof TaskUpdated> {}

// `null` is how the wire says that there is no input, so it is no input itself.
const ToolInput = Schema.Json.pipe(
  Schema.refine((value): value is Exclude<Schema.Json, null> => value !== null, { expected: "a JSON value but null" })
)

/**
 * A task's agent said something.
 *
 * **Details**
 *
 * `content` is what was said, as text. `messageType` is an open set; to be expected are `assistant`, `tool_use`,
 * `tool_result`, `result` (the last of a run, with `costUsd` in US dollars and
 * `durationMs` in milliseconds), `system`, `error` and `raw`. `toolName` and
 * `toolInput`, any JSON, tell of a tool that is used; `isError` that it failed, or
 * that the run did. `isPartial` marks
 * a piece of a message that is still being written. Output carries no sequence
 * number: a lost one can be suspected, never proven.
 *
 * @category schemas
 * @since 0.1.0
 */
export const TaskOutput = Wire.message("TaskOutput", "taskOutput", {
  taskId: TaskId,
  messageType: Schema.String,
  content: Schema.String,
  toolName: Wire.optional(Schema.String),
  toolInput: Wire.optional(ToolInput),
  isError: Wire.optional(Schema.Boolean),
  costUsd: Wire.optional(Schema.Finite),
  durationMs: Wire.optional(Schema.Int),
  isPartial: Wire.optional(Schema.Boolean)
})

/**
 * A task's agent said something: see the schema of the same name.
 *
 * @category models
 * @since 0.1.0
 */
export interface TaskOutput extends Schema.Schema.Type<typeof TaskOutput> {}

/**
 * The server reports an error. It names no task. A missing `code` is `ERROR`, a
 * missing `message` is empty.
 *
 * @category schemas
 * @since 0.1.0
 */
export const ServerError = Wire.message("ServerError", "error", {
  code: Wire.withDefault("ERROR"),
  message: Wire.withDefault("")
})

/**
 * The server reports an error: see the schema of the same name.
 *
 * @category models
 * @since 0.1.0
 */
export interface ServerError extends Schema.Schema.Type<typeof ServerError> {}

/**
 * Acknowledges `SubscribeAll`.
 *
 * @category schemas
 * @since 0.1.0
 */
export const SubscribedAll = Wire.message("SubscribedAll", "subscribedAll", {})

/**
 * Acknowledges `UnsubscribeAll`.
 *
 * @category schemas
 * @since 0.1.0
 */
export const UnsubscribedAll = Wire.message("UnsubscribedAll", "unsubscribedAll", {})

/**
 * Acknowledges `Subscribe`. The server may leave the task out.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Subscribed = Wire.message("Subscribed", "subscribed", { taskId: Wire.optional(TaskId) })

/**
 * Acknowledges `Unsubscribe`. The server may leave the task out.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Unsubscribed = Wire.message("Unsubscribed", "unsubscribed", { taskId: Wire.optional(TaskId) })

/**
 * Acknowledges `SubscribeOutput`. The server may leave the task out.
 *
 * @category schemas
 * @since 0.1.0
 */
export const OutputSubscribed = Wire.message("OutputSubscribed", "outputSubscribed", { taskId: Wire.optional(TaskId) })

/**
 * Acknowledges `UnsubscribeOutput`. The server may leave the task out.
 *
 * @category schemas
 * @since 0.1.0
 */
export const OutputUnsubscribed = Wire.message("OutputUnsubscribed", "outputUnsubscribed", {
  taskId: Wire.optional(TaskId)
})

const UnknownObject = Schema.StructWithRest(Schema.Struct({ type: Schema.String }), [
  Schema.Record(Schema.String, Schema.Json)
]).check(
  Schema.makeFilter(({ type }) => !HotPath.knownTypes.has(type), {
    expected: "a type that the protocol does not define"
  })
)

/**
 * A message of a `type` that this version of the protocol does not know. `raw`
 * keeps the whole object as it came, so that nothing is lost on a program that
 * is older than its server.
 *
 * @category schemas
 * @since 0.1.0
 */
export const UnknownMessage = UnknownObject.pipe(
  Schema.decodeTo(
    Schema.TaggedStruct("UnknownMessage", { raw: UnknownObject }),
    SchemaTransformation.transform({
      decode: (raw) => ({ _tag: "UnknownMessage" as const, raw }),
      encode: ({ raw }) => raw
    })
  )
)

/**
 * A message of an unknown `type`: see the schema of the same name.
 *
 * @category models
 * @since 0.1.0
 */
export interface UnknownMessage extends Schema.Schema.Type<typeof UnknownMessage> {}

/**
 * Every message that a server may send.
 *
 * @category schemas
 * @since 0.1.0
 */
export const ServerMessage = Schema.Union([
  TaskUpdated,
  TaskOutput,
  ServerError,
  SubscribedAll,
  UnsubscribedAll,
  Subscribed,
  Unsubscribed,
  OutputSubscribed,
  OutputUnsubscribed,
  UnknownMessage
])

/**
 * The server's confirmation of a subscription message.
 *
 * @category models
 * @since 0.1.0
 */
export type Acknowledgement =
  | typeof SubscribedAll.Type
  | typeof UnsubscribedAll.Type
  | typeof Subscribed.Type
  | typeof Unsubscribed.Type
  | typeof OutputSubscribed.Type
  | typeof OutputUnsubscribed.Type

/**
 * A message from the server to a client.
 *
 * @category models
 * @since 0.1.0
 */
export type ServerMessage = TaskUpdated | TaskOutput | ServerError | Acknowledgement | UnknownMessage

const decodeObject = /*#__PURE__*/ Schema.decodeUnknownResult(ServerMessage)
const encodeObject = /*#__PURE__*/ Schema.encodeUnknownResult(ServerMessage)

/**
 * Decodes a text frame, or a binary frame that holds UTF-8. Never throws.
 *
 * **Details**
 *
 * Gives what the `ServerMessage` schema gives. The two frequent messages take a
 * shorter way to the same value, and whatever does not fit that way at once is
 * left to the schema; a property test holds the two equal.
 *
 * **Example** (Decoding an update)
 *
 * ```ts
 * import * as Result from "effect/Result"
 * import * as ServerMessage from "@makima-stream/core/ServerMessage"
 *
 * const result = ServerMessage.decodeFrame(`{"type":"taskUpdated","taskId":"7f1c","status":"running"}`)
 * console.log(Result.getOrThrow(result)._tag) // TaskUpdated
 * ```
 *
 * @category codecs
 * @since 0.1.0
 */
export const decodeFrame = (frame: string | Uint8Array): Result.Result<ServerMessage, DecodeError> => {
  const decoded = decode(frame)
  return decoded._tag === "DecodeError" ? Result.fail(decoded) : Result.succeed(decoded)
}

/**
 * What `decodeFrame` gives, without a `Result` around it: for the session, which
 * would make one for every frame.
 *
 * @internal
 */
export const decode = (frame: string | Uint8Array): ServerMessage | DecodeError => {
  if (typeof frame === "string") {
    const message = HotPath.decodeText(frame)
    if (message !== undefined) return message
  }
  const parsed = Frame.parse(frame)
  if (Result.isFailure(parsed)) return parsed.failure
  const hot = HotPath.decode(parsed.success)
  if (hot !== undefined) return hot
  const result = decodeObject(parsed.success)
  if (Result.isSuccess(result)) return result.success
  const type = parsed.success.type
  const known = typeof type === "string" && HotPath.knownTypes.has(type)
  return Frame.invalidMessage(frame, known ? type : undefined, result.failure)
}

/**
 * Encodes a message as the text of one frame, as a server or a test double
 * sends it.
 *
 * **Details**
 *
 * Fails with the schema's complaint for a value that is no message (one built
 * around the types, say by a cast).
 *
 * **Example** (A server's frame)
 *
 * ```ts
 * import * as Result from "effect/Result"
 * import * as ServerMessage from "@makima-stream/core/ServerMessage"
 *
 * const frame = ServerMessage.encodeFrame({ _tag: "SubscribedAll" })
 * console.log(Result.getOrThrow(frame)) // {"type":"subscribedAll"}
 * ```
 *
 * @category codecs
 * @since 0.1.0
 */
export const encodeFrame = (message: ServerMessage): Result.Result<string, Schema.SchemaError> =>
  Result.map(encodeObject(message), (value) => JSON.stringify(value))
