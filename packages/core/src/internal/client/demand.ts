/**
 * How many consumers want each key of the wire. The first one in asks for it,
 * the last one out gives it up after an idle time-to-live, and those in between
 * cost nothing on the wire. Synchronous, no Effect, no clock.
 */
import type { Interest } from "../../Interest.ts"
import * as Expiry from "./expiry.ts"
import type { Key, Subscriptions } from "../session/subscriptions.ts"

export interface Demand {
  readonly acquire: (interest: Interest) => void
  /** Undoes one `acquire` of the same interest. */
  readonly release: (interest: Interest, now: number) => void
  /** Gives up what nobody has wanted for the time-to-live. */
  readonly sweep: (now: number) => void
  /** When `sweep` has something to do next. */
  readonly next: () => number | undefined
}

export const make = (subscriptions: Subscriptions, idleMillis: number): Demand => {
  // What is in here is still wanted, so that the table of subscriptions still holds it.
  const idle = Expiry.make<Key>(idleMillis)
  return {
    acquire(interest) {
      for (const key of subscriptions.keys(interest)) {
        key.holders++
        idle.cancel(key)
        subscriptions.setWanted(key, true)
      }
    },
    release(interest, now) {
      for (const key of subscriptions.keys(interest)) {
        key.holders--
        if (key.holders === 0) idle.schedule(key, now)
      }
    },
    sweep(now) {
      for (const key of idle.due(now)) subscriptions.setWanted(key, false)
    },
    next: idle.next
  }
}
