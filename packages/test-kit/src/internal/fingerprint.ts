/**
 * A text that is equal for equal messages, whatever order their members are in.
 *
 * Invariant: a message and what its frame decodes to have the same fingerprint.
 */
import * as Predicate from "effect/Predicate"
import type { Data } from "@makima-stream/core/MeshEvent"

export const fingerprint = (message: Data): string => {
  // An absent member becomes `null`, which means the same on the wire.
  switch (message._tag) {
    case "TaskUpdated":
      return JSON.stringify([
        0,
        message.taskId,
        message.version,
        message.status,
        message.updatedFields,
        message.updatedBy
      ])
    case "TaskOutput":
      return JSON.stringify([
        1,
        message.taskId,
        message.messageType,
        message.content,
        message.toolName,
        sorted(message.toolInput),
        message.isError,
        message.costUsd,
        message.durationMs,
        message.isPartial
      ])
    case "ServerError":
      return JSON.stringify([2, message.code, message.message])
    case "UnknownMessage":
      return JSON.stringify([3, sorted(message.raw)])
  }
}

/** The same JSON value with the members of each object in one order, as pairs. */
const sorted = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(sorted)
  if (!Predicate.isObject(value)) return value
  const members = Object.entries(value).filter(([, member]) => member !== undefined)
  members.sort(([a], [b]) => (a < b ? -1 : 1))
  // Marked, so that an object is never taken for the array of its pairs.
  return { members: members.map(([key, member]) => [key, sorted(member)]) }
}
