/**
 * One consumer of a shared connection: a bounded queue with an overflow policy,
 * which is also the `Pull` of its stream.
 *
 * With ten thousand consumers, waking one causes cache misses. So a consumer is a
 * single object, which is itself an effect, and it keeps as little as possible while
 * it waits.
 *
 * Invariants: a queue never contains more than `capacity` events, and at most one
 * mark between two of them; events are taken in the order of the offers; every lost
 * event is counted in a `Resync` with reason `Overflow` at the event's place. A
 * lost mark that stands for no event leaves an `Overflow` that does not count it.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Effectable from "effect/Effectable"
import type { MeshError } from "../../MeshError.ts"
import type { MeshEvent } from "../../MeshEvent.ts"
import { isNonEmpty } from "../nonEmpty.ts"
import { resync } from "../resync.ts"
import * as ShedQueue from "../queue/shedQueue.ts"
import type { ConsumerSettings } from "./options.ts"
import type { Route } from "./router.ts"

type Batch = NonEmptyReadonlyArray<MeshEvent>

/** How the stream of a consumer ends. */
export type End = Effect.Effect<never, MeshError | Cause.Done>

/** Returns the events of a consumer, once there are any. */
export type Pull = Effect.Effect<Batch, MeshError | Cause.Done>

export interface Options extends ConsumerSettings {
  readonly route: Route
  /** Which of the events that are routed to the consumer it receives; `undefined` for all. */
  readonly isWanted: ((event: MeshEvent) => boolean) | undefined
}

/**
 * The result of an offer: the event is queued, or counted as lost (`accepted`);
 * there is no room, and the event must be offered again (`full`); there is no
 * room, and the consumer fails (`overflow`).
 */
export type Offer = "accepted" | "full" | "overflow"

/** Resumes the waiting router. Has no effect after the first call. */
type Resume = (go: Effect.Effect<void>) => void

/** State shared by all consumers of one connection. */
export interface Shared {
  /** The newest epoch, for marks. */
  epoch: number
  /** How many consumers wait for events. Reading more frames is only useful for them. */
  waiting: number
  /** Resumes the router, which waits until a consumer waits for events. */
  resume: Resume | undefined
}

export abstract class Consumer extends Effectable.Class<Batch, MeshError | Cause.Done> {
  abstract readonly size: number
  abstract offer(event: MeshEvent): Offer
  /** Takes all queued events, with marks where events are missing. */
  abstract takeAll(): Array<MeshEvent>

  // In this order, so that the members that a wake reads are adjacent in memory.
  /** Set once no more events will be offered. */
  ended: End | undefined = undefined
  readonly isWanted: Options["isWanted"]
  /** Whether it has received events of the current batch and was not woken for them. */
  isDue = false
  /** Resumes the waiting pull. Has no effect on a pull that was interrupted. */
  resume: ((pull: Pull) => void) | undefined = undefined
  protected readonly shared: Shared
  /** Resumes the router that waits for room in this queue. */
  room: Resume | undefined = undefined
  /** How many events were lost. */
  lost = 0
  /** How many lost events the metrics have counted. */
  lostRecorded = 0
  readonly options: Options
  /** Whether it received what a repair knows. */
  isInformed = false
  /** What it has to know, which follows the queued events. */
  inform: (() => Array<MeshEvent>) | undefined = undefined

  constructor(options: Options, shared: Shared) {
    super()
    this.isWanted = options.isWanted
    this.shared = shared
    this.options = options
  }

  override asEffect(): Pull {
    if (this.size > 0 || this.inform !== undefined) {
      const events = this.takeAll()
      if (this.inform !== undefined) {
        events.push(...this.wantedOf(this.inform()))
        this.inform = undefined
      }
      this.signalRoom()
      return isNonEmpty(events) ? Effect.succeed(events) : this
    }
    if (this.ended !== undefined) return this.ended
    // No cleanup on interruption: an obsolete `resume` has no effect, and the next pull replaces it.
    return Effect.callback((resume) => {
      // The scheduler can yield before this runs.
      if (this.size > 0 || this.ended !== undefined) return resume(this)
      // A pull that was interrupted while it waited is still counted.
      const waits = this.resume !== undefined
      this.resume = resume
      if (waits) return
      const { shared } = this
      const go = shared.resume
      shared.waiting++
      shared.resume = undefined
      go?.(Effect.void)
    })
  }

  /** Removes marks that the consumer does not want. */
  protected wantedOf(events: Array<MeshEvent>): Array<MeshEvent> {
    return this.isWanted === undefined ? events : events.filter(this.isWanted)
  }

  /** Resumes the router that waits for room in this queue. */
  signalRoom(): void {
    const { room } = this
    this.room = undefined
    room?.(Effect.void)
  }

  /** Resumes a waiting pull. */
  wake(): void {
    // The fiber runs synchronously, so it takes exactly what is queued now.
    this.stopWaiting()?.(this)
  }

  /** Removes this consumer from the count of those that wait. Returns the function that resumes its pull, if it waited. */
  stopWaiting(): Consumer["resume"] {
    const { resume } = this
    if (resume === undefined) return undefined
    this.resume = undefined
    this.shared.waiting--
    return resume
  }
}

export const make = (options: Options, shared: Shared): Consumer =>
  options.overflow === "shed" || options.overflow === "conflate"
    ? new SheddingConsumer(options, shared)
    : new FifoConsumer(options, shared)

/**
 * A first-in, first-out queue. When it is full, it refuses events (`suspend`,
 * `fail`), drops the oldest (`sliding`) or drops the newest (`dropping`). Keeps no
 * array while it is empty: most consumers are woken for each single event.
 */
class FifoConsumer extends Consumer {
  private events: Array<MeshEvent> | undefined = undefined
  // The index of the oldest event. Shifting the array instead would take time proportional to its length for each event.
  private start = 0
  /** How many events are missing, not counting marks; `undefined` if nothing is. */
  private dropped: number | undefined = undefined

  get size(): number {
    return this.events === undefined ? 0 : this.events.length - this.start
  }

  offer(event: MeshEvent): Offer {
    const { events } = this
    if (events === undefined) {
      this.events = [event]
      return "accepted"
    }
    const { capacity, overflow } = this.options
    if (this.size >= capacity) {
      if (overflow === "suspend") return "full"
      if (overflow === "fail") return "overflow"
      const loss = ShedQueue.lossOf(overflow === "dropping" ? event : (events[this.start] ?? event))
      this.dropped = (this.dropped ?? 0) + loss
      this.lost += loss
      if (overflow === "dropping") return "accepted"
      this.start++
      if (this.start >= capacity) {
        events.splice(0, this.start)
        this.start = 0
      }
    }
    events.push(event)
    return "accepted"
  }

  takeAll(): Array<MeshEvent> {
    const { dropped, events = [], start } = this
    this.events = undefined
    if (dropped === undefined) return events
    this.start = 0
    this.dropped = undefined
    const mark = (epoch: number): MeshEvent => resync(epoch, { _tag: "Overflow", dropped })
    // `dropping` loses events only at the end: there is room again only after the queue was emptied.
    if (this.options.overflow !== "sliding") return this.wantedOf([...events, mark(this.shared.epoch)])
    const kept = events.slice(start)
    return this.wantedOf([mark(epochBefore(kept) ?? this.shared.epoch), ...kept])
  }
}

/** The epoch at the place before some events, derived from the first event with an epoch; `undefined` if there is none. */
const epochBefore = (events: ReadonlyArray<MeshEvent>): number | undefined => {
  for (const event of events) {
    if ("epoch" in event) return event._tag === "Connected" ? event.epoch - 1 : event.epoch
  }
  return undefined
}

/** Drops what a slow consumer needs least: see `shedQueue`. */
class SheddingConsumer extends Consumer {
  private readonly queue: ShedQueue.ShedQueue<MeshEvent>

  constructor(options: Options, shared: Shared) {
    super(options, shared)
    this.queue = ShedQueue.make({
      capacity: options.capacity,
      conflate: "whenFull",
      shed: options.overflow === "shed" ? "anything" : "partials"
    })
  }

  get size(): number {
    return this.queue.size
  }

  offer(event: MeshEvent): Offer {
    const offer = this.queue.offer(event)
    this.lost = this.queue.conflated + this.queue.shed
    return offer
  }

  takeAll(): Array<MeshEvent> {
    return this.wantedOf(this.queue.takeAll())
  }
}
