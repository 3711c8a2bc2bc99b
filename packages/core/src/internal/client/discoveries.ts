/**
 * The tasks whose output each consumer of everything follows. A consumer follows a
 * task from its first update, unless its newest status ends it, until `endedMillis`
 * after an update with such a status. A late consumer starts with the tasks that the
 * client knows.
 *
 * - The end of a task may be lost while there is no connection. So after a
 *   reconnect every followed task is suspect until its next message. A task that stays
 *   suspect for `staleMillis` of connected time is forgotten. Its next update makes
 *   the consumer follow it again.
 * - At most `maxTasks` tasks are followed. The task that was silent for longest is
 *   removed first.
 *
 * If `n` tasks are really live, and the ends of `k` tasks were lost within
 * `staleMillis` of connected time, then at most `n + k` tasks are followed, in
 * addition to those that ended less than `endedMillis` ago.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as MeshMetrics from "../../MeshMetrics.ts"
import type { Restated } from "../../MeshEvent.ts"
import type { TaskSnapshot } from "../../Repair.ts"
import type { TaskUpdated } from "../../ServerMessage.ts"
import type { TaskId } from "../../TaskId.ts"
import * as ReadingClock from "../session/readingClock.ts"
import * as Known from "./known.ts"
import type { DiscoverySettings } from "./options.ts"
import type { Sweep } from "./timers.ts"
import { arrived } from "../time.ts"

export interface Options<C> {
  readonly now: () => number
  readonly wakeAt: (time: number) => void
  readonly context: Context.Context<never>
  /** Called when a consumer begins to follow a task. */
  readonly onFound: (taskId: TaskId) => void
  /** Called when a consumer no longer follows a task. */
  readonly onGone: (consumer: C, taskId: TaskId) => void
}

export interface Discoveries<C> {
  /** Adds a consumer, which follows every live task that is known. */
  readonly join: (consumer: C, settings: DiscoverySettings) => void
  readonly leave: (consumer: C) => void
  /** The tasks that a consumer of everything follows. */
  readonly tasksOf: (consumer: C) => Iterable<TaskId> | undefined
  /** Records an update, even without consumers. Returns the consumers that begin to follow its task. */
  readonly observe: (update: TaskUpdated | Restated) => ReadonlyArray<C>
  /** A repair has fetched a snapshot. The tasks that it lists without an end are not suspect any more. */
  readonly reported: (snapshot: ReadonlyArray<TaskSnapshot>) => void
  /** Records output of a task. */
  readonly touch: (taskId: TaskId) => void
  /** Whether there is a consumer of everything. */
  readonly isFollowing: () => boolean
  /** All updates are received from now on, and were not before. */
  readonly resumed: () => void
  readonly connected: () => void
  readonly disconnected: () => void
  /** The router waits for a consumer, and reads nothing. */
  readonly pause: () => void
  /** The router reads again. */
  readonly resume: () => void
  readonly sweep: Sweep
}

/** A task that a consumer follows. */
interface Followed {
  /** The number of its last message. Numbers count the messages of all tasks. */
  seen: number
  /** When it is no longer followed because it has ended. `Infinity` unless it has. */
  endsAt: number
  /** When it is no longer followed because it is suspect, in connected time. `Infinity` unless it is. */
  staleAt: number
}

interface Discovery extends DiscoverySettings {
  readonly tasks: Map<TaskId, Followed>
}

export const make = <C>({ context, now, onFound, onGone, wakeAt }: Options<C>): Discoveries<C> => {
  const discoveries = new Map<C, Discovery>()
  const known = Known.make()
  /** The times of ends are measured on this clock: what has arrived is read before it goes on. */
  const reading = ReadingClock.make(now)
  /** The times of silence are measured on this clock. */
  const connected = ReadingClock.make(reading.now)
  let isReading = true
  let isConnected = false
  let seen = 0
  /** When a task may be due, in reading time. */
  let checkAt = Infinity
  reading.start()

  /** Requests a sweep. While nothing is read, `resume` does that. */
  const check = (time: number): void => {
    checkAt = Math.min(checkAt, time)
    if (isReading) wakeAt(checkAt - reading.now() + now())
  }

  const record = (): void => {
    let size = 0
    for (const { tasks } of discoveries.values()) size = Math.max(size, tasks.size)
    MeshMetrics.discoveredTasks.updateUnsafe(size, context)
  }

  /** Ends following a task. `why` says that this was not because the task has ended. */
  const remove = (consumer: C, { tasks }: Discovery, taskId: TaskId, why?: "stale" | "evicted"): void => {
    tasks.delete(taskId)
    if (why !== undefined) MeshMetrics.recordForgotten(why, context)
    onGone(consumer, taskId)
    record()
  }

  const evictSilent = (consumer: C, discovery: Discovery): void => {
    let silent: TaskId | undefined
    let least = Infinity
    for (const [taskId, { seen }] of discovery.tasks) {
      if (seen < least) {
        silent = taskId
        least = seen
      }
    }
    if (silent !== undefined) remove(consumer, discovery, silent, "evicted")
  }

  const follow = (consumer: C, discovery: Discovery, taskId: TaskId, { seen }: Known.Task, staleAt: number): void => {
    const { maxTasks, tasks } = discovery
    if (tasks.size >= maxTasks) evictSilent(consumer, discovery)
    tasks.set(taskId, { seen, endsAt: Infinity, staleAt })
    onFound(taskId)
    record()
  }

  /** Records a message of a task. */
  const touch = ({ tasks }: Discovery, taskId: TaskId): Followed | undefined => {
    const task = tasks.get(taskId)
    if (task !== undefined) {
      task.seen = ++seen
      task.staleAt = Infinity
    }
    return task
  }

  const hasEnded = ({ isTerminal }: Discovery, status: string | undefined): boolean =>
    status !== undefined && isTerminal(status)

  /** Removes the tasks that are due, and requests the next sweep. */
  const removeDue = (): void => {
    const time = reading.now()
    // Without a connection, no task becomes stale.
    const sinceConnected = isConnected ? time - connected.now() : Infinity
    let next = Infinity
    for (const [consumer, discovery] of discoveries) {
      for (const [taskId, { endsAt, staleAt }] of discovery.tasks) {
        const due = Math.min(endsAt, staleAt + sinceConnected)
        if (due > time) next = Math.min(next, due)
        else remove(consumer, discovery, taskId, endsAt > time ? "stale" : undefined)
      }
    }
    checkAt = Infinity
    check(next)
  }

  return {
    join(consumer, settings) {
      const discovery = { ...settings, tasks: new Map() }
      discoveries.set(consumer, discovery)
      known.maxTasks = Math.max(known.maxTasks, settings.maxTasks)
      for (const [taskId, task] of known.tasks) {
        const staleAt = (known.suspects.get(taskId) ?? Infinity) + settings.staleMillis
        if (!hasEnded(discovery, task.status) && staleAt > connected.now()) {
          follow(consumer, discovery, taskId, task, staleAt)
        }
      }
      removeDue()
    },
    leave(consumer) {
      discoveries.delete(consumer)
      record()
    },
    tasksOf: (consumer) => discoveries.get(consumer)?.tasks.keys(),
    observe(update) {
      const { status, taskId } = update
      const isGone = update._tag === "Restated" && update.gone === true
      const task = known.observe(update, ++seen)
      if (isGone) known.remove(taskId)
      const found: Array<C> = []
      for (const [consumer, discovery] of discoveries) {
        const followed = touch(discovery, taskId)
        if (isGone || (task !== undefined && hasEnded(discovery, task.status))) {
          // An update without a status does not end the task again.
          if (followed === undefined || (status === undefined && !isGone)) continue
          followed.endsAt = reading.now() + discovery.endedMillis
          check(followed.endsAt)
        } else if (task !== undefined) {
          if (followed !== undefined) {
            followed.endsAt = Infinity
          } else {
            follow(consumer, discovery, taskId, task, Infinity)
            found.push(consumer)
          }
        }
      }
      return found
    },
    reported(snapshot) {
      for (const { status, taskId } of snapshot) {
        let isLive = discoveries.size === 0
        for (const discovery of discoveries.values()) {
          if (hasEnded(discovery, status)) continue
          touch(discovery, taskId)
          isLive = true
        }
        if (isLive) known.touch(taskId)
      }
    },
    touch(taskId) {
      known.touch(taskId)
      for (const discovery of discoveries.values()) touch(discovery, taskId)
    },
    isFollowing: () => discoveries.size > 0,
    resumed: () => known.resumed(connected.now()),
    connected() {
      connected.start()
      isConnected = true
      const time = connected.now()
      known.resumed(time)
      for (const { staleMillis, tasks } of discoveries.values()) {
        for (const task of tasks.values()) {
          if (task.endsAt === Infinity && task.staleAt === Infinity) task.staleAt = time + staleMillis
        }
      }
      removeDue()
    },
    disconnected() {
      connected.stop()
      isConnected = false
    },
    pause() {
      reading.stop()
      isReading = false
    },
    resume() {
      isReading = true
      reading.start()
      check(checkAt)
    },
    sweep() {
      if (reading.now() < checkAt) return check(checkAt)
      // If the process was suspended, its timers run before its sockets are read.
      return Effect.map(arrived, () => {
        if (isReading) removeDue()
      })
    }
  }
}
