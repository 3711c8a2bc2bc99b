/** Counts a log, and kills its own process after a number of statements: `killed-totals.ts <log> <totals> <statements>`. */
import * as Effect from "effect/Effect"
import * as SqliteLog from "@makima-stream/log/SqliteLog"
import { count, openTotals } from "../../src/09_exactly-once.ts"

const [, , feed = "", totalsFile = "", killAt = "0"] = process.argv
let statements = 0

const program = Effect.gen(function* () {
  const totals = yield* openTotals(totalsFile, () => {
    if (statements++ === Number(killAt)) process.kill(process.pid, "SIGKILL")
  })
  yield* count(totals)
}).pipe(Effect.scoped, Effect.provide(SqliteLog.layer({ filename: feed })))

await Effect.runPromise(program)
