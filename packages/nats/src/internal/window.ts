/**
 * Publishes a *window*: the next events of a batch, without a wait between them.
 *
 * One message at a time is a quarter as fast. Each message expects the sequence and the id of
 * the one before it: see `appender.ts`.
 */
import { encodeEvent } from "@makima-stream/log/LogEngine"
import type { NewEvent } from "@makima-stream/log/MeshLog"
import type { JetStreamClient, PubAck } from "@nats-io/jetstream"
import { headers, type NatsConnection } from "@nats-io/transport-node"
import * as Errors from "./errors.ts"
import { Killed, type Faults } from "./faults.ts"
import type { Known, Tail } from "./known.ts"
import { lastPartMark, marksHeader, partsHeader, split, toHeader, versionHeader, type Message } from "./message.ts"
import type { Subjects } from "./subjects.ts"

/** How many messages may wait for the server's answer. */
export const maxWindow = 1000
/** How many bytes of messages may wait for the server's answer. */
const maxWindowBytes = 8 * 1024 * 1024
/** Room for the headers and the subject of a message within the server's limit. */
const headerRoom = 8 * 1024
/** The server's limit if it has not announced one. */
const defaultMaxPayload = 1024 * 1024

export interface Options {
  readonly nc: NatsConnection
  readonly js: JetStreamClient
  readonly subjects: Subjects
  readonly timeoutMillis: number
  readonly faults: Faults
}

/** What became of a window. */
export interface Outcome {
  /** How many of the events the stream has now. */
  readonly count: number
  /** The position of the last of them. */
  readonly position: number
  /** Whether one of them was stored before. The messages after it were refused. */
  readonly isDuplicate: boolean
  /** Whether another process has appended. */
  readonly isConflict: boolean
}

const utf8 = new TextEncoder()

export class Publisher {
  readonly #options: Options
  readonly #known: Known

  constructor(options: Options, known: Known) {
    this.#options = options
    this.#known = known
  }

  /** Appends the events of a batch from `start` on after `at`, at most `size` of them. Advances `at`. */
  async window(events: ReadonlyArray<NewEvent>, start: number, size: number, at: Tail): Promise<Outcome> {
    const limit = (this.#options.nc.info?.max_payload ?? defaultMaxPayload) - headerRoom
    const pending: Array<Promise<PubAck>> = []
    /** The number of marks after each message. */
    const marks: Array<number> = []
    let bytes = 0
    let expected: { readonly seq: number; readonly id?: string } = { seq: at.seq }
    const state = { marks: at.marks }
    for (let n = start; n < events.length && pending.length < size && bytes < maxWindowBytes; n++) {
      const event = events[n]
      if (event === undefined) break
      const text = encodeEvent(event.event)
      const length = text.length * 3 <= limit ? text.length : Buffer.byteLength(text)
      if (length > limit) {
        if (pending.length > 0) break
        return this.#large(event, utf8.encode(text), limit, at)
      }
      pending.push(this.#publish(this.#toMessage(event, state, text), expected))
      expected = { seq: expected.seq + 1, id: toHeader(event.id) }
      marks.push(state.marks)
      bytes += length
    }
    return outcomeOf(await Promise.allSettled(pending), marks, at)
  }

  /** Appends an event that is too large for one message: its parts, one by one, and the message with the last part. */
  async #large(event: NewEvent, bytes: Uint8Array, limit: number, at: Tail): Promise<Outcome> {
    const pieces = split(bytes, limit)
    const parts: Array<number> = []
    for (const [n, payload] of pieces.slice(0, -1).entries()) {
      const hdrs = headers()
      hdrs.set(marksHeader, String(at.marks))
      const id = toHeader(`${event.id}#${n}`)
      const seq = await this.#publishOne({ subject: this.#options.subjects.parts, payload, id, headers: hdrs }, at)
      if (seq === undefined) return conflict
      parts.push(seq)
    }
    const last = Buffer.concat([Uint8Array.of(lastPartMark), pieces.at(-1) ?? new Uint8Array()])
    const state = { marks: at.marks }
    const seq = await this.#publishOne(this.#toMessage(event, state, last, parts), at)
    at.marks = state.marks
    return seq === undefined ? conflict : { count: 1, position: seq, isDuplicate: false, isConflict: false }
  }

  /** Makes the message of an event, with what follows from the messages before it. */
  #toMessage(
    { event, id }: NewEvent,
    state: { marks: number },
    payload: string | Uint8Array,
    parts?: ReadonlyArray<number>
  ): Message {
    const { subjects } = this.#options
    const hdrs = headers()
    const { isLate, version } = this.#known.take(event)
    if (version !== undefined) hdrs.set(versionHeader, String(version))
    const subject = subjects.of(event, isLate)
    if (subject === subjects.marks) state.marks++
    hdrs.set(marksHeader, String(state.marks))
    if (parts !== undefined) hdrs.set(partsHeader, parts.join(","))
    return { subject, payload, id: toHeader(id), headers: hdrs }
  }

  /** Publishes one message. Returns its sequence, or `undefined` if another message came first. */
  async #publishOne(message: Message, at: Tail): Promise<number | undefined> {
    try {
      const ack = await this.#publish(message, { seq: at.seq })
      if (!ack.duplicate) at.seq = ack.seq
      return ack.seq
    } catch (error) {
      if (Errors.isConflict(error)) return undefined
      throw error
    }
  }

  async #publish(
    message: Message,
    expected: { readonly seq: number; readonly id?: string | undefined }
  ): Promise<PubAck> {
    const { faults, js, nc, timeoutMillis } = this.#options
    if (faults.messagesLeft !== undefined && faults.messagesLeft-- <= 0) {
      await nc.flush()
      throw new Killed()
    }
    return js.publish(message.subject, message.payload, {
      msgID: message.id,
      headers: message.headers,
      timeout: timeoutMillis,
      expect: { lastSequence: expected.seq, ...(expected.id === undefined ? {} : { lastMsgID: expected.id }) }
    })
  }
}

const conflict: Outcome = { count: 0, position: 0, isDuplicate: false, isConflict: true }

/** Advances `at` by the messages that were stored. Throws an error other than a conflict. */
const outcomeOf = (
  acks: ReadonlyArray<PromiseSettledResult<PubAck>>,
  marks: ReadonlyArray<number>,
  at: Tail
): Outcome => {
  let count = 0
  let position = 0
  for (const ack of acks) {
    if (ack.status === "rejected") {
      if (!Errors.isConflict(ack.reason)) throw ack.reason
      return { count, position, isDuplicate: false, isConflict: true }
    }
    position = ack.value.seq
    count++
    if (ack.value.duplicate) return { count, position, isDuplicate: true, isConflict: false }
    at.seq = position
    at.marks = marks[count - 1] ?? at.marks
  }
  return { count, position, isDuplicate: false, isConflict: false }
}
