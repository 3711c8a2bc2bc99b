/** Time for durations: steps of the wall clock do not affect it. */
import type { Clock } from "effect/Clock"

/** The monotonic time in milliseconds, fractions included. */
export const millis = (clock: Clock): number => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
