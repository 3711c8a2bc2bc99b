/**
 * Counts the consumers of each key. The key is requested for the first consumer, and
 * released an idle time to live after the last one has left. Consumers in between
 * cause no request.
 */
import type { Interest } from "../../Interest.ts"
import type { Key, Subscriptions } from "../session/subscriptions.ts"
import type { Sweep } from "./timers.ts"

export interface Demand {
  readonly retain: (interest: Interest) => void
  /** Undoes one `retain` of the same interest. Keys stay subscribed for the idle time to live after their last consumer. */
  readonly release: (interest: Interest) => void
  /** Releases the keys that had no consumer for the idle time. */
  readonly sweep: Sweep
}

export interface Options {
  readonly subscriptions: Subscriptions
  readonly idleMillis: number
  readonly now: () => number
  readonly wakeAt: (time: number) => void
  /** Called before a key is retained. */
  readonly onRetain: (key: Key) => void
  /** Called before a key is released: its last consumer has left, and its idle time has passed. */
  readonly onGiveUp: (key: Key) => void
}

export const make = ({ idleMillis, now, onGiveUp, onRetain, subscriptions, wakeAt }: Options): Demand => {
  /**
   * When each key without consumers is released. All wait for the same time, so they are in the order of that time. These
   * keys are still wanted, so they are still in the table of subscriptions.
   */
  const idle = new Map<Key, number>()
  return {
    retain(interest) {
      for (const key of subscriptions.keys(interest)) {
        onRetain(key)
        key.holders++
        idle.delete(key)
        subscriptions.setWanted(key, true)
      }
    },
    release(interest) {
      const time = now() + idleMillis
      for (const key of subscriptions.keys(interest)) {
        key.holders--
        if (key.holders > 0) continue
        idle.set(key, time)
        wakeAt(time)
      }
    },
    sweep(time) {
      for (const [key, at] of idle) {
        if (at > time) return wakeAt(at)
        idle.delete(key)
        onGiveUp(key)
        subscriptions.setWanted(key, false)
      }
    }
  }
}
