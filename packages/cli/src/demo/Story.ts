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
 * With two connections, each fault hits one of them.
 */
export const play = Effect.fnUntraced(function* (
  server: MockMeshServer.Service,
  workload: Workload.Workload,
  options?: {
    /** Waits until a fault may hit: until both of two connections are aligned. Defaults to no wait. */
    readonly ready?: Effect.Effect<void>
  }
) {
  const ready = options?.ready ?? Effect.void
  // What the server sends before the first subscription reaches no one.
  yield* server.awaitReceived(({ message }) => message._tag === "SubscribeAll")
  const end = workload.at(-1)?.at ?? 0
  const playing = yield* Effect.forkChild(server.play(workload, { speed: Math.max(end / durationMillis, 0.01) }))
  /** The oldest connection, which is the only one of a client with one, and the number of the next one. */
  const victim = Effect.map(server.connections, (connections) => {
    const ids = connections.map(({ id }) => id)
    return { id: Math.min(...ids), next: Math.max(...ids) + 1, exists: ids.length > 0 }
  })

  yield* Effect.sleep(durationMillis * 0.2)
  yield* ready
  const killed = yield* victim
  yield* server.kill(killed.id)

  yield* Effect.sleep(durationMillis * 0.2)
  // On a busy machine the client may not have reconnected yet, and then there is no connection to freeze.
  if (killed.exists) yield* server.awaitConnection(killed.next)
  yield* ready
  const frozen = yield* victim
  if (frozen.exists) {
    yield* server.freeze(frozen.id)
    // The client must detect the silence itself. The server then drops the old connection.
    yield* server.awaitConnection(frozen.next)
    yield* server.kill(frozen.id)
  }

  yield* Effect.sleep(durationMillis * 0.2)
  yield* ready
  yield* server.refuse(1, 503, { "retry-after": "1" })
  yield* server.kill((yield* victim).id)

  yield* Fiber.join(playing)
})
