import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TaskId from "@makima-stream/core/TaskId"
import * as MeshLog from "@makima-stream/log/MeshLog"
import * as SqliteLog from "@makima-stream/log/SqliteLog"
import { spawnSync } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { fileOf } from "../../packages/test-kit/test/support/programs.ts"
import { count, openTotals, type Total } from "../src/09_exactly-once.ts"

const directory = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "exactly-once-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

const tasks = ["a", "b", "c"].map((id) => TaskId.make(id))

/** Output of which every third is a result that costs as many microdollars as its number. */
const event = (n: number): MeshLog.NewEvent => ({
  id: `${n}`,
  event: {
    _tag: "TaskOutput",
    taskId: tasks[n % tasks.length] ?? TaskId.make("a"),
    messageType: n % 2 === 0 ? "result" : "assistant",
    content: "",
    costUsd: n / 1e6
  }
})

const events = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => event(from + i))

/** The expected totals. */
const totalsOf = (end: number): ReadonlyArray<Total> =>
  tasks.map((taskId, index) => {
    const numbers = Array.from({ length: end }, (_, n) => n).filter((n) => n % 3 === index && n % 2 === 0)
    return { task: taskId, runs: numbers.length, microdollars: numbers.reduce((sum, n) => sum + n, 0) }
  })

class Killed extends Error {}

describe("09_exactly-once", () => {
  it.effect("keeps exact totals when it is killed a hundred times, at any statement", () =>
    Effect.gen(function* () {
      const path = yield* directory
      const totalsFile = join(path, "totals.db")
      const log = yield* SqliteLog.make({ filename: join(path, "feed.db"), synchronous: "normal" })
      let appended = 0
      let kills = 0
      // The next run repeats the batch that a killed run did not commit, so every kind of statement is interrupted.
      for (let run = 0; kills < 100; run++) {
        yield* log.append(events(appended, appended + 7))
        appended += 7
        let statements = 0
        const killAt = run % 9
        const exit = yield* Effect.exit(
          Effect.scoped(
            Effect.gen(function* () {
              const totals = yield* openTotals(totalsFile, () => {
                if (statements++ === killAt) throw new Killed()
              })
              yield* Effect.provideService(count(totals), MeshLog.MeshLog, log)
            })
          )
        )
        if (exit._tag === "Failure") kills++
      }
      yield* Effect.scoped(
        Effect.gen(function* () {
          const totals = yield* openTotals(totalsFile)
          yield* Effect.provideService(count(totals), MeshLog.MeshLog, log)
          assert.deepStrictEqual(totals.all(), totalsOf(appended))
        })
      )
    })
  )

  it.live("keeps exact totals when its process is killed by SIGKILL between two statements", () =>
    Effect.gen(function* () {
      const path = yield* directory
      const [feed, totalsFile] = [join(path, "feed.db"), join(path, "totals.db")]
      yield* Effect.scoped(Effect.flatMap(SqliteLog.make({ filename: feed }), (log) => log.append(events(0, 300))))
      const fixture = fileOf("examples/test/support/killed-totals")
      for (const killAt of [0, 40, 151, 152]) {
        const { signal } = spawnSync(process.execPath, [fixture, feed, totalsFile, `${killAt}`])
        assert.strictEqual(signal, "SIGKILL")
      }
      const { status, stderr, stdout } = spawnSync(
        process.execPath,
        [fileURLToPath(new URL("../src/09_exactly-once.ts", import.meta.url)), feed, totalsFile],
        { encoding: "utf8" }
      )
      assert.strictEqual(status, 0, stderr)
      const lines = totalsOf(300).map(
        ({ microdollars, runs, task }) => `${task}: ${runs} runs, $${(microdollars / 1e6).toFixed(6)}`
      )
      assert.deepStrictEqual(stdout.trim().split("\n"), [...lines, "gaps: 0"])
    })
  )
})
