/**
 * A persistent, bounded table of tasks: `TaskBoard` and `CostLedger` keep their
 * entries in it. Each operation takes a constant number of map operations.
 *
 * Invariants: every entry is in exactly one of the two lines, `ended` if it has
 * an `endedAt`, `live` otherwise; `ended` is in the order of the ends, oldest
 * first.
 *
 * Entries are evicted in these cases:
 *
 * - The task ended more than `endedTimeToLive` ago.
 * - There are more than `maxEnded` ended tasks: the first one that ended is evicted.
 * - There are more than `maxTasks` tasks: ended tasks are evicted first, then
 *   approximately the live task without an event for longest. (The first of the line
 *   moves to its end if it had an event since it was inserted. Otherwise it is
 *   evicted.)
 *
 * The task of the current event is never evicted.
 */
import * as Duration from "effect/Duration"
import * as HashMap from "effect/HashMap"
import type { TaskId } from "../../TaskId.ts"
import { atLeast } from "../bounds.ts"
import * as Line from "./line.ts"

export interface Entry {
  readonly taskId: TaskId
  readonly lastEventAt?: number
  readonly endedAt?: number
}

export interface Limits {
  /** Milliseconds. */
  readonly endedTimeToLive: number
  readonly maxEnded: number
  readonly maxTasks: number
}

/** Normalises the options. A negative duration or `NaN` counts as 0, and a fraction is rounded down. */
export const limitsOf = (limits: {
  readonly endedTimeToLive: Duration.Input
  readonly maxEnded: number
  readonly maxTasks: number
}): Limits => {
  const endedTimeToLive = Duration.toMillis(limits.endedTimeToLive)
  return {
    endedTimeToLive: endedTimeToLive >= 0 ? endedTimeToLive : 0,
    maxEnded: atLeast(0, limits.maxEnded),
    maxTasks: atLeast(1, limits.maxTasks)
  }
}

/** The order in which tasks are evicted. */
export interface Order {
  /** Tasks without a known end, approximately in the order of their last events, with the time of the last event at insertion. */
  readonly live: Line.Line
  /** Ended tasks, in the order of their ends, with the time of the end. */
  readonly ended: Line.Line
}

export interface Roster<V extends Entry> {
  readonly tasks: HashMap.HashMap<TaskId, V>
  readonly order: Order
}

export const emptyOrder: Order = { live: Line.empty, ended: Line.empty }

/** The time of a task without an event: before every other time. */
const never = Number.MIN_SAFE_INTEGER

/** Adds an entry, or replaces `before`. */
export const set = <V extends Entry>(self: Roster<V>, before: V | undefined, entry: V): Roster<V> => {
  const { taskId, endedAt, lastEventAt } = entry
  const tasks = HashMap.set(self.tasks, taskId, entry)
  const hasEnded = endedAt !== undefined
  if (before !== undefined && hasEnded === (before.endedAt !== undefined)) {
    return { tasks, order: self.order }
  }
  let { live, ended } = self.order
  if (before !== undefined) {
    live = Line.remove(live, taskId)
    ended = Line.remove(ended, taskId)
  }
  if (hasEnded) ended = Line.append(ended, taskId, endedAt)
  else live = Line.append(live, taskId, lastEventAt ?? never)
  return { tasks, order: { live, ended } }
}

/**
 * Evicts the entries that exceed the limits, and calls `onEvict` with each of them.
 * `newest` is the task of the current event.
 */
export const trim = <V extends Entry>(
  self: Roster<V>,
  limits: Limits,
  at: number,
  newest: TaskId | undefined,
  onEvict: (entry: V) => void
): Roster<V> => {
  let { tasks } = self
  let { live, ended } = self.order
  const evict = (id: TaskId): void => {
    const entry = HashMap.get(tasks, id)
    tasks = HashMap.remove(tasks, id)
    if (entry._tag === "Some") onEvict(entry.value)
  }
  while (ended.first !== undefined) {
    const id = ended.first
    const endedAt = Line.timeOf(ended, id) ?? at
    const isOver = ended.size > limits.maxEnded || ended.size + live.size > limits.maxTasks
    if (!isOver && endedAt + limits.endedTimeToLive > at) break
    ended = Line.remove(ended, id)
    evict(id)
  }
  while (live.first !== undefined && live.size + ended.size > limits.maxTasks) {
    const id = live.first
    const entry = HashMap.get(tasks, id)
    const lastEventAt = entry._tag === "Some" ? entry.value.lastEventAt : undefined
    const since = Line.timeOf(live, id) ?? never
    live = Line.remove(live, id)
    if (id === newest) live = Line.append(live, id, since)
    else if (lastEventAt !== undefined && lastEventAt > since) live = Line.append(live, id, lastEventAt)
    else evict(id)
  }
  return tasks === self.tasks ? self : { tasks, order: { live, ended } }
}

/** The entries of a line, in its order. */
export const entriesOf = <V extends Entry>(self: Roster<V>, which: keyof Order): Array<V> => {
  const entries: Array<V> = []
  for (const [id] of Line.toArray(self.order[which])) {
    const entry = HashMap.get(self.tasks, id)
    if (entry._tag === "Some") entries.push(entry.value)
  }
  return entries
}

/** The entries with the times of their lines, in the order that `restore` expects. */
export const save = <V extends Entry>(self: Roster<V>): Array<readonly [entry: V, at: number]> =>
  [...Line.toArray(self.order.live), ...Line.toArray(self.order.ended)].flatMap(([id, at]) => {
    const entry = HashMap.get(self.tasks, id)
    return entry._tag === "Some" ? [[entry.value, at] as const] : []
  })

/** Rebuilds what `save` returned. */
export const restore = <V extends Entry>(saved: ReadonlyArray<readonly [entry: V, at: number]>): Roster<V> => {
  let { live, ended } = emptyOrder
  for (const [{ taskId, endedAt }, at] of saved) {
    if (endedAt === undefined) live = Line.append(live, taskId, at)
    else ended = Line.append(ended, taskId, at)
  }
  return {
    tasks: HashMap.fromIterable(saved.map(([entry]) => [entry.taskId, entry] as const)),
    order: { live, ended }
  }
}
