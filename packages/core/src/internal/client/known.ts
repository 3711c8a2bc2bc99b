/**
 * The tasks that a client knows: the newest status of each task, from every update
 * that the client has routed to any consumer. A consumer of everything that joins
 * late starts from here. Synchronous: the caller passes the time in.
 *
 * - The update with the highest version decides. Versions are only compared within
 *   a connection, because a server that was restored may count from a lower one.
 * - A task is suspect from the start of a connection, or of a subscription of all
 *   updates, until its next message: its end may have been lost before. Suspicion
 *   is measured in connected time.
 * - At most `maxTasks` tasks are remembered, and an eighth more between two
 *   evictions. Those without an update for longest go first.
 */
import { defaultMaxTasks } from "../queue/recent.ts"
import type { TaskUpdated } from "../../ServerMessage.ts"
import type { TaskId } from "../../TaskId.ts"

/** What is known of a task. */
export interface Task {
  readonly version: number | undefined
  readonly status: string | undefined
  /** For how much connected time it has been suspect, in milliseconds; `undefined` if it is not. */
  readonly suspectMillis: number | undefined
}

export interface Known {
  /** Notes an update. */
  readonly observe: (update: TaskUpdated) => void
  /** Notes output of a task, which shows that it lives. */
  readonly touch: (taskId: TaskId) => void
  /** All updates are received from now on, and were not before: every task becomes suspect. */
  readonly resumed: (now: number) => void
  /** A connection has opened. */
  readonly connected: (now: number) => void
  /** The connection has ended. */
  readonly disconnected: (now: number) => void
  /** Every task, the one that has been suspect for longest first. */
  readonly tasks: (now: number) => ReadonlyArray<readonly [TaskId, Task]>
}

interface Entry {
  version: number | undefined
  status: string | undefined
  /** On the clock of connected time. */
  suspectSince: number | undefined
  /** Grows with each update of any task. */
  lastSeen: number
}

export const make = (maxTasks: number = defaultMaxTasks): Known => {
  const entries = new Map<TaskId, Entry>()
  let seen = 0
  let suspects = 0
  /** Connected time up to `connectedSince`, and when it goes on. */
  let connectedBefore = 0
  let connectedSince: number | undefined

  const connectedTime = (now: number): number =>
    connectedSince === undefined ? connectedBefore : connectedBefore + now - connectedSince

  const clearSuspicion = (entry: Entry): void => {
    if (entry.suspectSince === undefined) return
    entry.suspectSince = undefined
    suspects--
  }

  /** Removes many at once: each removal would search for the oldest. */
  const evict = (): void => {
    const oldestFirst = [...entries].sort(([, a], [, b]) => a.lastSeen - b.lastSeen)
    for (const [taskId, entry] of oldestFirst.slice(0, oldestFirst.length - maxTasks)) {
      clearSuspicion(entry)
      entries.delete(taskId)
    }
  }

  const self: Known = {
    observe({ status, taskId, version }) {
      const entry = entries.get(taskId)
      if (entry === undefined) {
        entries.set(taskId, { version, status, suspectSince: undefined, lastSeen: ++seen })
        if (entries.size > maxTasks + maxTasks / 8) evict()
        return
      }
      entry.lastSeen = ++seen
      clearSuspicion(entry)
      if (version !== undefined) {
        if (entry.version !== undefined && version < entry.version) return
        entry.version = version
      }
      if (status !== undefined) entry.status = status
    },
    touch(taskId) {
      if (suspects === 0) return
      const entry = entries.get(taskId)
      if (entry !== undefined) clearSuspicion(entry)
    },
    resumed(now) {
      const time = connectedTime(now)
      for (const entry of entries.values()) entry.suspectSince ??= time
      suspects = entries.size
    },
    connected(now) {
      connectedSince = now
      self.resumed(now)
      for (const entry of entries.values()) entry.version = undefined
    },
    disconnected(now) {
      connectedBefore = connectedTime(now)
      connectedSince = undefined
    },
    tasks(now) {
      const time = connectedTime(now)
      return Array.from(entries, ([taskId, { status, suspectSince, version }]) => {
        const suspectMillis = suspectSince === undefined ? undefined : time - suspectSince
        return [taskId, { version, status, suspectMillis }] as const
      }).sort(([, a], [, b]) => (b.suspectMillis ?? 0) - (a.suspectMillis ?? 0))
    }
  }
  return self
}
