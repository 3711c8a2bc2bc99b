/** Follows the feed at the URL of the first argument with the runtime's own WebSocket, until its first update. */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as Socket from "effect/socket/Socket"
import * as Endpoint from "@makima-stream/core/Endpoint"
import * as Interest from "@makima-stream/core/Interest"
import * as MeshStream from "@makima-stream/core/MeshStream"

const url = Result.getOrThrow(Endpoint.fromString(process.argv[2] ?? ""))

const socket = Socket.layerWebSocket(url).pipe(Layer.provide(Socket.layerWebSocketConstructorGlobal))

const program = MeshStream.connect({ interest: Interest.all }).pipe(
  MeshStream.updatesOnly,
  Stream.take(1),
  Stream.runForEach(({ taskId }) => Console.log(`update of ${taskId}`)),
  Effect.provide(socket)
)

await Effect.runPromise(program)
process.exit(0)
