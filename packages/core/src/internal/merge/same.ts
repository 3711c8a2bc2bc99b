/** Compares the messages of several connections, and measures them. */
import type { ServerError, TaskOutput, TaskUpdated, UnknownMessage } from "../../ServerMessage.ts"

/** A message of a sequence. */
export type Message = TaskUpdated | TaskOutput

/** Whether two messages of one task have the same content. */
export const isSame = (a: Message, b: Message): boolean => {
  if (a === b) return true
  if (a._tag === "TaskOutput") {
    return (
      b._tag === "TaskOutput" &&
      a.content === b.content &&
      a.messageType === b.messageType &&
      a.isPartial === b.isPartial &&
      a.toolName === b.toolName &&
      a.isError === b.isError &&
      a.costUsd === b.costUsd &&
      a.durationMs === b.durationMs &&
      isEqual(a.toolInput, b.toolInput)
    )
  }
  return (
    b._tag === "TaskUpdated" &&
    a.version === b.version &&
    a.status === b.status &&
    a.updatedBy === b.updatedBy &&
    isEqual(a.updatedFields, b.updatedFields)
  )
}

/** JSON that is nested deeper counts as different, so that no frame exhausts the stack. */
const maxDepth = 200

/** Whether two values are equal. Objects and arrays are compared by their members. */
export const isEqual = (a: unknown, b: unknown, depth = 0): boolean => {
  if (Object.is(a, b)) return true
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null || depth > maxDepth) return false
  if (Array.isArray(a) !== Array.isArray(b)) return false
  const keys = Object.keys(a)
  return (
    keys.length === Object.keys(b).length &&
    // Both are objects with string keys, which the type `object` does not show.
    keys.every((key) => key in b && isEqual((a as Members)[key], (b as Members)[key], depth + 1))
  )
}

type Members = Readonly<Record<string, unknown>>

/** The members of a message that are not measured, in bytes. */
const overhead = 128

/** Estimates how many bytes a message takes in memory. Returns the same for the same message. */
export const sizeOf = (message: Message): number =>
  message._tag === "TaskOutput"
    ? overhead + 2 * message.content.length + (message.toolInput === undefined ? 0 : sizeOfJson(message.toolInput))
    : overhead

const sizeOfJson = (value: unknown, depth = 0): number => {
  if (typeof value === "string") return 16 + 2 * value.length
  if (typeof value !== "object" || value === null || depth > maxDepth) return 8
  let size = 16
  for (const [key, member] of Object.entries(value)) size += 16 + 2 * key.length + sizeOfJson(member, depth + 1)
  return size
}

/** For how long the copy of another input is recognised, and is waited for, in milliseconds. */
export const copyMillis = 10_000

/** How many messages are kept at most to recognise their copies. */
const maxKept = 64

interface Kept {
  readonly input: number
  readonly message: ServerError | UnknownMessage
  readonly at: number
}

/**
 * The errors and unknown messages of several inputs. They name no task, so they have
 * no sequence that could align them: a message is emitted once for each time that one
 * input delivers it, and an equal message of another input within `copyMillis` is its
 * copy.
 */
export class Copies {
  #kept: Array<Kept> = []

  /** An input has delivered a message. Returns whether it is the copy of another input's message. */
  receive(input: number, message: ServerError | UnknownMessage, now: number): boolean {
    this.#kept = this.#kept.filter(({ at }) => now - at < copyMillis)
    const copy = this.#kept.findIndex((kept) => kept.input !== input && isEqual(kept.message, message))
    if (copy >= 0) {
      this.#kept.splice(copy, 1)
      return true
    }
    this.#kept.push({ input, message, at: now })
    if (this.#kept.length > maxKept) this.#kept.shift()
    return false
  }
}
