/**
 * Which of the tasks that a client knows are live: `everything()` follows these. A
 * task is live from its first update, unless its newest status ends it, until
 * `endedMillis` after an update with such a status. Synchronous: the caller passes
 * the time in, and requests or releases the output in `onFound` and `onGone`.
 *
 * - The end of a task may be lost while there is no connection. So after a
 *   reconnect every live task is suspect until its next message. A task that stays
 *   suspect for `staleMillis` of connected time is forgotten. Its next update makes
 *   it live again.
 * - At most `maxTasks` tasks are live. The task that was silent for longest is
 *   removed first.
 *
 * If `n` tasks are really live, and the ends of `k` tasks were lost within
 * `staleMillis` of connected time, then at most `n + k` tasks are followed, in
 * addition to those that ended less than `endedMillis` ago.
 */
import type { Restated } from "../../MeshEvent.ts"
import type { TaskUpdated } from "../../ServerMessage.ts"
import type { TaskId } from "../../TaskId.ts"
import * as Expiry from "./expiry.ts"
import type { Known, Task } from "./known.ts"
import type { DiscoverySettings } from "./options.ts"
import type { Timed } from "./timers.ts"

/** Why a task is no longer followed. */
export type Gone = "ended" | "stale" | "evicted"

export interface Options {
  readonly settings: DiscoverySettings
  readonly known: Known
  /** Called when a task becomes live. */
  readonly onFound: (taskId: TaskId) => void
  /** Called when a task is no longer live. */
  readonly onGone: (taskId: TaskId, why: Gone, now: number) => void
}

export interface Discovery extends Timed {
  /**
   * Takes an update, and what is known of its task after it; `undefined` for an
   * update that is not the newest. Returns whether it makes its task live.
   */
  readonly observe: (update: TaskUpdated | Restated, task: Task | undefined, now: number) => boolean
  /** The task does not exist any more. */
  readonly end: (taskId: TaskId, now: number) => void
  /** Records output of a task. Returns whether the task is live. */
  readonly touch: (taskId: TaskId) => boolean
  readonly isLive: (taskId: TaskId) => boolean
  readonly live: () => Iterable<TaskId>
  readonly size: () => number
  /** A connection has opened. */
  readonly connected: (now: number) => void
  /** Follows the live tasks that the client knows. */
  readonly adoptKnown: (now: number) => void
}

export const make = ({ known, onFound, onGone, settings }: Options): Discovery => {
  const { endedMillis, isTerminal, maxTasks, staleMillis } = settings
  /** The live tasks, with the number of their last message. Numbers count the messages of all tasks. */
  const live = new Map<TaskId, number>()
  const ended = Expiry.make<TaskId>(endedMillis)
  /** Due times are in connected time. */
  const suspects = Expiry.make<TaskId>(staleMillis)
  let seen = 0

  const remove = (taskId: TaskId, why: Gone, now: number): void => {
    live.delete(taskId)
    ended.cancel(taskId)
    suspects.cancel(taskId)
    onGone(taskId, why, now)
  }

  const evictSilent = (now: number): void => {
    let silent: TaskId | undefined
    let least = Infinity
    for (const [taskId, lastSeen] of live) {
      if (lastSeen < least) {
        silent = taskId
        least = lastSeen
      }
    }
    if (silent !== undefined) remove(silent, "evicted", now)
  }

  const hasEnded = ({ status }: Task): boolean => status !== undefined && isTerminal(status)

  const follow = (taskId: TaskId, now: number): void => {
    if (live.size >= maxTasks) evictSilent(now)
    live.set(taskId, ++seen)
    onFound(taskId)
  }

  const touch = (taskId: TaskId): boolean => {
    if (!live.has(taskId)) return false
    live.set(taskId, ++seen)
    suspects.cancel(taskId)
    return true
  }

  const adoptKnown = (now: number): void => {
    for (const [taskId, since] of known.suspects) {
      const task = known.get(taskId)
      if (task === undefined || hasEnded(task) || known.connectedTime(now) - since >= staleMillis) continue
      follow(taskId, now)
      suspects.schedule(taskId, since)
    }
    for (const task of known.tasks()) {
      if (!known.suspects.has(task.taskId) && !hasEnded(task)) follow(task.taskId, now)
    }
  }

  return {
    adoptKnown,
    observe({ status, taskId }, task, now) {
      const isLive = touch(taskId)
      if (task === undefined) return false
      if (!hasEnded(task)) {
        ended.cancel(taskId)
        if (!isLive) follow(taskId, now)
        return !isLive
      }
      // An update without a status does not end the task again.
      if (isLive && status !== undefined) ended.schedule(taskId, now)
      return false
    },
    end(taskId, now) {
      if (live.has(taskId)) ended.schedule(taskId, now)
    },
    touch,
    isLive: (taskId) => live.has(taskId),
    live: () => live.keys(),
    size: () => live.size,
    connected(now) {
      const time = known.connectedTime(now)
      for (const taskId of live.keys()) {
        if (!ended.has(taskId) && !suspects.has(taskId)) suspects.schedule(taskId, time)
      }
    },
    next: () => Math.min(ended.next(), known.timeAt(suspects.next())),
    sweep(now) {
      for (const taskId of ended.due(now)) remove(taskId, "ended", now)
      for (const taskId of suspects.due(known.connectedTime(now))) remove(taskId, "stale", now)
    }
  }
}
