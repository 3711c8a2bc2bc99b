/**
 * Tell somebody when a task fails.
 *
 *     MAKIMA_API_KEY=… WEBHOOK_URL=https://… node examples/src/03_notify-on-failures.ts
 *
 * Shows updates of all tasks, reduced to the changes that matter, and an action
 * for each that is tried again and whose failure stops nothing else. Use it for
 * chat messages, mails, pages. Without `WEBHOOK_URL` it prints.
 *
 * A task may fail while the connection is down, and that is never sent again. So
 * there is a message for a gap too: somebody should look.
 */
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import * as Config from "effect/Config"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as Command from "effect/cli/Command"
import * as HttpBody from "effect/http/HttpBody"
import * as HttpClient from "effect/http/HttpClient"
import * as MeshClient from "@makima-stream/core/MeshClient"
import * as MeshStream from "@makima-stream/core/MeshStream"
import * as TaskStatus from "@makima-stream/core/TaskStatus"
import * as NodeMeshClient from "@makima-stream/node/NodeMeshClient"
import * as Cli from "./support/cli.ts"

/** The messages: one for each failure, and one for each gap. Needs a `MeshClient`. */
export const messages = Stream.unwrap(
  Effect.map(MeshClient.MeshClient, (client) =>
    client.updates().pipe(
      // An update of another field repeats the status: one message for each failure, not for each update.
      MeshStream.statusChanges({ keep: "resync" }),
      MeshStream.filterStatus(TaskStatus.defaultFailed, { keep: "resync" }),
      Stream.map((event) =>
        event._tag === "Resync"
          ? "The feed had a gap: a failure may have gone unnoticed"
          : `Task ${event.taskId} is ${event.status}`
      )
    )
  )
)

/** Sends each message, three times if need be. One that cannot be sent is logged, and the next one is tried. */
export const notifyOnFailures = <E, R>(send: (text: string) => Effect.Effect<void, E, R>) =>
  messages.pipe(
    Stream.runForEach((text) =>
      send(text).pipe(
        Effect.retry({ schedule: Schedule.exponential("1 second"), times: 2 }),
        Effect.catch((error) => Effect.logError("Could not send", text, error))
      )
    )
  )

/** Posts a message as JSON, in the form that most chat programs take. */
export const post = Effect.fnUntraced(
  function* (url: URL, text: string) {
    const client = HttpClient.filterStatusOk(yield* HttpClient.HttpClient)
    yield* client.post(url, { body: HttpBody.jsonUnsafe({ text }) })
  },
  // The URL of a webhook is as good as a key, and the text of the error has it.
  Effect.mapError(({ reason }) => reason._tag)
)

const command = Command.make(
  "notify-on-failures",
  {},
  Effect.fnUntraced(
    function* () {
      const url = yield* Config.option(Config.URL("WEBHOOK_URL"))
      yield* notifyOnFailures((text) => (Option.isSome(url) ? post(url.value, text) : Console.log(text)))
    },
    Effect.provide([NodeMeshClient.layerConfig(), NodeHttpClient.layerFetch])
  )
).pipe(Command.withDescription("Sends a message to WEBHOOK_URL when a task fails"))

if (Cli.isMain(import.meta)) Cli.main(command)
