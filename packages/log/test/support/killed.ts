/**
 * Programs of `crash.test.ts`: `killed.ts reader <file> <count>` kills itself between the effect
 * and the acknowledgement of an entry. `killed.ts fill <file>` appends until that fails.
 */
import { writeSync } from "node:fs"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as SqliteLog from "@makima-stream/log/SqliteLog"
import { outputs } from "./events.ts"

const [, , what, filename = "", ...rest] = process.argv

const kill = (): void => {
  process.kill(process.pid, "SIGKILL")
}

const fill = Effect.gen(function* () {
  const log = yield* SqliteLog.make({ filename, busyTimeout: 100 })
  const batch = 50
  let stored = 0
  let reason: string | undefined
  while (reason === undefined) {
    const result = yield* Effect.result(log.append(outputs(stored, stored + batch, "x".repeat(200))))
    if (result._tag === "Failure") reason = result.failure.reason._tag
    else stored += batch
  }
  const read = yield* Stream.runCount(log.read())
  writeSync(1, JSON.stringify({ reason, stored, read }))
})

const read = Effect.gen(function* () {
  const log = yield* SqliteLog.make({ filename })
  const consumer = yield* log.consumer("reader", { member: "one" })
  let handled = 0
  yield* Stream.runForEach(consumer.entries, (entry) =>
    Effect.suspend(() => {
      if (entry.event._tag === "TaskOutput") writeSync(1, `${entry.event.content}\n`)
      if (++handled === Number(rest[0])) kill()
      return consumer.acknowledge(entry)
    })
  )
})

await Effect.runPromise(Effect.scoped(what === "fill" ? fill : read))
