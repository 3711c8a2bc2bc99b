/**
 * Whose output one consumer of everything gets: that of each task from the
 * moment it is first seen in an update, until a while after it ended.
 * Synchronous, no Effect, no clock.
 */
import type { TaskUpdated } from "../ServerMessage.ts"
import type { TaskId } from "../TaskId.ts"
import * as Expiry from "./expiry.ts"

export interface Options {
  /** The statuses that end a task. */
  readonly terminal: ReadonlySet<string>
  /** How long a task that has ended stays. */
  readonly lingerMillis: number
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

export const make = ({ lingerMillis, onFound, onGone, terminal }: Options): Discovery => {
  const found = new Set<TaskId>()
  const ended = Expiry.make<TaskId>(lingerMillis)

  return {
    observe({ status, taskId }, now) {
      const over = status !== undefined && terminal.has(status)
      if (!found.has(taskId)) {
        // One that had ended when it was first seen has nothing more to say.
        if (over) return
        found.add(taskId)
        onFound(taskId)
      } else if (over) {
        ended.schedule(taskId, now)
      } else if (status !== undefined) {
        ended.cancel(taskId)
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
