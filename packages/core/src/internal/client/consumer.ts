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
import type { Interest } from "../../Interest.ts"
import type { MeshError } from "../../MeshError.ts"
import type { MeshEvent } from "../../MeshEvent.ts"
import { isNonEmpty } from "../nonEmpty.ts"
import * as ShedQueue from "../queue/shedQueue.ts"
import type { Drain } from "./drain.ts"
import { policies, type ConsumerSettings, type DiscoverySettings } from "./options.ts"

type Batch = NonEmptyReadonlyArray<MeshEvent>

/** How the stream of a consumer ends. */
export type End = Effect.Effect<never, MeshError | Cause.Done>

/** Returns the events of a consumer, once there are any. */
export type Pull = Effect.Effect<Batch, MeshError | Cause.Done>

export interface Options extends ConsumerSettings {
  /** What it receives, in addition to lifecycle elements. */
  readonly interest: Interest
  /** Whether it receives messages that name no task (`ServerError`, `UnknownMessage`). */
  readonly untargeted?: boolean | undefined
  /** Set for a consumer of everything. */
  readonly discovery?: DiscoverySettings | undefined
  /** Ends the stream of the consumer before the effect that runs it is interrupted. */
  readonly drain?: Drain | undefined
  /** Which of the events that are routed to the consumer it receives; `undefined` for all. */
  readonly isWanted?: ((event: MeshEvent) => boolean) | undefined
}

/** Resumes the waiting router. Has no effect after the first call. */
type Resume = (go: Effect.Effect<void>) => void

/** State shared by all consumers of one connection. */
export interface Shared {
  /** The newest epoch, for marks. */
  epoch: number
  /** How many consumers wait for events. Reading more frames is only useful for them. */
  waiting: number
  /** Resumes the router, which waits, or has waited, until a consumer waits for events. */
  resume: Resume | undefined
}

/**
 * The queue of this class is first-in, first-out, and loses nothing. It keeps no array
 * while it is empty: most consumers are woken for each single event.
 */
export class Consumer extends Effectable.Class<Batch, MeshError | Cause.Done> {
  // In this order, so that the members that a wake reads are adjacent in memory.
  /** Set once no more events will be offered, also when the consumer has left. */
  ended: End | undefined = undefined
  readonly isWanted: Options["isWanted"]
  /** Whether it has received events of the current batch and was not woken for them. */
  isDue = false
  /** Resumes the waiting pull. Has no effect on a pull that was interrupted. */
  resume: ((pull: Pull) => void) | undefined = undefined
  protected readonly shared: Shared
  /** Resumes the router that waits, or has waited, for room in this queue. */
  room: Resume | undefined = undefined
  /** How many events were lost. */
  lost = 0
  /** How many lost events the metrics have counted. */
  recorded = 0
  readonly options: Options
  private events: Array<MeshEvent> | undefined = undefined
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

  get size(): number {
    return this.events === undefined ? 0 : this.events.length
  }

  /** Queues the event, or counts it as lost. Returns `false` if there is no room, and the event may not be lost. */
  offer(event: MeshEvent): boolean {
    if (this.events === undefined) this.events = [event]
    else if (this.events.length < this.options.capacity) this.events.push(event)
    else return false
    return true
  }

  /** Takes all queued events, with marks where events are missing. */
  takeAll(): Array<MeshEvent> {
    const { events = [] } = this
    this.events = undefined
    return events
  }

  /** Ends the stream after its queued events. */
  end(how: End): void {
    this.ended ??= how
    this.wake()
    this.room?.(Effect.void)
  }

  override asEffect(): Pull {
    if (this.size > 0 || this.inform !== undefined) {
      const events = this.takeAll()
      if (this.inform !== undefined) {
        events.push(...this.wantedOf(this.inform()))
        this.inform = undefined
      }
      this.room?.(Effect.void)
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
      this.shared.waiting++
      this.shared.resume?.(Effect.void)
    })
  }

  /** Removes marks that the consumer does not want. */
  protected wantedOf(events: Array<MeshEvent>): Array<MeshEvent> {
    return this.isWanted === undefined ? events : events.filter(this.isWanted)
  }

  /** Resumes a waiting pull. */
  wake(): void {
    const { resume } = this
    if (resume === undefined) return
    this.resume = undefined
    this.shared.waiting--
    // The fiber runs synchronously, so it takes exactly what is queued now.
    resume(this)
  }
}

export const make = (options: Options, shared: Shared): Consumer => {
  const loss = policies[options.overflow]
  if (loss === undefined) return new Consumer(options, shared)
  const queue = ShedQueue.make<MeshEvent>({ capacity: options.capacity, ...loss })
  queue.epoch = shared.epoch
  return new LossyConsumer(options, shared, queue)
}

/** A consumer with a queue that drops events: see `shedQueue`. */
class LossyConsumer extends Consumer {
  private readonly queue: ShedQueue.ShedQueue<MeshEvent>

  constructor(options: Options, shared: Shared, queue: ShedQueue.ShedQueue<MeshEvent>) {
    super(options, shared)
    this.queue = queue
  }

  override get size(): number {
    return this.queue.size
  }

  override offer(event: MeshEvent): boolean {
    const isAccepted = this.queue.offer(event)
    this.lost = this.queue.lost
    return isAccepted
  }

  override takeAll(): Array<MeshEvent> {
    return this.wantedOf(this.queue.takeAll())
  }
}
