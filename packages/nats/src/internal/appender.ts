/**
 * Appends events in order, with a compare and set of the stream's last sequence.
 *
 * JetStream has no transaction over several messages. Each message therefore expects
 * the sequence and the id of the one before it, so that:
 *
 * - the stored part of a batch is a prefix of it, also if the connection breaks in
 *   the middle and the client sends the rest again;
 * - two writers cannot mix their batches;
 * - a writer that has lost its lease is refused. A new holder of a lease puts a
 *   message into the stream, and every append expects the end of the stream that the
 *   writer saw when it checked its lease.
 *
 * The id is needed too: a message of another process before a window increases the
 * sequence, to just the sequence that the second message of the window expects.
 *
 * A message whose id the server knows does not advance the stream, so the messages
 * sent after it are refused and sent again. Windows are small after that.
 */
import * as Effect from "effect/Effect"
import * as Base64Url from "effect/encoding/Base64Url"
import * as Semaphore from "effect/Semaphore"
import type { TaskId } from "@makima-stream/core/TaskId"
import { encodeEvent, isNewerUpdate, leaseKey, leaseTerm, type Cells, type Fence } from "@makima-stream/log/LogEngine"
import { Fenced, LogError } from "@makima-stream/log/LogError"
import type { NewEvent } from "@makima-stream/log/MeshLog"
import type { JetStreamClient, JetStreamManager, MsgRequest, PubAck, StoredMsg } from "@nats-io/jetstream"
import { headers, type MsgHdrs, type NatsConnection } from "@nats-io/transport-node"
import * as Errors from "./errors.ts"
import { Killed, type Faults } from "./faults.ts"
import type { Subjects } from "./subjects.ts"

/** The number of marks without a task, up to and including a message. */
export const marksHeader = "Makima-Marks"
/** The highest version of a task so far. Each of its updates has this header. */
export const versionHeader = "Makima-Version"
/** The sequences of the parts of an event before this message, which has the last part. */
export const partsHeader = "Makima-Parts"

/** The first byte of a message with the last part of an event. Any other event starts with `{`. */
export const lastPartMark = 0

/** How many messages may wait for the server's answer. */
const maxWindow = 1000
/** How many bytes of messages may wait for the server's answer. */
const maxWindowBytes = 8 * 1024 * 1024
/** Room for the headers and the subject of a message within the server's limit. */
const headerRoom = 8 * 1024

export interface Appender {
  readonly append: (events: ReadonlyArray<NewEvent>, fence: Fence | undefined) => Effect.Effect<number, LogError>
  /** Puts a message into the stream that says that a lease has a new holder. */
  readonly markLease: (name: string) => Effect.Effect<void, LogError>
}

export interface Options {
  readonly nc: NatsConnection
  readonly js: JetStreamClient
  readonly jsm: JetStreamManager
  readonly stream: string
  readonly subjects: Subjects
  /** The subject on which appends are announced to readers. */
  readonly notify: string
  readonly timeoutMillis: number
  readonly getCell: Cells["get"]
  readonly faults: Faults
}

/** The end of the stream, as this writer knows it. */
interface Tail {
  seq: number
  marks: number
}

interface Message {
  readonly subject: string
  readonly payload: string | Uint8Array
  readonly bytes: number
  readonly id: string
  readonly headers: MsgHdrs
}

const utf8 = new TextEncoder()

/** An id as a header can hold it. */
const toHeader = (id: string): string => (/^[!-<>-~][!-~]*$/.test(id) ? id : `=${Base64Url.encode(id)}`)

/** The last part is as small as a message may be. */
const split = (bytes: Uint8Array, limit: number): ReadonlyArray<Uint8Array> => {
  const parts: Array<Uint8Array> = []
  for (let start = 0; start < bytes.length; start += limit) parts.push(bytes.subarray(start, start + limit))
  return parts
}

export const make = (options: Options): Appender => {
  const { js, jsm, nc, stream, subjects } = options
  const lock = Semaphore.makeUnsafe(1)
  let tail: Tail | undefined
  /** The term of each lease that was checked after `tail` was read. */
  const checked = new Map<string, number>()
  /** The highest version of tasks, as of `tail`. */
  const versions = new Map<TaskId, number | undefined>()

  const forget = (): void => {
    tail = undefined
    checked.clear()
    versions.clear()
  }

  const get = (query: MsgRequest): Promise<StoredMsg | null> => jsm.streams.getMessage(stream, query)

  const readTail = async (): Promise<Tail> => {
    const { state } = await jsm.streams.info(stream)
    const last = state.messages === 0 ? null : await get({ seq: state.last_seq })
    // The mark of a lease has no count.
    const count =
      last?.header.get(marksHeader) || (await get({ last_by_subj: subjects.marks }))?.header.get(marksHeader)
    return { seq: state.last_seq, marks: Number(count ?? "") }
  }

  /** Reads the highest versions of the tasks of a batch. */
  const readVersions = async (events: ReadonlyArray<NewEvent>): Promise<void> => {
    const unknown = new Set<TaskId>()
    for (const { event } of events) {
      if (event._tag === "TaskUpdated" && !versions.has(event.taskId)) unknown.add(event.taskId)
    }
    await Promise.all(
      Array.from(unknown, async (taskId) => {
        const last = await get({ last_by_subj: subjects.updatesOf(taskId) })
        const version = last?.header.get(versionHeader) ?? ""
        versions.set(taskId, version === "" ? undefined : Number(version))
      })
    )
  }

  const publish = async (
    { headers: hdrs, id, payload, subject }: Message,
    expected: { readonly seq: number; readonly id?: string | undefined }
  ): Promise<PubAck> => {
    const { faults } = options
    if (faults.messagesLeft !== undefined && faults.messagesLeft-- <= 0) {
      await nc.flush()
      throw new Killed()
    }
    return js.publish(subject, payload, {
      msgID: id,
      headers: hdrs,
      timeout: options.timeoutMillis,
      expect: { lastSequence: expected.seq, ...(expected.id === undefined ? {} : { lastMsgID: expected.id }) }
    })
  }

  /** The message of an event that fits into one, with what follows from the messages before it. */
  const toMessage = (
    { event, id }: NewEvent,
    state: { marks: number },
    payload: { readonly data: string | Uint8Array; readonly bytes: number; readonly parts?: ReadonlyArray<number> }
  ): Message => {
    const hdrs = headers()
    let isLate = false
    if (event._tag === "TaskUpdated") {
      const newest = versions.get(event.taskId)
      isLate = !isNewerUpdate(event.version, newest)
      const version = isLate ? newest : (event.version ?? newest)
      versions.set(event.taskId, version)
      if (version !== undefined) hdrs.set(versionHeader, String(version))
    }
    const subject = subjects.of(event, isLate)
    if (subject === subjects.marks) state.marks++
    hdrs.set(marksHeader, String(state.marks))
    if (payload.parts !== undefined) hdrs.set(partsHeader, payload.parts.join(","))
    return { subject, payload: payload.data, bytes: payload.bytes, id: toHeader(id), headers: hdrs }
  }

  /** Publishes one message. Returns its sequence, or `undefined` if another message came first. */
  const publishOne = async (message: Message, at: Tail): Promise<number | undefined> => {
    try {
      const ack = await publish(message, { seq: at.seq })
      if (!ack.duplicate) at.seq = ack.seq
      return ack.seq
    } catch (error) {
      if (Errors.isConflict(error)) return undefined
      throw error
    }
  }

  /** An event that is too large for one message: its parts, one by one, and the message with the last part. */
  const appendLarge = async (event: NewEvent, bytes: Uint8Array, limit: number, at: Tail) => {
    const pieces = split(bytes, limit)
    const parts: Array<number> = []
    for (const [n, data] of pieces.slice(0, -1).entries()) {
      const hdrs = headers()
      hdrs.set(marksHeader, String(at.marks))
      const id = toHeader(`${event.id}#${n}`)
      const seq = await publishOne(
        { subject: subjects.parts, payload: data, bytes: data.length, id, headers: hdrs },
        at
      )
      if (seq === undefined) return undefined
      parts.push(seq)
    }
    const last = Buffer.concat([Uint8Array.of(lastPartMark), pieces.at(-1) ?? new Uint8Array()])
    const state = { marks: at.marks }
    const seq = await publishOne(toMessage(event, state, { data: last, bytes: last.length, parts }), at)
    at.marks = state.marks
    return seq
  }

  /**
   * Appends a part of a batch after `at`. Returns how many of the events the stream has
   * now, the position of the last of them, and whether one of them was stored before.
   */
  const appendWindow = async (events: ReadonlyArray<NewEvent>, start: number, window: number, at: Tail) => {
    const limit = (nc.info?.max_payload ?? 1024 * 1024) - headerRoom
    const pending: Array<Promise<PubAck>> = []
    const marks: Array<number> = []
    let bytes = 0
    let expected: { readonly seq: number; readonly id?: string } = { seq: at.seq }
    const state = { marks: at.marks }
    for (let n = start; n < events.length && pending.length < window && bytes < maxWindowBytes; n++) {
      const event = events[n]
      if (event === undefined) break
      const text = encodeEvent(event.event)
      const size = text.length * 3 <= limit ? text.length : Buffer.byteLength(text)
      if (size > limit) {
        if (pending.length > 0) break
        const seq = await appendLarge(event, utf8.encode(text), limit, at)
        return seq === undefined
          ? { count: 0, position: 0, isSlow: false, isConflict: true }
          : { count: 1, position: seq, isSlow: false, isConflict: false }
      }
      pending.push(publish(toMessage(event, state, { data: text, bytes: size }), expected))
      expected = { seq: expected.seq + 1, id: toHeader(event.id) }
      marks.push(state.marks)
      bytes += size
    }
    const acks = await Promise.allSettled(pending)
    let count = 0
    let position = 0
    for (const ack of acks) {
      if (ack.status === "rejected") {
        if (!Errors.isConflict(ack.reason)) throw ack.reason
        return { count, position, isSlow: false, isConflict: true }
      }
      position = ack.value.seq
      count++
      if (ack.value.duplicate) return { count, position, isSlow: true, isConflict: false }
      at.seq = position
      at.marks = marks[count - 1] ?? at.marks
    }
    return { count, position, isSlow: false, isConflict: false }
  }

  const check = Effect.fnUntraced(function* (fence: Fence) {
    if (checked.get(fence.name) === fence.term) return
    const cell = yield* options.getCell(leaseKey(fence.name))
    if (cell === undefined || leaseTerm(cell.value) !== fence.term) {
      return yield* new LogError({ reason: new Fenced({ lease: fence.name, term: fence.term }) })
    }
    checked.set(fence.name, fence.term)
  })

  const attempt = <A>(run: () => Promise<A>): Effect.Effect<A, LogError> =>
    Effect.tryPromise({ try: run, catch: Errors.toLogError })

  const wake = Effect.sync(() => {
    if (!nc.isClosed()) nc.publish(options.notify)
  })

  const appendAll = Effect.fnUntraced(function* (events: ReadonlyArray<NewEvent>, fence: Fence | undefined) {
    let done = 0
    let position = 0
    let window = maxWindow
    while (done < events.length) {
      // First the end of the stream, then the lease: if the holder changes in between, the append is refused.
      const at = tail ?? (yield* attempt(readTail))
      tail = at
      if (fence !== undefined) yield* check(fence)
      yield* attempt(() => readVersions(events))
      const result = yield* attempt(() => appendWindow(events, done, window, at))
      if (result.count > 0) {
        done += result.count
        position = result.position
      }
      // An event that was stored before may have been stored by another writer.
      if (result.isSlow) versions.clear()
      window = result.isSlow ? 1 : Math.min(maxWindow, window * 2)
      if (result.isConflict) forget()
    }
    yield* wake
    return position
  })

  /** An append of nothing. It checks the lease too. */
  const emptyAppend = Effect.fnUntraced(function* (fence: Fence | undefined) {
    tail = yield* attempt(readTail)
    checked.clear()
    if (fence !== undefined) yield* check(fence)
    return tail.seq
  })

  const guarded = <A>(effect: Effect.Effect<A, LogError>): Effect.Effect<A, LogError> =>
    lock.withPermit(
      Effect.onExit(effect, (exit) =>
        Effect.sync(() => {
          // It is unknown what was stored.
          if (exit._tag === "Failure") forget()
        })
      )
    )

  return {
    append: (events, fence) => guarded(events.length === 0 ? emptyAppend(fence) : appendAll(events, fence)),
    // Without the lock: it has to refuse an append that is in progress.
    markLease: (name) =>
      Effect.asVoid(attempt(() => js.publish(subjects.fence(name), "", { timeout: options.timeoutMillis })))
  }
}
