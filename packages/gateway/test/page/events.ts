/** Events for the models of the page. */
import type { MeshEvent, Repaired, ResyncReason } from "@makima-stream/core/MeshEvent"
import * as MeshError from "@makima-stream/core/MeshError"
import type { TaskOutput, TaskUpdated } from "@makima-stream/core/ServerMessage"
import * as TaskId from "@makima-stream/core/TaskId"

export const id = TaskId.make

export const updated = (task: string, status: string, version?: number, updatedBy?: string): TaskUpdated => ({
  _tag: "TaskUpdated",
  taskId: id(task),
  status,
  ...(version === undefined ? {} : { version }),
  ...(updatedBy === undefined ? {} : { updatedBy })
})

export const output = (task: string, messageType: string, content: string, rest?: Partial<TaskOutput>): TaskOutput => ({
  _tag: "TaskOutput",
  taskId: id(task),
  messageType,
  content,
  ...rest
})

export const said = (task: string, content: string): TaskOutput => output(task, "assistant", content)

export const result = (task: string, costUsd: number): TaskOutput =>
  output(task, "result", "ok", { costUsd, durationMs: 900 })

export const mark = (reason: ResyncReason, task?: string): MeshEvent => ({
  _tag: "Resync",
  epoch: 1,
  reason,
  ...(task === undefined ? {} : { taskId: id(task) })
})

export const started = mark({ _tag: "Started" })

export const reconnected = (downMillis: number): MeshEvent => mark({ _tag: "Reconnected", downMillis })

export const lost = (at: number): MeshEvent => ({
  _tag: "Disconnected",
  epoch: 1,
  opened: true,
  attempt: 1,
  reason: new MeshError.ConnectionClosed({ code: 1006 }),
  retryInMillis: 1000,
  at
})

export const repaired = (changes?: Partial<Repaired>): MeshEvent => ({
  _tag: "Repaired",
  epoch: 1,
  reasons: ["Reconnected"],
  restated: 0,
  unconfirmed: 0,
  absent: 0,
  open: 0,
  ...changes
})
