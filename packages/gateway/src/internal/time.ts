import type { Clock } from "effect/Clock"

/** Milliseconds on the monotonic clock. */
export const monotonicMillis = (clock: Clock): number => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
