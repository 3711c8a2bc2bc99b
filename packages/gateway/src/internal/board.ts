/** The board of the gateway: what it knows of the tasks. */
import * as Option from "effect/Option"
import * as TaskBoard from "@makima-stream/core/TaskBoard"
import * as TaskId from "@makima-stream/core/TaskId"
import * as TaskState from "@makima-stream/core/TaskState"
import type { MeshEvent } from "@makima-stream/core/MeshEvent"
import { Message } from "./messages.ts"

export interface Board {
  readonly take: (batch: ReadonlyArray<MeshEvent>, at: number) => void
  /** All tasks, as JSON. */
  readonly list: () => unknown
  /** One task with its last output, as JSON; `undefined` if it is not known. */
  readonly get: (taskId: string) => unknown
  /** What is known of one task, or of all, as elements. Only of tasks with a version, because others may be older than the feed. */
  readonly restated: (taskId: TaskId.TaskId | undefined) => Array<Message>
  readonly size: () => number
}

export const make = (options?: TaskBoard.Options): Board => {
  let board = TaskBoard.make(options)
  const states = (): Array<TaskState.TaskState> => [...TaskBoard.live(board), ...TaskBoard.ended(board)]
  return {
    take(batch, at) {
      board = TaskBoard.fold(board, batch, at)
    },
    list: () => ({ ...completeness(board), tasks: states().map(row) }),
    get(taskId) {
      if (taskId === "") return undefined
      const state = Option.getOrUndefined(TaskBoard.get(board, TaskId.make(taskId)))
      return state === undefined ? undefined : { ...row(state), ...detail(state) }
    },
    restated: (taskId) =>
      (taskId === undefined ? states() : Option.toArray(TaskBoard.get(board, taskId))).flatMap(restate),
    size: () => board.size
  }
}

const completeness = ({ updatesCompleteSince }: { readonly updatesCompleteSince?: number }) =>
  updatesCompleteSince === undefined ? {} : { updatesCompleteSince }

/** A row, with the members of a `TaskSnapshot`. The type of `JSON.stringify` leaves absent members out. */
const row = (state: TaskState.TaskState) => ({
  taskId: state.taskId,
  version: state.version,
  status: state.status,
  costUsd: state.costUsd,
  durationMs: state.durationMs,
  live: TaskState.isLive(state),
  gone: state.gone,
  runs: state.runs,
  firstEventAt: state.firstEventAt,
  lastEventAt: state.lastEventAt,
  startedAt: state.startedAt,
  endedAt: state.endedAt,
  updateGaps: state.updateGaps,
  outputGaps: state.outputGaps,
  ...completeness(state),
  outputCompleteSince: state.outputCompleteSince
})

const detail = ({ counts, lastOutput, lastOutputTruncated, partials }: TaskState.TaskState) => ({
  counts: Object.fromEntries(counts),
  partials,
  lastOutput: lastOutput === undefined ? undefined : (({ _tag, ...members }) => members)(lastOutput),
  lastOutputTruncated
})

const restate = ({ gone, status, taskId, version }: TaskState.TaskState): Array<Message> =>
  version === undefined
    ? []
    : [
        new Message({
          _tag: "Restated",
          taskId,
          version,
          ...(status === undefined ? {} : { status }),
          ...(gone === undefined ? {} : { gone })
        })
      ]
