/**
 * Reads the stream in pages, with the cursors of `cursors.ts`. `stored.ts` decodes the messages.
 */
import * as Effect from "effect/Effect"
import { truncated, type Page, type Pages, type Wanted } from "@makima-stream/log/LogEngine"
import type { LogError } from "@makima-stream/log/LogError"
import type { Bounds, Entry } from "@makima-stream/log/MeshLog"
import { DeliverPolicy, type JetStreamClient, type JetStreamManager } from "@nats-io/jetstream"
import { Cursors, type Cursor } from "./cursors.ts"
import * as Errors from "./errors.ts"
import * as Stored from "./stored.ts"
import type { Subjects } from "./subjects.ts"

export interface Options {
  readonly js: JetStreamClient
  readonly jsm: JetStreamManager
  readonly stream: string
  readonly subjects: Subjects
  /** Returns an effect that waits for the next append announced after the call, for a limited time. */
  readonly nextNotice: () => Effect.Effect<void>
  /** Returns the time in milliseconds since 1970, for the marks of removed entries. */
  readonly now: () => number
}

/** Makes the pages of the stream. */
export const make = (options: Options): Pages => {
  const reader = new Reader(options)
  const attempt = <A>(run: () => Promise<A>): Effect.Effect<A, LogError> =>
    Effect.tryPromise({ try: run, catch: Errors.toLogError })
  return {
    bounds: attempt(() => reader.bounds()),
    page: (after, upTo, wanted) => attempt(() => reader.page(after, upTo, wanted)),
    positionAt: (instant) => attempt(() => reader.positionAt(instant)),
    snapshot: (wanted) => attempt(() => reader.snapshot(wanted)),
    awaitAfter: (position) =>
      Effect.gen(function* () {
        while (true) {
          const notice = options.nextNotice()
          if ((yield* attempt(() => reader.bounds())).last > position) return
          yield* notice
        }
      })
  }
}

/** The messages of a page. */
interface Read {
  readonly cursor: Cursor
  readonly stored: ReadonlyArray<Stored.Stored>
  /** The position up to which they are complete. */
  readonly position: number
}

class Reader {
  readonly #options: Options
  readonly #cursors: Cursors
  readonly #decode: ReturnType<typeof Stored.decoder>

  constructor(options: Options) {
    this.#options = options
    this.#cursors = new Cursors({ ...options, all: options.subjects.all })
    this.#decode = Stored.decoder(options)
  }

  async bounds(): Promise<Bounds> {
    const { jsm, stream } = this.#options
    const { state } = await jsm.streams.info(stream)
    return { first: Math.max(1, state.messages === 0 ? state.last_seq + 1 : state.first_seq), last: state.last_seq }
  }

  async page(after: number, upTo: number, wanted: Wanted | undefined): Promise<Page> {
    const { now, subjects } = this.#options
    const subject = subjects.filter(wanted)
    const read = await this.#readAfter(subject, after)
    const { cursor, position, stored } = read
    const entries = stored.flatMap(({ entry }) => (entry === undefined ? [] : [entry]))
    const count = entries.length
    if (subjects.missesMarks(wanted)) entries.push(...(await this.#marksIn(read, after)))
    // Entries that were removed during the read may be missing. Without a filter, the positions show that.
    const isAll = subject === subjects.all
    const isWhole = isAll && stored.length > 0 && stored.at(-1)?.position === position
    const first = isWhole ? after + 1 : (await this.bounds()).first
    const positions = stored.map(({ position }) => position)
    entries.push(...holes(positions, { after, upTo: position, first, isAll }, now()))
    if (entries.length > count) entries.sort((a, b) => a.position - b.position)
    this.#cursors.keep(subject, position, cursor)
    const isBeyond = position > upTo
    return {
      entries: isBeyond ? entries.filter((entry) => entry.position <= upTo) : entries,
      position: isBeyond ? upTo : position,
      // The marks are in the entries.
      first: Math.min(first, after + 1)
    }
  }

  /** Reads the messages of a subject after a position, as many as fit in a page. */
  async #readAfter(subject: string, after: number): Promise<Read> {
    let cursor = this.#cursors.take(subject, after)
    let last = after
    if (cursor === undefined || cursor.pending === 0) {
      // Read before the consumer is asked: if it has no pending messages, the page is complete up to here.
      last = (await this.bounds()).last
      const known = cursor === undefined ? undefined : await this.#cursors.refresh(cursor)
      cursor = known ?? (await this.#cursors.openAfter(subject, after))
    }
    const stored = cursor.pending > 0 ? await this.#cursors.read(cursor, this.#decode) : []
    const end = stored.at(-1)?.position ?? after
    return { cursor, stored, position: cursor.pending === 0 ? Math.max(end, last) : end }
  }

  /** Returns the marks without a task in a page, for a reader whose subject does not match them. */
  async #marksIn({ cursor, position, stored }: Read, after: number): Promise<ReadonlyArray<Entry>> {
    const end = stored.at(-1)
    const isAtEnd = end !== undefined && end.position === position
    // If the count is the same at the end, there is no mark in between.
    const isQuiet = isAtEnd && Stored.marksOf(end) === cursor.marks
    cursor.marks = isAtEnd ? Stored.marksOf(end) : undefined
    if (isQuiet || position <= after) return []
    return this.#drain(await this.#cursors.openAfter(this.#options.subjects.marks, after), position)
  }

  /** Reads all pending messages of a cursor, up to a position. Closes the cursor. */
  async #drain(cursor: Cursor, upTo = Number.POSITIVE_INFINITY): Promise<ReadonlyArray<Entry>> {
    const entries: Array<Entry> = []
    while (cursor.pending > 0) {
      const stored = await this.#cursors.read(cursor, this.#decode)
      for (const { entry } of stored) if (entry !== undefined && entry.position <= upTo) entries.push(entry)
      if ((stored.at(-1)?.position ?? upTo) >= upTo) break
    }
    await this.#cursors.close(cursor)
    return entries
  }

  /** Reads the newest updates, one for each task, that the stream held at a position. */
  async snapshot(wanted: Wanted | undefined): Promise<{ entries: ReadonlyArray<Entry>; position: number }> {
    const { subjects } = this.#options
    const { last } = await this.bounds()
    const cursor = await this.#cursors.open({
      deliver_policy: DeliverPolicy.LastPerSubject,
      filter_subject: subjects.updates
    })
    const newest = new Map<string | undefined, Entry>()
    for (const entry of await this.#drain(cursor)) {
      if (wanted !== undefined && !wanted.isWanted(entry.event)) continue
      const taskId = entry.event._tag === "TaskUpdated" ? entry.event.taskId : undefined
      if (entry.position <= last) newest.set(taskId, entry)
      // Appended since. The reader receives it later. The server may have sent the update before it, or not.
      else if (!newest.has(taskId)) {
        const before = await this.#lastUpTo(entry, last)
        if (before !== undefined) newest.set(taskId, before)
      }
    }
    return { entries: Array.from(newest.values()).sort((a, b) => a.position - b.position), position: last }
  }

  /** Returns the newest update of an entry's task up to a position. */
  async #lastUpTo({ event }: Entry, last: number): Promise<Entry | undefined> {
    if (event._tag !== "TaskUpdated") return undefined
    const cursor = await this.#cursors.openAfter(this.#options.subjects.updatesOf(event.taskId), 0)
    return (await this.#drain(cursor, last)).at(-1)
  }

  /** Returns the position before the first entry at or after an instant; 0 if that one may have been removed. */
  async positionAt(instant: number): Promise<number> {
    const { first, last } = await this.bounds()
    if (first > last) return first > 1 ? 0 : last
    const cursor = await this.#cursors.open({
      deliver_policy: DeliverPolicy.StartTime,
      opt_start_time: new Date(Math.ceil(instant)).toISOString()
    })
    const found = (await this.#cursors.first(cursor))?.info.streamSequence
    await this.#cursors.close(cursor)
    if (found === undefined) return last
    return found <= first && first > 1 ? 0 : found - 1
  }
}

/**
 * Returns marks in place of entries that retention removed before they were read.
 *
 * `first` is the first position of the stream after the messages were read. Without a filter
 * (`isAll`), the positions show each hole. With a filter, every message between two messages
 * that are not neighbours may have been removed before it was delivered.
 */
export const holes = (
  positions: ReadonlyArray<number>,
  page: { readonly after: number; readonly upTo: number; readonly first: number; readonly isAll: boolean },
  now: number
): ReadonlyArray<Entry> => {
  const { after, first, isAll, upTo } = page
  const marks: Array<Entry> = []
  let previous = after
  for (const position of [...positions, upTo + 1]) {
    const to = Math.min(position, isAll && position <= upTo ? position : first) - 1
    if (to > previous) marks.push(truncated(previous + 1, to, now))
    previous = position
  }
  return marks
}
