/**
 * A page that follows the feed with `MeshSocket` on the browser's own `WebSocket`, and adds one list item for each event.
 *
 * Parameters of its URL: `feed`, the server's URL; `interval` and `deadline` of the heartbeat, in milliseconds. Without
 * them there is no heartbeat.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as MeshClient from "@makima-stream/core/MeshClient"
import type { MeshEvent } from "@makima-stream/core/MeshEvent"
import * as MeshSocket from "@makima-stream/core/MeshSocket"

const parameters = new URLSearchParams(location.search)
const interval = parameters.get("interval")
const deadline = parameters.get("deadline")

const socket = MeshSocket.layer({
  url: parameters.get("feed") ?? "",
  connectTimeout: 1000,
  heartbeat: interval === null ? false : { interval: Number(interval), deadline: Number(deadline) }
})
const client = MeshClient.layer({ policy: { schedule: Schedule.spaced("50 millis"), minDelay: 1 } })

const textOf = (event: MeshEvent): string => {
  switch (event._tag) {
    case "TaskUpdated":
      return `TaskUpdated ${event.version}`
    case "Resync":
      return `Resync ${event.reason._tag}`
    case "Disconnected":
      return `Disconnected ${event.reason._tag}`
    default:
      return event._tag
  }
}

const add = (text: string): void => {
  const item = document.createElement("li")
  item.textContent = text
  document.querySelector("ol")?.append(item)
}

MeshClient.MeshClient.use((mesh) =>
  mesh.updates().pipe(Stream.runForEach((event) => Effect.sync(() => add(textOf(event)))))
).pipe(
  Effect.provide(Layer.provide(client, socket)),
  Effect.catchCause((cause) => Effect.sync(() => add(`failed: ${String(cause)}`))),
  Effect.runFork
)
