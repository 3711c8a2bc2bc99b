/**
 * A relay without the lease: it receives the feed, follows the log, and knows which events
 * the log lacks. A pure state machine.
 *
 * While the log's connection is open, log and feed are the two inputs of a `Merge`. The
 * log leads, and the feed joins it. The log lacks the events that the merge has emitted and
 * the log has not delivered. While the log's connection is closed, everything that the feed
 * delivers must be written.
 *
 * Invariants:
 *
 * 1. The merge exists exactly while the log's connection is open.
 * 2. `heard` are elements of the feed in their order. It has every message that the merge
 *    emitted from the feed and the log has not delivered. In tasks where the feed is not
 *    aligned, it has every message of the feed that the log may lack.
 */
import * as Merge from "@makima-stream/core/Merge"
import * as MeshError from "@makima-stream/core/MeshError"
import type { Connected, MeshEvent, Resync } from "@makima-stream/core/MeshEvent"

const log = 0
const feed = 1

/** How many elements other than messages are remembered. */
const maxOthers = 256

export interface Options {
  /** How late the feed of a relay may be while it is current, in milliseconds. */
  readonly feedLag: number
  /** How many elements are kept. */
  readonly capacity: number
  readonly isLogOpen: boolean
}

type Message = Extract<MeshEvent, { readonly _tag: "TaskUpdated" | "TaskOutput" }>

const isMessage = (event: MeshEvent): event is Message => event._tag === "TaskUpdated" || event._tag === "TaskOutput"

/** Whether the whole interest of a connection is confirmed here. */
export const isConfirmation = (event: MeshEvent): event is Resync =>
  event._tag === "Resync" &&
  event.taskId === undefined &&
  (event.reason._tag === "Started" || event.reason._tag === "Reconnected" || event.reason._tag === "JoinedLate")

/** Whether a mark of the log names every task, so that the log begins again there. */
const isBreak = (event: MeshEvent): boolean =>
  event._tag === "Resync" && event.taskId === undefined && event.reason._tag !== "Subscribed"

const connected: Connected = { _tag: "Connected", epoch: 0, at: 0 }
const started: MeshEvent = { _tag: "Resync", epoch: 0, reason: { _tag: "Started" } }

export class Standby {
  readonly #options: Options
  #merge: Merge.Merge | undefined
  #heard: Array<Heard> = []
  /** The number of elements in `heard` above which it is cleaned. */
  #limit = 1024
  #isConnected = false
  #isConfirmed = false
  /** Whether the feed is late by an unknown time, because the relay did not read it. It is no input of the merge then. */
  #isLate = false
  /** Whether the log's connection closed while the feed was not aligned with it, so that events may be repeated. */
  #mayDouble = false
  /** Everything that the server sent before this time is in the log. */
  #completeAt = Number.NEGATIVE_INFINITY

  constructor(options: Options, now: number) {
    this.#options = options
    if (options.isLogOpen) this.#begin(now)
  }

  /** Whether the feed has to wait, because the log's connection is closed and enough is to be written. */
  get isFull(): boolean {
    return this.#merge === undefined && this.#heard.length >= this.#options.capacity
  }

  /** Whether the feed is aligned with the log: a takeover needs no mark. */
  get isAligned(): boolean {
    return this.#merge === undefined || isAligned(this.#merge)
  }

  /** Starts a merge: the log leads, and the feed joins it. The log may or may not have the elements that were heard before. */
  #begin(now: number): void {
    this.#heard = this.#heard.flatMap((heard) =>
      heard.at < this.#completeAt || !isMessage(heard.event) ? [] : [{ ...heard, isPlaced: false }]
    )
    // Only proven boundaries align the inputs.
    const { capacity } = this.#options
    const merge = Merge.make({ inputs: 2, skew: Number.POSITIVE_INFINITY, window: capacity, capacity: 4 * capacity })
    this.#merge = merge
    this.#mayDouble = false
    merge.open(log, now)
    merge.offer(log, [connected, started], now)
    if (!this.#isLate) this.#join(merge, now)
  }

  #join(merge: Merge.Merge, now: number): void {
    if (this.#isConnected) merge.offer(feed, [connected], now)
    if (this.#isConfirmed) merge.offer(feed, [started], now)
  }

  /** The relay did not read the feed for a while, so the next elements may be late. */
  feedIsLate(now: number): void {
    if (this.#isLate) return
    this.#isLate = true
    if (this.#merge === undefined) return
    this.#unplace(this.#merge)
    this.#merge.offer(feed, [endAt(0)], now)
  }

  /**
   * Called before the feed ends as an input of the merge, which then forgets the messages that
   * it had not aligned yet. The log may or may not have them.
   */
  #unplace(merge: Merge.Merge): void {
    this.#heard = this.#lacking(merge).map((heard) => ({ ...heard, isPlaced: false }))
  }

  /**
   * This relay was the holder before, and did not write these events. The next holder writes
   * them, unless it ends before that.
   */
  remember(events: ReadonlyArray<MeshEvent>, now: number): void {
    for (const event of events) {
      if (isMessage(event) || isKept(event)) this.#heard.push({ event, at: now, isPlaced: false })
    }
  }

  /** The feed has delivered everything that arrived before `time`. */
  feedIsCurrent(time: number, now: number): void {
    if (this.#isLate) {
      this.#isLate = false
      if (this.#merge !== undefined) this.#join(this.#merge, now)
    }
    this.#boundary(feed, time - this.#options.feedLag, now)
  }

  /** The log has delivered everything that the feed of its holder delivered before `time`. */
  logIsCurrent(time: number, now: number): void {
    this.#completeAt = Math.max(this.#completeAt, time - this.#options.feedLag)
    this.#boundary(log, this.#completeAt, now)
  }

  #boundary(input: number, time: number, now: number): void {
    // The result is ignored: the messages in it are in `heard` already, and the log does not store the marks of the merge.
    this.#merge?.boundary(input, "updates", time, now)
    this.#merge?.boundary(input, "output", time, now)
  }

  /** The feed delivered elements. */
  offerFeed(events: ReadonlyArray<MeshEvent>, now: number): void {
    for (const event of events) {
      if (event._tag === "Disconnected") this.#isConnected = this.#isConfirmed = false
      else this.#isConnected = true
      if (isConfirmation(event)) this.#isConfirmed = true
    }
    const merge = this.#merge
    const isEnding = events.some(({ _tag }) => _tag === "Disconnected")
    if (merge !== undefined && isEnding) this.#unplace(merge)
    const isPlaced = merge !== undefined && !this.#isLate
    const others = isPlaced
      ? merge.offer(feed, events, now).filter((event) => !isMessage(event) && isKept(event))
      : events.filter((event) => !isMessage(event) && (merge === undefined || isKept(event)))
    const kept = merge === undefined ? events : [...events.filter(isMessage), ...others]
    for (const event of kept) this.#heard.push({ event, at: now, isPlaced: isPlaced && !isEnding })
    if (merge !== undefined && this.#heard.length > this.#limit) this.#clean(merge)
  }

  /** The log delivered the event of an entry. */
  offerLog(event: MeshEvent, now: number): void {
    if (event._tag === "Connected") {
      this.#begin(now)
    } else if (this.#merge === undefined) {
      return
    } else if (event._tag === "Disconnected") {
      this.#heard = this.#lacking(this.#merge)
      this.#mayDouble = !isAligned(this.#merge)
      this.#merge = undefined
    } else if (isBreak(event)) {
      this.#begin(now)
    } else {
      this.#merge.offer(log, [event], now)
      if (!isMessage(event)) this.#drop(event)
    }
  }

  /** Forgets an element that the log has delivered. */
  #drop(event: MeshEvent): void {
    const found = this.#heard.findIndex((heard) => !isMessage(heard.event) && isSameOther(heard.event, event))
    if (found >= 0) this.#heard.splice(found, 1)
  }

  /** Forgets what the log has delivered. */
  #clean(merge: Merge.Merge): void {
    this.#heard = this.#lacking(merge).slice(-this.#options.capacity)
    this.#limit = 1024 + 2 * this.#heard.length
  }

  /** Returns what the feed delivered and the log does not have, or may not have, in the order of the feed. */
  #lacking(merge: Merge.Merge): Array<Heard> {
    const missing = missingIn(merge)
    const unplaced = new Set(unalignedIn(merge).map(({ kind, taskId }) => `${kind}:${taskId}`))
    const isWhole = isAligned(merge)
    const mayLack = ({ at, event, isPlaced }: Heard): boolean => {
      if (!isMessage(event) || missing.has(event)) return true
      if (isWhole || at < this.#completeAt) return false
      return !isPlaced || unplaced.has(sequenceOf(event))
    }
    const lacking = this.#heard.filter(mayLack)
    let others = lacking.reduce((count, { event }) => (isMessage(event) ? count : count + 1), 0)
    return others <= maxOthers ? lacking : lacking.filter(({ event }) => isMessage(event) || others-- <= maxOthers)
  }

  /**
   * This relay has acquired the lease and read the log to its end. Returns what it must append
   * before the feed's next elements. Where the feed is not aligned with the log, a mark
   * precedes the events that the log may have already.
   */
  takeOver(now: number, at: number): ReadonlyArray<MeshEvent> {
    const merge = this.#merge
    if (merge === undefined) {
      const heard = this.#heard.map(({ event }) => event)
      const opening: Array<MeshEvent> = heard[0]?._tag === "Connected" ? [] : [{ ...connected, at }]
      if (this.#mayDouble) opening.push(unaligned)
      return this.#isConfirmed && !heard.some(isConfirmation) ? [...opening, started, ...heard] : [...opening, ...heard]
    }
    const lacking = this.#lacking(merge)
    const missing = missingIn(merge)
    const eventOf = ({ event }: Heard): MeshEvent => event
    if (isAligned(merge)) return lacking.map(eventOf)
    // If the feed is aligned and the log is not, the merge does not mark the tasks where the log is behind.
    const behind = merge.isAligned(feed) ? unalignedIn(merge).map(({ taskId }) => taskId) : []
    const found = this.#isLate ? [] : merge.offer(log, [endAt(at)], now).filter(({ _tag }) => _tag === "Resync")
    const marksOfTasks = Array.from(new Set(behind), (taskId): MeshEvent => ({ ...unaligned, taskId }))
    const marks = found.length + marksOfTasks.length === 0 ? [unaligned] : [...found, ...marksOfTasks]
    const marked = new Set(marks.map((mark) => ("taskId" in mark ? mark.taskId : undefined)))
    // In the other tasks the feed is aligned: the log has what was heard before the feed joined, except what the merge reports as missing.
    const isIn = ({ event, isPlaced }: Heard): boolean =>
      !isMessage(event) || isPlaced || missing.has(event) || marked.has(undefined) || marked.has(event.taskId)
    return [...marks, ...lacking.filter(isIn).map(eventOf)]
  }
}

/** Whether each input can replace the other one. The log is not aligned in a task if it is too far behind. */
const isAligned = (merge: Merge.Merge): boolean => merge.isAligned(feed) && merge.isAligned(log)

/** The messages that the merge has emitted and the log has not delivered. */
const missingIn = (merge: Merge.Merge): ReadonlySet<MeshEvent> =>
  new Set(merge.missing(log).flatMap(({ messages }) => messages ?? []))

/** The sequences in which the log and the feed are not aligned. */
const unalignedIn = (merge: Merge.Merge): ReadonlyArray<Merge.Missing> =>
  [log, feed].flatMap((input) => merge.missing(input).filter(({ messages }) => messages === undefined))

interface Heard {
  readonly event: MeshEvent
  /** When, on the monotonic clock. */
  readonly at: number
  /** Whether the merge has it. Otherwise the log may or may not have it, until the feed is aligned. */
  readonly isPlaced: boolean
}

const endAt = (at: number): MeshEvent => ({
  _tag: "Disconnected",
  epoch: 0,
  opened: true,
  attempt: 1,
  reason: lost,
  at
})

const sequenceOf = (message: Message): string =>
  `${message._tag === "TaskOutput" ? "output" : "updates"}:${message.taskId}`

/** Whether an element that is no message says something that the log may lack. */
const isKept = (event: MeshEvent): boolean => {
  if (event._tag === "Resync") return event.reason._tag !== "Unaligned" && !isConfirmation(event)
  return event._tag !== "Connected" && event._tag !== "Disconnected"
}

const lost = new MeshError.ConnectionLost({})

const unaligned: Resync = { _tag: "Resync", epoch: 0, reason: { _tag: "Unaligned", cause: "ambiguous" } }

/** Whether two elements that are not messages say the same on two connections. */
const isSameOther = (a: MeshEvent, b: MeshEvent): boolean =>
  JSON.stringify(comparable(a)) === JSON.stringify(comparable(b))

const comparable = (event: MeshEvent): unknown => ("epoch" in event ? { ...event, epoch: 0 } : event)
