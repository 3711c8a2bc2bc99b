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

export interface Options {
  /** How long a key without clients stays requested, in milliseconds. */
  readonly idleMillis: number
  /** Called when `interest` has changed. */
  readonly onChanged: () => void
}

/** The keys of all clients. */
export class Keys<C> {
  readonly #options: Options
  #all: Key<C> | undefined
  readonly #updates = new Map<TaskId, Key<C>>()
  readonly #output = new Map<TaskId, Key<C>>()
  readonly #leaving = new Set<Key<C>>()
  /** Keys without a client, with the time at which they became idle, oldest first. */
  readonly #idle = new Map<Key<C>, number>()

  constructor(options: Options) {
    this.#options = options
  }

  /** The number of keys. */
  get size(): number {
    return this.#updates.size + this.#output.size + (this.#all === undefined ? 0 : 1)
  }

  *values(): Iterable<Key<C>> {
    if (this.#all !== undefined) yield this.#all
    yield* this.#updates.values()
    yield* this.#output.values()
  }

  get(kind: Kind, taskId: TaskId | undefined): Key<C> | undefined {
    return taskId === undefined ? this.#all : this.#ofTasks(kind).get(taskId)
  }

  #ofTasks(kind: Kind): Map<TaskId, Key<C>> {
    return kind === "output" ? this.#output : this.#updates
  }

  /** Returns the key. Creates it if it does not exist. */
  obtain(kind: Kind, taskId: TaskId | undefined): Key<C> {
    const present = this.get(kind, taskId)
    if (present !== undefined) return present
    const key: Key<C> = {
      kind,
      taskId,
      clients: new Map(),
      pinned: false,
      state: "wanted",
      confirmedAt: 0,
      stale: false
    }
    this.#cover(key)
    if (taskId === undefined) this.#all = key
    else this.#ofTasks(kind).set(taskId, key)
    this.#options.onChanged()
    return key
  }

  /** Confirms the updates of a task if all updates are confirmed. */
  #cover(key: Key<C>): void {
    if (key.kind !== "updates" || this.#all?.state !== "confirmed") return
    key.state = "confirmed"
    key.confirmedAt = this.#all.confirmedAt
  }

  /** Adds a request of a client. Returns whether the key is confirmed, so that it can be acknowledged at once. */
  add(client: C, kind: Kind, taskId: TaskId | undefined): boolean {
    const key = this.obtain(kind, taskId)
    this.#idle.delete(key)
    if (key.state === "confirmed") {
      key.clients.set(client, 0)
      return true
    }
    key.clients.set(client, (key.clients.get(client) ?? 0) + 1)
    return false
  }

  /** Removes a client from a key. */
  remove(client: C, key: Key<C>, now: number): void {
    if (key.clients.delete(client) && !isUsed(key)) this.#idle.set(key, now)
  }

  /** Keeps a key for the gateway itself. */
  pin(kind: Kind, taskId: TaskId | undefined): void {
    this.obtain(kind, taskId).pinned = true
  }

  /** Confirms a key. Returns it and, for all updates, the keys that it confirms. */
  confirm(key: Key<C>, at: number): ReadonlyArray<Key<C>> {
    if (key.state === "leaving") return []
    if (key.state === "wanted") key.confirmedAt = at
    key.state = "confirmed"
    if (key !== this.#all) return [key]
    const confirmed = [key]
    for (const each of this.#updates.values()) {
      if (each.state !== "wanted") continue
      each.state = "confirmed"
      each.confirmedAt = at
      confirmed.push(each)
    }
    return confirmed
  }

  /** The connection has ended: nothing is confirmed. */
  reset(): void {
    for (const key of this.#leaving) this.#leave(key)
    for (const key of this.values()) {
      key.state = "wanted"
      key.stale = [...key.clients.values()].includes(0)
    }
  }

  /** Gives up the keys that have been idle for long enough. */
  sweep(now: number, requested: Interest): void {
    for (const [key, since] of this.#idle) {
      if (now - since < this.#options.idleMillis) break
      this.#idle.delete(key)
      if (key.state !== "confirmed" || !isRequested(key, requested)) {
        this.#drop(key)
      } else {
        key.state = "leaving"
        this.#leaving.add(key)
        this.#options.onChanged()
      }
    }
  }

  /** Takes what is requested upstream. Keys whose unsubscribe was sent are removed, or wanted again. */
  observe(requested: Interest): void {
    for (const key of this.#leaving) if (!isRequested(key, requested)) this.#leave(key)
  }

  /** Returns the union of what is wanted. */
  interest(): Interest {
    return {
      all: this.#all !== undefined && this.#all.state !== "leaving",
      updates: wantedIn(this.#updates),
      output: wantedIn(this.#output)
    }
  }

  /** Ends the state `leaving`: the key is absent upstream. */
  #leave(key: Key<C>): void {
    this.#leaving.delete(key)
    if (!isUsed(key)) return this.#drop(key)
    key.state = "wanted"
    this.#cover(key)
    this.#options.onChanged()
  }

  #drop(key: Key<C>): void {
    this.#leaving.delete(key)
    this.#idle.delete(key)
    if (key.taskId === undefined) this.#all = undefined
    else this.#ofTasks(key.kind).delete(key.taskId)
    this.#options.onChanged()
  }
}

const isUsed = <C>(key: Key<C>): boolean => key.pinned || key.clients.size > 0

const isRequested = <C>({ kind, taskId }: Key<C>, requested: Interest): boolean =>
  taskId === undefined ? requested.all : (kind === "output" ? requested.output : requested.updates).has(taskId)

const wantedIn = <C>(keys: ReadonlyMap<TaskId, Key<C>>): ReadonlySet<TaskId> => {
  const ids = new Set<TaskId>()
  for (const [taskId, key] of keys) if (key.state !== "leaving") ids.add(taskId)
  return ids
}
