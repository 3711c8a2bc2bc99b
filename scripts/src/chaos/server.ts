/**
 * The server of a chaos run: says about a thousand things a second, each of them
 * once, and writes its log to a file.
 *
 * `node server.ts <port> <log file> <first number>`. Prints its port when it
 * listens. A line on stdin ends it in good order: what it has said arrives
 * before its close frame.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import type * as ServerMessage from "@makima-stream/core/ServerMessage"
import * as MockMeshServer from "@makima-stream/test-kit/MockMeshServer"
import type * as ServerLog from "@makima-stream/test-kit/ServerLog"
import * as Console from "effect/Console"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import { openSync } from "node:fs"
import * as Lines from "./lines.ts"
import { taskIds } from "./settings.ts"

const [port = "0", logFile = "", first = "1"] = process.argv.slice(2)

const message = (n: number): ServerMessage.ServerMessage => {
  const taskId = taskIds[n % taskIds.length]
  if (taskId === undefined) throw new Error("there are no tasks")
  return n % 7 === 0
    ? { _tag: "TaskUpdated", taskId, version: n, status: "running" }
    : { _tag: "TaskOutput", taskId, messageType: "assistant", content: `the words number ${n}` }
}

const program = Effect.gen(function* () {
  const server = yield* MockMeshServer.make({ port: Number(port), keepMessages: false })
  const file = openSync(logFile, "a")
  // Who waits for what never comes is shown everything. An entry is added before its frame is sent.
  yield* Effect.forkScoped(
    server.awaitEntry((entry): entry is ServerLog.Killed => {
      Lines.writeEntry(file, entry)
      return false
    }),
    { startImmediately: true }
  )
  const asked = Deferred.makeUnsafe<void>()
  process.stdin.once("data", () => Deferred.doneUnsafe(asked, Effect.void))
  yield* Console.log(server.port)

  let n = Number(first)
  const emit = Effect.suspend(() => {
    const batch = Array.from({ length: 10 }, () => message(n++))
    const garbage = n % 1000 < 10 ? server.garbage() : Effect.void
    return server.emitAll(batch).pipe(
      Effect.andThen(garbage),
      // A network that takes nothing stops the talk.
      Effect.andThen(server.drain(1 << 18)),
      Effect.andThen(Effect.sleep("10 millis"))
    )
  })
  yield* Effect.raceFirst(Effect.forever(emit), Deferred.await(asked))
  yield* server.drain()
  yield* server.close(1000, "the end")
  // The close frame is answered, or the process that waits for this one ends it.
  return yield* Effect.never
})

program.pipe(Effect.scoped, NodeRuntime.runMain)
