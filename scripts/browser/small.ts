/** The smallest useful program, as the measure of what a page downloads, `effect` included. */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as Socket from "effect/socket/Socket"
import * as Interest from "@makima-stream/core/Interest"
import * as MeshStream from "@makima-stream/core/MeshStream"

const socket = Layer.provide(
  Socket.layerWebSocket("wss://localhost/api/v1/mesh/tasks/subscribe"),
  Socket.layerWebSocketConstructorGlobal
)

MeshStream.connect({ interest: Interest.all }).pipe(
  Stream.runForEach((event) => Console.log(event._tag)),
  Effect.provide(socket),
  Effect.runFork
)
