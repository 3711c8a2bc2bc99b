/**
 * A persistent queue of tasks from which any task can be removed: a doubly linked
 * list whose links are entries of a map. Each operation takes a constant number of
 * map operations.
 */
import * as HashMap from "effect/HashMap"
import type { TaskId } from "../../TaskId.ts"

export interface Line {
  readonly first: TaskId | undefined
  readonly last: TaskId | undefined
  readonly size: number
  readonly links: HashMap.HashMap<TaskId, Link>
}

interface Link {
  readonly prev: TaskId | undefined
  readonly next: TaskId | undefined
  /** A time that the owner of the line stores with the task. */
  readonly at: number
}

export const empty: Line = { first: undefined, last: undefined, size: 0, links: HashMap.empty() }

const linkOf = (line: Line, id: TaskId): Link | undefined => {
  const found = HashMap.get(line.links, id)
  return found._tag === "Some" ? found.value : undefined
}

/** The time that was stored with a task. */
export const timeOf = (line: Line, id: TaskId): number | undefined => linkOf(line, id)?.at

export const append = (line: Line, id: TaskId, at: number): Line => {
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

export const remove = (line: Line, id: TaskId): Line => {
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

/** The tasks with their times, first to last. */
export const toArray = (line: Line): Array<readonly [taskId: TaskId, at: number]> => {
  const tasks: Array<readonly [TaskId, number]> = []
  for (let id = line.first; id !== undefined;) {
    const link = linkOf(line, id)
    tasks.push([id, link?.at ?? 0])
    id = link?.next
  }
  return tasks
}
