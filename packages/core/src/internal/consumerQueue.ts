/**
 * The bounded queue between the shared connection and one consumer, one for
 * each overflow policy. Synchronous, no Effect.
 *
 * Invariants: a queue never holds more than `capacity` events, besides at most
 * one mark between two of them; what is taken stands in the order of the
 * offers; every event that is lost is counted in a `Resync` with reason
 * `Overflow`, which stands where the event would have stood.
 */
import type { MeshEvent } from "../MeshEvent.ts"
import * as ShedQueue from "./shedQueue.ts"

/**
 * What became of an event: it is in the queue, or marked as lost (`accepted`);
 * there is no room and the offer must be made again (`full`); or there is no
 * room and the consumer wants to fail (`overflow`).
 */
export type Offer = "accepted" | "full" | "overflow"

export interface ConsumerQueue {
  readonly size: number
  /** How many events have been lost so far. */
  readonly lost: number
  readonly offer: (event: MeshEvent) => Offer
  /** Everything that is held, with the marks where something is missing. */
  readonly takeAll: () => Array<MeshEvent>
}

export type Strategy = "suspend" | "shed" | "sliding" | "dropping" | "fail"

export const make = (strategy: Strategy, capacity: number, epoch: () => number): ConsumerQueue => {
  switch (strategy) {
    case "suspend":
      return new Rejecting(capacity, "full")
    case "fail":
      return new Rejecting(capacity, "overflow")
    case "sliding":
      return sliding(capacity, epoch)
    case "dropping":
      return dropping(capacity, epoch)
    case "shed":
      return shedding(capacity)
  }
}

const overflow = (epoch: number, dropped: number): MeshEvent => ({
  _tag: "Resync",
  epoch,
  reason: { _tag: "Overflow", dropped }
})

const shedding = (capacity: number): ConsumerQueue => {
  const queue = ShedQueue.make<MeshEvent>({ capacity, conflate: "whenFull", shedPartials: true })
  return {
    get size() {
      return queue.size
    },
    get lost() {
      return queue.conflated + queue.shed
    },
    offer: queue.offer,
    takeAll: queue.takeAll
  }
}

/**
 * Takes nothing more when it is full, and says so. Holds no array while it is
 * empty, and one that fits for a single event: a consumer of one task is woken
 * for each of its events. A class, since ten thousand of them are the common
 * case: its state is one object, and its functions are shared.
 */
class Rejecting implements ConsumerQueue {
  readonly lost = 0
  private events: Array<MeshEvent> | undefined = undefined
  private readonly capacity: number
  private readonly whenFull: "full" | "overflow"

  constructor(capacity: number, whenFull: "full" | "overflow") {
    this.capacity = capacity
    this.whenFull = whenFull
  }

  get size(): number {
    return this.events === undefined ? 0 : this.events.length
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

/** Makes room by losing the oldest. */
const sliding = (capacity: number, epoch: () => number): ConsumerQueue => {
  let events: Array<MeshEvent> = []
  // The oldest event is at `start`: shifting an array for every event that is lost would cost the whole queue each time.
  let start = 0
  let dropped = 0
  let lost = 0
  return {
    get size() {
      return events.length - start
    },
    get lost() {
      return lost
    },
    offer(event) {
      if (events.length - start >= capacity) {
        start++
        dropped++
        lost++
        if (start >= capacity) {
          events = events.slice(start)
          start = 0
        }
      }
      events.push(event)
      return "accepted"
    },
    takeAll() {
      const taken = start === 0 ? events : events.slice(start)
      if (dropped > 0) taken.unshift(overflow(epoch(), dropped))
      events = []
      start = 0
      dropped = 0
      return taken
    }
  }
}

/** Loses whatever comes while it is full. */
const dropping = (capacity: number, epoch: () => number): ConsumerQueue => {
  let events: Array<MeshEvent> = []
  let dropped = 0
  let lost = 0
  return {
    get size() {
      return events.length
    },
    get lost() {
      return lost
    },
    offer(event) {
      if (events.length < capacity) {
        events.push(event)
      } else {
        dropped++
        lost++
      }
      return "accepted"
    },
    // The queue only has room again once it has been emptied, so what was lost was all of it at the end.
    takeAll() {
      const taken = events
      if (dropped > 0) taken.push(overflow(epoch(), dropped))
      events = []
      dropped = 0
      return taken
    }
  }
}
