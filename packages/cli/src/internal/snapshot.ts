/** The present state of a task, fetched by HTTP for a repair. */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type * as Repair from "@makima-stream/core/Repair"
import * as TaskId from "@makima-stream/core/TaskId"
import { Failure, exitCodes } from "../Program.ts"
import * as Connection from "./connection.ts"

const nullable = <S extends Schema.Top>(schema: S) => Schema.optionalKey(Schema.NullOr(schema))

const Task = Schema.Struct({
  taskId: nullable(TaskId.TaskId),
  id: nullable(TaskId.TaskId),
  version: nullable(Schema.Int),
  status: nullable(Schema.String),
  costUsd: nullable(Schema.Finite)
})

const Answer = Schema.Union([Schema.Array(Task), Schema.Struct({ tasks: Schema.Array(Task) }), Task])

const decode = Schema.decodeUnknownEffect(Answer)

const toSnapshot = (task: typeof Task.Type): ReadonlyArray<Repair.TaskSnapshot> => {
  const taskId = task.taskId ?? task.id
  return taskId === undefined || taskId === null
    ? []
    : [
        {
          taskId,
          version: task.version ?? undefined,
          status: task.status ?? undefined,
          costUsd: task.costUsd ?? undefined
        }
      ]
}

/** The tasks in a server's answer: a list, an object with `tasks`, or one task. */
export const toSnapshots = (value: unknown): Effect.Effect<ReadonlyArray<Repair.TaskSnapshot>, Schema.SchemaError> =>
  Effect.map(decode(value), (answer) => {
    const tasks: ReadonlyArray<typeof Task.Type> = Array.isArray(answer)
      ? answer
      : "tasks" in answer
        ? answer.tasks
        : [answer as typeof Task.Type]
    return tasks.flatMap(toSnapshot)
  })

/** An answer that is not a snapshot. It is not quoted, because it may contain secrets. */
class SnapshotError extends Schema.TaggedError<SnapshotError>("@makima-stream/cli/SnapshotError")("SnapshotError", {
  message: Schema.String
}) {}

/** Whether two URLs have the same host. The protocols of HTTP and WebSocket count as the same. */
const isSameHost = (a: URL, b: string): boolean => URL.canParse(b) && new URL(b).host === a.host

/**
 * Makes the function that fetches a snapshot. `{task}` in the URL stands for the
 * task. The key is sent only to the server of the feed.
 */
export const make = Effect.fnUntraced(function* (text: string, input: Connection.Input, task: TaskId.TaskId) {
  const filled = text.replaceAll("{task}", encodeURIComponent(task))
  if (!/^https?:\/\//i.test(filled) || !URL.canParse(filled)) {
    return yield* new Failure({
      message: "--snapshot-url must be an http or https URL. {task} in it stands for the task",
      exitCode: exitCodes.usage
    })
  }
  const url = new URL(filled)
  const server = yield* Connection.resolve(input)
  const key = isSameHost(url, server.url) ? server.key : undefined
  return () =>
    Effect.gen(function* () {
      const headers = key === undefined ? {} : { "x-makima-api-key": Redacted.value(yield* key) }
      const value = yield* Effect.tryPromise({
        try: async (signal): Promise<unknown> => {
          const response = await fetch(url, { headers: { accept: "application/json", ...headers }, signal })
          if (!response.ok) throw new SnapshotError({ message: `HTTP status ${response.status}` })
          return await response.json()
        },
        catch: (error) =>
          error instanceof SnapshotError ? error : new SnapshotError({ message: "The snapshot could not be fetched" })
      })
      return yield* Effect.mapError(
        toSnapshots(value),
        () => new SnapshotError({ message: "The answer is neither a task nor a list of tasks" })
      )
    })
})
