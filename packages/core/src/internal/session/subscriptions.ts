/**
 * What is wanted of the wire, what was asked for on this connection, and what
 * the server has confirmed: the state machine behind `MeshSession`,
 * `MeshStream` and `MeshClient`. Pure in the sense that matters for tests: no
 * Effect, no clock, no socket. Callers bring the time and send what `take`
 * gives.
 *
 * A *key* is one thing that can be subscribed: all updates, the updates of a
 * task, the output of a task.
 *
 * Invariants:
 *
 * 1. At most one request of a key is without its acknowledgement at any time,
 *    so that a subscribe and an unsubscribe of the same key cannot cross.
 * 2. Once nothing is pending and nothing is dirty, what was asked for on this
 *    connection is what is wanted.
 * 3. After `reset` (a new connection), the next `take` gives the whole of what
 *    is wanted, once, and nothing else.
 * 4. A key that is neither wanted nor on the wire is not held in memory.
 * 5. While all updates are wanted, no updates of a single task are asked for
 *    (see `Interest.diff`).
 * 6. A task whose updates are wanted all the time is covered all the time, by
 *    its own subscription or by that of all: the one is given up after the other
 *    has been asked for, also where that has to wait.
 */
import type { ClientMessage } from "../../ClientMessage.ts"
import type { Interest } from "../../Interest.ts"
import type { Acknowledgement } from "../../ServerMessage.ts"
import type { TaskId } from "../../TaskId.ts"

type Kind = "all" | "updates" | "output"

export interface Key {
  readonly kind: Kind
  readonly taskId: TaskId | undefined
  wanted: boolean
  /** How many hold it: the account of `demand`, which is kept nowhere else. */
  holders: number
  /** What was last asked for on this connection. */
  requested: boolean
  /** Whether the server has said that it carried out the last request. */
  confirmed: boolean
  /** When the last request left, while its acknowledgement is awaited. */
  pendingSince: number | undefined
}

const makeKey = (kind: Kind, taskId: TaskId | undefined): Key => ({
  kind,
  taskId,
  wanted: false,
  holders: 0,
  requested: false,
  confirmed: false,
  pendingSince: undefined
})

export interface Subscriptions {
  /** The keys of an interest. One that is new is made when it is its turn: to be wanted, or it may be forgotten. */
  readonly keys: (interest: Interest) => Iterable<Key>
  /** Whether a key is wanted. */
  readonly setWanted: (key: Key, wanted: boolean) => void
  /** Makes a whole interest the wanted one. */
  readonly setInterest: (interest: Interest) => void
  /** A new connection: nothing has been asked for on it yet. */
  readonly reset: () => void
  /** The messages that must leave now, in order. They count as sent. */
  readonly take: (now: number) => ReadonlyArray<ClientMessage>
  /** An acknowledgement came. */
  readonly acknowledge: (message: Acknowledgement) => void
  /** Stops waiting for the acknowledgements of requests that left at `before` or earlier. */
  readonly expire: (before: number) => void
  /** When the oldest request left that holds back another of its key; `undefined` when none does. */
  readonly blockedSince: () => number | undefined
  /** What was asked for on this connection, and what of it the server confirmed. */
  readonly current: () => { readonly requested: Interest; readonly confirmed: Interest }
  /** How many keys are wanted, and how many of them are confirmed. In constant time, for metrics. */
  readonly counts: () => { readonly wanted: number; readonly confirmed: number }
  /** Called whenever `take` may have something new to give. */
  onDirty: () => void
  /** Whether nothing is under way, and nothing is left to ask for. */
  readonly isSettled: () => boolean
  /**
   * Called when that is so: by the session for an acknowledgement, once what came
   * before it has been taken, and by the table itself for one that never came, or
   * where there is no connection.
   */
  onSettled: () => void
}

export const make = (): Subscriptions => {
  const all = makeKey("all", undefined)
  const updates = new Map<TaskId, Key>()
  const output = new Map<TaskId, Key>()
  const dirty = new Set<Key>()
  // Requests without their acknowledgement, oldest first, apart by the acknowledgement that they wait for: one that
  // names no task is taken for the oldest.
  const pending: Record<Acknowledgement["_tag"], Set<Key>> = {
    SubscribedAll: new Set(),
    UnsubscribedAll: new Set(),
    Subscribed: new Set(),
    Unsubscribed: new Set(),
    OutputSubscribed: new Set(),
    OutputUnsubscribed: new Set()
  }

  let wantedCount = 0
  let confirmedCount = 0

  const setConfirmed = (key: Key, confirmed: boolean): void => {
    if (key.confirmed !== confirmed) confirmedCount += confirmed ? 1 : -1
    key.confirmed = confirmed
  }

  const isWanted = (key: Key): boolean => key.wanted && !(key.kind === "updates" && all.wanted)

  // Of what is not wanted: whether it is all that covers a task which is wanted, by another key whose turn has not come.
  const isCover = (key: Key): boolean =>
    key.kind === "updates"
      ? all.wanted && !all.requested
      : key === all && Array.from(dirty).some(({ kind, wanted }) => kind === "updates" && wanted)

  const mapOf = (kind: Kind): Map<TaskId, Key> => (kind === "output" ? output : updates)

  const hold = (kind: Kind, taskId: TaskId): Key => {
    const map = mapOf(kind)
    let key = map.get(taskId)
    if (key === undefined) {
      key = makeKey(kind, taskId)
      map.set(taskId, key)
    }
    return key
  }

  const held = (): ReadonlyArray<Key> => [all, ...updates.values(), ...output.values()]

  function* keys(interest: Interest): Iterable<Key> {
    if (interest.all) yield all
    for (const taskId of interest.updates) yield hold("updates", taskId)
    for (const taskId of interest.output) yield hold("output", taskId)
  }

  const forget = (key: Key): void => {
    if (key.taskId === undefined || key.wanted || key.requested || key.pendingSince !== undefined) return
    dirty.delete(key)
    mapOf(key.kind).delete(key.taskId)
  }

  const touch = (key: Key): void => {
    if (isWanted(key) === key.requested) {
      dirty.delete(key)
      forget(key)
    } else {
      dirty.add(key)
    }
  }

  const setWanted = (key: Key, wanted: boolean): void => {
    if (key.wanted === wanted) return
    key.wanted = wanted
    wantedCount += wanted ? 1 : -1
    touch(key)
    // `all` covers the updates of every single task.
    if (key === all) updates.forEach(touch)
    self.onDirty()
  }

  const settle = (key: Key, confirmed: boolean): void => {
    pending[acknowledgementOf(key)].delete(key)
    key.pendingSince = undefined
    setConfirmed(key, confirmed && key.requested)
    touch(key)
    forget(key)
  }

  const isSettled = (): boolean => dirty.size === 0 && Object.values(pending).every((keys) => keys.size === 0)

  const collect = (holds: (key: Key) => boolean): Interest => {
    const ids = (keys: Map<TaskId, Key>): ReadonlySet<TaskId> => {
      const set = new Set<TaskId>()
      for (const [taskId, key] of keys) if (holds(key)) set.add(taskId)
      return set
    }
    return { all: holds(all), updates: ids(updates), output: ids(output) }
  }

  const self: Subscriptions = {
    onDirty: () => {},
    onSettled: () => {},
    keys,
    setWanted,
    setInterest(interest) {
      const wanted = new Set<Key>()
      for (const key of keys(interest)) {
        wanted.add(key)
        setWanted(key, true)
      }
      for (const key of held()) if (!wanted.has(key)) setWanted(key, false)
    },
    reset() {
      dirty.clear()
      for (const requests of Object.values(pending)) requests.clear()
      for (const key of held()) {
        key.requested = false
        setConfirmed(key, false)
        key.pendingSince = undefined
        touch(key)
      }
      if (isSettled()) self.onSettled()
    },
    isSettled,
    take(now) {
      const messages: Array<ClientMessage> = []
      const send = (key: Key): void => {
        dirty.delete(key)
        key.requested = isWanted(key)
        setConfirmed(key, false)
        key.pendingSince = now
        pending[acknowledgementOf(key)].add(key)
        messages.push(request(key))
      }
      for (const key of dirty) if (key.pendingSince === undefined && isWanted(key)) send(key)
      for (const key of dirty) if (key.pendingSince === undefined && !isCover(key)) send(key)
      return messages
    },
    acknowledge(message) {
      const named = "taskId" in message ? message.taskId : undefined
      const key =
        named === undefined
          ? pending[message._tag].values().next().value
          : mapOf(message._tag.startsWith("Output") ? "output" : "updates").get(named)
      // One for a request that nobody waits for any more still confirms it; one for anything else says nothing.
      if (key === undefined || acknowledgementOf(key) !== message._tag) return
      settle(key, true)
      if (dirty.size > 0) self.onDirty()
    },
    expire(before) {
      for (const keys of Object.values(pending)) {
        for (const key of keys) {
          // Oldest first, so the first that is young enough ends the look.
          if (key.pendingSince === undefined || key.pendingSince > before) break
          settle(key, false)
        }
      }
      if (isSettled()) self.onSettled()
    },
    blockedSince() {
      let oldest: number | undefined
      for (const key of dirty) {
        if (key.pendingSince !== undefined && (oldest === undefined || key.pendingSince < oldest)) {
          oldest = key.pendingSince
        }
      }
      return oldest
    },
    counts: () => ({ wanted: wantedCount, confirmed: confirmedCount }),
    current: () => ({ requested: collect((key) => key.requested), confirmed: collect((key) => key.confirmed) })
  }
  return self
}

/** How a key is asked for and given up, and how the server says that it did so. */
const words = {
  all: ["SubscribeAll", "SubscribedAll", "UnsubscribeAll", "UnsubscribedAll"],
  updates: ["Subscribe", "Subscribed", "Unsubscribe", "Unsubscribed"],
  output: ["SubscribeOutput", "OutputSubscribed", "UnsubscribeOutput", "OutputUnsubscribed"]
} as const

const acknowledgementOf = ({ kind, requested }: Key): Acknowledgement["_tag"] => words[kind][requested ? 1 : 3]

const request = ({ kind, requested, taskId }: Key): ClientMessage =>
  // Only that of all names no task.
  ({ _tag: words[kind][requested ? 0 : 2], ...(taskId === undefined ? {} : { taskId }) }) as ClientMessage
