import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import { LogError, Unavailable } from "@makima-stream/log/LogError"
import * as MemoryLog from "@makima-stream/log/MemoryLog"
import * as Lease from "../../src/internal/lease.ts"

const cell = (revision: number, behind?: number) => ({
  key: Lease.keyOf("relay"),
  value: JSON.stringify({ term: 1, owner: "a", ttl: 1000, behind }),
  revision
})

describe("makeProof", () => {
  it("proves nothing before it has seen a renewal whose predecessor it saw appear", () => {
    const prove = Lease.makeProof()
    assert.isUndefined(prove(cell(1, 0), 0))
    assert.isUndefined(prove(cell(2, 0), 100))
    assert.isUndefined(prove(cell(2, 0), 200))
    // Revision 2 was stored after the look at 0, and the holder looked after that.
    assert.strictEqual(prove(cell(3, 0), 300), 0)
    assert.strictEqual(prove(cell(4, 30), 400), 170)
  })

  it("proves nothing by a renewal that does not say how far the holder is behind", () => {
    const prove = Lease.makeProof()
    for (const revision of [1, 2, 3, 4]) assert.isUndefined(prove(cell(revision), revision * 100))
  })

  it("does not prove more if it missed renewals", () => {
    const prove = Lease.makeProof()
    prove(cell(1, 0), 0)
    prove(cell(2, 0), 100)
    assert.strictEqual(prove(cell(9, 0), 5000), 0)
  })
})

describe("acquire", () => {
  for (const isStored of [true, false]) {
    it.effect(
      `acquires at once after an attempt whose answer was lost, if the log has ${isStored ? "stored" : "not stored"} it`,
      () =>
        Effect.gen(function* () {
          const { cells } = yield* MemoryLog.makeEngine()
          let attempts = 0
          const lossy: typeof cells = {
            ...cells,
            set: (key, value, revision) => {
              if (++attempts > 1) return cells.set(key, value, revision)
              const lost = new LogError({ reason: new Unavailable({ cause: new Error("timeout") }) })
              return isStored ? Effect.andThen(cells.set(key, value, revision), Effect.fail(lost)) : Effect.fail(lost)
            }
          }
          const acquiring = yield* Effect.forkScoped(Lease.acquire(lossy, "relay", { timeToLive: "10 seconds" }))
          yield* TestClock.adjust("500 millis")
          const lease = yield* Fiber.join(acquiring)
          assert.strictEqual(lease.term, 1)
          assert.isTrue(yield* lease.isHeld)
        })
    )
  }
})
