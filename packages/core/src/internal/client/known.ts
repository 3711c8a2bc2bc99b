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
 * - At most `maxTasks` tasks are remembered. The task without an update for longest
 *   is removed first.
 */
import { defaultMaxTasks } from "../queue/recent.ts"
import type { Restated } from "../../MeshEvent.ts"
import type { TaskUpdated } from "../../ServerMessage.ts"
import type { TaskId } from "../../TaskId.ts"

/** The state of a task. */
export interface Task {
  readonly taskId: TaskId
  readonly version: number | undefined
  readonly status: string | undefined
}

export interface Known {
  /** How many tasks are remembered at most. */
  maxTasks: number
  /** Records an update. Returns its task, or `undefined` if a newer update is known. */
  readonly observe: (update: TaskUpdated | Restated) => Task | undefined
  /** Records output of a task: the task is not suspect any more. */
  readonly touch: (taskId: TaskId) => void
  /** The task does not exist any more. */
  readonly remove: (taskId: TaskId) => undefined
  /** All updates are received from now on, and were not before: every task becomes suspect. */
  readonly resumed: (now: number) => void
  /** The tasks, by their last update. */
  readonly tasks: () => Iterable<Task>
  /** The time since which tasks are suspect, the earliest first. */
  readonly suspects: ReadonlyMap<TaskId, number>
}

/**
 * A task in the list of all tasks. Moving it to the end of a linked list is several times cheaper than moving it in a
 * `Map`, and happens for every update.
 */
interface Entry extends Task {
  version: number | undefined
  status: string | undefined
  before: Entry
  after: Entry
}

/** A list is a ring. It starts and ends at an entry that is no task. */
const makeRing = (): Entry => {
  // The links are set before it is returned, which the type of a literal cannot say.
  const ring = { taskId: "" as TaskId, version: undefined, status: undefined } as Entry
  ring.before = ring.after = ring
  return ring
}

const unlink = ({ after, before }: Entry): void => {
  before.after = after
  after.before = before
}

export const make = (): Known => {
  const byId = new Map<TaskId, Entry>()
  const ring = makeRing()
  const suspects = new Map<TaskId, number>()

  const append = (entry: Entry): void => {
    const last = ring.before
    entry.before = last
    entry.after = ring
    last.after = ring.before = entry
  }

  const remove = (taskId: TaskId): undefined => {
    const entry = byId.get(taskId)
    if (entry === undefined) return undefined
    unlink(entry)
    byId.delete(taskId)
    suspects.delete(taskId)
    return undefined
  }

  function* tasks(): Iterable<Entry> {
    for (let entry = ring.after; entry !== ring; entry = entry.after) yield entry
  }

  const self: Known = {
    maxTasks: defaultMaxTasks,
    tasks,
    suspects,
    observe({ status, taskId, version }) {
      let entry = byId.get(taskId)
      if (entry === undefined) {
        entry = { taskId, version, status, before: ring, after: ring }
        byId.set(taskId, entry)
        append(entry)
        if (byId.size > self.maxTasks) remove(ring.after.taskId)
        return entry
      }
      if (suspects.size > 0) suspects.delete(taskId)
      unlink(entry)
      append(entry)
      if (version !== undefined && entry.version !== undefined && version < entry.version) return undefined
      entry.version = version ?? entry.version
      entry.status = status ?? entry.status
      return entry
    },
    touch(taskId) {
      if (suspects.size > 0) suspects.delete(taskId)
    },
    remove,
    resumed(now) {
      for (const entry of tasks()) {
        entry.version = undefined
        if (!suspects.has(entry.taskId)) suspects.set(entry.taskId, now)
      }
    }
  }
  return self
}
