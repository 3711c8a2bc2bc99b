/**
 * The tasks that the page knows. Core's `TaskBoard` and `CostLedger` fold the feed. This module adds what only a page needs:
 * when a task was last active, and what the gateway knew of it before this page was opened.
 */
import * as CostLedger from "@makima-stream/core/CostLedger"
import type { MeshEvent } from "@makima-stream/core/MeshEvent"
import type { TaskOutput } from "@makima-stream/core/ServerMessage"
import * as TaskBoard from "@makima-stream/core/TaskBoard"
import type { TaskId } from "@makima-stream/core/TaskId"
import type * as TaskState from "@makima-stream/core/TaskState"

/** A task as the gateway lists it. */
export interface Listed {
  readonly taskId: TaskId
  readonly costUsd: number
  readonly firstEventAt?: number
  readonly lastEventAt?: number
  readonly startedAt?: number
  readonly endedAt?: number
}

/** The last output of a task. */
export type LastOutput = Pick<TaskOutput, "messageType" | "content" | "toolName"> & { readonly toolInput?: unknown }

/** One task of the board. Times are in milliseconds since 1970. */
export interface Task {
  readonly taskId: TaskId
  /** The newest status; empty if none is known. */
  readonly status: string
  readonly version: number | undefined
  readonly isLive: boolean
  /** The task does not exist any more. */
  readonly isGone: boolean
  /** When the task first appeared. */
  readonly since: number | undefined
  readonly endedAt: number | undefined
  /** When its last update or output arrived. */
  readonly activeAt: number | undefined
  readonly costUsd: number
  readonly runs: number
  readonly updateGaps: number
  readonly outputGaps: number
  readonly lastOutput: LastOutput | undefined
}

/** What the page has seen of a task itself. */
interface Seen {
  activeAt: number | undefined
  lastOutput: LastOutput | undefined
  /** Grows when something changes that core's state does not contain. */
  version: number
}

/** A task, and what it was made of besides core's state. */
interface Cached {
  readonly task: Task
  readonly listed: Listed | undefined
  readonly version: number
}

export interface Board {
  /** Folds a batch that arrived at `at`. */
  readonly fold: (batch: ReadonlyArray<MeshEvent>, at: number) => void
  /** Takes over what the gateway lists. */
  readonly list: (tasks: ReadonlyArray<Listed>, at: number) => void
  /** Sets the last output of a task, unless the page itself has received a later one. */
  readonly said: (taskId: TaskId, output: LastOutput) => void
  /** All tasks, unordered. A task that has not changed is the same object. */
  readonly tasks: () => ReadonlyArray<Task>
  readonly get: (taskId: string) => Task | undefined
  /** The cost of all tasks in US dollars. */
  readonly totalUsd: () => number
  /** Whether results may be missing, so that the cost is a lower bound. */
  readonly isLowerBound: () => boolean
}

/** How long an ended task stays on the board. */
const endedTimeToLive = "1 day"

export const make = (): Board => {
  let board = TaskBoard.make({ endedTimeToLive, maxEnded: 5000 })
  let ledger = CostLedger.make()
  const seen = new Map<TaskId, Seen>()
  const listed = new Map<TaskId, Listed>()
  const cache = new WeakMap<TaskState.TaskState, Cached>()

  const seenOf = (taskId: TaskId): Seen => {
    const known = seen.get(taskId)
    if (known !== undefined) return known
    const made: Seen = { activeAt: undefined, lastOutput: undefined, version: 0 }
    seen.set(taskId, made)
    return made
  }

  const taskOf = (state: TaskState.TaskState): Task => {
    const base = listed.get(state.taskId)
    const cached = cache.get(state)
    const own = seen.get(state.taskId)
    const version = own?.version ?? 0
    if (cached !== undefined && cached.listed === base && cached.version === version) return cached.task
    const task: Task = {
      taskId: state.taskId,
      status: state.status ?? "",
      version: state.version,
      isLive: state.endedAt === undefined,
      isGone: state.gone === true,
      since: least(base?.startedAt ?? base?.firstEventAt, state.startedAt ?? state.firstEventAt),
      endedAt: state.endedAt === undefined ? undefined : (least(base?.endedAt, state.endedAt) ?? state.endedAt),
      activeAt: own?.activeAt ?? base?.lastEventAt ?? state.lastEventAt,
      costUsd: state.costUsd,
      runs: state.runs,
      updateGaps: state.updateGaps,
      outputGaps: state.outputGaps,
      lastOutput: own?.lastOutput ?? state.lastOutput
    }
    cache.set(state, { task, listed: base, version })
    return task
  }

  const apply = (batch: ReadonlyArray<MeshEvent>, at: number): void => {
    board = TaskBoard.fold(board, batch, at)
    ledger = CostLedger.fold(ledger, batch, at)
  }

  return {
    fold(batch, at) {
      for (const event of batch) {
        if (event._tag !== "TaskUpdated" && event._tag !== "TaskOutput") continue
        const own = seenOf(event.taskId)
        own.activeAt = at
        if (event._tag === "TaskOutput") own.lastOutput = event
      }
      apply(batch, at)
      if (seen.size > maxSeen || listed.size > maxSeen) forget([seen, listed], board)
    },
    list(tasks, at) {
      for (const task of tasks) listed.set(task.taskId, task)
      // A repair restates a task only if its version is newer, but the cost may have changed without a new version.
      apply(
        tasks
          .filter(({ costUsd }) => costUsd > 0)
          .map(({ costUsd, taskId }) => ({ _tag: "Restated", taskId, costUsd }) as const),
        at
      )
    },
    said(taskId, output) {
      const own = seenOf(taskId)
      if (own.lastOutput !== undefined) return
      own.lastOutput = output
      own.version++
    },
    tasks: () => [...TaskBoard.live(board), ...TaskBoard.ended(board)].map(taskOf),
    get(taskId) {
      // An id in the address of the page may be of any task.
      const state = TaskBoard.get(board, taskId as TaskId)
      return state._tag === "Some" ? taskOf(state.value) : undefined
    },
    totalUsd: () => ledger.totalUsd,
    isLowerBound: () => ledger.outputGaps > 0 || ledger.updateGaps > 0
  }
}

/** More than the board keeps, so that this happens seldom. */
const maxSeen = 20_000

/** Drops what is known of tasks that the board has evicted. */
const forget = (known: ReadonlyArray<Map<TaskId, unknown>>, board: TaskBoard.TaskBoard): void => {
  for (const tasks of known) {
    for (const taskId of tasks.keys()) if (TaskBoard.get(board, taskId)._tag === "None") tasks.delete(taskId)
  }
}

const least = (a: number | undefined, b: number | undefined): number | undefined =>
  a === undefined ? b : b === undefined ? a : Math.min(a, b)
