/**
 * Monotonic milliseconds, for durations. The wall clock may step in both directions,
 * so it is used only for times that are shown.
 */
import type { Clock } from "effect/Clock"

/** Milliseconds on the monotonic clock, with fractions. Only differences between two values are meaningful. */
export const monotonicMillis = (clock: Clock): number => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
