/**
 * The table of subscriptions: the keys that are wanted, those that were requested on
 * this connection, and those that the server has confirmed. `MeshSession`,
 * `MeshStream` and `MeshClient` use it. No Effect, no clock, no socket: callers pass
 * the time in and send the messages that `take` returns.
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
import type { ClientMessage } from "../../ClientMessage.ts"
import type { Interest } from "../../Interest.ts"
import type { Acknowledgement } from "../../ServerMessage.ts"
import type { TaskId } from "../../TaskId.ts"

type Kind = "all" | "updates" | "output"

/** A request without its acknowledgement. */
interface Request {
  readonly key: Key
  /** The acknowledgement that it waits for. */
  readonly acknowledgement: Acknowledgement["_tag"]
  readonly sentAt: number
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
  /** Whether the acknowledgement of the last subscribe did not arrive within the timeout. */
  overdue: boolean
  /** The request that blocks the next one of this key. */
  waiting: Request | undefined
  /** Requests without their acknowledgement, oldest first, including those that timed out. */
  readonly unanswered: Array<Request>
  /** The number of consecutive subscribes that timed out. */
  timeouts: number
  /** Whether the subscribe must be sent again. */
  resend: boolean
  /** The number of the replay that it belongs to. */
  replay: number
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
  overdue: false,
  waiting: undefined,
  unanswered: [],
  timeouts: 0,
  resend: false,
  replay: 0
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
  /** Returns the messages to send now, in order, at most `limit`. They count as sent. */
  readonly take: (now: number, limit?: number) => ReadonlyArray<ClientMessage>
  /** Handles an acknowledgement. Returns the key that is confirmed by it, if it was not before. */
  readonly acknowledge: (message: Acknowledgement) => Confirmation | undefined
  /**
   * Stops waiting for acknowledgements that are overdue at `now`, and schedules their
   * requests again. Returns the keys outside the replay that are overdue for the
   * first time.
   */
  readonly expire: (now: number) => ReadonlyArray<Key>
  /** The time at which `expire` must run next; `undefined` if it has nothing to do. */
  readonly deadline: () => number | undefined
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

/** The most keys that are kept without a subscription because an acknowledgement may still arrive. */
const maxForgotten = 10_000

export const make = (ackTimeout = 5000): Subscriptions => {
  const all = makeKey("all", undefined)
  const updates = new Map<TaskId, Key>()
  const output = new Map<TaskId, Key>()
  const dirty = new Set<Key>()
  // Requests that block the next one of their key, oldest first.
  const waiting = new Set<Request>()
  // All requests without their acknowledgement, oldest first, by the acknowledgement's type.
  const unanswered: Record<Acknowledgement["_tag"], Set<Request>> = {
    SubscribedAll: new Set(),
    UnsubscribedAll: new Set(),
    Subscribed: new Set(),
    Unsubscribed: new Set(),
    OutputSubscribed: new Set(),
    OutputUnsubscribed: new Set()
  }
  // Keys that must be requested again, in one list for each number of timeouts. The keys of a list wait for the same time,
  // so each list is in the order in which its keys are due.
  const repeats: Array<Map<Key, number>> = []
  const forgotten = new Set<Key>()

  // The replay: its number, how many of its keys are neither confirmed nor overdue, and how many are overdue.
  let replay = 1
  let replayOpen = 0
  let replayOverdue = 0
  let replayConfirmed = 0
  let isReplaying = false

  let wantedCount = 0
  let confirmedCount = 0
  let revision = 0

  const setConfirmed = (key: Key, confirmed: boolean): void => {
    if (key.confirmed === confirmed) return
    confirmedCount += confirmed ? 1 : -1
    key.confirmed = confirmed
  }

  const isWanted = (key: Key): boolean => key.wanted && !(key.kind === "updates" && all.wanted)

  // Whether an unwanted key is still needed, because it alone covers a wanted task until another key was requested.
  const isCover = (key: Key): boolean =>
    key.kind === "updates"
      ? all.wanted && !all.requested
      : key === all && Array.from(dirty).some(({ kind, wanted }) => kind === "updates" && wanted)

  const mapOf = (kind: Kind): Map<TaskId, Key> => (kind === "output" ? output : updates)

  const obtain = (kind: Kind, taskId: TaskId): Key => {
    const map = mapOf(kind)
    let key = map.get(taskId)
    if (key === undefined) {
      key = makeKey(kind, taskId)
      map.set(taskId, key)
    }
    return key
  }

  const known = (): ReadonlyArray<Key> => [all, ...updates.values(), ...output.values()]

  function* keys(interest: Interest): Iterable<Key> {
    if (interest.all) yield all
    for (const taskId of interest.updates) yield obtain("updates", taskId)
    for (const taskId of interest.output) yield obtain("output", taskId)
  }

  const answer = (request: Request): void => {
    const { key } = request
    unanswered[request.acknowledgement].delete(request)
    if (key.unanswered.length === 1) key.unanswered.pop()
    else key.unanswered.splice(key.unanswered.indexOf(request), 1)
    if (key.waiting === request) stopWaiting(request)
  }

  const stopWaiting = (request: Request): void => {
    waiting.delete(request)
    request.key.waiting = undefined
  }

  const cancelRepeat = (key: Key): void => {
    key.resend = false
    for (const due of repeats) due.delete(key)
  }

  const isUnused = (key: Key): boolean =>
    key.taskId !== undefined && !key.wanted && !key.requested && key.waiting === undefined

  const remove = (key: Key): void => {
    if (key.taskId === undefined) return
    for (const request of key.unanswered) unanswered[request.acknowledgement].delete(request)
    forgotten.delete(key)
    dirty.delete(key)
    mapOf(key.kind).delete(key.taskId)
  }

  const forget = (key: Key): void => {
    if (!isUnused(key)) {
      forgotten.delete(key)
      return
    }
    // The acknowledgement of an earlier request must not be counted for a later request.
    if (key.unanswered.length === 0) return remove(key)
    forgotten.add(key)
    const [oldest] = forgotten
    if (forgotten.size > maxForgotten && oldest !== undefined) remove(oldest)
  }

  const touch = (key: Key): void => {
    if (isWanted(key) === key.requested && !key.resend) {
      dirty.delete(key)
      forget(key)
    } else {
      dirty.add(key)
      forgotten.delete(key)
    }
  }

  const setWanted = (key: Key, wanted: boolean): void => {
    if (key.wanted === wanted) return
    key.wanted = wanted
    wantedCount += wanted ? 1 : -1
    if (!wanted) abandon(key)
    touch(key)
    if (key === all) {
      // All updates cover the updates of every single task.
      updates.forEach((each) => {
        if (wanted) abandon(each)
        touch(each)
      })
    }
    self.onDirty()
  }

  const isInReplay = (key: Key): boolean => isReplaying && key.replay === replay

  /** Removes a key from the replay, because it is confirmed or no longer wanted. */
  const leaveReplay = (key: Key): void => {
    if (!isInReplay(key)) return
    key.replay = 0
    if (key.overdue) replayOverdue--
    else replayOpen--
  }

  /** Replaces a replay of which no key is wanted any more by the keys that are wanted now. */
  const replaceReplay = (): void => {
    for (const key of known()) {
      if (!isWanted(key) || key.confirmed) continue
      key.replay = replay
      if (key.overdue) replayOverdue++
      else replayOpen++
    }
  }

  /** Stops expecting a confirmation of a key. */
  const abandon = (key: Key): void => {
    leaveReplay(key)
    if (key.overdue) cancelRepeat(key)
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

  const clear = (): void => {
    dirty.clear()
    waiting.clear()
    for (const requests of Object.values(unanswered)) requests.clear()
    for (const due of repeats) due.clear()
    for (const key of forgotten) if (key.taskId !== undefined) mapOf(key.kind).delete(key.taskId)
    forgotten.clear()
  }

  const scheduleRepeat = (key: Key, now: number): void => {
    const wait = ackTimeout * 2 ** key.timeouts
    const due = (repeats[key.timeouts] ??= new Map())
    key.timeouts++
    due.set(key, now + wait)
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
      clear()
      for (const key of known()) {
        key.requested = false
        setConfirmed(key, false)
        key.overdue = false
        key.waiting = undefined
        key.unanswered.length = 0
        key.timeouts = 0
        key.resend = false
        touch(key)
      }
      replay++
      replayOpen = dirty.size
      replayOverdue = 0
      replayConfirmed = 0
      isReplaying = true
      for (const key of dirty) key.replay = replay
      if (isSettled()) self.onSettled()
    },
    isSettled,
    take(now, limit = Infinity) {
      const messages: Array<ClientMessage> = []
      const send = (key: Key): void => {
        dirty.delete(key)
        key.resend = false
        const subscribes = isWanted(key)
        if (!key.requested || !subscribes) {
          key.timeouts = 0
          key.overdue = false
        }
        key.requested = subscribes
        setConfirmed(key, false)
        const sent: Request = { key, acknowledgement: acknowledgementOf(key), sentAt: now }
        key.waiting = sent
        key.unanswered.push(sent)
        waiting.add(sent)
        unanswered[sent.acknowledgement].add(sent)
        messages.push(request(key))
      }
      for (const key of dirty) {
        if (messages.length >= limit) break
        if (key.waiting === undefined && isWanted(key)) send(key)
      }
      for (const key of dirty) {
        if (messages.length >= limit) break
        if (key.waiting === undefined && !isCover(key)) send(key)
      }
      if (messages.length > 0) revision++
      return messages
    },
    acknowledge(message) {
      const named = "taskId" in message ? message.taskId : undefined
      const answered =
        named === undefined
          ? unanswered[message._tag].values().next().value
          : mapOf(message._tag.startsWith("Output") ? "output" : "updates")
              .get(named)
              ?.unanswered.find(({ acknowledgement }) => acknowledgement === message._tag)
      if (answered === undefined) return undefined
      const { key } = answered
      const index = key.unanswered.indexOf(answered)
      answer(answered)
      revision++
      let confirmed: Confirmation | undefined
      const isLast = key.unanswered.every((later, i) => i < index || later.acknowledgement === message._tag)
      if (key.requested && message._tag === acknowledgementOf(key) && isLast) {
        if (!key.confirmed) confirmed = { key, inReplay: isInReplay(key) }
        setConfirmed(key, true)
        if (isInReplay(key)) replayConfirmed++
        leaveReplay(key)
        key.overdue = false
        key.timeouts = 0
        cancelRepeat(key)
      }
      touch(key)
      forget(key)
      if (dirty.size > 0) self.onDirty()
      return confirmed
    },
    expire(now) {
      const overdue: Array<Key> = []
      for (const sent of waiting) {
        // Oldest first.
        if (sent.sentAt + ackTimeout > now) break
        const { key } = sent
        stopWaiting(sent)
        if (key.requested && !key.confirmed && isWanted(key)) {
          if (!key.overdue) {
            if (isInReplay(key)) {
              replayOpen--
              replayOverdue++
            } else {
              overdue.push(key)
            }
            key.overdue = true
          }
          scheduleRepeat(key, now)
        }
        revision++
        touch(key)
        forget(key)
      }
      for (const due of repeats) {
        for (const [key, at] of due) {
          if (at > now) break
          due.delete(key)
          key.resend = true
          touch(key)
        }
      }
      if (dirty.size > 0) self.onDirty()
      if (isSettled()) self.onSettled()
      return overdue
    },
    deadline() {
      let next: number | undefined
      const [oldest] = waiting
      if (oldest !== undefined) next = oldest.sentAt + ackTimeout
      for (const due of repeats) {
        const [first] = due.values()
        if (first !== undefined && (next === undefined || first < next)) next = first
      }
      return next
    },
    takeReplayEnd() {
      if (!isReplaying || replayOpen > 0) return undefined
      if (replayConfirmed + replayOverdue === 0) replaceReplay()
      if (replayOpen > 0) return undefined
      isReplaying = false
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
        unconfirmed: collect((key) => key.overdue && key.requested && !key.confirmed)
      }
    }
  }
  return self
}

/** How a key is subscribed and unsubscribed, and how the server acknowledges it. */
const words = {
  all: ["SubscribeAll", "SubscribedAll", "UnsubscribeAll", "UnsubscribedAll"],
  updates: ["Subscribe", "Subscribed", "Unsubscribe", "Unsubscribed"],
  output: ["SubscribeOutput", "OutputSubscribed", "UnsubscribeOutput", "OutputUnsubscribed"]
} as const

const acknowledgementOf = ({ kind, requested }: Key): Acknowledgement["_tag"] => words[kind][requested ? 1 : 3]

const request = ({ kind, requested, taskId }: Key): ClientMessage =>
  // The messages of all updates have no task id, the others have one.
  ({ _tag: words[kind][requested ? 0 : 2], ...(taskId === undefined ? {} : { taskId }) }) as ClientMessage
