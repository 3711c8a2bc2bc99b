/**
 * Whose output one consumer of everything gets: that of each task from the
 * moment it is first seen in an update, until a while after it ended.
 * Synchronous, no Effect, no clock.
 */
import type { TaskUpdated } from "../../ServerMessage.ts"
import type { TaskId } from "../../TaskId.ts"
import * as Expiry from "./expiry.ts"
import type { Timed } from "./timers.ts"

/** How many tasks are remembered that are over. */
const maxOver = 10_000

export interface Options {
  /** The statuses that end a task. */
  readonly terminal: ReadonlySet<string>
  /** How long a task that has ended stays. */
  readonly endedMillis: number
  readonly onFound: (taskId: TaskId) => void
  readonly onGone: (taskId: TaskId, now: number) => void
}

export interface Discovery {
  readonly observe: (update: TaskUpdated, now: number) => void
  /** Lets the tasks go that have ended long enough ago. */
  readonly sweep: (now: number) => void
  /** When `sweep` has something to do next. */
  readonly next: () => number | undefined
  /** Lets every task go. */
  readonly clear: (now: number) => void
}

export const make = ({ endedMillis, onFound, onGone, terminal }: Options): Discovery => {
  const found = new Set<TaskId>()
  const ended = Expiry.make<TaskId>(endedMillis)
  // The tasks that were over when they were last heard of: an update that has no status does not make them new ones. A set,
  // since the `Recent` of the operators would take the client past its 12 KiB.
  const over = new Set<TaskId>()

  const remember = (taskId: TaskId): void => {
    over.delete(taskId)
    over.add(taskId)
    if (over.size <= maxOver) return
    for (const oldest of over) {
      over.delete(oldest)
      return
    }
  }

  return {
    observe({ status, taskId }, now) {
      const isOver = status === undefined ? over.has(taskId) : terminal.has(status)
      if (isOver) remember(taskId)
      else over.delete(taskId)
      if (!found.has(taskId)) {
        // One that had ended when it was first seen has nothing more to say.
        if (isOver) return
        found.add(taskId)
        onFound(taskId)
      } else if (status !== undefined) {
        if (isOver) ended.schedule(taskId, now)
        else ended.cancel(taskId)
      }
    },
    sweep(now) {
      for (const taskId of ended.due(now)) {
        found.delete(taskId)
        onGone(taskId, now)
      }
    },
    next: ended.next,
    clear(now) {
      for (const taskId of found) onGone(taskId, now)
      found.clear()
    }
  }
}

/** Discoveries that are swept together. */
export interface DiscoverySet extends Timed {
  readonly add: (discovery: Discovery) => void
  readonly delete: (discovery: Discovery) => void
}

export const makeSet = (): DiscoverySet => {
  const set = new Set<Discovery>()
  return {
    add: (discovery) => void set.add(discovery),
    delete: (discovery) => void set.delete(discovery),
    next: () => {
      const next = Math.min(...[...set].map((each) => each.next() ?? Infinity))
      return next === Infinity ? undefined : next
    },
    sweep: (now) => set.forEach((each) => each.sweep(now))
  }
}
