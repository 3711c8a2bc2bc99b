/**
 * What the clients of the gateway have subscribed to, as one table: the counted union of their interests. Synchronous, no
 * Effect, no clock: callers pass the time in.
 *
 * A *key* is one thing that can be subscribed: all updates, the updates of a task, the output of a task. A key goes through
 * these states upstream:
 *
 * ```
 * absent ──subscribe──▶ wanted ──confirm──▶ confirmed
 *   ▲                     │                    │ idle for `idleMillis`
 *   │◀──── idle ──────────┘                    ▼
 *   └──────────── the unsubscribe is sent ── leaving
 * ```
 *
 * Invariants:
 *
 * 1. A key is confirmed only at the place of the upstream's confirmation, and until its unsubscribe or the end of the
 *    connection.
 * 2. A key that is leaving is requested again only after its unsubscribe was sent, so each request has its confirmation.
 * 3. Confirmed `all` confirms the updates of each task that is wanted. They stay confirmed when `all` is given up, because
 *    the upstream subscribes to them before that (see core's table of subscriptions).
 */
import type { Interest } from "@makima-stream/core/Interest"
import type { TaskId } from "@makima-stream/core/TaskId"

export type Kind = "all" | "updates" | "output"

export interface Key<C> {
  readonly kind: Kind
  readonly taskId: TaskId | undefined
  /** The clients, with the number of their requests that wait for a confirmation. 0: acknowledged. */
  readonly clients: Map<C, number>
  /** Whether the gateway itself needs it. */
  pinned: boolean
  state: "wanted" | "confirmed" | "leaving"
  /** The number of the newest event when the key was confirmed. */
  confirmedAt: number
  /** Whether clients know this key as confirmed, although the current connection has not confirmed it. */
  stale: boolean
}

export interface Keys<C> {
  /** Returns the key. Creates it if it is not there. */
  readonly obtain: (kind: Kind, taskId: TaskId | undefined) => Key<C>
  readonly get: (kind: Kind, taskId: TaskId | undefined) => Key<C> | undefined
  /** Adds a request of a client. Returns whether the key is confirmed, so that it can be acknowledged at once. */
  readonly add: (client: C, kind: Kind, taskId: TaskId | undefined) => boolean
  /** Removes a client from a key. */
  readonly remove: (client: C, key: Key<C>, now: number) => void
  readonly pin: (kind: Kind, taskId: TaskId | undefined) => void
  /** Confirms a key. Returns it and, for all updates, the keys that it confirms. */
  readonly confirm: (key: Key<C>, at: number) => ReadonlyArray<Key<C>>
  /** The connection has ended: nothing is confirmed. */
  readonly reset: () => void
  /** Gives up the keys that have been idle for long enough. */
  readonly sweep: (now: number, requested: Interest) => void
  /** Takes what is requested upstream. Keys whose unsubscribe was sent are removed, or wanted again. */
  readonly observe: (requested: Interest) => void
  /** The union of what is wanted. */
  readonly interest: () => Interest
  readonly values: () => Iterable<Key<C>>
  readonly size: () => number
  /** When the next key has been idle for long enough; `undefined` without an idle key. */
  readonly isIdle: () => boolean
}

export interface Options {
  readonly idleMillis: number
  /** Called when `interest` has changed. */
  readonly onChanged: () => void
}

export const make = <C>({ idleMillis, onChanged }: Options): Keys<C> => {
  let all: Key<C> | undefined
  const updates = new Map<TaskId, Key<C>>()
  const output = new Map<TaskId, Key<C>>()
  const leaving = new Set<Key<C>>()
  /** Keys without a client, with the time at which they became idle, oldest first. */
  const idle = new Map<Key<C>, number>()

  const get = (kind: Kind, taskId: TaskId | undefined): Key<C> | undefined =>
    taskId === undefined ? all : (kind === "output" ? output : updates).get(taskId)

  const obtain = (kind: Kind, taskId: TaskId | undefined): Key<C> => {
    const present = get(kind, taskId)
    if (present !== undefined) return present
    const isCovered = kind === "updates" && all?.state === "confirmed"
    const key: Key<C> = {
      kind,
      taskId,
      clients: new Map(),
      pinned: false,
      state: isCovered ? "confirmed" : "wanted",
      confirmedAt: isCovered ? (all?.confirmedAt ?? 0) : 0,
      stale: false
    }
    if (taskId === undefined) all = key
    else (kind === "output" ? output : updates).set(taskId, key)
    onChanged()
    return key
  }

  const drop = (key: Key<C>): void => {
    leaving.delete(key)
    idle.delete(key)
    if (key.taskId === undefined) all = undefined
    else (key.kind === "output" ? output : updates).delete(key.taskId)
    onChanged()
  }

  const isRequested = (key: Key<C>, requested: Interest): boolean =>
    key.taskId === undefined
      ? requested.all
      : (key.kind === "output" ? requested.output : requested.updates).has(key.taskId)

  const isUsed = (key: Key<C>): boolean => key.pinned || key.clients.size > 0

  /** Ends the state `leaving`: the key is absent upstream. */
  const left = (key: Key<C>): void => {
    leaving.delete(key)
    if (!isUsed(key)) return drop(key)
    const isCovered = key.kind === "updates" && all?.state === "confirmed"
    key.state = isCovered ? "confirmed" : "wanted"
    if (isCovered) key.confirmedAt = all?.confirmedAt ?? 0
    onChanged()
  }

  function* values(): Iterable<Key<C>> {
    if (all !== undefined) yield all
    yield* updates.values()
    yield* output.values()
  }

  const wanted = (keys: Map<TaskId, Key<C>>): ReadonlySet<TaskId> => {
    const ids = new Set<TaskId>()
    for (const [taskId, key] of keys) if (key.state !== "leaving") ids.add(taskId)
    return ids
  }

  return {
    get,
    obtain,
    add(client, kind, taskId) {
      const key = obtain(kind, taskId)
      idle.delete(key)
      if (key.state === "confirmed") {
        key.clients.set(client, 0)
        return true
      }
      key.clients.set(client, (key.clients.get(client) ?? 0) + 1)
      return false
    },
    remove(client, key, now) {
      if (key.clients.delete(client) && !isUsed(key)) idle.set(key, now)
    },
    pin(kind, taskId) {
      obtain(kind, taskId).pinned = true
    },
    confirm(key, at) {
      if (key.state === "leaving") return []
      if (key.state === "wanted") key.confirmedAt = at
      key.state = "confirmed"
      if (key !== all) return [key]
      const confirmed = [key]
      for (const each of updates.values()) {
        if (each.state !== "wanted") continue
        each.state = "confirmed"
        each.confirmedAt = at
        confirmed.push(each)
      }
      return confirmed
    },
    reset() {
      for (const key of leaving) left(key)
      for (const key of values()) {
        key.state = "wanted"
        key.stale = [...key.clients.values()].includes(0)
      }
    },
    sweep(now, requested) {
      for (const [key, since] of idle) {
        if (now - since < idleMillis) break
        idle.delete(key)
        if (key.state !== "confirmed" || !isRequested(key, requested)) {
          drop(key)
        } else {
          key.state = "leaving"
          leaving.add(key)
          onChanged()
        }
      }
    },
    observe(requested) {
      for (const key of leaving) if (!isRequested(key, requested)) left(key)
    },
    interest: () => ({
      all: all !== undefined && all.state !== "leaving",
      updates: wanted(updates),
      output: wanted(output)
    }),
    values,
    size: () => updates.size + output.size + (all === undefined ? 0 : 1),
    isIdle: () => idle.size > 0
  }
}
