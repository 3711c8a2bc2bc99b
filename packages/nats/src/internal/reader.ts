/**
 * Reads the stream in pages.
 *
 * A page comes from an ephemeral consumer, which the server keeps for a short time. A
 * reader asks for one page after the other, so its consumer is found again by the
 * position where the last page ended.
 *
 * While more than a page is pending, the server sends messages continuously, and a page has
 * those that have arrived. Otherwise each page is one fetch. It never waits: it asks for no
 * more than the consumer's count of pending messages. A consumer that sent continuously is
 * not used again after its last pending message, because the server may still send it
 * messages that no page would have.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { decodeEvent, truncated, type Page, type Pages, type Wanted } from "@makima-stream/log/LogEngine"
import { Damaged, LogError } from "@makima-stream/log/LogError"
import type { Bounds, Entry } from "@makima-stream/log/MeshLog"
import {
  AckPolicy,
  DeliverPolicy,
  type Consumer,
  type ConsumerMessages,
  type ConsumerConfig,
  type JetStreamClient,
  type JetStreamManager,
  type JsMsg
} from "@nats-io/jetstream"
import { nanos } from "@nats-io/transport-node"
import { lastPartMark, marksHeader, partsHeader } from "./appender.ts"
import * as Errors from "./errors.ts"
import type { Subjects } from "./subjects.ts"

/** How many messages a page has at most. */
const pageSize = 1000
/** How many messages the server sends ahead of the reader. */
const flowSize = 2000
/** How long the server keeps a consumer that is not used. */
const idleMillis = 60_000
/** How many consumers are kept for the next page. */
const maxCursors = 64
/** How long a page may take. The server accepts no less than a second. */
const fetchMillis = 10_000

export interface Options {
  readonly js: JetStreamClient
  readonly jsm: JetStreamManager
  readonly stream: string
  readonly subjects: Subjects
  /** Returns an effect that waits for the next append announced after the call, for a limited time. */
  readonly nextNotice: () => Effect.Effect<void>
}

/** A consumer, with its state. */
interface Cursor {
  readonly consumer: Consumer
  readonly name: string
  /** How many messages can be read after those that were returned, at least. */
  pending: number
  /** How many messages the consumer has delivered. */
  delivered: number
  /** What the server sends continuously. */
  flow: Flow | undefined
  /** The number of marks that name no task, as of the last message. */
  marks: number | undefined
}

interface Flow {
  readonly messages: ConsumerMessages
  readonly iterator: AsyncIterator<JsMsg>
  /** Ends the consumer if no page was read for a while. */
  idle: NodeJS.Timeout | undefined
}

/** A message, and its entry if it holds an event. */
interface Read {
  readonly position: number
  readonly message: JsMsg
  readonly entry: Entry | undefined
}

const isAllRead = (read: ReadonlyArray<Read | Promise<Read>>): read is ReadonlyArray<Read> =>
  !read.some((found) => found instanceof Promise)

/** The number of marks without a task, up to and including a message. */
const marksOf = ({ message }: Read): number => Number(message.headers?.get(marksHeader) ?? "")

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
      delivered: 0,
      flow: undefined,
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
    const { flow } = cursor
    if (flow !== undefined && cursor.pending === 0) return void close(cursor)
    const key = keyOf(subject, position)
    cursors.set(key, cursor)
    if (flow !== undefined) {
      const end = (): void => {
        cursors.delete(key)
        void close(cursor)
      }
      flow.idle = setTimeout(end, idleMillis).unref()
    }
    const [oldest] = cursors
    if (cursors.size <= maxCursors || oldest === undefined) return
    cursors.delete(oldest[0])
    if (oldest[1].flow !== undefined) void close(oldest[1])
  }
  const take = (subject: string, position: number): Cursor | undefined => {
    const key = keyOf(subject, position)
    const cursor = cursors.get(key)
    cursors.delete(key)
    clearTimeout(cursor?.flow?.idle)
    return cursor
  }
  const close = (cursor: Cursor): Promise<unknown> => {
    clearTimeout(cursor.flow?.idle)
    cursor.flow?.messages.stop()
    return jsm.consumers.delete(stream, cursor.name).catch(() => false)
  }

  /** Counts a message. Throws if one before it was lost with a connection: the consumer does not send it again. */
  const count = (cursor: Cursor, { info }: JsMsg): void => {
    if (info.deliverySequence !== ++cursor.delivered) throw new Error("Messages of a consumer were lost")
    cursor.pending = info.pending
  }
  const fetch = async (cursor: Cursor, limit = pageSize): Promise<ReadonlyArray<JsMsg>> => {
    const expected = Math.min(cursor.pending, limit)
    const messages: Array<JsMsg> = []
    for await (const message of await cursor.consumer.fetch({ max_messages: expected, expires: fetchMillis })) {
      count(cursor, message)
      messages.push(message)
    }
    // Retention may have removed them.
    if (messages.length === 0) cursor.pending = 0
    return messages
  }
  const startFlow = async ({ consumer }: Cursor): Promise<Flow> => {
    const messages = await consumer.consume({
      max_messages: flowSize,
      expires: fetchMillis,
      abort_on_missing_resource: true
    })
    return { messages, iterator: messages[Symbol.asyncIterator](), idle: undefined }
  }
  /** Returns the messages that have arrived, at least one. */
  const receive = async (cursor: Cursor): Promise<ReadonlyArray<JsMsg>> => {
    const { iterator, messages } = (cursor.flow ??= await startFlow(cursor))
    const received: Array<JsMsg> = []
    const timer = setTimeout(() => messages.stop(new Error("The server sent nothing in time")), fetchMillis)
    try {
      do {
        const next = await iterator.next()
        if (next.done === true) throw new Error("A consumer ended early")
        count(cursor, next.value)
        received.push(next.value)
      } while (cursor.pending > 0 && received.length < pageSize && messages.getPending() > 0)
      return received
    } finally {
      clearTimeout(timer)
    }
  }
  /** Returns the next messages of a consumer that has pending messages. */
  const next = async (cursor: Cursor): Promise<ReadonlyArray<Read>> => {
    try {
      const isFlow = cursor.flow !== undefined || cursor.pending > pageSize
      const messages = await (isFlow ? receive(cursor) : fetch(cursor))
      const read = messages.map(toRead)
      return isAllRead(read) ? read : await Promise.all(read)
    } catch (error) {
      void close(cursor)
      throw error
    }
  }
  /** Reads all pending messages of a consumer, up to a position. Closes the consumer. */
  const drain = async (cursor: Cursor, upTo = Number.POSITIVE_INFINITY): Promise<ReadonlyArray<Entry>> => {
    const entries: Array<Entry> = []
    while (cursor.pending > 0) {
      const read = await next(cursor)
      for (const { entry } of read) if (entry !== undefined && entry.position <= upTo) entries.push(entry)
      if ((read.at(-1)?.position ?? upTo) >= upTo) break
    }
    await close(cursor)
    return entries
  }

  const fences = subjects.fence("").slice(0, -1)
  const toRead = (message: JsMsg): Read | Promise<Read> => {
    const { data, subject } = message
    const { streamSequence: position, timestampNanos } = message.info
    if (subject === subjects.parts || subject.startsWith(fences)) return { position, message, entry: undefined }
    const at = Math.floor(timestampNanos / 1e6)
    // Headers are decoded only where they are needed, because decoding them takes as long as the rest.
    if (data[0] !== lastPartMark) return { position, message, entry: toEntry(position, at, message.string()) }
    const parts = (message.headers?.get(partsHeader) ?? "").split(",").map(Number)
    return join(parts, data.subarray(1)).then((text) => ({
      position,
      message,
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

  /** The messages of a subject after a position, as many as fit in a page, and up to which position they are complete. */
  const pageOf = async (subject: string, after: number) => {
    let cursor = take(subject, after)
    let last = after
    if (cursor === undefined || cursor.pending === 0) {
      // Read before the consumer is asked: if it has no pending messages, the page is complete up to here.
      last = (await state()).last
      cursor = (await refresh(cursor)) ?? (await openAt(subject, after))
    }
    const read = cursor.pending > 0 ? await next(cursor) : []
    const end = read.at(-1)?.position ?? after
    return { cursor, read, position: cursor.pending === 0 ? Math.max(end, last) : end }
  }

  /** Asks the server how much a consumer has pending. Returns `undefined` if it is gone. */
  const refresh = async (cursor: Cursor | undefined): Promise<Cursor | undefined> => {
    if (cursor === undefined) return undefined
    try {
      cursor.pending = (await jsm.consumers.info(stream, cursor.name)).num_pending
      return cursor
    } catch (error) {
      if (Errors.isConsumerGone(error)) return undefined
      throw error
    }
  }

  /**
   * The marks of entries that retention removed before they were read. `first` is the
   * first position of the stream after the messages were read. Without a filter, the
   * positions show the hole. With a filter, every message between two messages that are
   * not neighbours may have been removed before it was delivered.
   */
  const holes = (read: ReadonlyArray<Read>, after: number, upTo: number, first: number, isAll: boolean) => {
    const marks: Array<Entry> = []
    let previous = after
    for (const position of [...read.map(({ position }) => position), upTo + 1]) {
      const to = Math.min(position, isAll && position <= upTo ? position : first) - 1
      if (to > previous && (isAll || first > previous + 1)) marks.push(truncated(previous + 1, to, Date.now()))
      previous = position
    }
    return marks
  }

  /** The marks without a task between two positions, for a reader whose subject does not match them. */
  const marksBetween = async (after: number, upTo: number): Promise<ReadonlyArray<Entry>> =>
    drain(await openAt(subjects.marks, after), upTo)

  const state = async (): Promise<Bounds> => {
    const { state } = await jsm.streams.info(stream)
    return { first: Math.max(1, state.messages === 0 ? state.last_seq + 1 : state.first_seq), last: state.last_seq }
  }

  const page = async (after: number, upTo: number, wanted: Wanted | undefined): Promise<Page> => {
    const subject = subjects.filter(wanted)
    const { cursor, position, read } = await pageOf(subject, after)
    const entries = read.flatMap(({ entry }) => (entry === undefined ? [] : [entry]))
    const count = entries.length
    if (subjects.missesMarks(wanted)) {
      const end = read.at(-1)
      // If the count is the same at the end, there is no mark in between.
      const isQuiet = end !== undefined && end.position === position && marksOf(end) === cursor.marks
      if (!isQuiet && position > after) entries.push(...(await marksBetween(after, position)))
      cursor.marks = end !== undefined && end.position === position ? marksOf(end) : undefined
    }
    // Entries that were removed during the read may be missing. Without a filter, the positions show that.
    const isAll = subject === subjects.all
    const isWhole = isAll && read.length > 0 && read.at(-1)?.position === position
    const first = isWhole ? after + 1 : (await state()).first
    entries.push(...holes(read, after, position, first, isAll))
    if (entries.length > count) entries.sort((a, b) => a.position - b.position)
    keep(subject, position, cursor)
    const isBeyond = position > upTo
    return {
      entries: isBeyond ? entries.filter((entry) => entry.position <= upTo) : entries,
      position: isBeyond ? upTo : position,
      // The marks are in the entries.
      first: Math.min(first, after + 1)
    }
  }

  /** The newest updates, one for each task, that the stream held at a position. */
  const snapshot = async (wanted: Wanted | undefined) => {
    const { last } = await state()
    const cursor = await open({ deliver_policy: DeliverPolicy.LastPerSubject, filter_subject: subjects.updates })
    const newest = new Map<string | undefined, Entry>()
    for (const entry of await drain(cursor)) {
      if (wanted !== undefined && !wanted.isWanted(entry.event)) continue
      const taskId = entry.event._tag === "TaskUpdated" ? entry.event.taskId : undefined
      if (entry.position <= last) newest.set(taskId, entry)
      // Appended since. The reader receives it later. The server may have sent the update before it, or not.
      else if (!newest.has(taskId)) {
        const before = await lastUpTo(entry, last)
        if (before !== undefined) newest.set(taskId, before)
      }
    }
    return { entries: Array.from(newest.values()).sort((a, b) => a.position - b.position), position: last }
  }

  /** The newest update of an entry's task up to a position. */
  const lastUpTo = async ({ event }: Entry, last: number): Promise<Entry | undefined> =>
    event._tag === "TaskUpdated"
      ? (await drain(await openAt(subjects.updatesOf(event.taskId), 0), last)).at(-1)
      : undefined

  const positionAt = async (instant: number): Promise<number> => {
    const { first, last } = await state()
    if (first > last) return first > 1 ? 0 : last
    const cursor = await open({
      deliver_policy: DeliverPolicy.StartTime,
      opt_start_time: new Date(Math.ceil(instant)).toISOString()
    })
    const [found] = cursor.pending === 0 ? [] : (await fetch(cursor, 1)).map(({ info }) => info.streamSequence)
    await close(cursor)
    if (found === undefined) return last
    return found <= first && first > 1 ? 0 : found - 1
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
