/** The floods as a person starts them, shorter; and that growth and a herd would show. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { runCommand } from "../../packages/cli/test/support/command.ts"
import { command } from "../src/floods.ts"
import * as Growth from "../src/floods/growth.ts"
import * as Herd from "../src/floods/herd.ts"
import { withBundles } from "./support/script.ts"

const Figure = Schema.Record(Schema.String, Schema.Finite)
const Figures = Schema.fromJsonString(
  Schema.Struct({ clean: Schema.Boolean, growth: Schema.Struct({ events: Figure, reconnects: Figure }) })
)

describe("floods", () => {
  it.live(
    "150,000 events and 400 reconnects leave nothing behind: heap, fibers, sockets, timers, handles and listeners stay",
    () =>
      Effect.gen(function* () {
        const args = "--events 150000 --reconnects 400 --clients 20".split(" ")
        const { code, stderr, stdout } = yield* withBundles(runCommand(command, args))
        assert.deepStrictEqual([code, stderr], [0, ""], stdout)
        const figures = Schema.decodeUnknownSync(Figures)(stdout.trimEnd().split("\n").at(-1))
        assert.isTrue(figures.clean)
        for (const growth of [figures.growth.events, figures.growth.reconnects]) {
          assert.sameMembers(
            Object.keys(growth),
            "rssMiB,heapMiB,handles,listeners,fibers,sockets,webSockets".split(",")
          )
        }
      })
  )

  it("40 bytes for each event, 12 KiB for each reconnect, and one object for each hundred reconnects show as growth", () => {
    const flat = { seen: 0, rssMiB: 120, heapMiB: 20, handles: 5, listeners: 2 }
    const parts = Array.from({ length: 10 }, (_, n) => (n + 1) / 10)
    const objects = (kind: "fibers" | "sockets" | "webSockets", perReconnect: number) =>
      [0.1, 1].map((part) => ({
        fibers: 3,
        sockets: 2,
        webSockets: 1,
        [kind]: 3 + Math.floor(400 * part * perReconnect)
      }))
    const isFlat = (samples: Partial<typeof Growth.Holdings.Type>[], found = objects("fibers", 0)) =>
      Growth.isFlat(Growth.growths({ samples: samples.map((sample) => ({ ...flat, ...sample })), objects: found }))
    const heap = (bytes: number) => parts.map((part) => ({ heapMiB: 20 + (part * bytes) / (1 << 20) }))
    assert.isTrue(isFlat(heap(0)))
    assert.isFalse(isFlat(heap(40 * 150_000)))
    assert.isFalse(isFlat(heap(12 * 1024 * 400)))
    for (const kind of ["fibers", "sockets", "webSockets"] as const)
      assert.isFalse(isFlat(heap(0), objects(kind, 0.01)))
    for (const kind of ["handles", "listeners"] as const) {
      assert.isFalse(isFlat(parts.map((part) => ({ [kind]: 5 + Math.floor(400 * part * 0.02) }))))
    }
  })

  it.live("500 clients that lose one server dial spread over the upper half of each delay, the cap's too", () =>
    Effect.gen(function* () {
      const rounds = yield* Herd.delays({ clients: 500, dials: 6, seed: 7 })
      for (const [round, delay] of [2000, 4000, 8000, 16_000, 30_000, 30_000].entries()) {
        const counts = Herd.histogram(rounds[round] ?? [], delay / 2, delay, 10)
        if (counts === undefined) return assert.fail(`dial ${round + 1} is outside of its half`)
        // Five standard deviations around a tenth of them.
        for (const count of counts) assert.isTrue(Math.abs(count - 50) <= 34, counts.join(" "))
      }
    })
  )

  it("a herd is not even, and a delay outside the range is an error", () => {
    assert.deepStrictEqual(Herd.histogram([10, 14, 15, 20], 10, 20, 2), [2, 2])
    assert.isUndefined(Herd.histogram([9], 10, 20, 2))
    assert.isUndefined(Herd.histogram([21], 10, 20, 2))
    assert.isUndefined(Herd.histogram([Number.NaN], 10, 20, 2))
  })
})
