/**
 * Events of each kind, and filters with the operators that they equal.
 */
import type * as Stream from "effect/Stream"
import type { MeshEvent, Resync } from "@makima-stream/core/MeshEvent"
import * as MeshStream from "@makima-stream/core/MeshStream"
import * as TaskId from "@makima-stream/core/TaskId"
import type * as MeshLog from "@makima-stream/log/MeshLog"

export const mark = (reason: Resync["reason"], taskId?: TaskId.TaskId): MeshEvent => ({
  _tag: "Resync",
  epoch: 1,
  reason,
  ...(taskId === undefined ? {} : { taskId })
})

/** Events of each kind, with marks of one task and of all tasks. */
export const mixed: ReadonlyArray<MeshEvent> = [
  { _tag: "Connected", epoch: 1, at: 0 },
  mark({ _tag: "Started" }),
  { _tag: "TaskUpdated", taskId: TaskId.make("a"), version: 1, status: "running" },
  { _tag: "TaskUpdated", taskId: TaskId.make("b"), version: 1, status: "running" },
  mark({ _tag: "Subscribed", kind: "output" }, TaskId.make("a")),
  mark({ _tag: "Subscribed", kind: "output" }, TaskId.make("b")),
  { _tag: "TaskOutput", taskId: TaskId.make("a"), messageType: "assistant", content: "1" },
  { _tag: "TaskOutput", taskId: TaskId.make("b"), messageType: "tool_use", content: "2", toolName: "x" },
  { _tag: "ServerError", code: "X", message: "" },
  { _tag: "UnknownMessage", raw: { type: "new" } },
  { _tag: "TaskOutput", taskId: TaskId.make("not a token: é/."), messageType: "ü.>*", content: "3" },
  { _tag: "Restated", taskId: TaskId.make("a"), version: 2, status: "done" },
  { _tag: "TaskOutput", taskId: TaskId.make("a"), messageType: "result", content: "4", costUsd: 0.5 },
  mark({ _tag: "Reconnected", downMillis: 5 }),
  { _tag: "TaskUpdated", taskId: TaskId.make("a"), version: 2, status: "done" }
]

/** Filters, and the operators that they equal. */
export const filters: ReadonlyArray<
  readonly [MeshLog.Filter, (events: Stream.Stream<MeshEvent>) => Stream.Stream<MeshEvent>]
> = ([undefined, "resync", "lifecycle"] as const).flatMap((keep) => {
  const a = TaskId.make("a")
  const odd = TaskId.make("not a token: é/.")
  const types = ["assistant", "result", "ü.>*"]
  const isA = (id: string) => id === "a"
  const all: ReadonlyArray<readonly [MeshLog.Filter, (events: Stream.Stream<MeshEvent>) => Stream.Stream<MeshEvent>]> =
    [
      [{ tasks: a, keep }, MeshStream.filterTask(a, { keep })],
      [{ tasks: [a, odd], keep }, MeshStream.filterTask([a, odd], { keep })],
      [{ tasks: isA, keep }, MeshStream.filterTask(isA, { keep })],
      [{ tasks: [], keep }, MeshStream.filterTask([], { keep })],
      [{ kind: "updates", keep }, MeshStream.updatesOnly({ keep })],
      [{ kind: "output", keep }, MeshStream.outputOnly({ keep })],
      [{ messageTypes: "result", keep }, MeshStream.filterMessageType("result", { keep })],
      [{ messageTypes: types, keep }, MeshStream.filterMessageType(types, { keep })],
      [
        { tasks: a, kind: "updates", keep },
        (events) => events.pipe(MeshStream.filterTask(a, { keep }), MeshStream.updatesOnly({ keep }))
      ],
      [
        { tasks: [a, odd], messageTypes: types, keep },
        (events) =>
          events.pipe(MeshStream.filterTask([a, odd], { keep }), MeshStream.filterMessageType(types, { keep }))
      ],
      [
        { kind: "updates", messageTypes: types, keep },
        (events) => events.pipe(MeshStream.updatesOnly({ keep }), MeshStream.filterMessageType(types, { keep }))
      ]
    ]
  return all
})
