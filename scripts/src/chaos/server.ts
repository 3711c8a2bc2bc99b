/**
 * The server of a chaos run: sends about a thousand distinct messages a second,
 * and writes its log to a file.
 *
 * `node server.ts <port> <log file> <first number>`. Prints its port when it listens. A
 * line on stdin closes it properly: everything that it has sent arrives before its close
 * frame.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import type * as ServerMessage from "@makima-stream/core/ServerMessage"
import * as MockMeshServer from "@makima-stream/test-kit/MockMeshServer"
import type * as ServerLog from "@makima-stream/test-kit/ServerLog"
import * as Console from "effect/Console"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
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
  const dialsFile = openSync(Lines.dialsOf(logFile), "a")
  const identified = new Set<number>()
  /** Writes the dial of a connection, at its first request. */
  const identify = (connection: number): void => {
    if (identified.has(connection)) return
    identified.add(connection)
    const apiKey = Effect.runSync(server.connections).find(({ id }) => id === connection)?.apiKey
    if (apiKey !== undefined) Lines.writeDial(dialsFile, { dial: Number(Redacted.value(apiKey)), is: connection })
  }
  // A predicate that is never true is called with every entry, before the frame is sent.
  yield* Effect.forkScoped(
    server.awaitEntry((entry): entry is ServerLog.Killed => {
      Lines.writeEntry(file, entry)
      if (entry._tag === "Received") identify(entry.connection)
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
      // Waits while the network accepts nothing.
      Effect.andThen(server.drain(1 << 18)),
      Effect.andThen(Effect.sleep("10 millis"))
    )
  })
  yield* Effect.raceFirst(Effect.forever(emit), Deferred.await(asked))
  yield* server.drain()
  yield* server.close(1000, "the end")
  // Ends when the close frame is answered, or by its parent process.
  return yield* Effect.never
})

program.pipe(Effect.scoped, NodeRuntime.runMain)
