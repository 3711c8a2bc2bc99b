/**
 * A live board: prints how many tasks are live and how many have ended, and is right
 * again after every cut of the connection.
 *
 *     MAKIMA_API_KEY=… TASKS_URL=https://… node examples/src/08_live-board.ts
 *
 * Shows a repair: after each gap the client asks a REST endpoint for the tasks, and the
 * board receives what it has missed (`Restated`, `Repaired`). Use it for a dashboard, a
 * cache or a table.
 *
 * The feed replays nothing. Without the repair, a task that ended while the connection
 * was down would stay on the board for ever.
 *
 * The body of the endpoint is made up for this example: `{ tasks: [{ id, version,
 * status }], next? }`, where `next` is the URL of the next page. Change `Page` and
 * `fetchTasks` for another endpoint.
 */
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import * as Config from "effect/Config"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Command from "effect/cli/Command"
import * as MeshClient from "@makima-stream/core/MeshClient"
import * as Repair from "@makima-stream/core/Repair"
import * as RepairHttp from "@makima-stream/core/RepairHttp"
import * as TaskBoard from "@makima-stream/core/TaskBoard"
import * as TaskId from "@makima-stream/core/TaskId"
import * as NodeMeshSocket from "@makima-stream/node/NodeMeshSocket"
import * as Program from "@makima-stream/cli/Program"

/** One page of the endpoint. */
const Page = Schema.Struct({
  tasks: Schema.Array(Schema.Struct({ id: TaskId.TaskId, version: Schema.Int, status: Schema.String })),
  next: Schema.optionalKey(Schema.String)
})

/** Reads all tasks, page by page. */
export const fetchTasks = (url: URL) =>
  RepairHttp.make({
    request: () => HttpClientRequest.get(url),
    schema: Page,
    tasks: ({ tasks }) => tasks.map(({ id, status, version }) => ({ taskId: id, version, status })),
    next: ({ next }) => (next === undefined ? undefined : HttpClientRequest.get(next))
  })

/** A client with a repair. Needs a `Socket` and an `HttpClient`. */
export const layerClient = (url: URL) =>
  Layer.unwrap(
    Effect.map(HttpClient.HttpClient, (http) => {
      const fetch = fetchTasks(url)
      return MeshClient.layer({
        repair: Repair.make({ fetch: (ask) => Effect.provideService(fetch(ask), HttpClient.HttpClient, http) })
      })
    })
  )

/** A board as text. */
export const toText = (board: TaskBoard.TaskBoard): string => {
  const live = TaskBoard.live(board)
  const ended = TaskBoard.ended(board)
  const isStale = [...live, ...ended].some(({ updateGaps }) => updateGaps > 0)
  return `${live.length} live, ${ended.length} ended${isStale ? " (may be out of date)" : ""}`
}

/** The texts of the board, without consecutive equal ones. Needs a `MeshClient`. */
export const boards = Stream.unwrap(
  Effect.map(MeshClient.MeshClient, (client) =>
    client.updates().pipe(TaskBoard.scan, Stream.map(toText), Stream.changes)
  )
)

/** The command line of this program. */
export const command = Command.make(
  "live-board",
  {},
  Effect.fnUntraced(function* () {
    const url = yield* Config.URL("TASKS_URL")
    yield* boards.pipe(
      Stream.runForEach((text) => Console.log(text)),
      Effect.provide(layerClient(url).pipe(Layer.provide([NodeMeshSocket.layerConfig(), NodeHttpClient.layerFetch])))
    )
  })
).pipe(Command.withDescription("Prints how many tasks are live and ended, and is right again after every cut"))

if (Program.isMain(import.meta)) Program.main(command)
