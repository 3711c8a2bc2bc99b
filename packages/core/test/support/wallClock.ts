import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"

/** A clock whose wall time can step, as a computer's does, while durations go on. */
export interface SteppingClock {
  readonly clock: Clock.Clock
  /** Moves the wall clock by some milliseconds. */
  readonly step: (millis: number) => void
}

/** Wraps the clock of the test, so that only what reads the wall clock sees the steps. */
export const make: Effect.Effect<SteppingClock> = Effect.map(Clock.Clock, (inner) => {
  let offset = 0
  const millis = () => inner.currentTimeMillisUnsafe() + offset
  const nanos = () => inner.currentTimeNanosUnsafe() + BigInt(offset) * 1_000_000n
  const clock: Clock.Clock = {
    currentTimeMillisUnsafe: millis,
    currentTimeMillis: Effect.sync(millis),
    currentTimeNanosUnsafe: nanos,
    currentTimeNanos: Effect.sync(nanos),
    monotonicTimeNanosUnsafe: () => inner.monotonicTimeNanosUnsafe(),
    monotonicTimeNanos: inner.monotonicTimeNanos,
    sleep: (duration) => inner.sleep(duration)
  }
  return {
    clock,
    step: (by) => {
      offset += by
    }
  }
})
