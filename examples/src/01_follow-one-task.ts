/**
 * Follows one task: prints the text of its agent, line by line, until the task ends.
 *
 *     MAKIMA_API_KEY=… node examples/src/01_follow-one-task.ts <task id>
 *
 * Shows a separate connection (`MeshStream.connect`), and operators that turn
 * events into text. Use it for a log, a terminal, or any program that follows one
 * agent.
 *
 * It reconnects when the connection is lost. The server replays nothing, so the
 * output of that time is missing. The program marks the place.
 */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Interest from "@makima-stream/core/Interest"
import * as MeshStream from "@makima-stream/core/MeshStream"
import * as TaskId from "@makima-stream/core/TaskId"
import * as NodeMeshSocket from "@makima-stream/node/NodeMeshSocket"
import * as Program from "@makima-stream/cli/Program"
import { isGap } from "./support/gap.ts"

/** The line at a place where output may be missing. */
export const gap = "[… something may be missing here …]"

/** The lines of one task, until it ends. Needs a `Socket`. */
export const lines = (taskId: TaskId.TaskId) =>
  // The updates are needed too, because they show when the task ends.
  MeshStream.connect({ interest: Interest.task(taskId) }).pipe(
    MeshStream.untilTerminal(taskId),
    MeshStream.lines({ keep: "resync" }),
    Stream.filter((line) => line._tag === "TaskLine" || isGap(line)),
    Stream.map((line) => (line._tag === "TaskLine" ? line.text : gap))
  )

/** The command line of this program. */
export const command = Command.make(
  "follow-one-task",
  { taskId: Argument.String("task-id").pipe(Argument.withSchema(TaskId.TaskId)) },
  ({ taskId }) =>
    lines(taskId).pipe(
      Stream.runForEach((line) => Console.log(line)),
      Effect.provide(NodeMeshSocket.layerConfig())
    )
).pipe(Command.withDescription("Prints the text of a task's agent until the task ends"))

if (Program.isMain(import.meta)) Program.main(command)
