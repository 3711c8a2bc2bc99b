import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import * as Timers from "../../../src/internal/client/timers.ts"
import { monotonicMillis } from "../../../src/internal/time.ts"
import { settle } from "../../support/follow.ts"

describe("timers", () => {
  it.effect("sweep when something is due, and when something becomes due earlier", () =>
    Effect.gen(function* () {
      const clock = yield* Clock.Clock
      const swept: Array<number> = []
      let due = 100
      const timers = Timers.make(
        () => monotonicMillis(clock),
        [
          {
            next: () => due,
            sweep: (now) => {
              if (due > now) return
              due = Infinity
              return Effect.sync(() => swept.push(now))
            }
          }
        ]
      )
      yield* Effect.forkScoped(timers.run)
      yield* TestClock.adjust(99)
      assert.deepStrictEqual(swept, [])
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(swept, [100])
      due = 500
      timers.changed()
      yield* settle
      due = 200
      timers.changed()
      yield* settle
      yield* TestClock.adjust(100)
      assert.deepStrictEqual(swept, [100, 200])
    })
  )

  it.effect("are not affected by steps of the wall clock", () =>
    Effect.gen(function* () {
      const clock = yield* Clock.Clock
      yield* TestClock.setTime(10_000)
      let due = monotonicMillis(clock) + 100
      let count = 0
      const timers = Timers.make(
        () => monotonicMillis(clock),
        [
          {
            next: () => due,
            sweep: (now) => {
              if (due <= now) {
                due = Infinity
                count++
              }
            }
          }
        ]
      )
      yield* TestClock.setTime(1000)
      yield* Effect.forkScoped(timers.run)
      yield* TestClock.adjust(99)
      assert.strictEqual(count, 0)
      yield* TestClock.adjust(1)
      assert.strictEqual(count, 1)
    })
  )
})
