import type { Clock } from "effect/Clock"
import * as Effect from "effect/Effect"

/** Milliseconds on the monotonic clock. */
export const monotonicMillis = (clock: Clock): number => Number(clock.monotonicTimeNanosUnsafe()) / 1e6

/**
 * Makes a function that runs a callback after a time on Effect's clock, and returns how to stop it. Timers end with the
 * scope.
 */
export const timers = Effect.gen(function* () {
  const context = yield* Effect.context<never>()
  const scope = yield* Effect.scope
  return (millis: number, callback: () => void): (() => void) => {
    const fiber = Effect.sleep(millis).pipe(
      Effect.andThen(Effect.sync(callback)),
      Effect.forkIn(scope),
      Effect.runSyncWith(context)
    )
    return () => fiber.interruptUnsafe()
  }
})
