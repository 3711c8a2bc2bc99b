/**
 * Things that happen a fixed time after they were asked for, unless they are
 * cancelled before: one ordered queue in place of a timer each, so that ten
 * thousand leaving consumers cost one.
 *
 * Synchronous, no Effect, no clock: the caller brings the time. All entries of
 * one queue have the same time-to-live, so insertion order is due order.
 */
export interface Expiry<K> {
  /** Starts the time of `key`, or starts it again. */
  readonly schedule: (key: K, now: number) => void
  /** Takes `key` out. Says whether it was in. */
  readonly cancel: (key: K) => boolean
  /** Takes out, and gives, what is due. */
  readonly due: (now: number) => ReadonlyArray<K>
  /** When the next one is due; `undefined` when nothing is waiting. */
  readonly next: () => number | undefined
}

export const make = <K>(ttlMillis: number): Expiry<K> => {
  const entries = new Map<K, number>()
  return {
    schedule(key, now) {
      // Deleting first moves a key that is already in to the end, which is where its new time belongs.
      entries.delete(key)
      entries.set(key, now + ttlMillis)
    },
    cancel: (key) => entries.delete(key),
    due(now) {
      const keys: Array<K> = []
      for (const [key, at] of entries) {
        if (at > now) break
        entries.delete(key)
        keys.push(key)
      }
      return keys
    },
    next: () => entries.values().next().value
  }
}
