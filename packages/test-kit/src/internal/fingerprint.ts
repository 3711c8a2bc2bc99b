/**
 * A text that is the same for equal messages, independent of the order of members.
 *
 * Invariant: a message and the message decoded from its frame have the same
 * fingerprint.
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

/** The same JSON value, with each object as a sorted list of pairs. */
const sorted = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(sorted)
  if (!Predicate.isObject(value)) return value
  const members = Object.entries(value).filter(([, member]) => member !== undefined)
  members.sort(([a], [b]) => (a < b ? -1 : 1))
  // Wrapped, so that an object differs from an array of the same pairs.
  return { members: members.map(([key, member]) => [key, sorted(member)]) }
}
