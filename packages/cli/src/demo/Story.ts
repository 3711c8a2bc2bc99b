/**
 * The course of the demo: a workload of about nine seconds, and three faults of
 * the connection while it plays.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as MockMeshServer from "@makima-stream/test-kit/MockMeshServer"
import type * as Workload from "@makima-stream/test-kit/Workload"

/** The duration of the workload in milliseconds. */
const durationMillis = 9000

/**
 * Plays the workload. Meanwhile one TCP connection is killed, the next one
 * freezes, and the one after that is killed and its successor refused with 503.
 */
export const play = Effect.fnUntraced(function* (server: MockMeshServer.Service, workload: Workload.Workload) {
  // What the server sends before the first subscription reaches no one.
  yield* server.awaitReceived(({ message }) => message._tag === "SubscribeAll")
  const end = workload.at(-1)?.at ?? 0
  const playing = yield* Effect.forkChild(server.play(workload, { speed: Math.max(end / durationMillis, 0.01) }))

  yield* Effect.sleep(durationMillis * 0.2)
  const killed = yield* server.connections
  yield* server.kill()

  yield* Effect.sleep(durationMillis * 0.2)
  // On a busy machine the client may not have reconnected yet, and then there is no connection to freeze.
  for (const { id } of killed) yield* server.awaitConnection(id + 1)
  const frozen = yield* server.connections
  yield* server.freeze()
  // The client must detect the silence itself. The server then drops the old connection.
  for (const { id } of frozen) {
    yield* server.awaitConnection(id + 1)
    yield* server.kill(id)
  }

  yield* Effect.sleep(durationMillis * 0.2)
  yield* server.refuse(1, 503, { "retry-after": "1" })
  yield* server.kill()

  yield* Fiber.join(playing)
})
