/** Turns of the scheduler. */
import * as Effect from "effect/Effect"

/**
 * Yields a number of times, so that every other fiber that can run does. A loop costs a tenth of `Effect.repeat`, which
 * makes a schedule and reads the clock.
 */
export const turns = (count: number): Effect.Effect<void> =>
  Effect.suspend(() => {
    let turn = 0
    return Effect.whileLoop({
      while: () => turn < count,
      body: () => Effect.yieldNow,
      step: () => {
        turn++
      }
    })
  })
