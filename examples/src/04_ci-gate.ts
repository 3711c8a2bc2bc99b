/**
 * A gate for CI: waits until a task has ended, and exits with a code for its status.
 *
 *     MAKIMA_API_KEY=… node examples/src/04_ci-gate.ts <task id> --timeout "30 minutes"
 *
 * | exit code | meaning |
 * | --- | --- |
 * | 0 | the task succeeded (`done`, `completed`, `merged`) |
 * | 1 | it did not succeed (`failed`, `interrupted`, `cancelled`) |
 * | 2 | the command line is wrong, or `MAKIMA_API_KEY` is missing |
 * | 3 | unknown: the time is up, or the feed could not be followed |
 *
 * Shows a stream that ends with its first answer, and typed failures that become
 * exit codes. Use it where a script must wait for an agent.
 *
 * The server sends changes, not the current state. The gate does not see the end of a
 * task that ended before the gate started or while the connection was down. That is why
 * there is a time limit.
 */
import * as Console from "effect/Console"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Runtime from "effect/Runtime"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Interest from "@makima-stream/core/Interest"
import * as MeshStream from "@makima-stream/core/MeshStream"
import * as TaskId from "@makima-stream/core/TaskId"
import * as TaskStatus from "@makima-stream/core/TaskStatus"
import * as NodeMeshSocket from "@makima-stream/node/NodeMeshSocket"
import * as Program from "@makima-stream/cli/Program"

/** The task ended without success. */
export class TaskFailed extends Data.TaggedError("TaskFailed")<{ readonly message: string }> {
  override readonly [Runtime.errorExitCode] = 1
}

/** It is not known how the task ended. */
export class NoVerdict extends Data.TaggedError("NoVerdict")<{ readonly message: string }> {
  override readonly [Runtime.errorExitCode] = 3
}

/** Returns the final status of the task if it succeeded within the time limit. Needs a `Socket`. */
export const gate = Effect.fnUntraced(function* (taskId: TaskId.TaskId, timeout: Duration.Duration) {
  const status = yield* MeshStream.connect({ interest: Interest.updates(taskId) }).pipe(
    MeshStream.filterStatus(TaskStatus.defaultTerminal),
    Stream.map((update) => update.status),
    Stream.runHead,
    Effect.flatMap(Effect.fromOption),
    Effect.timeout(timeout),
    Effect.catchTags({
      MeshError: (error) => new NoVerdict({ message: error.message }),
      NoSuchElementError: () => new NoVerdict({ message: "The feed ended" }),
      TimeoutError: () => new NoVerdict({ message: `Task ${taskId} did not end within ${Duration.format(timeout)}` })
    })
  )
  return TaskStatus.isFailed(status) ? yield* new TaskFailed({ message: `Task ${taskId} is ${status}` }) : status
})

/** The command line of this program. */
export const command = Command.make(
  "ci-gate",
  {
    taskId: Argument.String("task-id").pipe(
      Argument.withDescription("The task to wait for"),
      Argument.withSchema(TaskId.TaskId)
    ),
    timeout: Flag.String("timeout").pipe(
      Flag.withDescription('How long to wait, such as "30 minutes" or "90 seconds". Defaults to "1 hour"'),
      Flag.withSchema(Schema.DurationFromString),
      Flag.withDefault(Duration.hours(1))
    )
  },
  ({ taskId, timeout }) =>
    gate(taskId, timeout).pipe(
      Effect.tap((status) => Console.log(`Task ${taskId} is ${status}`)),
      Effect.provide(NodeMeshSocket.layerConfig())
    )
).pipe(Command.withDescription("Waits until a task has ended, and exits with a code for its status"))

if (Program.isMain(import.meta)) Program.main(command)
