/** The infinite sequence of messages of `Workload.endless`. */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Result from "effect/Result"
import { encodeFrame, type TaskOutput, type TaskUpdated } from "@makima-stream/core/ServerMessage"
import type { TaskId } from "@makima-stream/core/TaskId"
import type * as Random from "../random.ts"
import type { Message, OutputBody } from "./history.ts"
import * as Text from "./text.ts"

/** A task, and the version of its last update. */
interface Task {
  readonly taskId: TaskId
  version: number
}

export function* make(random: Random.Random, taskIds: NonEmptyReadonlyArray<TaskId>): Generator<Message> {
  const [first, ...others] = taskIds.map((taskId): Task => ({ taskId, version: 0 }))
  if (first === undefined) return
  const tasks: NonEmptyReadonlyArray<Task> = [first, ...others]
  const outputs = (body: OutputBody) => outputsOf(random, tasks, body)
  const round = [
    outputs({ messageType: "assistant", content: "" }),
    outputs({ messageType: "tool_use", content: "", toolName: "Bash", toolInput: { command: "test" } }),
    outputs({ messageType: "tool_result", content: "", toolName: "Bash" }),
    outputs({ messageType: "assistant", content: "", isPartial: true }),
    () => update(random, tasks)
  ]
  while (true) for (const next of round) yield next()
}

const update = (random: Random.Random, tasks: NonEmptyReadonlyArray<Task>): TaskUpdated => {
  const task = Text.pick(random, tasks)
  return {
    _tag: "TaskUpdated",
    taskId: task.taskId,
    version: ++task.version,
    status: Text.pick(random, ["running", "paused", "blocked"]),
    updatedFields: ["status", "progressSummary", "lastOutputAt"],
    updatedBy: "supervisor"
  }
}

/** Makes outputs that are alike, each a frame of 170 to 250 bytes. */
const outputsOf = (random: Random.Random, tasks: NonEmptyReadonlyArray<Task>, body: OutputBody): (() => TaskOutput) => {
  const overhead = frameSize({ _tag: "TaskOutput", taskId: tasks[0].taskId, ...body })
  return () => {
    const content = Text.makeAscii(random, () => 170 + random.below(81) - overhead)
    return { _tag: "TaskOutput", taskId: Text.pick(random, tasks).taskId, ...body, content }
  }
}

const frameSize = (message: Message): number => Result.getOrThrow(encodeFrame(message)).length
