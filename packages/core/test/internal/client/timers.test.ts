import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import * as Timers from "../../../src/internal/client/timers.ts"
import { monotonicMillis } from "../../../src/internal/time.ts"
import { settle } from "../../support/follow.ts"

describe("timers", () => {
  it.effect("sweep once, at the earliest time that was requested", () =>
    Effect.gen(function* () {
      const clock = yield* Clock.Clock
      const swept: Array<number> = []
      const timers = Timers.make(() => monotonicMillis(clock))
      timers.wakeAt(100)
      yield* Effect.forkScoped(timers.run([(now) => Effect.sync(() => swept.push(now))]))
      yield* TestClock.adjust(99)
      assert.deepStrictEqual(swept, [])
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(swept, [100])
      timers.wakeAt(500)
      yield* settle
      timers.wakeAt(200)
      timers.wakeAt(300)
      yield* settle
      yield* TestClock.adjust(100)
      assert.deepStrictEqual(swept, [100, 200])
      yield* TestClock.adjust(1000)
      assert.deepStrictEqual(swept, [100, 200])
    })
  )

  it.effect("are not affected by steps of the wall clock", () =>
    Effect.gen(function* () {
      const clock = yield* Clock.Clock
      yield* TestClock.setTime(10_000)
      let count = 0
      const timers = Timers.make(() => monotonicMillis(clock))
      timers.wakeAt(monotonicMillis(clock) + 100)
      yield* TestClock.setTime(1000)
      yield* Effect.forkScoped(timers.run([() => void count++]))
      yield* TestClock.adjust(99)
      assert.strictEqual(count, 0)
      yield* TestClock.adjust(1)
      assert.strictEqual(count, 1)
    })
  )
})
