import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import * as BoundaryRequests from "../../../src/internal/merge/boundaryRequests.ts"
import type { Kind } from "../../../src/internal/merge/sequence.ts"
import { monotonicMillis } from "../../../src/internal/time.ts"

/** Runs requests, and records when they are made. */
const start = Effect.gen(function* () {
  const made: Array<readonly [Kind, number]> = []
  const joining = new Set<Kind>()
  const lagging = new Set<Kind>()
  const requests = BoundaryRequests.make({
    isJoining: (kind) => joining.has(kind),
    isLagging: (kind) => lagging.has(kind),
    request: (kind) => Effect.clockWith((clock) => Effect.sync(() => made.push([kind, monotonicMillis(clock)]))),
    afterRound: Effect.void
  })
  yield* Effect.forkScoped(requests.run, { startImmediately: true })
  const times = (kind: Kind): ReadonlyArray<number> => made.flatMap(([each, at]) => (each === kind ? [at] : []))
  return { joining, lagging, times, wake: requests.wake }
})

describe("requests of boundaries", () => {
  it.effect("requests boundaries ever less often while an input is not aligned", () =>
    Effect.gen(function* () {
      const { joining, times, wake } = yield* start
      joining.add("output")
      wake()
      yield* TestClock.adjust(10_000)
      assert.deepStrictEqual(times("output"), [0, 100, 300, 700, 1500, 3100, 5100, 7100, 9100])
      assert.deepStrictEqual(times("updates"), [])
    })
  )

  it.effect("looks every ten seconds, or when it is woken, while every input is aligned", () =>
    Effect.gen(function* () {
      const { lagging, times, wake } = yield* start
      lagging.add("updates")
      yield* TestClock.adjust(9999)
      assert.deepStrictEqual(times("updates"), [])
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(times("updates"), [10_000])
      wake()
      yield* TestClock.adjust(99)
      assert.strictEqual(times("updates").length, 1)
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(times("updates"), [10_000, 10_100])
    })
  )
})
