/**
 * Ephemeral consumers of the stream, each with the place up to which it was read (a *cursor*).
 *
 * The server keeps a consumer for a short time. A reader asks for one page after the other
 * (`reader.ts`), so its cursor is found again by the position where the last page ended.
 *
 * While more than a page is pending, the server sends messages continuously, and a page has
 * those that have arrived. Otherwise each page is one fetch. It never waits: it asks for no
 * more than the consumer's count of pending messages. A consumer that sent continuously is
 * not used again after its last pending message, because the server may still send it
 * messages that no page would have.
 *
 * The two timers are those of the platform, not of Effect's clock: they limit promises of the
 * NATS client, which waits in real time, and a cursor outlives the effect that has opened it.
 */
import {
  AckPolicy,
  DeliverPolicy,
  type Consumer,
  type ConsumerConfig,
  type ConsumerMessages,
  type JetStreamClient,
  type JetStreamManager,
  type JsMsg
} from "@nats-io/jetstream"
import { nanos } from "@nats-io/transport-node"
import * as Errors from "./errors.ts"

/** How many messages a page has at most. */
export const pageSize = 1000
/** How many messages the server sends ahead of the reader. */
const flowSize = 2000
/** How long the server keeps a consumer that is not used. */
const idleMillis = 60_000
/** How many cursors are kept for the next page. */
const maxCursors = 64
/** How long a page may take. The server accepts no less than a second. */
const fetchMillis = 10_000

/** A consumer, with its state. */
export interface Cursor {
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

export interface Options {
  readonly js: JetStreamClient
  readonly jsm: JetStreamManager
  readonly stream: string
  /** The subject that matches every message. */
  readonly all: string
}

/** Returns the next messages of a consumer that has pending messages, at least one unless retention has removed them. */
const next = async (cursor: Cursor): Promise<ReadonlyArray<JsMsg>> =>
  cursor.flow !== undefined || cursor.pending > pageSize ? receive(cursor) : fetch(cursor, pageSize)

const fetch = async (cursor: Cursor, limit: number): Promise<ReadonlyArray<JsMsg>> => {
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

const startFlow = async ({ consumer }: Cursor): Promise<Flow> => {
  const messages = await consumer.consume({
    max_messages: flowSize,
    expires: fetchMillis,
    abort_on_missing_resource: true
  })
  return { messages, iterator: messages[Symbol.asyncIterator](), idle: undefined }
}

/** Counts a message. Throws if one before it was lost with a connection: the consumer does not send it again. */
const count = (cursor: Cursor, { info }: JsMsg): void => {
  if (info.deliverySequence !== ++cursor.delivered) throw new Error("Messages of a consumer were lost")
  cursor.pending = info.pending
}

const keyOf = (subject: string, position: number): string => `${position} ${subject}`

/** Opens, keeps and closes cursors. */
export class Cursors {
  readonly #options: Options
  /** Those that are kept, oldest first, by the filter subject and the position of the last message that was read. */
  readonly #kept = new Map<string, Cursor>()

  constructor(options: Options) {
    this.#options = options
  }

  /** Opens a cursor of a consumer with some settings. */
  async open(config: Partial<ConsumerConfig>): Promise<Cursor> {
    const { js, jsm, stream } = this.#options
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

  /** Opens a cursor for the messages of a subject after a position. */
  openAfter(subject: string, position: number): Promise<Cursor> {
    return this.open({
      deliver_policy: DeliverPolicy.StartSequence,
      opt_start_seq: position + 1,
      ...(subject === this.#options.all ? {} : { filter_subject: subject })
    })
  }

  /** Keeps a cursor that was read up to a position. */
  keep(subject: string, position: number, cursor: Cursor): void {
    const { flow } = cursor
    if (flow !== undefined && cursor.pending === 0) return void this.close(cursor)
    const key = keyOf(subject, position)
    this.#kept.set(key, cursor)
    if (flow !== undefined) {
      const end = (): void => {
        this.#kept.delete(key)
        void this.close(cursor)
      }
      flow.idle = setTimeout(end, idleMillis).unref()
    }
    const [oldest] = this.#kept
    if (this.#kept.size <= maxCursors || oldest === undefined) return
    this.#kept.delete(oldest[0])
    if (oldest[1].flow !== undefined) void this.close(oldest[1])
  }

  /** Returns the cursor that was kept at a position, and forgets it. */
  take(subject: string, position: number): Cursor | undefined {
    const key = keyOf(subject, position)
    const cursor = this.#kept.get(key)
    this.#kept.delete(key)
    clearTimeout(cursor?.flow?.idle)
    return cursor
  }

  /** Asks the server how much a cursor has pending. Returns `undefined` if its consumer is gone. */
  async refresh(cursor: Cursor): Promise<Cursor | undefined> {
    const { jsm, stream } = this.#options
    try {
      cursor.pending = (await jsm.consumers.info(stream, cursor.name)).num_pending
      return cursor
    } catch (error) {
      if (Errors.isConsumerGone(error)) return undefined
      throw error
    }
  }

  /** Reads the next messages of a cursor that has pending messages. A failure closes the cursor. */
  async read<A>(cursor: Cursor, decode: (messages: ReadonlyArray<JsMsg>) => A | Promise<A>): Promise<A> {
    try {
      return await decode(await next(cursor))
    } catch (error) {
      void this.close(cursor)
      throw error
    }
  }

  /** Returns the first pending message, if there is one. */
  async first(cursor: Cursor): Promise<JsMsg | undefined> {
    return cursor.pending === 0 ? undefined : (await fetch(cursor, 1))[0]
  }

  /** Ends the consumer of a cursor. */
  close(cursor: Cursor): Promise<unknown> {
    const { jsm, stream } = this.#options
    clearTimeout(cursor.flow?.idle)
    cursor.flow?.messages.stop()
    return jsm.consumers.delete(stream, cursor.name).catch(() => false)
  }
}
