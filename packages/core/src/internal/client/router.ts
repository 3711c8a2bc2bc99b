/**
 * Finds the consumers of an event. Routing is by task: the cost of an event depends
 * on the consumers of its task, not on all consumers. Synchronous, no Effect.
 */
import type { Interest } from "../../Interest.ts"
import type { TaskId } from "../../TaskId.ts"
import type { Key } from "../session/subscriptions.ts"

export interface Router<C> {
  /** Routes the events of an interest to a consumer. */
  readonly add: (consumer: C, interest: Interest) => void
  readonly remove: (consumer: C, interest: Interest) => void
  /** The tasks whose updates have their own consumers. */
  readonly tasks: () => Iterable<TaskId>
  /** Calls `visit` with each consumer of a key: the updates or the output of a task, or all updates without a task. */
  readonly visitKey: (kind: Key["kind"], taskId: TaskId | undefined, visit: (consumer: C) => void) => void
  /** Calls `visit` with each consumer of an update. Allocates nothing. `visit` must not add or remove consumers. */
  readonly visitUpdate: (taskId: TaskId, visit: (consumer: C) => void) => void
}

type Table<C> = Map<TaskId | undefined, C | Set<C>>

// Most tasks have one consumer, which is stored in the table directly. With ten thousand tasks, a set for each would cause
// a cache miss for every event.
export const make = <C extends object>(): Router<C> => {
  // All updates have the key `undefined`.
  const updates: Table<C> = new Map()
  const output: Table<C> = new Map()

  const put = (table: Table<C>, taskId: TaskId | undefined, consumer: C): void => {
    const present = table.get(taskId)
    if (present === undefined) table.set(taskId, consumer)
    else if (present instanceof Set) present.add(consumer)
    else if (present !== consumer) table.set(taskId, new Set([present, consumer]))
  }

  const take = (table: Table<C>, taskId: TaskId | undefined, consumer: C): void => {
    const present = table.get(taskId)
    if (present === consumer) table.delete(taskId)
    else if (present instanceof Set && present.delete(consumer) && present.size === 0) table.delete(taskId)
  }

  const visitTask = (table: Table<C>, taskId: TaskId | undefined, visit: (consumer: C) => void): void => {
    if (table.size === 0) return
    const present = table.get(taskId)
    if (present === undefined) return
    if (present instanceof Set) present.forEach(visit)
    else visit(present)
  }

  /** Makes a function that changes the entries of each key of an interest. */
  const forKeys =
    (change: typeof put) =>
    (consumer: C, interest: Interest): void => {
      // A consumer of all updates is not in the table of single tasks, so it receives each update once.
      for (const taskId of interest.all ? [undefined] : interest.updates) change(updates, taskId, consumer)
      for (const taskId of interest.output) change(output, taskId, consumer)
    }

  return {
    add: forKeys(put),
    remove: forKeys(take),
    tasks: () => Array.from(updates.keys()).filter((taskId) => taskId !== undefined),
    visitKey: (kind, taskId, visit) => visitTask(kind === "output" ? output : updates, taskId, visit),
    visitUpdate(taskId, visit) {
      visitTask(updates, undefined, visit)
      visitTask(updates, taskId, visit)
    }
  }
}
