/**
 * One consumer of a shared connection: a bounded queue, with an overflow policy,
 * that is its own `Pull`.
 *
 * Ten thousand of them are the common case. Whenever one is woken, what it is
 * made of has to be fetched from far memory, piece by piece; so it is one object,
 * an effect itself, and holds nothing else while it waits.
 *
 * Invariants: a queue never holds more than `capacity` events, besides at most
 * one mark between two of them; what is taken stands in the order of the
 * offers; every event that is lost is counted in a `Resync` with reason
 * `Overflow`, which stands where the event would have stood.
 */
import { isReadonlyArrayNonEmpty, type NonEmptyReadonlyArray } from "effect/Array"
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Effectable from "effect/Effectable"
import type { MeshError } from "../../MeshError.ts"
import type { MeshEvent } from "../../MeshEvent.ts"
import type { TaskUpdated } from "../../ServerMessage.ts"
import type { Route } from "./router.ts"
import * as ShedQueue from "../queue/shedQueue.ts"

type Batch = NonEmptyReadonlyArray<MeshEvent>

/** How the stream of a consumer ends. */
export type End = Effect.Effect<never, MeshError | Cause.Done>

/** What has come for a consumer, once something has. */
export type Pull = Effect.Effect<Batch, MeshError | Cause.Done>

export interface Options {
  readonly route: Route
  readonly overflow: "suspend" | "shed" | "sliding" | "dropping" | "fail"
  readonly capacity: number
  /** Which of the events that are routed to it the consumer gets; `undefined` for all. */
  readonly isWanted: ((event: MeshEvent) => boolean) | undefined
  /** Told of each update that has come for the consumer, wanted or not. */
  readonly onUpdate: ((update: TaskUpdated) => void) | undefined
}

/**
 * What became of an event: it is in the queue, or marked as lost (`accepted`);
 * there is no room and the offer must be made again (`full`); or there is no
 * room and the consumer wants to fail (`overflow`).
 */
export type Offer = "accepted" | "full" | "overflow"

/** Resumes a router that waits. Once it has, it does nothing. */
type Resume = (go: Effect.Effect<void>) => void

/** What the consumers of one connection have in common. */
export interface Shared {
  /** The newest epoch, for marks. */
  epoch: number
  /** How many of them wait for events, which is what there is reason to read on for. */
  waiting: number
  /** Resumes the router that waits until somebody waits, if it does. */
  resume: Resume | undefined
}

export abstract class Consumer extends Effectable.Class<Batch, MeshError | Cause.Done> {
  abstract readonly size: number
  abstract offer(event: MeshEvent): Offer
  /** Everything that is held, with the marks where something is missing. */
  abstract takeAll(): Array<MeshEvent>

  // In this order: what a wake reads lies side by side.
  /** Set once nothing more will come. */
  ended: End | undefined = undefined
  readonly isWanted: Options["isWanted"]
  /** Whether it has got something of the batch that it has not been woken for. */
  isDue = false
  /** Resumes the pull that waits, if one does. A pull that was interrupted meanwhile takes no notice. */
  resume: ((pull: Pull) => void) | undefined = undefined
  protected readonly shared: Shared
  /** Resumes the router that waits for this consumer, if it does. */
  room: Resume | undefined = undefined
  /** How many events have been lost so far. */
  lost = 0
  /** How many of them the metrics know of. */
  lostRecorded = 0
  readonly onUpdate: Options["onUpdate"]
  readonly options: Options

  constructor(options: Options, shared: Shared) {
    super()
    this.isWanted = options.isWanted
    this.shared = shared
    this.onUpdate = options.onUpdate
    this.options = options
  }

  override asEffect(): Pull {
    if (this.size > 0) {
      const events = this.takeAll()
      this.giveRoom()
      return isReadonlyArrayNonEmpty(events) ? Effect.succeed(events) : this
    }
    if (this.ended !== undefined) return this.ended
    // Nothing to undo when it is interrupted: what is left in `resume` does nothing, and the next pull replaces it.
    return Effect.callback((resume) => {
      // The scheduler can cut in before this is run.
      if (this.size > 0 || this.ended !== undefined) return resume(this)
      // One that was interrupted while it waited still counts.
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

  /** What is wanted of events among which are marks that the queue has made. */
  protected wantedOf(events: Array<MeshEvent>): Array<MeshEvent> {
    return this.isWanted === undefined ? events : events.filter(this.isWanted)
  }

  /** Lets the router go on that waits for this consumer. */
  giveRoom(): void {
    const { room } = this
    this.room = undefined
    room?.(Effect.void)
  }

  /** Lets a pull that waits see what there is. */
  wake(): void {
    // The fiber runs here and now, so what it takes is what was there.
    this.stopWaiting()?.(this)
  }

  /** Counts this one no longer among those that wait. Gives what resumes it, if it did. */
  stopWaiting(): Consumer["resume"] {
    const { resume } = this
    if (resume === undefined) return undefined
    this.resume = undefined
    this.shared.waiting--
    return resume
  }
}

export const make = (options: Options, shared: Shared): Consumer =>
  options.overflow === "shed" ? new Shedding(options, shared) : new Plain(options, shared)

/**
 * A plain queue. When it is full, it takes nothing more and says so (`suspend`,
 * `fail`), or loses the oldest (`sliding`) or whatever comes (`dropping`). Holds
 * no array while it is empty, and one that fits for a single event: a consumer
 * of one task is woken for each of its events.
 */
class Plain extends Consumer {
  private events: Array<MeshEvent> | undefined = undefined
  // The oldest event is at `start`: shifting an array for every event that is lost would cost the whole queue each time.
  private start = 0
  private dropped = 0

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
      this.dropped++
      this.lost++
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
    if (dropped === 0) return events
    this.start = 0
    this.dropped = 0
    const mark = (epoch: number): MeshEvent => ({ _tag: "Resync", epoch, reason: { _tag: "Overflow", dropped } })
    // With `dropping`, what was lost was all of it at the end: there is only room again once the queue has been emptied.
    if (this.options.overflow !== "sliding") return this.wantedOf([...events, mark(this.shared.epoch)])
    const kept = events.slice(start)
    return this.wantedOf([mark(epochBefore(kept) ?? this.shared.epoch), ...kept])
  }
}

/** The epoch of what stood before some events, if they say so: the next `Connected` starts another one. */
const epochBefore = (events: ReadonlyArray<MeshEvent>): number | undefined => {
  for (const event of events) {
    if ("epoch" in event) return event._tag === "Connected" ? event.epoch - 1 : event.epoch
  }
  return undefined
}

/** Gives up what a slow consumer can do without: see `shedQueue`. */
class Shedding extends Consumer {
  private readonly queue: ShedQueue.ShedQueue<MeshEvent>

  constructor(options: Options, shared: Shared) {
    super(options, shared)
    this.queue = ShedQueue.make({ capacity: options.capacity, conflate: "whenFull", shedPartials: true })
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
