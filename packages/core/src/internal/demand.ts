/**
 * How many consumers want each key of the wire. The first one in asks for it,
 * the last one out gives it up after an idle time-to-live, and those in between
 * cost nothing on the wire. Synchronous, no Effect, no clock.
 */
import type { Interest } from "../Interest.ts"
import type { TaskId } from "../TaskId.ts"
import * as Expiry from "./expiry.ts"
import type { Subscriptions } from "./subscriptions.ts"

export interface Demand {
  readonly acquire: (interest: Interest) => void
  readonly release: (interest: Interest, now: number) => void
  readonly acquireOutput: (taskId: TaskId) => void
  readonly releaseOutput: (taskId: TaskId, now: number) => void
  /** Gives up what nobody has wanted for the time-to-live. */
  readonly sweep: (now: number) => void
  /** When `sweep` has something to do next. */
  readonly next: () => number | undefined
}

interface Key {
  readonly kind: "all" | "updates" | "output"
  readonly taskId: TaskId | undefined
  count: number
}

export const make = (subscriptions: Subscriptions, idleMillis: number): Demand => {
  const all: Key = { kind: "all", taskId: undefined, count: 0 }
  const updates = new Map<TaskId, Key>()
  const output = new Map<TaskId, Key>()
  const idle = Expiry.make<Key>(idleMillis)

  const mapOf = (kind: "updates" | "output"): Map<TaskId, Key> => (kind === "updates" ? updates : output)

  const acquireKey = (key: Key): void => {
    key.count++
    if (key.count > 1) return
    idle.cancel(key)
    subscriptions.setWanted(key.kind, key.taskId, true)
  }

  const acquireTask = (kind: "updates" | "output", taskId: TaskId): void => {
    const keys = mapOf(kind)
    let key = keys.get(taskId)
    if (key === undefined) {
      key = { kind, taskId, count: 0 }
      keys.set(taskId, key)
    }
    acquireKey(key)
  }

  const releaseKey = (key: Key | undefined, now: number): void => {
    if (key === undefined || key.count === 0) return
    key.count--
    if (key.count === 0) idle.schedule(key, now)
  }

  const giveUp = (key: Key): void => {
    subscriptions.setWanted(key.kind, key.taskId, false)
    if (key.kind !== "all" && key.taskId !== undefined) mapOf(key.kind).delete(key.taskId)
  }

  return {
    acquire(interest) {
      if (interest.all) acquireKey(all)
      for (const taskId of interest.updates) acquireTask("updates", taskId)
      for (const taskId of interest.output) acquireTask("output", taskId)
    },
    release(interest, now) {
      if (interest.all) releaseKey(all, now)
      for (const taskId of interest.updates) releaseKey(updates.get(taskId), now)
      for (const taskId of interest.output) releaseKey(output.get(taskId), now)
    },
    acquireOutput: (taskId) => acquireTask("output", taskId),
    releaseOutput: (taskId, now) => releaseKey(output.get(taskId), now),
    sweep: (now) => idle.due(now).forEach(giveUp),
    next: idle.next
  }
}
