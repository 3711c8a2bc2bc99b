/**
 * The page that `browser.ts` runs in Chromium: core over the browser's own
 * `WebSocket`, through a bad frame, a binary frame and a cut connection. It
 * posts what it saw to the server that it came from.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as Socket from "effect/socket/Socket"
import * as Interest from "@makima-stream/core/Interest"
import * as MeshClient from "@makima-stream/core/MeshClient"
import * as TaskId from "@makima-stream/core/TaskId"

const url = new URLSearchParams(location.search).get("feed") ?? ""

const socket = Layer.provide(Socket.layerWebSocket(url), Socket.layerWebSocketConstructorGlobal)
const client = MeshClient.layer({ policy: { minDelay: 0 } }).pipe(Layer.provide(socket))

const watched = Effect.gen(function* () {
  const mesh = yield* MeshClient.MeshClient
  const interest = Interest.union(Interest.all, Interest.output(TaskId.make("a")))
  return yield* mesh.events(interest).pipe(
    Stream.takeUntil((event) => event._tag === "TaskUpdated" && event.status === "done"),
    Stream.map((event) => {
      switch (event._tag) {
        case "TaskUpdated":
          return `TaskUpdated ${event.status}`
        case "TaskOutput":
          return `TaskOutput ${event.content}`
        case "Resync":
          return `Resync ${event.reason._tag}`
        case "Disconnected":
          return `Disconnected ${event.reason._tag}`
        default:
          return event._tag
      }
    }),
    Stream.runCollect
  )
})

const report = (body: string) => fetch("/report", { method: "POST", body })

Effect.runPromise(Effect.provide(watched, client)).then(
  (lines) => report(JSON.stringify(lines)),
  (error: unknown) => report(JSON.stringify([`the program failed: ${String(error)}`]))
)
