/**
 * The table of subscriptions: the keys that are wanted, those that were requested on
 * this connection, and those that the server has confirmed. `MeshSession`,
 * `MeshStream` and `MeshClient` use it. No Effect, no clock, no socket: callers pass
 * the time in and send the requests that `take` returns.
 *
 * A *key* is one thing that can be subscribed: all updates, the updates of a
 * task, the output of a task.
 *
 * Invariants:
 *
 * 1. A key has at most one request that waits for its acknowledgement, so a
 *    subscribe and an unsubscribe of the same key cannot cross.
 * 2. When no request waits and none is left to send, the requested keys are the
 *    wanted keys.
 * 3. After `reset` (a new connection), `take` returns a subscribe for every wanted
 *    key, once, and nothing else.
 * 4. A key that is neither wanted nor on the wire is removed, except for a
 *    bounded number whose acknowledgement may still arrive.
 * 5. While all updates are wanted, the updates of single tasks are not requested
 *    (see `Interest.diff`).
 * 6. A task whose updates are wanted without interruption is covered without
 *    interruption, by its own subscription or by that of all updates: one is
 *    unsubscribed only after the other was requested.
 * 7. A key is confirmed only when an acknowledgement shows that the server
 *    handled a subscribe of it and no unsubscribe after that. The n-th
 *    acknowledgement without a task id confirms at most the n-th request of its
 *    type, even if acknowledgements are lost.
 */
import type { Interest } from "../../Interest.ts"
import type { Acknowledgement } from "../../ServerMessage.ts"
import type { TaskId } from "../../TaskId.ts"

type Kind = "all" | "updates" | "output"

/** A `ClientMessage` as it is encoded on the wire. */
export type WireRequest =
  | { readonly type: "subscribeAll" | "unsubscribeAll"; readonly taskId: undefined }
  | {
      readonly type: "subscribe" | "unsubscribe" | "subscribeOutput" | "unsubscribeOutput"
      readonly taskId: TaskId
    }

/** A request without its acknowledgement. */
interface Request {
  readonly key: Key
  /** The acknowledgement that it waits for. */
  readonly acknowledgement: Acknowledgement["_tag"]
}

export interface Key {
  readonly kind: Kind
  readonly taskId: TaskId | undefined
  wanted: boolean
  /** How many consumers retain it: the count of `demand`. */
  holders: number
  /** The connection on which its confirmation was routed: see `openings`. */
  routedIn: number
  /** The connection on which `all` covers these updates until their own confirmation arrives: see `openings`. */
  continuedIn: number
  /** Whether the last request on this connection was a subscribe. */
  requested: boolean
  /** Whether the server has confirmed that subscribe. */
  confirmed: boolean
  /** The number of consecutive subscribes whose acknowledgement did not arrive within the timeout. */
  overdue: number
  /** Whether the subscribe must be sent again. */
  resend: boolean
  /** Requests without their acknowledgement, oldest first, including those that timed out. */
  readonly unanswered: Array<Request>
}

const makeKey = (kind: Kind, taskId: TaskId | undefined): Key => ({
  kind,
  taskId,
  wanted: false,
  holders: 0,
  routedIn: 0,
  continuedIn: 0,
  requested: false,
  confirmed: false,
  overdue: 0,
  resend: false,
  unanswered: []
})

/** The requested subscriptions of the connection, and their results. */
export interface Snapshot {
  readonly requested: Interest
  readonly confirmed: Interest
  readonly unconfirmed: Interest
}

/** A key that an acknowledgement has confirmed. */
export interface Confirmation {
  readonly key: Key
  /** Whether it belongs to a replay whose end has not been taken yet. */
  readonly inReplay: boolean
}

export interface Subscriptions {
  /** The key of all updates. */
  readonly all: Key
  /** The keys of an interest. Creates a key when the iteration reaches it. The caller must make it wanted at once, since it may be removed otherwise. */
  readonly keys: (interest: Interest) => Iterable<Key>
  /** Sets whether a key is wanted. */
  readonly setWanted: (key: Key, wanted: boolean) => void
  /** Makes an interest the wanted one. */
  readonly setInterest: (interest: Interest) => void
  /** Starts a new connection, on which nothing was requested. The keys that are wanted now are its replay. */
  readonly reset: () => void
  /** Returns the requests to send now, in order, at most `limit`. They count as sent. */
  readonly take: (now: number, limit?: number) => ReadonlyArray<WireRequest>
  /** Handles an acknowledgement. Returns the key that is confirmed by it, if it was not before. */
  readonly acknowledge: (
    message: Pick<Acknowledgement, "_tag"> & { readonly taskId?: TaskId }
  ) => Confirmation | undefined
  /**
   * Stops waiting for acknowledgements that are overdue at `now`, and schedules their
   * requests again. Returns the keys outside the replay that are overdue for the
   * first time.
   */
  readonly expire: (now: number) => ReadonlyArray<Key>
  /** The time at which `expire` must run next; `Infinity` if it has nothing to do. */
  readonly deadline: () => number
  /**
   * Returns the number of unconfirmed keys of the replay, once for each connection,
   * as soon as every key is confirmed or overdue. Otherwise returns `undefined`.
   */
  readonly takeReplayEnd: () => number | undefined
  /** Whether the end of the replay has not been taken yet. */
  readonly isReplaying: () => boolean
  /** The requested subscriptions of this connection, and their results. */
  readonly current: () => Snapshot
  /** Whether there is a key for the output of a task. Without one, output that arrives is not part of a complete stretch. */
  readonly hasOutput: (taskId: TaskId) => boolean
  /** Changes whenever `current` may return something else. */
  readonly revision: () => number
  /** The number of wanted keys, and the number of those that are confirmed. In constant time, for metrics. */
  readonly counts: () => { readonly wanted: number; readonly confirmed: number }
  /** Called whenever `take` may have something new to return. */
  onDirty: () => void
  /** Whether nothing waits for an acknowledgement and nothing is left to request. */
  readonly isSettled: () => boolean
  /**
   * Called when `isSettled` has become true: by the session after an acknowledgement,
   * when everything before it was pulled; by the table after a timeout, or without a
   * connection.
   */
  onSettled: () => void
}

/** The oldest request that waits for an acknowledgement. */
const find = (requests: Iterable<Request>, acknowledgement: Request["acknowledgement"]): Request | undefined => {
  for (const request of requests) if (request.acknowledgement === acknowledgement) return request
  return undefined
}

/** The most keys that are kept without a subscription because an acknowledgement may still arrive. */
const maxForgotten = 10_000

export const make = (ackTimeout = 5000): Subscriptions => {
  const all = makeKey("all", undefined)
  const updates = new Map<TaskId, Key>()
  const output = new Map<TaskId, Key>()
  // Keys with a request to send.
  const dirty = new Set<Key>()
  // Keys whose last request blocks the next one, with the time until which it does.
  const waiting = new Map<Key, number>()
  // The n-th of the others are the keys that are requested again because their last n subscribes are overdue. The keys of a
  // map wait for the same time, so each map is in the order in which its keys are due.
  const timers = [waiting]
  // All requests without their acknowledgement, oldest first, by the acknowledgement's type.
  const unanswered = new Set<Request>()
  // Keys that are kept because of their unanswered requests only.
  const forgotten = new Set<Key>()

  let isReplaying = false
  // The keys of the replay that are not confirmed, how many of them are overdue, and whether another one was confirmed.
  const replay = new Set<Key>()
  let replayOverdue = 0
  let replayConfirmed = false

  let wantedCount = 0
  let confirmedCount = 0
  let revision = 0

  const isWanted = (key: Key): boolean => key.wanted && !(key.kind === "updates" && all.wanted)

  // Whether an unwanted key is still needed, because it alone covers a wanted task until another key was requested.
  const isCover = (key: Key): boolean =>
    key.kind === "updates"
      ? all.wanted && !all.requested
      : key === all && !all.wanted && Array.from(dirty).some(({ kind, wanted }) => kind === "updates" && wanted)

  const mapOf = (kind: Kind): Map<TaskId | undefined, Key> => (kind === "output" ? output : updates)

  const obtain = (kind: Kind, taskId: TaskId): Key => {
    const map = mapOf(kind)
    const key = map.get(taskId) ?? makeKey(kind, taskId)
    map.set(taskId, key)
    return key
  }

  const known = (): ReadonlyArray<Key> => [all, ...updates.values(), ...output.values()]

  function* keys(interest: Interest): Iterable<Key> {
    if (interest.all) yield all
    for (const taskId of interest.updates) yield obtain("updates", taskId)
    for (const taskId of interest.output) yield obtain("output", taskId)
  }

  const remove = (key: Key): void => {
    for (const request of key.unanswered) unanswered.delete(request)
    forgotten.delete(key)
    mapOf(key.kind).delete(key.taskId)
  }

  /** Decides whether there is a request to send for a key, and whether to keep it. */
  const touch = (key: Key): void => {
    if (isWanted(key) !== key.requested || key.resend) dirty.add(key)
    else dirty.delete(key)
    forgotten.delete(key)
    if (key === all || key.wanted || key.requested || waiting.has(key)) return
    // The acknowledgement of an earlier request must not be counted for a later request.
    if (key.unanswered.length === 0) return remove(key)
    forgotten.add(key)
    const [oldest = key] = forgotten
    if (forgotten.size > maxForgotten) remove(oldest)
  }

  const setWanted = (key: Key, wanted: boolean): void => {
    if (key.wanted === wanted) return
    key.wanted = wanted
    wantedCount += wanted ? 1 : -1
    // All updates cover the updates of every single task.
    for (const each of key === all ? known() : [key]) {
      if (!isWanted(each)) leaveReplay(each)
      touch(each)
    }
    self.onDirty()
  }

  /** Removes a key from the replay, because it is confirmed or no longer wanted. */
  const leaveReplay = (key: Key): void => {
    if (replay.delete(key) && key.overdue > 0) replayOverdue--
  }

  const stopRepeating = (key: Key): void => {
    timers[key.overdue]?.delete(key)
    key.overdue = 0
    key.resend = false
  }

  const isSettled = (): boolean => dirty.size === 0 && waiting.size === 0

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
    all,
    keys,
    setWanted,
    setInterest(interest) {
      const wanted = new Set<Key>()
      for (const key of keys(interest)) {
        wanted.add(key)
        setWanted(key, true)
      }
      for (const key of known()) if (!wanted.has(key)) setWanted(key, false)
    },
    reset() {
      revision++
      waiting.clear()
      unanswered.clear()
      for (const key of known()) {
        stopRepeating(key)
        key.requested = key.confirmed = false
        key.unanswered.length = 0
        touch(key)
      }
      confirmedCount = 0
      replay.clear()
      for (const key of dirty) replay.add(key)
      replayOverdue = 0
      replayConfirmed = false
      isReplaying = true
      if (isSettled()) self.onSettled()
    },
    isSettled,
    take(now, limit = Infinity) {
      const requests: Array<WireRequest> = []
      for (const subscribes of [true, false]) {
        for (const key of dirty) {
          if (requests.length >= limit) break
          if (waiting.has(key) || isWanted(key) !== subscribes || isCover(key)) continue
          dirty.delete(key)
          if (!key.requested || !subscribes) stopRepeating(key)
          if (key.confirmed) confirmedCount--
          key.requested = subscribes
          key.resend = key.confirmed = false
          const [type, acknowledgement] = words[key.kind][subscribes ? 1 : 0]
          const request: Request = { key, acknowledgement }
          key.unanswered.push(request)
          unanswered.add(request)
          waiting.set(key, now + ackTimeout)
          revision++
          // Only the key of all updates has no task id.
          requests.push({ type, taskId: key.taskId } as WireRequest)
        }
      }
      return requests
    },
    acknowledge({ _tag, taskId }) {
      const request =
        taskId === undefined
          ? find(unanswered, _tag)
          : find((_tag.startsWith("Output") ? output : updates).get(taskId)?.unanswered ?? [], _tag)
      if (request === undefined) return undefined
      const { key } = request
      const index = key.unanswered.indexOf(request)
      key.unanswered.splice(index, 1)
      unanswered.delete(request)
      if (index === key.unanswered.length) waiting.delete(key)
      revision++
      let confirmation: Confirmation | undefined
      if (
        key.requested &&
        !key.confirmed &&
        _tag === words[key.kind][1][1] &&
        key.unanswered.slice(index).every(({ acknowledgement }) => acknowledgement === _tag)
      ) {
        confirmation = { key, inReplay: replay.has(key) }
        replayConfirmed ||= confirmation.inReplay
        leaveReplay(key)
        stopRepeating(key)
        key.confirmed = true
        confirmedCount++
      }
      touch(key)
      if (dirty.size > 0) self.onDirty()
      return confirmation
    },
    expire(now) {
      const overdue: Array<Key> = []
      timers.forEach((timer) => {
        for (const [key, at] of timer) {
          if (at > now) break
          timer.delete(key)
          if (timer !== waiting) {
            key.resend = true
          } else if (key.requested && !key.confirmed && isWanted(key)) {
            if (key.overdue === 0) {
              if (replay.has(key)) replayOverdue++
              else overdue.push(key)
            }
            const wait = ackTimeout * 2 ** key.overdue++
            ;(timers[key.overdue] ??= new Map()).set(key, now + wait)
          }
          revision++
          touch(key)
        }
      })
      if (dirty.size > 0) self.onDirty()
      if (isSettled()) self.onSettled()
      return overdue
    },
    deadline: () => timers.reduce((next, timer) => Math.min(next, timer.values().next().value ?? next), Infinity),
    takeReplayEnd() {
      if (!isReplaying) return undefined
      if (replay.size === 0 && !replayConfirmed) {
        // None of its keys is wanted any more. Those that are wanted now replace them.
        for (const key of known()) {
          if (!isWanted(key) || key.confirmed) continue
          replay.add(key)
          if (key.overdue > 0) replayOverdue++
        }
      }
      if (replay.size > replayOverdue) return undefined
      isReplaying = false
      replay.clear()
      return replayOverdue
    },
    isReplaying: () => isReplaying,
    counts: () => ({ wanted: wantedCount, confirmed: confirmedCount }),
    hasOutput: (taskId) => output.has(taskId),
    revision: () => revision,
    current() {
      const requested = collect((key) => key.requested)
      const { all, output, updates } = requested
      return {
        requested,
        // Usually all of them, so ten thousand keys are not collected twice.
        confirmed:
          confirmedCount === Number(all) + updates.size + output.size ? requested : collect((key) => key.confirmed),
        unconfirmed: collect((key) => key.overdue > 0 && key.requested && !key.confirmed)
      }
    }
  }
  return self
}

/** How a key is unsubscribed and subscribed, and how the server acknowledges both. */
const words = {
  all: [
    ["unsubscribeAll", "UnsubscribedAll"],
    ["subscribeAll", "SubscribedAll"]
  ],
  updates: [
    ["unsubscribe", "Unsubscribed"],
    ["subscribe", "Subscribed"]
  ],
  output: [
    ["unsubscribeOutput", "OutputUnsubscribed"],
    ["subscribeOutput", "OutputSubscribed"]
  ]
} as const
