/** Emits a workload on the mock server at its times, no faster than the network takes it. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { Encoding } from "../ServerLog.ts"
import type { Workload } from "../Workload.ts"
import type { Connection } from "./mockConnection.ts"
import type { MockServer } from "./mockServer.ts"
import * as Monotonic from "./monotonic.ts"

/** The number of bytes that may be buffered on a connection before `play` waits. */
const highWaterMark = 1 << 20

/** The most messages that `play` emits between two checks of the buffers. */
const batchSize = 512

const isCongested = ({ socket }: Connection): boolean => !socket.isFrozen() && socket.buffered() > highWaterMark

/** Waits until no connection has more than `limit` bytes buffered. */
export const drain = (server: MockServer, limit: number): Effect.Effect<void> =>
  Effect.suspend(() =>
    Effect.forEach(
      server.connections(),
      ({ socket }) =>
        Effect.callback<void>((resume) => {
          const cancel = socket.onDrained(limit, () => resume(Effect.void))
          return Effect.sync(cancel)
        }),
      { concurrency: "unbounded", discard: true }
    )
  )

export const play = (
  server: MockServer,
  clock: Clock.Clock,
  workload: Workload,
  { as, speed }: { readonly as: Encoding; readonly speed: number }
): Effect.Effect<void> =>
  Effect.gen(function* () {
    const start = Monotonic.millis(clock)
    let next = 0

    /** Emits messages that are due. Returns the time until the next one; 0 if it stopped earlier. */
    const emitDue = (): number => {
      const elapsed = Monotonic.millis(clock) - start
      for (let emitted = 0; emitted < batchSize; emitted++) {
        const entry = workload[next]
        if (entry === undefined) return 0
        const wait = Math.ceil(entry.at / speed - elapsed)
        if (wait > 0) return wait
        server.emit(entry.message, as)
        next++
        if (server.connections().some(isCongested)) return 0
      }
      return 0
    }

    while (next < workload.length) {
      const wait = emitDue()
      // Yield to the sockets, and to clients in this process.
      yield* wait > 0 ? Effect.sleep(wait) : Effect.andThen(drain(server, highWaterMark), Effect.yieldNow)
    }
  }).pipe(Effect.provideService(Clock.Clock, clock))
