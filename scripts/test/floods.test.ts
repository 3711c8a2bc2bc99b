/** The floods as a person starts them, shorter; and that growth and a herd would show. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { execFile } from "node:child_process"
import * as Herd from "../src/floods/herd.ts"

const floods = (...args: ReadonlyArray<string>) =>
  Effect.callback<{ readonly code: number; readonly stdout: string; readonly stderr: string }>((resume) => {
    const script = new URL("../src/floods.ts", import.meta.url).pathname
    const child = execFile(process.execPath, [script, ...args], (_, stdout, stderr) => {
      resume(Effect.succeed({ code: child.exitCode ?? 128, stdout, stderr }))
    })
    return Effect.sync(() => child.kill())
  })

const Growth = Schema.Record(Schema.String, Schema.Finite)
const Figures = Schema.fromJsonString(
  Schema.Struct({ clean: Schema.Boolean, growth: Schema.Struct({ events: Growth, reconnects: Growth }) })
)

describe("floods", () => {
  it.live(
    "300,000 events and 1,000 reconnects leave nothing behind: heap, fibers, sockets, timers, handles and listeners stay",
    () =>
      Effect.gen(function* () {
        const { code, stderr, stdout } = yield* floods("--events", "300000", "--reconnects", "1000", "--clients", "100")
        assert.deepStrictEqual([code, stderr], [0, ""], stdout)
        const figures = Schema.decodeUnknownSync(Figures)(stdout.trimEnd().split("\n").at(-1))
        assert.isTrue(figures.clean)
        for (const growth of [figures.growth.events, figures.growth.reconnects]) {
          assert.sameMembers(
            Object.keys(growth),
            "rssMiB,heapMiB,handles,listeners,fibers,sockets,webSockets".split(",")
          )
        }
      }),
    // Two processes take turns a few thousand times, and each waits for a core at every turn.
    360_000
  )

  it.live(
    "500 clients that lose one server dial spread over the upper half of each delay, the cap's too",
    () =>
      Effect.gen(function* () {
        const rounds = yield* Herd.delays({ clients: 500, dials: 6, seed: 7 })
        for (const [round, delay] of [2000, 4000, 8000, 16_000, 30_000, 30_000].entries()) {
          const counts = Herd.histogram(rounds[round] ?? [], delay / 2, delay, 10)
          if (counts === undefined) return assert.fail(`dial ${round + 1} is outside of its half`)
          // Five standard deviations around a tenth of them.
          for (const count of counts) assert.isTrue(Math.abs(count - 50) <= 34, counts.join(" "))
        }
      }),
    60_000
  )

  it("a herd is no spread, and what is outside of the range shows", () => {
    assert.deepStrictEqual(Herd.histogram([10, 14, 15, 20], 10, 20, 2), [2, 2])
    assert.isUndefined(Herd.histogram([9], 10, 20, 2))
    assert.isUndefined(Herd.histogram([21], 10, 20, 2))
    assert.isUndefined(Herd.histogram([Number.NaN], 10, 20, 2))
  })
})
