/**
 * The server of a flood, which keeps no messages: `node server.ts events <count>` sends `count` events as fast as they are
 * read, `node server.ts reconnects <count>` closes `count` connections after one message each. Prints its port.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as ServerMessage from "@makima-stream/core/ServerMessage"
import * as MockMeshServer from "@makima-stream/test-kit/MockMeshServer"
import * as Workload from "@makima-stream/test-kit/Workload"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"

const [mode = "", count = "0"] = process.argv.slice(2)
const total = Number(count)

/** The first frames, which are then sent repeatedly. */
const frames: Array<string> = []
for (const message of Workload.endless({ tasks: 100 })) {
  frames.push(Result.getOrThrow(ServerMessage.encodeFrame(message)))
  if (frames.length === 1000) break
}

const program = Effect.gen(function* () {
  const server = yield* MockMeshServer.make({ keepMessages: false })
  yield* Console.log(server.port)
  const connected = (n: number) => server.awaitReceived(({ connection }) => connection === n)
  if (mode === "events") {
    yield* connected(1)
    for (let sent = 0; sent < total; sent += frames.length) {
      yield* server.emitRawAll(frames.slice(0, total - sent))
      yield* server.drain(1 << 20)
    }
  } else {
    for (let n = 1; n <= total; n++) {
      yield* connected(n)
      yield* server.emitRaw(frames[0] ?? "")
      yield* server.close(1001, "again", n)
    }
  }
  return yield* Effect.never
})

program.pipe(Effect.scoped, NodeRuntime.runMain)
