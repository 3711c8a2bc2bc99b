/**
 * The tasks that a client knows: the newest status of each task, from every update
 * that the client has routed to any consumer. Discoveries use it, and a new
 * discovery starts from it. Synchronous: the caller passes the time.
 *
 * - The update with the highest version decides; an update without a version counts
 *   as newer. Versions are only compared within a connection, because a server that
 *   was restored may count from a lower one.
 * - A task is suspect from the start of a connection, or of a subscription of all
 *   updates, until its next message: its end may have been lost before. Suspicion
 *   is measured in connected time.
 * - At most `maxTasks` tasks are remembered. The task without an update for longest
 *   is removed first.
 */
import { defaultMaxTasks } from "../queue/recent.ts"
import type { Restated } from "../../MeshEvent.ts"
import type { TaskUpdated } from "../../ServerMessage.ts"
import type { TaskId } from "../../TaskId.ts"

/** The state of a task. */
export interface Task {
  version: number | undefined
  status: string | undefined
}

export interface Known {
  /** How many tasks are remembered at most. */
  maxTasks: number
  /** Records an update. Returns its task, or `undefined` if a newer update is known. */
  readonly observe: (update: TaskUpdated | Restated) => Readonly<Task> | undefined
  /** Records output of a task: the task is not suspect any more. */
  readonly touch: (taskId: TaskId) => void
  /** The task does not exist any more. */
  readonly remove: (taskId: TaskId) => void
  /** All updates are received from now on, and were not before: every task becomes suspect. */
  readonly resumed: (now: number) => void
  /** A connection has opened. */
  readonly connected: (now: number) => void
  /** The connection has ended. */
  readonly disconnected: (now: number) => void
  /** The connected time at `now`. */
  readonly connectedTime: (now: number) => number
  /** The `now` at which a connected time is reached; `Infinity` without a connection. */
  readonly timeAt: (connectedTime: number) => number
  /** The tasks, by their last update. */
  readonly tasks: ReadonlyMap<TaskId, Readonly<Task>>
  /** The connected time since which tasks are suspect, the earliest first. */
  readonly suspects: ReadonlyMap<TaskId, number>
}

export const make = (): Known => {
  const tasks = new Map<TaskId, Task>()
  const suspects = new Map<TaskId, number>()
  /** The connected time before `connectedSince`, which is `Infinity` without a connection. */
  let connectedBefore = 0
  let connectedSince = Infinity

  const connectedTime = (now: number): number => connectedBefore + Math.max(0, now - connectedSince)

  const self: Known = {
    maxTasks: defaultMaxTasks,
    tasks,
    suspects,
    connectedTime,
    timeAt: (time) => time - connectedBefore + connectedSince,
    observe({ status, taskId, version }) {
      const task = tasks.get(taskId) ?? { version: undefined, status: undefined }
      const isOlder = version !== undefined && task.version !== undefined && version < task.version
      if (!isOlder) {
        task.version = version ?? task.version
        task.status = status ?? task.status
      }
      suspects.delete(taskId)
      // Deleting first moves the task to the end.
      tasks.delete(taskId)
      tasks.set(taskId, task)
      if (tasks.size > self.maxTasks) {
        for (const [oldest] of tasks) {
          tasks.delete(oldest)
          suspects.delete(oldest)
          break
        }
      }
      return isOlder ? undefined : task
    },
    touch: (taskId) => void suspects.delete(taskId),
    remove(taskId) {
      tasks.delete(taskId)
      suspects.delete(taskId)
    },
    resumed(now) {
      const time = connectedTime(now)
      for (const taskId of tasks.keys()) if (!suspects.has(taskId)) suspects.set(taskId, time)
    },
    connected(now) {
      connectedSince = now
      self.resumed(now)
      for (const task of tasks.values()) task.version = undefined
    },
    disconnected(now) {
      connectedBefore = connectedTime(now)
      connectedSince = Infinity
    }
  }
  return self
}
