/**
 * One consumer of a shared connection: a bounded queue, a class for each overflow
 * policy, that is its own `Pull`.
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
import type { NonEmptyReadonlyArray } from "effect/Array"
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Effectable from "effect/Effectable"
import type { MeshError } from "../MeshError.ts"
import type { MeshEvent } from "../MeshEvent.ts"
import type { TaskUpdated } from "../ServerMessage.ts"
import { isNonEmpty } from "./nonEmpty.ts"
import type { Route } from "./router.ts"
import * as ShedQueue from "./shedQueue.ts"

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

export abstract class Consumer extends Effectable.Class<Batch, MeshError | Cause.Done> {
  abstract readonly size: number
  /** How many events have been lost so far. */
  abstract readonly lost: number
  abstract offer(event: MeshEvent): Offer
  /** Everything that is held, with the marks where something is missing. */
  abstract takeAll(): Array<MeshEvent>

  readonly capacity: number
  readonly isWanted: Options["isWanted"]
  readonly onUpdate: Options["onUpdate"]
  /** Set once nothing more will come. */
  ended: End | undefined = undefined
  /** Whether it has got something of the batch that it has not been woken for. */
  isDue = false
  /** Resumes the pull that waits, if one does. A pull that was interrupted meanwhile takes no notice. */
  resume: ((pull: Pull) => void) | undefined = undefined
  /** Resumes the router that waits for room, if it does. */
  room: (() => void) | undefined = undefined
  /** How many of the lost events the metrics know of. */
  lostRecorded = 0
  readonly route: Route

  constructor({ capacity, isWanted, onUpdate, route }: Options) {
    super()
    this.capacity = capacity
    this.isWanted = isWanted
    this.onUpdate = onUpdate
    this.route = route
  }

  override asEffect(): Pull {
    if (this.size > 0) {
      const events = this.takeAll()
      this.room?.()
      return isNonEmpty(events) ? Effect.succeed(events) : this
    }
    if (this.ended !== undefined) return this.ended
    // Nothing to undo when it is interrupted: what is left in `resume` does nothing, and the next pull replaces it.
    return Effect.callback((resume) => {
      // The scheduler can cut in before this is run.
      if (this.size > 0 || this.ended !== undefined) resume(this)
      else this.resume = resume
    })
  }

  /** Lets a pull that waits see what there is. */
  wake(): void {
    const { resume } = this
    if (resume === undefined) return
    this.resume = undefined
    // The fiber runs here and now, so what it takes is what was there.
    resume(this)
  }
}

export const make = (options: Options, epoch: () => number): Consumer => {
  switch (options.overflow) {
    case "suspend":
      return new Rejecting(options, "full")
    case "fail":
      return new Rejecting(options, "overflow")
    case "sliding":
      return new Losing(options, "oldest", epoch)
    case "dropping":
      return new Losing(options, "newest", epoch)
    case "shed":
      return new Shedding(options)
  }
}

/**
 * Takes nothing more when it is full, and says so. Holds no array while it is
 * empty, and one that fits for a single event: a consumer of one task is woken
 * for each of its events.
 */
class Rejecting extends Consumer {
  private events: Array<MeshEvent> | undefined = undefined
  private readonly whenFull: "full" | "overflow"

  constructor(options: Options, whenFull: "full" | "overflow") {
    super(options)
    this.whenFull = whenFull
  }

  get size(): number {
    return this.events === undefined ? 0 : this.events.length
  }

  get lost(): number {
    return 0
  }

  offer(event: MeshEvent): Offer {
    const { events } = this
    if (events === undefined) {
      this.events = [event]
      return "accepted"
    }
    if (events.length >= this.capacity) return this.whenFull
    events.push(event)
    return "accepted"
  }

  takeAll(): Array<MeshEvent> {
    const taken = this.events ?? []
    this.events = undefined
    return taken
  }
}

/** Keeps what is wanted of the marks that a queue has made. */
const wantedOf = (events: Array<MeshEvent>, isWanted: Options["isWanted"]): Array<MeshEvent> =>
  isWanted === undefined ? events : events.filter(isWanted)

/** Takes everything. When it is full it loses the oldest, or else whatever comes. */
class Losing extends Consumer {
  private events: Array<MeshEvent> = []
  // The oldest event is at `start`: shifting an array for every event that is lost would cost the whole queue each time.
  private start = 0
  private dropped = 0
  lost = 0
  private readonly end: "oldest" | "newest"
  private readonly epoch: () => number

  constructor(options: Options, end: "oldest" | "newest", epoch: () => number) {
    super(options)
    this.end = end
    this.epoch = epoch
  }

  get size(): number {
    return this.events.length - this.start
  }

  offer(event: MeshEvent): Offer {
    if (this.size >= this.capacity) {
      this.dropped++
      this.lost++
      if (this.end === "newest") return "accepted"
      this.start++
      if (this.start >= this.capacity) {
        this.events = this.events.slice(this.start)
        this.start = 0
      }
    }
    this.events.push(event)
    return "accepted"
  }

  takeAll(): Array<MeshEvent> {
    const taken = this.start === 0 ? this.events : this.events.slice(this.start)
    if (this.dropped > 0) {
      const mark: MeshEvent = {
        _tag: "Resync",
        epoch: this.epoch(),
        reason: { _tag: "Overflow", dropped: this.dropped }
      }
      // What was lost of the newest was all of it at the end: there is only room again once the queue has been emptied.
      if (this.end === "oldest") taken.unshift(mark)
      else taken.push(mark)
    }
    this.events = []
    this.start = 0
    this.dropped = 0
    return wantedOf(taken, this.isWanted)
  }
}

/** Gives up what a slow consumer can do without: see `shedQueue`. */
class Shedding extends Consumer {
  private readonly queue: ShedQueue.ShedQueue<MeshEvent>

  constructor(options: Options) {
    super(options)
    this.queue = ShedQueue.make({ capacity: options.capacity, conflate: "whenFull", shedPartials: true })
  }

  get size(): number {
    return this.queue.size
  }

  get lost(): number {
    return this.queue.conflated + this.queue.shed
  }

  offer(event: MeshEvent): Offer {
    return this.queue.offer(event)
  }

  takeAll(): Array<MeshEvent> {
    return wantedOf(this.queue.takeAll(), this.isWanted)
  }
}
