/**
 * Tracks which tasks are live, from the updates that the client has seen:
 * `everything()` follows these. A task is live from its first update with a status
 * that does not end it, until `endedMillis` after an update with a status that does.
 * Synchronous: the caller passes the time in, and requests or releases the output in
 * `onFound` and `onGone`.
 *
 * - The update with the highest version decides whether a task has ended. A late
 *   older update changes nothing; an update without a version counts as newer.
 *   Versions are only compared within a connection, because a server that was
 *   restored may count from a lower one.
 * - The end of a task may be lost while there is no connection. So after a
 *   reconnect every live task is suspect until its next message. A task that stays
 *   suspect for `staleMillis` of connected time is forgotten. Its next update makes
 *   it live again.
 * - At most `maxTasks` tasks are live, and at most as many ended tasks are
 *   remembered. The task that was silent for longest is removed first.
 *
 * If `n` tasks are really live, and the ends of `k` tasks were lost within
 * `staleMillis` of connected time, then at most `n + k` tasks are followed, in
 * addition to those that ended less than `endedMillis` ago.
 */
import type { TaskUpdated } from "../../ServerMessage.ts"
import type { TaskId } from "../../TaskId.ts"
import * as Expiry from "./expiry.ts"
import type { Task } from "./known.ts"
import type { DiscoverySettings } from "./options.ts"
import type { Timed } from "./timers.ts"

/** Why a task is no longer followed. */
export type Gone = "ended" | "stale" | "evicted"

export interface Options {
  readonly settings: DiscoverySettings
  /** Called when a task becomes live. */
  readonly onFound: (taskId: TaskId) => void
  /** Called when a task is no longer live. */
  readonly onGone: (taskId: TaskId, why: Gone, now: number) => void
}

export interface Discovery extends Timed {
  /** Adds a task that the client knows. Must be called first with the task that has been suspect for longest. */
  readonly adopt: (taskId: TaskId, known: Task, now: number) => void
  /** Records an update. Returns whether it makes its task live. */
  readonly observe: (update: TaskUpdated, now: number) => boolean
  /** Records output of a task. Returns whether the task is live. */
  readonly touch: (taskId: TaskId) => boolean
  readonly isLive: (taskId: TaskId) => boolean
  readonly live: () => Iterable<TaskId>
  readonly size: () => number
  /** A connection has opened. */
  readonly connected: (now: number) => void
  /** The connection has ended. */
  readonly disconnected: (now: number) => void
}

/** A live task. */
interface Live {
  version: number | undefined
  /** Whether the newest update has a status that ends the task. */
  hasEnded: boolean
  /** Whether its end may have been lost. */
  isSuspect: boolean
  /** The number of the last message of the task. Numbers count the messages of all tasks. */
  lastSeen: number
}

export const make = ({ onFound, onGone, settings }: Options): Discovery => {
  const { endedMillis, isTerminal, maxTasks, staleMillis } = settings
  const live = new Map<TaskId, Live>()
  const ended = Expiry.make<TaskId>(endedMillis)
  /** The versions of tasks that have ended and are no longer live, the oldest first. */
  const over = new Map<TaskId, number | undefined>()
  /** Due times are in connected time. */
  const suspects = Expiry.make<TaskId>(staleMillis)
  let seen = 0
  /** The connected time before `connectedSince`. */
  let connectedBefore = 0
  let connectedSince: number | undefined

  const connectedTime = (now: number): number =>
    connectedSince === undefined ? connectedBefore : connectedBefore + now - connectedSince

  const forget = (taskId: TaskId): Live | undefined => {
    const task = live.get(taskId)
    live.delete(taskId)
    ended.cancel(taskId)
    suspects.cancel(taskId)
    return task
  }

  const rememberEnd = (taskId: TaskId, version: number | undefined): void => {
    over.delete(taskId)
    over.set(taskId, version)
    if (over.size <= maxTasks) return
    for (const oldest of over.keys()) {
      over.delete(oldest)
      return
    }
  }

  const evictSilent = (now: number): void => {
    let silent: TaskId | undefined
    let lastSeen = Infinity
    for (const [taskId, task] of live) {
      if (task.lastSeen < lastSeen) {
        silent = taskId
        lastSeen = task.lastSeen
      }
    }
    if (silent === undefined) return
    forget(silent)
    onGone(silent, "evicted", now)
  }

  const clearSuspicion = (taskId: TaskId, task: Live): void => {
    task.lastSeen = ++seen
    if (!task.isSuspect) return
    task.isSuspect = false
    suspects.cancel(taskId)
  }

  const isOlder = (version: number | undefined, than: number | undefined): boolean =>
    version !== undefined && than !== undefined && version < than

  const observeLive = (task: Live, { status, taskId, version }: TaskUpdated, now: number): void => {
    clearSuspicion(taskId, task)
    if (isOlder(version, task.version)) return
    task.version = version ?? task.version
    if (status === undefined) return
    task.hasEnded = isTerminal(status)
    if (task.hasEnded) ended.schedule(taskId, now)
    else ended.cancel(taskId)
  }

  const observeUnknown = ({ status, taskId, version }: TaskUpdated, now: number): boolean => {
    if (over.has(taskId)) {
      const lastVersion = over.get(taskId)
      if (isOlder(version, lastVersion)) return false
      // An update without a status does not show whether the task has ended.
      if (status === undefined || isTerminal(status)) {
        rememberEnd(taskId, version ?? lastVersion)
        return false
      }
      over.delete(taskId)
    } else if (status !== undefined && isTerminal(status)) {
      rememberEnd(taskId, version)
      return false
    }
    follow(taskId, version, false, now)
    return true
  }

  const follow = (taskId: TaskId, version: number | undefined, isSuspect: boolean, now: number): void => {
    if (live.size >= maxTasks) evictSilent(now)
    live.set(taskId, { version, hasEnded: false, isSuspect, lastSeen: ++seen })
    onFound(taskId)
  }

  return {
    adopt(taskId, { status, suspectMillis, version }, now) {
      if (status !== undefined && isTerminal(status)) return rememberEnd(taskId, version)
      if (suspectMillis !== undefined) {
        if (suspectMillis >= staleMillis) return
        suspects.schedule(taskId, connectedTime(now) - suspectMillis)
      }
      follow(taskId, version, suspectMillis !== undefined, now)
    },
    observe(update, now) {
      const task = live.get(update.taskId)
      if (task === undefined) return observeUnknown(update, now)
      observeLive(task, update, now)
      return false
    },
    touch(taskId) {
      const task = live.get(taskId)
      if (task === undefined) return false
      clearSuspicion(taskId, task)
      return true
    },
    isLive: (taskId) => live.has(taskId),
    live: () => live.keys(),
    size: () => live.size,
    connected(now) {
      connectedSince = now
      const time = connectedTime(now)
      for (const [taskId, task] of live) {
        task.version = undefined
        if (task.isSuspect || task.hasEnded) continue
        task.isSuspect = true
        suspects.schedule(taskId, time)
      }
      for (const taskId of over.keys()) over.set(taskId, undefined)
    },
    disconnected(now) {
      connectedBefore = connectedTime(now)
      connectedSince = undefined
    },
    next: () =>
      connectedSince === undefined
        ? ended.next()
        : Math.min(ended.next(), suspects.next() - connectedBefore + connectedSince),
    sweep(now) {
      for (const taskId of ended.due(now)) {
        rememberEnd(taskId, forget(taskId)?.version)
        onGone(taskId, "ended", now)
      }
      if (connectedSince === undefined) return
      for (const taskId of suspects.due(connectedTime(now))) {
        forget(taskId)
        onGone(taskId, "stale", now)
      }
    }
  }
}
