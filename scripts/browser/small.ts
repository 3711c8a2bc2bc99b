/** The smallest useful program, as the measure of what a page downloads, `effect` included. */
import { Console, Effect, Layer, Stream } from "effect"
import { Socket } from "effect/socket"
import { Interest, MeshStream } from "@makima-stream/core"

const socket = Layer.provide(
  Socket.layerWebSocket("wss://localhost/api/v1/mesh/tasks/subscribe"),
  Socket.layerWebSocketConstructorGlobal
)

MeshStream.connect({ interest: Interest.all }).pipe(
  Stream.runForEach((event) => Console.log(event._tag)),
  Effect.provide(socket),
  Effect.runFork
)
