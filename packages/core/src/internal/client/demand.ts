/**
 * Counts the consumers of each key. The first consumer requests it, the last one
 * releases it after an idle time to live, and those in between cost no request.
 * Synchronous: the caller passes the time in.
 */
import type { Interest } from "../../Interest.ts"
import * as Expiry from "./expiry.ts"
import type { Key, Subscriptions } from "../session/subscriptions.ts"

export interface Demand {
  readonly retain: (interest: Interest) => void
  /** Undoes one `retain` of the same interest. The keys outlive their last consumer by the idle time to live. */
  readonly release: (interest: Interest, now: number) => void
  /** As `release`, without the idle time. */
  readonly drop: (interest: Interest) => void
  /** Releases the keys that had no consumer for the idle time. */
  readonly sweep: (now: number) => void
  /** When `sweep` has something to do next; `undefined` if it has nothing. */
  readonly next: () => number | undefined
}

export interface Options {
  readonly subscriptions: Subscriptions
  readonly idleMillis: number
  /** Called before a key is retained. */
  readonly onRetain: (key: Key) => void
  /** Called before a key is given up: its last consumer has left, and its idle time has passed. */
  readonly onGiveUp: (key: Key) => void
}

export const make = ({ idleMillis, onGiveUp, onRetain, subscriptions }: Options): Demand => {
  const giveUp = (key: Key): void => {
    onGiveUp(key)
    subscriptions.setWanted(key, false)
  }

  // Keys in here are still wanted, so the table of subscriptions still has them.
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
