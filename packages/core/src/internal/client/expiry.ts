/**
 * Keys that become due a fixed time after they were scheduled, unless they are
 * cancelled first. One ordered queue replaces a timer for each key, so ten thousand
 * consumers that leave need only one timer.
 *
 * Synchronous: the caller passes the time in. All keys of one queue have the same
 * time to live, so insertion order is due order.
 */
export interface Expiry<K> {
  /** Schedules `key`, or schedules it again from now. */
  readonly schedule: (key: K, now: number) => void
  /** Removes `key`. Returns whether it was scheduled. */
  readonly cancel: (key: K) => boolean
  /** Whether `key` is scheduled. */
  readonly has: (key: K) => boolean
  /** Removes and returns the keys that are due. */
  readonly due: (now: number) => ReadonlyArray<K>
  /** The time at which the next key is due; `Infinity` if none is scheduled. */
  readonly next: () => number
  readonly clear: () => void
}

export const make = <K>(ttlMillis: number): Expiry<K> => {
  const entries = new Map<K, number>()
  return {
    schedule(key, now) {
      // Deleting first moves a key that is already scheduled to the end, where its new time belongs.
      entries.delete(key)
      entries.set(key, now + ttlMillis)
    },
    cancel: (key) => entries.delete(key),
    has: (key) => entries.has(key),
    due(now) {
      const keys: Array<K> = []
      for (const [key, at] of entries) {
        if (at > now) break
        entries.delete(key)
        keys.push(key)
      }
      return keys
    },
    next: () => entries.values().next().value ?? Infinity,
    clear: () => entries.clear()
  }
}
