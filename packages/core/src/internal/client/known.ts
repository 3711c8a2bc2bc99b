/**
 * The tasks that a client knows: the newest status of each task, from every update
 * that the client has routed to any consumer. Discoveries use it, and a new
 * discovery starts from it. Synchronous: the caller passes the time, in which it is
 * connected.
 *
 * - A task is suspect from the start of a connection, or of a subscription of all
 *   updates, until its next message: its end may have been lost before.
 * - The update with the highest version decides; an update without a version counts
 *   as newer. Versions are only compared since the task became suspect, because a server
 *   that was restored may count from a lower one.
 * - At most `maxTasks` tasks are remembered. A task without an update for long is removed
 *   first.
 */
import { defaultMaxTasks } from "../queue/recent.ts"
import type { Restated } from "../../MeshEvent.ts"
import type { TaskUpdated } from "../../ServerMessage.ts"
import type { TaskId } from "../../TaskId.ts"

/** The state of a task. */
export interface Task {
  readonly version: number | undefined
  readonly status: string | undefined
  /** The number of its last update. */
  readonly seen: number
}

export interface Known {
  /** How many tasks are remembered at most. */
  maxTasks: number
  /** Records an update. Returns its task, or `undefined` if a newer update is known. */
  readonly observe: (update: TaskUpdated | Restated, number: number) => Task | undefined
  /** Records output of a task: the task is not suspect any more. */
  readonly touch: (taskId: TaskId) => void
  /** The task does not exist any more. */
  readonly remove: (taskId: TaskId) => void
  /** All updates are received from now on, and were not before: every task becomes suspect. */
  readonly resumed: (now: number) => void
  readonly tasks: ReadonlyMap<TaskId, Task>
  /** The time since which tasks are suspect, the earliest first. */
  readonly suspects: ReadonlyMap<TaskId, number>
}

interface Entry extends Task {
  version: number | undefined
  status: string | undefined
  seen: number
  /** `seen` when it was appended to the table. */
  appendedAt: number
}

export const make = (): Known => {
  const tasks = new Map<TaskId, Entry>()
  const suspects = new Map<TaskId, number>()

  const remove = (taskId: TaskId): void => {
    tasks.delete(taskId)
    suspects.delete(taskId)
  }

  /**
   * Removes the first task that had no update since it was appended, and appends those before it again. Moving a task only
   * here is several times cheaper than moving it at every update.
   */
  const removeOldest = (): void => {
    for (const [taskId, task] of tasks) {
      if (task.seen === task.appendedAt) return remove(taskId)
      task.appendedAt = task.seen
      tasks.delete(taskId)
      tasks.set(taskId, task)
    }
  }

  const self: Known = {
    maxTasks: defaultMaxTasks,
    tasks,
    suspects,
    observe({ status, taskId, version }, seen) {
      const task = tasks.get(taskId)
      if (task === undefined) {
        const added = { version, status, seen, appendedAt: seen }
        if (tasks.size >= self.maxTasks) removeOldest()
        tasks.set(taskId, added)
        return added
      }
      self.touch(taskId)
      task.seen = seen
      if (version !== undefined && task.version !== undefined && version < task.version) return undefined
      task.version = version ?? task.version
      task.status = status ?? task.status
      return task
    },
    touch(taskId) {
      if (suspects.size > 0) suspects.delete(taskId)
    },
    remove,
    resumed(now) {
      for (const [taskId, task] of tasks) {
        task.version = undefined
        if (!suspects.has(taskId)) suspects.set(taskId, now)
      }
    }
  }
  return self
}
