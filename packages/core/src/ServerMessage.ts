/**
 * The messages from the server to a client: task updates, agent output, errors and acknowledgements.
 *
 * `ClientMessage` is the other direction. A consumer of a stream receives `MeshEvent`s: the data messages of this module,
 * and the lifecycle of the connection. The encoded side of each schema is the JSON object on the wire, the decoded side is
 * a value with a `_tag`. `null` and missing members both decode to an absent property.
 *
 * @since 0.1.0
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import type { DecodeError } from "./DecodeError.ts"
import * as Wire from "./internal/wire/message.ts"
import { serverMessages } from "./internal/wire/protocol.ts"
import * as ServerFrame from "./internal/wire/serverFrame.ts"
import { TaskId } from "./TaskId.ts"

/**
 * An update of a task.
 *
 * **Details**
 *
 * - `version`: grows with each update of a task. Optional.
 * - `status`: the new status. An open set: a value that is not in the documentation is valid.
 * - `updatedFields`: the names of the fields that changed.
 * - `updatedBy`: who changed them.
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
 * An update of a task. The schema of the same name describes its members.
 *
 * @category models
 * @since 0.1.0
 */
export interface TaskUpdated extends Schema.Schema.Type<typeof TaskUpdated> {}

// On the wire `null` means that there is no input, so it is not a value of the input itself.
const ToolInput = Schema.Json.pipe(
  Schema.refine((value): value is Exclude<Schema.Json, null> => value !== null, {
    expected: "a JSON value other than null"
  })
)

/**
 * Output of a task's agent.
 *
 * **Details**
 *
 * - `messageType`: an open set. Expect `assistant`, `tool_use`, `tool_result`, `result` (the last output of a run),
 *   `system`, `error` and `raw`.
 * - `content`: the text of the output.
 * - `toolName`, `toolInput`: the tool that the agent uses, and its input, which is any JSON value.
 * - `isError`: whether the tool or the run failed.
 * - `costUsd`, `durationMs`: the cost of a run in US dollars, and its duration in milliseconds. A `result` has them.
 * - `isPartial`: whether this is a piece of a message that the agent is still writing.
 *
 * Output has no sequence number, so a program cannot detect that output was lost.
 *
 * **Gotchas**
 *
 * `decodeFrame` turns an integer inside `toolInput` into a string of its digits if a number cannot represent it:
 * `1234567890123456789` becomes `"1234567890123456789"`. An integer of at most 15 digits is always a number.
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
 * Output of a task's agent. The schema of the same name describes its members.
 *
 * @category models
 * @since 0.1.0
 */
export interface TaskOutput extends Schema.Schema.Type<typeof TaskOutput> {}

/**
 * An error that the server reports. It names no task. `code` defaults to `ERROR`, `message` to the empty string.
 *
 * @category schemas
 * @since 0.1.0
 */
export const ServerError = Wire.message("ServerError", "error", {
  code: Wire.withDefault("ERROR"),
  message: Wire.withDefault("")
})

/**
 * An error that the server reports. The schema of the same name describes its members.
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
 * Acknowledges `Subscribe`. `taskId` is optional.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Subscribed = Wire.message("Subscribed", "subscribed", { taskId: Wire.optional(TaskId) })

/**
 * Acknowledges `Unsubscribe`. `taskId` is optional.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Unsubscribed = Wire.message("Unsubscribed", "unsubscribed", { taskId: Wire.optional(TaskId) })

/**
 * Acknowledges `SubscribeOutput`. `taskId` is optional.
 *
 * @category schemas
 * @since 0.1.0
 */
export const OutputSubscribed = Wire.message("OutputSubscribed", "outputSubscribed", { taskId: Wire.optional(TaskId) })

/**
 * Acknowledges `UnsubscribeOutput`. `taskId` is optional.
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
  Schema.makeFilter(({ type }) => !serverMessages.has(type), {
    expected: "a type that the protocol does not define"
  })
)

/**
 * A message with a `type` that this version does not know. `raw` is the whole JSON object, so a program that is older than
 * its server loses nothing.
 *
 * **Gotchas**
 *
 * `decodeFrame` turns an integer inside `raw` into a string of its digits if a number cannot represent it, as in `toolInput`
 * of `TaskOutput`.
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
 * A message of an unknown `type`. The schema of the same name describes its members.
 *
 * @category models
 * @since 0.1.0
 */
export interface UnknownMessage extends Schema.Schema.Type<typeof UnknownMessage> {}

/**
 * Every message that a server can send.
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
 * The server's acknowledgement of a request.
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

const encodeObject = /*#__PURE__*/ Schema.encodeUnknownResult(ServerMessage)

/**
 * Decodes a text frame, or a binary frame that contains UTF-8. Never throws.
 *
 * **Details**
 *
 * Returns the same value as the `ServerMessage` schema for the JSON object in the frame, by a faster method. A leading byte order mark is ignored.
 *
 * **Gotchas**
 *
 * Inside `toolInput` and `raw`, whose types the protocol does not define, an integer that a number cannot represent becomes
 * a string of its digits: `1234567890123456789` becomes `"1234567890123456789"`. (`JSON.parse` returns
 * `1234567890123456800`.) An integer that a number prints back unchanged stays a number. Numbers with a fraction or an
 * exponent are always numbers. Encoding the message writes the string.
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
  const decoded = ServerFrame.decode(frame)
  return decoded._tag === "DecodeError" ? Result.fail(decoded) : Result.succeed(decoded)
}

/**
 * Encodes a message as the text of one frame, as a server or a test double sends it.
 *
 * **Details**
 *
 * Fails with the schema's error if the value is not a message, which is possible only with a cast.
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
