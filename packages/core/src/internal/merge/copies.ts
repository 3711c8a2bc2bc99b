/**
 * The errors and unknown messages of several inputs. They name no task, so they have
 * no sequence that could align them: a message is emitted once for each time that one
 * input delivers it, and an equal message of another input within `copyMillis` is its
 * copy.
 */
import type { ServerError, UnknownMessage } from "../../ServerMessage.ts"
import { isEqual } from "./same.ts"

/** For how long the copy of another input is recognised, and is waited for, in milliseconds. */
export const copyMillis = 10_000

/** How many messages are kept at most to recognise their copies. */
const maxKept = 64

interface Kept {
  readonly input: number
  readonly message: ServerError | UnknownMessage
  readonly at: number
}

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
