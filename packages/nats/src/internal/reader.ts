/**
 * Reads the stream in pages.
 *
 * A page comes from an ephemeral consumer that the server keeps for a short while. A
 * reader asks for one page after the other, so its consumer is found again by the
 * position where the last page ended. A consumer is never waited on: its count of
 * pending messages says how many can be fetched at once.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { decodeEvent, type Page, type Pages, type Wanted } from "@makima-stream/log/LogEngine"
import { Damaged, LogError } from "@makima-stream/log/LogError"
import type { Bounds, Entry } from "@makima-stream/log/MeshLog"
import {
  AckPolicy,
  DeliverPolicy,
  type Consumer,
  type ConsumerConfig,
  type JetStreamClient,
  type JetStreamManager,
  type JsMsg
} from "@nats-io/jetstream"
import { nanos } from "@nats-io/transport-node"
import { marksHeader, partsHeader } from "./appender.ts"
import * as Errors from "./errors.ts"
import type { Subjects } from "./subjects.ts"

/** How many messages a page has at most. */
const pageSize = 1000
/** How long the server keeps a consumer that is not used. */
const idleMillis = 60_000
/** How many consumers are kept for the next page. */
const maxCursors = 64
/** How long a fetch may take. The server accepts no less than a second. */
const fetchMillis = 10_000

export interface Options {
  readonly js: JetStreamClient
  readonly jsm: JetStreamManager
  readonly stream: string
  readonly subjects: Subjects
  /** Returns what waits for the next append that is announced after the call, for a while at most. */
  readonly nextNotice: () => Effect.Effect<void>
}

/** A consumer, and what is known of it. */
interface Cursor {
  readonly consumer: Consumer
  readonly name: string
  /** How many messages can be fetched, at least. */
  pending: number
  /** The number of marks that name no task, as of the last message. */
  marks: number | undefined
}

/** A message, and its entry if it holds an event. */
interface Read {
  readonly position: number
  readonly marks: number
  readonly entry: Entry | undefined
}

export const make = (options: Options): Pages => {
  const { js, jsm, stream, subjects } = options
  /** Cursors by filter subject and by the position of the last message that they have returned. */
  const cursors = new Map<string, Cursor>()
  const keyOf = (subject: string, position: number): string => `${position} ${subject}`

  const open = async (config: Partial<ConsumerConfig>): Promise<Cursor> => {
    const info = await jsm.consumers.add(stream, {
      ack_policy: AckPolicy.None,
      inactive_threshold: nanos(idleMillis),
      mem_storage: true,
      num_replicas: 1,
      ...config
    })
    return {
      consumer: js.consumers.getConsumerFromInfo(info),
      name: info.name,
      pending: info.num_pending,
      marks: undefined
    }
  }
  const openAt = (subject: string, position: number): Promise<Cursor> =>
    open({
      deliver_policy: DeliverPolicy.StartSequence,
      opt_start_seq: position + 1,
      ...(subject === subjects.all ? {} : { filter_subject: subject })
    })
  const keep = (subject: string, position: number, cursor: Cursor): void => {
    cursors.set(keyOf(subject, position), cursor)
    const [oldest] = cursors.keys()
    if (cursors.size > maxCursors && oldest !== undefined) cursors.delete(oldest)
  }
  const close = (cursor: Cursor): Promise<unknown> => jsm.consumers.delete(stream, cursor.name).catch(() => false)

  const fetch = async (cursor: Cursor, count: number): Promise<ReadonlyArray<Read>> => {
    const messages = await cursor.consumer.fetch({ max_messages: count, expires: fetchMillis })
    const read: Array<Read | Promise<Read>> = []
    for await (const message of messages) {
      cursor.pending = message.info.pending
      read.push(toRead(message))
    }
    return Promise.all(read)
  }

  const toRead = (message: JsMsg): Read | Promise<Read> => {
    const { headers, seq: position, subject } = message
    const marks = Number(headers?.get(marksHeader) ?? "")
    const isEvent = subject !== subjects.parts && !subject.startsWith(subjects.fence("").slice(0, -1))
    if (!isEvent) return { position, marks, entry: undefined }
    const at = Number(message.timestampNanos / 1_000_000n)
    const parts = headers?.get(partsHeader) ?? ""
    if (parts === "") return { position, marks, entry: toEntry(position, at, message.string()) }
    return join(parts.split(",").map(Number), message.data).then((text) => ({
      position,
      marks,
      entry: text === undefined ? undefined : toEntry(position, at, text)
    }))
  }

  /** The text of an event in parts; `undefined` if retention has removed one of them. */
  const join = async (parts: ReadonlyArray<number>, last: Uint8Array): Promise<string | undefined> => {
    const found = await Promise.all(parts.map((seq) => jsm.streams.getMessage(stream, { seq })))
    const data = found.map((part) => part?.data)
    if (data.some((part) => part === undefined)) return undefined
    return Buffer.concat([...data.filter((part) => part !== undefined), last]).toString()
  }

  const toEntry = (position: number, at: number, text: string): Entry => {
    const event = decodeEvent(text)
    if (Result.isFailure(event)) throw new LogError({ reason: new Damaged({ position, cause: event.failure }) })
    return { position, at, event: event.success }
  }

  /** Everything that a subject matches after a position, as much as fits in a page, and how far that is complete. */
  const pageOf = async (
    subject: string,
    after: number,
    last: number
  ): Promise<{ read: ReadonlyArray<Read>; position: number; cursor: Cursor }> => {
    const key = keyOf(subject, after)
    let cursor = cursors.get(key)
    cursors.delete(key)
    if (cursor !== undefined && cursor.pending === 0) {
      try {
        cursor.pending = (await jsm.consumers.info(stream, cursor.name)).num_pending
      } catch (error) {
        if (!Errors.isConsumerGone(error)) throw error
        cursor = undefined
      }
    }
    cursor ??= await openAt(subject, after)
    if (cursor.pending === 0) return { read: [], position: Math.max(after, last), cursor }
    const read = await fetch(cursor, Math.min(cursor.pending, pageSize))
    const end = read.at(-1)?.position ?? after
    return { read, position: cursor.pending === 0 ? Math.max(end, last) : end, cursor }
  }

  /** The marks that name no task between two positions, for a reader whose filter misses them. */
  const marksBetween = async (after: number, upTo: number): Promise<ReadonlyArray<Entry>> => {
    const cursor = await openAt(subjects.marks, after)
    const entries: Array<Entry> = []
    let position = after
    while (cursor.pending > 0 && position < upTo) {
      const read = await fetch(cursor, Math.min(cursor.pending, pageSize))
      if (read.length === 0) break
      for (const { entry } of read) if (entry !== undefined && entry.position <= upTo) entries.push(entry)
      position = read.at(-1)?.position ?? upTo
    }
    await close(cursor)
    return entries
  }

  const state = async (): Promise<Bounds> => {
    const { state } = await jsm.streams.info(stream)
    return { first: Math.max(1, state.messages === 0 ? state.last_seq + 1 : state.first_seq), last: state.last_seq }
  }

  const page = async (after: number, upTo: number, wanted: Wanted | undefined): Promise<Page> => {
    // Before the consumer is asked: what it has no pending messages up to is complete up to here.
    const { first, last } = await state()
    const subject = subjects.filter(wanted)
    const { cursor, position, read } = await pageOf(subject, after, last)
    const entries = read.flatMap(({ entry }) => (entry === undefined ? [] : [entry]))
    if (subjects.missesMarks(wanted)) {
      const end = read.at(-1)
      // Without a jump in the count up to the end there is no mark in between.
      const isQuiet = end !== undefined && end.position === position && end.marks === cursor.marks
      if (!isQuiet && position > after) {
        entries.push(...(await marksBetween(after, position)))
        entries.sort((a, b) => a.position - b.position)
      }
      cursor.marks = end !== undefined && end.position === position ? end.marks : undefined
    }
    keep(subject, position, cursor)
    const isBeyond = position > upTo
    return {
      entries: isBeyond ? entries.filter((entry) => entry.position <= upTo) : entries,
      position: isBeyond ? upTo : position,
      first
    }
  }

  /** The newest updates, one for each task, that the stream held at a position. */
  const snapshot = async (wanted: Wanted | undefined) => {
    const { last } = await state()
    const cursor = await open({ deliver_policy: DeliverPolicy.LastPerSubject, filter_subject: subjects.updates })
    const entries: Array<Entry> = []
    while (cursor.pending > 0) {
      const read = await fetch(cursor, Math.min(cursor.pending, pageSize))
      if (read.length === 0) break
      for (const { entry } of read) {
        if (entry === undefined || (wanted !== undefined && !wanted.isWanted(entry.event))) continue
        // Appended since: the reader receives it after the snapshot, which has the one before it.
        const older = entry.position <= last ? entry : await lastUpTo(entry, last)
        if (older !== undefined) entries.push(older)
      }
    }
    await close(cursor)
    return { entries: entries.sort((a, b) => a.position - b.position), position: last }
  }

  /** The newest update of an entry's task up to a position. */
  const lastUpTo = async ({ event }: Entry, last: number): Promise<Entry | undefined> => {
    if (event._tag !== "TaskUpdated") return undefined
    const cursor = await openAt(subjects.updatesOf(event.taskId), 0)
    let found: Entry | undefined
    let position = 0
    while (cursor.pending > 0 && position < last) {
      const read = await fetch(cursor, Math.min(cursor.pending, pageSize))
      if (read.length === 0) break
      for (const { entry } of read) if (entry !== undefined && entry.position <= last) found = entry
      position = read.at(-1)?.position ?? last
    }
    await close(cursor)
    return found
  }

  const positionAt = async (instant: number): Promise<number> => {
    const { first, last } = await state()
    if (first > last) return first > 1 ? 0 : last
    const cursor = await open({
      deliver_policy: DeliverPolicy.StartTime,
      opt_start_time: new Date(Math.ceil(instant)).toISOString()
    })
    const [found] = cursor.pending === 0 ? [] : await fetch(cursor, 1)
    await close(cursor)
    if (found === undefined) return last
    return found.position <= first && first > 1 ? 0 : found.position - 1
  }

  const attempt = <A>(run: () => Promise<A>): Effect.Effect<A, LogError> =>
    Effect.tryPromise({ try: run, catch: Errors.toLogError })

  return {
    bounds: attempt(state),
    page: (after, upTo, wanted) => attempt(() => page(after, upTo, wanted)),
    positionAt: (instant) => attempt(() => positionAt(instant)),
    snapshot: (wanted) => attempt(() => snapshot(wanted)),
    awaitAfter: (position) =>
      Effect.gen(function* () {
        while (true) {
          const notice = options.nextNotice()
          if ((yield* attempt(state)).last > position) return
          yield* notice
        }
      })
  }
}
