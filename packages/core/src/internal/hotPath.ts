/**
 * The short way from a parsed frame to one of the two frequent messages, or to
 * a message of an unknown type, whose size and depth are the sender's choice.
 *
 * Invariant: `decode` gives either exactly what the `ServerMessage` schema
 * gives for the same object, or `undefined`, which leaves the object to the
 * schema. It never decides that an object is wrong, so every error still comes
 * from the schema. `ServerMessage.test.ts` holds the two equal over generated
 * and damaged objects.
 *
 * The objects are built member by member with absent members left out, because
 * that is what the schema does. `toolInput` and an unknown message need no look:
 * what `JSON.parse` returned is JSON.
 */
import type { TaskOutput, TaskUpdated, UnknownMessage } from "../ServerMessage.ts"
import type { TaskId } from "../TaskId.ts"
import type { JsonObject } from "./frame.ts"

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

/** The `type`s that the protocol defines. */
export const knownTypes: ReadonlySet<string> = new Set([
  "taskUpdated",
  "taskOutput",
  "error",
  "subscribedAll",
  "unsubscribedAll",
  "subscribed",
  "unsubscribed",
  "outputSubscribed",
  "outputUnsubscribed"
])

/** The message in a parsed frame, or `undefined` for whatever the schema must judge. */
export const decode = (object: JsonObject): TaskUpdated | TaskOutput | UnknownMessage | undefined => {
  switch (object.type) {
    case "taskOutput":
      return decodeOutput(object)
    case "taskUpdated":
      return decodeUpdate(object)
    default:
      return isUnknown(object) ? { _tag: "UnknownMessage", raw: object } : undefined
  }
}

const isUnknown = (object: JsonObject): object is UnknownMessage["raw"] =>
  typeof object.type === "string" && !knownTypes.has(object.type)

const isTaskId = (value: unknown): value is TaskId => typeof value === "string" && value.length > 0

const decodeOutput = (object: JsonObject): TaskOutput | undefined => {
  const { taskId, messageType, content, toolName, toolInput, isError, costUsd, durationMs, isPartial } = object
  if (!isTaskId(taskId) || typeof messageType !== "string" || typeof content !== "string") return undefined
  const output: Mutable<TaskOutput> = { _tag: "TaskOutput", taskId, messageType, content }
  // `!= null` on purpose: null and missing mean the same.
  if (toolName != null) {
    if (typeof toolName !== "string") return undefined
    output.toolName = toolName
  }
  if (toolInput != null) output.toolInput = toolInput
  if (isError != null) {
    if (typeof isError !== "boolean") return undefined
    output.isError = isError
  }
  if (costUsd != null) {
    if (!Number.isFinite(costUsd)) return undefined
    output.costUsd = costUsd as number
  }
  if (durationMs != null) {
    if (!Number.isSafeInteger(durationMs)) return undefined
    output.durationMs = durationMs as number
  }
  if (isPartial != null) {
    if (typeof isPartial !== "boolean") return undefined
    output.isPartial = isPartial
  }
  return output
}

const decodeUpdate = (object: JsonObject): TaskUpdated | undefined => {
  const { taskId, version, status, updatedFields, updatedBy } = object
  if (!isTaskId(taskId)) return undefined
  const update: Mutable<TaskUpdated> = { _tag: "TaskUpdated", taskId }
  if (version != null) {
    if (!Number.isSafeInteger(version)) return undefined
    update.version = version as number
  }
  if (status != null) {
    if (typeof status !== "string") return undefined
    update.status = status
  }
  if (updatedFields != null) {
    if (!Array.isArray(updatedFields)) return undefined
    for (const field of updatedFields) {
      if (typeof field !== "string") return undefined
    }
    update.updatedFields = updatedFields
  }
  if (updatedBy != null) {
    if (typeof updatedBy !== "string") return undefined
    update.updatedBy = updatedBy
  }
  return update
}
