/**
 * The messages of one sequence that were emitted and that an input may still deliver.
 * `sequence.ts` compares what its inputs deliver with them.
 *
 * The index of a message is the number of messages that were emitted before it.
 * Messages below `base` were dropped, because every input has delivered them or
 * because there were too many.
 */
import { isSame, sizeOf, type Message } from "./same.ts"

/** The messages that all sequences of a merge keep, and their size in bytes. */
export interface Totals {
  held: number
  heldBytes: number
}

export class Emitted {
  readonly #totals: Totals
  /** How many messages were emitted: the index of the next one. */
  position = 0
  /** The index of the oldest message that is kept. */
  base = 0
  /** The size of the messages that are kept. */
  bytes = 0
  /** The kept messages from `#head` on, when they were emitted, and their sizes. */
  #messages: Array<Message> = []
  #times: Array<number> = []
  #sizes: Array<number> = []
  #head = 0
  /** When the last message below `base` was emitted, at the latest. */
  #droppedAt: number

  constructor(totals: Totals, droppedAt: number) {
    this.#totals = totals
    this.#droppedAt = droppedAt
  }

  // ---------------------------------------------------------------------------
  // questions
  // ---------------------------------------------------------------------------

  /** How many messages are kept. */
  get size(): number {
    return this.position - this.base
  }

  /** The message at an index from `base` on. */
  at(index: number): Message {
    return this.#messages[this.#head + index - this.base] as Message
  }

  #time(index: number): number {
    return this.#times[this.#head + index - this.base] as number
  }

  /** The messages from an index on; `undefined` if some of them were dropped. */
  since(index: number): ReadonlyArray<Message> | undefined {
    return index < this.base ? undefined : this.#messages.slice(this.#head + index - this.base)
  }

  /** At least how many messages were emitted by `time`. */
  countBy(time: number): number {
    if (time < this.#droppedAt) return -Infinity
    let count = this.base
    while (count < this.position && this.#time(count) <= time) count++
    return count
  }

  /** The indexes of the kept messages that are equal to `message`. */
  indexesOf(message: Message): ReadonlyArray<number> {
    const indexes: Array<number> = []
    for (let index = this.base; index < this.position; index++) if (isSame(this.at(index), message)) indexes.push(index)
    return indexes
  }

  /** Whether messages, the first of which has the index `offset`, are equal to the kept ones. */
  agrees(messages: ReadonlyArray<Message>, offset: number): boolean {
    const end = Math.min(this.position, offset + messages.length)
    for (let index = Math.max(this.base, offset); index < end; index++) {
      if (!isSame(this.at(index), messages[index - offset] as Message)) return false
    }
    return true
  }

  // ---------------------------------------------------------------------------
  // changes
  // ---------------------------------------------------------------------------

  /** A message was emitted. Keeps it. */
  push(message: Message, now: number): void {
    const size = sizeOf(message)
    this.position++
    this.#messages.push(message)
    this.#times.push(now)
    this.#sizes.push(size)
    this.#count(1, size)
  }

  /** A message was emitted that no other input delivers. Keeps nothing. */
  pass(now: number): void {
    this.position++
    this.dropAll(now)
  }

  dropAll(now: number): void {
    while (this.base < this.position && this.#head < this.#messages.length) this.#drop()
    this.base = this.position
    this.#droppedAt = now
  }

  /** Drops the messages below an index. */
  dropBelow(index: number, now: number): void {
    if (index === this.position) {
      this.dropAll(now)
      return
    }
    while (this.base < index) this.#drop()
  }

  #drop(): void {
    this.#count(-1, -(this.#sizes[this.#head] as number))
    this.#droppedAt = this.#time(this.base)
    this.base++
    this.#head++
    if (this.#head === this.#messages.length) {
      this.#messages = []
      this.#times = []
      this.#sizes = []
      this.#head = 0
    } else if (this.#head > 64 && this.#head * 2 > this.#messages.length) {
      this.#messages = this.#messages.slice(this.#head)
      this.#times = this.#times.slice(this.#head)
      this.#sizes = this.#sizes.slice(this.#head)
      this.#head = 0
    }
  }

  /** Counts a message that is kept, or is not kept any more. */
  #count(messages: 1 | -1, bytes: number): void {
    this.bytes += bytes
    this.#totals.held += messages
    this.#totals.heldBytes += bytes
  }
}
