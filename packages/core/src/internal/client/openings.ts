/**
 * Decides which mark opens the complete stretch of each consumer, and where.
 *
 * If a consumer is present when a connection requests its interest, all of its keys
 * are in that replay, and the mark of the replay opens its stretch. A consumer that
 * joins later is *late*: it receives a `JoinedLate` as soon as all of its keys are
 * confirmed. A confirmation counts when it is routed, not when the table of
 * subscriptions receives it, because the events before it are routed in between.
 *
 * Synchronous, no Effect.
 */
import type { Key, Subscriptions } from "../session/subscriptions.ts"

/** The place in the stream at which the server has confirmed a key. */
export interface Confirmed {
  readonly _tag: "Confirmed"
  readonly key: Key
}

export interface Openings<C> {
  /** The replay of a connection was requested. `present` are all consumers. */
  readonly replayed: (present: Iterable<C>) => void
  /** The connection has ended. */
  readonly disconnected: () => void
  /**
   * Adds a consumer with its keys. Returns how many of them are unconfirmed, if its
   * stretch opens at once; otherwise `undefined`.
   */
  readonly join: (consumer: C, keys: Iterable<Key>, isLive: boolean) => number | undefined
  readonly leave: (consumer: C) => void
  /** A key is about to be retained. A confirmation of an earlier subscription of it no longer counts. */
  readonly retained: (key: Key) => void
  /** All updates are about to be released. These keys are requested before that, so their updates stay complete. */
  readonly covered: (keys: Iterable<Key>) => void
  /** A confirmation was routed. Returns the late consumers whose stretch opens here. */
  readonly confirmed: (key: Key) => ReadonlyArray<C>
  /** Keys were reported as overdue. Returns the late consumers whose stretch opens here, with the number of unconfirmed keys. */
  readonly overdue: () => ReadonlyArray<readonly [C, number]>
  /** Whether the replay mark of this connection is for a consumer. Returns `true` at most once for each consumer. */
  readonly takeReplay: (consumer: C) => boolean
  /** Whether the mark of a key that was just confirmed, or reported as overdue, is for a consumer. */
  readonly passesMark: (consumer: C) => boolean
  readonly isConfirmed: (key: Key) => boolean
  /** Whether the mark that opens the stretch of a consumer on this connection has been offered. */
  readonly isOpen: (consumer: C) => boolean
}

export const make = <C>(subscriptions: Subscriptions): Openings<C> => {
  const { all } = subscriptions
  /** The number of the connection. A key contains the one on which it was confirmed, which is cheaper than a set of keys. */
  let connection = 1
  /** Whether a connection has requested its replay. */
  let isReplayed = false
  let inReplay = new Set<C>()
  /** Late consumers, with their keys that are not confirmed. */
  const late = new Map<C, Set<Key>>()
  const waiting = new Map<Key, Set<C>>()
  /** The consumers that the next mark is not for; `undefined` for all consumers. */
  let excluded: ReadonlySet<C> | undefined = new Set()

  const none: ReadonlySet<C> = new Set()

  const isRouted = (key: Key): boolean => key.routedIn === connection

  const isContinued = (key: Key): boolean => key.continuedIn === connection

  const isConfirmed = (key: Key): boolean =>
    isRouted(key) || (key.kind === "updates" && (isContinued(key) || (all.wanted && isRouted(all))))

  const open = (consumer: C): void => {
    for (const key of late.get(consumer) ?? []) {
      const consumers = waiting.get(key)
      consumers?.delete(consumer)
      if (consumers?.size === 0) waiting.delete(key)
    }
    late.delete(consumer)
  }

  const isOverdue = (missing: ReadonlySet<Key>): boolean => {
    for (const key of missing) if (key.overdue === 0) return false
    return true
  }

  return {
    isConfirmed,
    isOpen: (consumer) => isReplayed && !inReplay.has(consumer) && !late.has(consumer),
    replayed(present) {
      isReplayed = true
      connection++
      late.clear()
      waiting.clear()
      inReplay = new Set(present)
    },
    disconnected() {
      isReplayed = false
      inReplay.clear()
      late.clear()
      waiting.clear()
    },
    join(consumer, keys, isLive) {
      if (!isReplayed) return undefined
      const missing = new Set<Key>()
      for (const key of keys) if (!isConfirmed(key)) missing.add(key)
      if (missing.size === 0 || isOverdue(missing)) {
        if (isLive) return missing.size
        // Nothing of this connection was routed yet, so its replay mark will follow.
        inReplay.add(consumer)
        return undefined
      }
      late.set(consumer, missing)
      for (const key of missing) {
        const consumers = waiting.get(key)
        if (consumers === undefined) waiting.set(key, new Set([consumer]))
        else consumers.add(consumer)
      }
      return undefined
    },
    leave(consumer) {
      open(consumer)
      inReplay.delete(consumer)
    },
    retained(key) {
      if (!key.confirmed) {
        key.routedIn = key.continuedIn = 0
      }
    },
    covered(keys) {
      if (isRouted(all)) for (const key of keys) key.continuedIn = connection
    },
    confirmed(key) {
      // Its updates were complete without interruption.
      const wasCovered = isContinued(key)
      key.continuedIn = 0
      key.routedIn = connection
      excluded = wasCovered ? undefined : none
      // The common case: no late consumer waits. A replay may have ten thousand keys, so it allocates nothing.
      if (waiting.size === 0) return []
      const opened: Array<C> = []
      const excludes = new Set<C>()
      if (!wasCovered) excluded = excludes
      // The confirmation of all updates also confirms those of single tasks.
      const keys = key === all ? [...waiting.keys()].filter(isConfirmed) : [key]
      for (const each of keys) {
        for (const consumer of waiting.get(each) ?? []) {
          const missing = late.get(consumer)
          missing?.delete(each)
          excludes.add(consumer)
          if (missing?.size === 0) {
            late.delete(consumer)
            opened.push(consumer)
          }
        }
        waiting.delete(each)
      }
      return opened
    },
    overdue() {
      const opened: Array<readonly [C, number]> = []
      const excludes = new Set<C>(late.keys())
      for (const [consumer, missing] of late) if (isOverdue(missing)) opened.push([consumer, missing.size])
      for (const [consumer] of opened) open(consumer)
      excluded = excludes
      return opened
    },
    takeReplay: (consumer) => inReplay.delete(consumer),
    passesMark: (consumer) => excluded !== undefined && !excluded.has(consumer)
  }
}
