/**
 * Sends a message when a task fails.
 *
 *     MAKIMA_API_KEY=… WEBHOOK_URL=https://… node examples/src/03_notify-on-failures.ts
 *
 * Shows updates of all tasks, reduced to changes of the status, and an action for
 * each with retries, whose failure does not stop the program. Use it for chat
 * messages, mails and pagers. Without `WEBHOOK_URL` it prints.
 *
 * A task may fail while the connection is down, and the server does not send that update
 * again. So the program also sends a message for each gap.
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
import * as MeshEvent from "@makima-stream/core/MeshEvent"
import * as MeshStream from "@makima-stream/core/MeshStream"
import * as TaskStatus from "@makima-stream/core/TaskStatus"
import * as NodeMeshClient from "@makima-stream/node/NodeMeshClient"
import * as Program from "@makima-stream/cli/Program"
import { isGap } from "./support/gap.ts"

/** The messages: one for each failure, and one for each gap. Needs a `MeshClient`. */
export const messages = Stream.unwrap(
  Effect.map(MeshClient.MeshClient, (client) =>
    client.updates().pipe(
      // An update of another field repeats the status. Each failure has one message, not each update.
      MeshStream.statusChanges({ keep: "resync" }),
      MeshStream.filterStatus(TaskStatus.defaultFailed, { keep: "resync" }),
      Stream.filter((event) => !MeshEvent.isLifecycle(event) || isGap(event)),
      Stream.map((event) =>
        MeshEvent.isLifecycle(event)
          ? "The feed had a gap: a failure may be missing"
          : `Task ${event.taskId} is ${event.status}`
      )
    )
  )
)

/** Sends each message, with up to two retries. Logs a message that could not be sent, and continues with the next one. */
export const notifyOnFailures = <E, R>(send: (text: string) => Effect.Effect<void, E, R>) =>
  messages.pipe(
    Stream.runForEach((text) =>
      send(text).pipe(
        Effect.retry({ schedule: Schedule.exponential("1 second"), times: 2 }),
        Effect.catch((error) => Effect.logError("Could not send", text, error))
      )
    )
  )

/** Posts a message as JSON, in the form that most chat programs accept. */
export const post = Effect.fnUntraced(
  function* (url: URL, text: string) {
    const client = HttpClient.filterStatusOk(yield* HttpClient.HttpClient)
    yield* client.post(url, { body: HttpBody.jsonUnsafe({ text }) })
  },
  // The URL of a webhook is a secret, and the text of the error contains it.
  Effect.mapError(({ reason }) => reason._tag)
)

/** The command line of this program. */
export const command = Command.make(
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

if (Program.isMain(import.meta)) Program.main(command)
