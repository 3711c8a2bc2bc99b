/**
 * What happens to the feed in the demo: a workload of some nine seconds, and
 * three ways to lose a connection on the way.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as MockMeshServer from "@makima-stream/test-kit/MockMeshServer"
import type * as Workload from "@makima-stream/test-kit/Workload"

/** How long the workload takes, in milliseconds. */
const durationMillis = 9000

/**
 * Plays the workload, and cuts the connection while it plays: a TCP connection
 * that is killed, one that freezes, and one that is killed and whose successor
 * is refused with a 503.
 */
export const play = Effect.fnUntraced(function* (server: MockMeshServer.Service, workload: Workload.Workload) {
  // The first word is not spoken before there is somebody to hear it.
  yield* server.awaitReceived(({ message }) => message._tag === "SubscribeAll")
  const end = workload.at(-1)?.at ?? 0
  const playing = yield* Effect.forkChild(server.play(workload, { speed: Math.max(end / durationMillis, 0.01) }))

  yield* Effect.sleep(durationMillis * 0.2)
  const killed = yield* server.connections
  yield* server.kill()

  yield* Effect.sleep(durationMillis * 0.2)
  // On a machine that is busy the client may not be back yet, and then there is nobody to freeze.
  for (const { id } of killed) yield* server.awaitConnection(id + 1)
  const frozen = yield* server.connections
  yield* server.freeze()
  // The client must notice by itself. Its old connection is then dead weight.
  for (const { id } of frozen) {
    yield* server.awaitConnection(id + 1)
    yield* server.kill(id)
  }

  yield* Effect.sleep(durationMillis * 0.2)
  yield* server.refuse(1, 503, { "retry-after": "1" })
  yield* server.kill()

  yield* Fiber.join(playing)
})
