/**
 * Processes that kill themselves with SIGKILL: `killed.ts append <file> <step> <from> <to>` at a
 * step of an append, `killed.ts reader <file> <count>` between the effect and the
 * acknowledgement of an entry.
 */
import { writeSync } from "node:fs"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as SqliteLog from "@makima-stream/log/SqliteLog"
import { Faults } from "../../src/internal/sqlite/faults.ts"
import { outputs } from "./events.ts"

const [, , what, filename = "", ...rest] = process.argv

const kill = (): void => {
  process.kill(process.pid, "SIGKILL")
}

const append = Effect.gen(function* () {
  const [killAt, from, to] = rest
  const log = yield* Effect.provideService(SqliteLog.make({ filename }), Faults, {
    at: (step) => {
      if (step === killAt) kill()
    }
  })
  yield* log.append(outputs(Number(from), Number(to)))
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

await Effect.runPromise(Effect.scoped(what === "append" ? append : read))
