/**
 * Finds the consumers of an event. Routing is by task: the cost of an event depends
 * on the consumers of its task, not on all consumers. Synchronous, no Effect.
 */
import type { Interest } from "../../Interest.ts"
import type { MeshEvent } from "../../MeshEvent.ts"
import type { TaskOutput } from "../../ServerMessage.ts"
import type { TaskId } from "../../TaskId.ts"

/** What a consumer receives. Lifecycle elements go to all consumers. */
export interface Route {
  readonly interest: Interest
  /** Whether it receives messages that name no task (`ServerError`, `UnknownMessage`). */
  readonly untargeted: boolean
}

export interface Router<C> {
  readonly add: (consumer: C, route: Route) => void
  readonly remove: (consumer: C, route: Route) => void
  /** The tasks whose updates have their own consumers. */
  readonly updateTasks: () => Iterable<TaskId>
  /** Calls `visit` with each consumer of a key: the updates or the output of a task, or all updates. */
  readonly visitKey: (kind: "updates" | "output", taskId: TaskId | undefined, visit: (consumer: C) => void) => void
  /** Calls `visit` with each consumer of an event that is not output. Allocates nothing. `visit` must not add or remove consumers. */
  readonly visit: (event: Exclude<MeshEvent, TaskOutput>, visit: (consumer: C) => void) => void
  /** All consumers. */
  readonly consumers: ReadonlySet<C>
}

// Most tasks have one consumer, which is stored in the table directly. With ten thousand tasks, a set for each would cause
// a cache miss for every event.
export const make = <C extends object>(): Router<C> => {
  const consumers = new Set<C>()
  const untargeted = new Set<C>()
  const allUpdates = new Set<C>()
  const updates = new Map<TaskId, C | Set<C>>()
  const output = new Map<TaskId, C | Set<C>>()

  const put = (table: Map<TaskId, C | Set<C>>, taskId: TaskId, consumer: C): void => {
    const present = table.get(taskId)
    if (present === undefined) table.set(taskId, consumer)
    else if (present instanceof Set) present.add(consumer)
    else if (present !== consumer) table.set(taskId, new Set([present, consumer]))
  }

  const take = (table: Map<TaskId, C | Set<C>>, taskId: TaskId, consumer: C): void => {
    const present = table.get(taskId)
    if (present === consumer) table.delete(taskId)
    else if (present instanceof Set && present.delete(consumer) && present.size === 0) table.delete(taskId)
  }

  const visitTask = (table: Map<TaskId, C | Set<C>>, taskId: TaskId, visit: (consumer: C) => void): void => {
    if (table.size === 0) return
    const present = table.get(taskId)
    if (present === undefined) return
    if (present instanceof Set) present.forEach(visit)
    else visit(present)
  }

  return {
    consumers,
    add(consumer, route) {
      consumers.add(consumer)
      if (route.untargeted) untargeted.add(consumer)
      // A consumer of all updates is not in the table of single tasks, so it receives each update once.
      if (route.interest.all) allUpdates.add(consumer)
      else for (const taskId of route.interest.updates) put(updates, taskId, consumer)
      for (const taskId of route.interest.output) put(output, taskId, consumer)
    },
    remove(consumer, route) {
      consumers.delete(consumer)
      untargeted.delete(consumer)
      allUpdates.delete(consumer)
      for (const taskId of route.interest.updates) take(updates, taskId, consumer)
      for (const taskId of route.interest.output) take(output, taskId, consumer)
    },
    updateTasks: () => updates.keys(),
    visitKey(kind, taskId, visit) {
      if (taskId === undefined) allUpdates.forEach(visit)
      else visitTask(kind === "updates" ? updates : output, taskId, visit)
    },
    visit(event, visit) {
      switch (event._tag) {
        case "TaskUpdated":
        case "Restated":
          if (allUpdates.size > 0) allUpdates.forEach(visit)
          visitTask(updates, event.taskId, visit)
          break
        case "ServerError":
        case "UnknownMessage":
          untargeted.forEach(visit)
          break
        case "Connected":
        case "Disconnected":
        case "Resync":
        case "Repaired":
        case "RepairFailed":
          consumers.forEach(visit)
      }
    }
  }
}
