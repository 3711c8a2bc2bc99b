/**
 * Counts the consumers of each key. The key is requested for the first consumer, and
 * released an idle time to live after the last one has left. Consumers in between
 * cause no request. Synchronous: the caller passes the time in.
 */
import type { Interest } from "../../Interest.ts"
import * as Expiry from "./expiry.ts"
import type { Key, Subscriptions } from "../session/subscriptions.ts"

export interface Demand {
  readonly retain: (interest: Interest) => void
  /** Undoes one `retain` of the same interest. Keys stay subscribed for the idle time to live after their last consumer. */
  readonly release: (interest: Interest, now: number) => void
  /** Like `release`, but without the idle time. */
  readonly drop: (interest: Interest) => void
  /** Releases the keys that had no consumer for the idle time. */
  readonly sweep: (now: number) => void
  /** The time at which `sweep` must run next; `Infinity` if it has nothing to do. */
  readonly next: () => number
}

export interface Options {
  readonly subscriptions: Subscriptions
  readonly idleMillis: number
  /** Called before a key is retained. */
  readonly onRetain: (key: Key) => void
  /** Called before a key is released: its last consumer has left, and its idle time has passed. */
  readonly onGiveUp: (key: Key) => void
}

export const make = ({ idleMillis, onGiveUp, onRetain, subscriptions }: Options): Demand => {
  const giveUp = (key: Key): void => {
    onGiveUp(key)
    subscriptions.setWanted(key, false)
  }

  // These keys are still wanted, so they are still in the table of subscriptions.
  const idle = Expiry.make<Key>(idleMillis)
  return {
    retain(interest) {
      for (const key of subscriptions.keys(interest)) {
        onRetain(key)
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
    drop(interest) {
      for (const key of subscriptions.keys(interest)) {
        key.holders--
        if (key.holders === 0) giveUp(key)
      }
    },
    sweep(now) {
      for (const key of idle.due(now)) giveUp(key)
    },
    next: idle.next
  }
}
