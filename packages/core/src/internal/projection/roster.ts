/**
 * A persistent table of tasks that stays bounded: what `TaskBoard` and
 * `CostLedger` keep their entries in. Immutable, and each operation takes
 * constant time but for the logarithm of the table.
 *
 * Invariants: every entry is in exactly one of the two lines, `ended` if it has
 * an `endedAt`, `live` otherwise; `ended` stands in the order of the ends, oldest
 * first.
 *
 * An entry is let go when its task ended too long ago, when there are too many
 * ended ones (the one that ended first goes), and when there are too many in all
 * and none has ended. Then the live one goes that was not heard of for about the
 * longest: from the first in the line on, one that was heard of since it went there
 * goes to its end instead, and the first that was not is the one. The entry that
 * makes them too many is spared.
 */
import * as Duration from "effect/Duration"
import * as HashMap from "effect/HashMap"
import type { TaskId } from "../../TaskId.ts"
import { atLeast } from "../bounds.ts"

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

export const limitsOf = (limits: {
  readonly endedTimeToLive: Duration.Input
  readonly maxEnded: number
  readonly maxTasks: number
}): Limits => ({
  endedTimeToLive: Duration.toMillis(limits.endedTimeToLive),
  maxEnded: atLeast(0, limits.maxEnded),
  maxTasks: atLeast(1, limits.maxTasks)
})

/**
 * The order in which tasks are let go.
 *
 * @category models
 * @since 0.1.0
 */
export interface Order {
  /** Those that are not known to have ended, about in the order in which they were last heard of. */
  readonly live: Line
  /** Those that have, in the order of their ends. */
  readonly ended: Line
}

/** A doubly linked list whose links are entries of a map, so that it is persistent and anything in it can leave. */
interface Line {
  readonly first: TaskId | undefined
  readonly last: TaskId | undefined
  readonly size: number
  readonly links: HashMap.HashMap<TaskId, Link>
}

interface Link {
  readonly prev: TaskId | undefined
  readonly next: TaskId | undefined
  /** In `ended`, when the task ended. In `live`, when it had last been heard of when it went there. */
  readonly at: number
}

export interface Roster<V extends Entry> {
  readonly tasks: HashMap.HashMap<TaskId, V>
  readonly order: Order
}

const emptyLine: Line = { first: undefined, last: undefined, size: 0, links: HashMap.empty() }

export const emptyOrder: Order = { live: emptyLine, ended: emptyLine }

const linkOf = (line: Line, id: TaskId): Link | undefined => {
  const found = HashMap.get(line.links, id)
  return found._tag === "Some" ? found.value : undefined
}

const append = (line: Line, id: TaskId, at: number): Line => {
  const last = line.last === undefined ? undefined : linkOf(line, line.last)
  const links =
    line.last === undefined || last === undefined
      ? line.links
      : HashMap.set(line.links, line.last, { ...last, next: id })
  return {
    first: line.first ?? id,
    last: id,
    size: line.size + 1,
    links: HashMap.set(links, id, { prev: line.last, next: undefined, at })
  }
}

const remove = (line: Line, id: TaskId): Line => {
  const link = linkOf(line, id)
  if (link === undefined) return line
  const { prev, next } = link
  let links = HashMap.remove(line.links, id)
  if (prev !== undefined) links = HashMap.modify(links, prev, (other) => ({ ...other, next }))
  if (next !== undefined) links = HashMap.modify(links, next, (other) => ({ ...other, prev }))
  return {
    first: prev === undefined ? next : line.first,
    last: next === undefined ? prev : line.last,
    size: line.size - 1,
    links
  }
}

/** Puts an entry in, or in the place of the one that is there (`before`). */
export const set = <V extends Entry>(self: Roster<V>, before: V | undefined, entry: V): Roster<V> => {
  const { taskId, endedAt, lastEventAt } = entry
  const tasks = HashMap.set(self.tasks, taskId, entry)
  const hasEnded = endedAt !== undefined
  if (before !== undefined && hasEnded === (before.endedAt !== undefined)) {
    return { tasks, order: self.order }
  }
  let { live, ended } = self.order
  if (before !== undefined) {
    live = remove(live, taskId)
    ended = remove(ended, taskId)
  }
  if (hasEnded) ended = append(ended, taskId, endedAt)
  else live = append(live, taskId, lastEventAt ?? -Infinity)
  return { tasks, order: { live, ended } }
}

/**
 * Lets go of what the limits do not allow, and gives each such entry to
 * `onDrop`. `newest` is the task that the event was about.
 */
export const trim = <V extends Entry>(
  self: Roster<V>,
  limits: Limits,
  at: number,
  newest: TaskId | undefined,
  onDrop: (entry: V) => void
): Roster<V> => {
  let { tasks } = self
  let { live, ended } = self.order
  const drop = (id: TaskId): void => {
    const entry = HashMap.get(tasks, id)
    tasks = HashMap.remove(tasks, id)
    if (entry._tag === "Some") onDrop(entry.value)
  }
  while (ended.first !== undefined) {
    const id = ended.first
    const endedAt = linkOf(ended, id)?.at ?? at
    const isOver = ended.size > limits.maxEnded || ended.size + live.size > limits.maxTasks
    if (!isOver && endedAt + limits.endedTimeToLive > at) break
    ended = remove(ended, id)
    drop(id)
  }
  while (live.first !== undefined && live.size + ended.size > limits.maxTasks) {
    const id = live.first
    const entry = HashMap.get(tasks, id)
    const heardAt = entry._tag === "Some" ? entry.value.lastEventAt : undefined
    const since = linkOf(live, id)?.at ?? -Infinity
    live = remove(live, id)
    if (id === newest) live = append(live, id, since)
    else if (heardAt !== undefined && heardAt > since) live = append(live, id, heardAt)
    else drop(id)
  }
  return tasks === self.tasks ? self : { tasks, order: { live, ended } }
}

/** The entries of a line, in its order. */
export const entriesOf = <V extends Entry>(self: Roster<V>, which: keyof Order): Array<V> => {
  const line = self.order[which]
  const entries: Array<V> = []
  for (let id = line.first; id !== undefined; id = linkOf(line, id)?.next) {
    const entry = HashMap.get(self.tasks, id)
    if (entry._tag === "Some") entries.push(entry.value)
  }
  return entries
}
