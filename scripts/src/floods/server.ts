/** The server of a flood, which keeps no messages. */
import * as ServerMessage from "@makima-stream/core/ServerMessage"
import * as MockMeshServer from "@makima-stream/test-kit/MockMeshServer"
import * as Workload from "@makima-stream/test-kit/Workload"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"

/** The first frames, which are then sent repeatedly. */
const makeFrames = (): ReadonlyArray<string> => {
  const frames: Array<string> = []
  for (const message of Workload.endless({ tasks: 100 })) {
    frames.push(Result.getOrThrow(ServerMessage.encodeFrame(message)))
    if (frames.length === 1000) break
  }
  return frames
}

/**
 * Starts a server that floods its first client in the background of the scope: with `total` events as fast as they are read,
 * or by closing `total` connections after one message each.
 */
export const start = Effect.fnUntraced(function* (mode: "events" | "reconnects", total: number) {
  const server = yield* MockMeshServer.make({ keepMessages: false })
  const frames = makeFrames()
  const connected = (n: number) => server.awaitReceived(({ connection }) => connection === n)
  const flood = Effect.gen(function* () {
    if (mode === "events") {
      yield* connected(1)
      for (let sent = 0; sent < total; sent += frames.length) {
        yield* server.emitRawAll(frames.slice(0, total - sent))
        yield* server.drain(1 << 20)
      }
      return
    }
    for (let n = 1; n <= total; n++) {
      yield* connected(n)
      yield* server.emitRaw(frames[0] ?? "")
      yield* server.close(1001, "again", n)
    }
  })
  yield* Effect.forkScoped(flood)
  return { url: server.url }
})
