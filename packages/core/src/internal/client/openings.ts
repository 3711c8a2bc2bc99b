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
import type { Router } from "./router.ts"

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
  /**
   * The confirmation of a key was routed; `undefined` if keys were reported as overdue. Returns the late consumers whose
   * stretch opens here, with the numbers of their unconfirmed keys.
   */
  readonly opened: (key: Key | undefined) => ReadonlyMap<C, number>
  /** Whether the replay mark of this connection is for a consumer. Returns `true` at most once for each consumer. */
  readonly takeReplay: (consumer: C) => boolean
  /** Whether the mark of a key that was just confirmed, or reported as overdue, is for a consumer. */
  readonly passesMark: (consumer: C) => boolean
  readonly isConfirmed: (key: Key) => boolean
  /** Whether the mark that opens the stretch of a consumer on this connection has been offered. */
  readonly isOpen: (consumer: C) => boolean
}

export const make = <C>({ all }: Subscriptions, router: Pick<Router<C>, "visitKey">): Openings<C> => {
  /** The number of the connection. A key contains the one on which it was confirmed, which is cheaper than a set of keys. */
  let connection = 1
  /** Whether a connection has requested its replay. */
  let isReplayed = false
  let inReplay = new Set<C>()
  /** Late consumers, with their keys that are not confirmed. Some of these keys may be confirmed already. */
  const late = new Map<C, Set<Key>>()
  /** The consumers whose stretch the newest mark has opened, with the numbers of their unconfirmed keys. */
  const opened = new Map<C, number>()
  /** Whether the updates of the key that was confirmed last were complete without interruption. */
  let wasCovered = false

  const isRouted = (key: Key): boolean => key.routedIn === connection

  const isContinued = (key: Key): boolean => key.continuedIn === connection

  const isConfirmed = (key: Key): boolean =>
    isRouted(key) || (key.kind === "updates" && (isContinued(key) || (all.wanted && isRouted(all))))

  /** Opens the stretch of a late consumer if each of its keys is confirmed or overdue. */
  const open = (consumer: C): void => {
    const missing = late.get(consumer)
    if (missing === undefined) return
    for (const key of missing) {
      if (isConfirmed(key)) missing.delete(key)
      else if (key.overdue === 0) return
    }
    late.delete(consumer)
    opened.set(consumer, missing.size)
  }

  return {
    isConfirmed,
    isOpen: (consumer) => isReplayed && !inReplay.has(consumer) && !late.has(consumer),
    replayed(present) {
      isReplayed = true
      connection++
      late.clear()
      inReplay = new Set(present)
    },
    disconnected() {
      isReplayed = false
      inReplay.clear()
      late.clear()
    },
    join(consumer, keys, isLive) {
      if (!isReplayed) return undefined
      late.set(consumer, new Set(keys))
      open(consumer)
      if (isLive || late.has(consumer)) return opened.get(consumer)
      // Nothing of this connection was routed yet, so its replay mark will follow.
      inReplay.add(consumer)
      return undefined
    },
    leave(consumer) {
      late.delete(consumer)
      inReplay.delete(consumer)
      opened.delete(consumer)
    },
    retained(key) {
      if (!key.confirmed) key.routedIn = key.continuedIn = 0
    },
    covered(keys) {
      if (isRouted(all)) for (const key of keys) key.continuedIn = connection
    },
    opened(key) {
      opened.clear()
      wasCovered = key !== undefined && isContinued(key)
      if (key !== undefined) {
        key.continuedIn = 0
        key.routedIn = connection
      }
      // The confirmation of all updates also confirms those of single tasks.
      if (key === undefined || key === all) late.forEach((_, consumer) => open(consumer))
      else if (late.size > 0) router.visitKey(key.kind, key.taskId, open)
      return opened
    },
    takeReplay: (consumer) => inReplay.delete(consumer),
    passesMark: (consumer) => !wasCovered && !late.has(consumer) && !opened.has(consumer)
  }
}
