/**
 * Time for durations: monotonic milliseconds. The wall clock may step in both
 * directions, so it is only for what is shown.
 */
import type { Clock } from "effect/Clock"

/** Milliseconds on the monotonic clock, with fractions. Only differences of them mean something. */
export const monotonicMillis = (clock: Clock): number => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
