/** Messages of the server, for the tests of the command and of the examples. */
import type * as ServerMessage from "@makima-stream/core/ServerMessage"
import type * as TaskId from "@makima-stream/core/TaskId"

export const update = (taskId: TaskId.TaskId, status: string, version?: number): ServerMessage.TaskUpdated => ({
  _tag: "TaskUpdated",
  taskId,
  status,
  ...(version === undefined ? {} : { version })
})

export const said = (taskId: TaskId.TaskId, content: string, messageType = "assistant"): ServerMessage.TaskOutput => ({
  _tag: "TaskOutput",
  taskId,
  messageType,
  content
})

export const result = (taskId: TaskId.TaskId, costUsd: number): ServerMessage.TaskOutput => ({
  _tag: "TaskOutput",
  taskId,
  messageType: "result",
  content: "ok",
  costUsd,
  durationMs: 1000
})
