/**
 * Time: durations, and timers that do not win over data.
 *
 * Durations are measured on the monotonic clock. The wall clock may step in both
 * directions, so it is used only for times that are shown.
 */
import type { Clock } from "effect/Clock"
import * as Effect from "effect/Effect"

/** Milliseconds on the monotonic clock, with fractions. Only differences between two values are meaningful. */
export const monotonicMillis = (clock: Clock): number => Number(clock.monotonicTimeNanosUnsafe()) / 1e6

/**
 * Enough turns of the event loop for about 2 MB of frames to reach a consumer: each
 * turn reads up to 64 KiB of a socket, and a consumer is a few turns behind it.
 */
const turns = 32

/**
 * Waits until data that has already arrived could be read. Takes no time on the clock.
 *
 * After a process was stopped or blocked, its timers are due before its sockets are
 * read. A timer that ends a wait must not win over data that arrived earlier.
 */
export const arrived: Effect.Effect<void> = /*#__PURE__*/ Effect.asVoid(
  // Both calls are marked as pure, so that a bundle without timers drops them.
  /*#__PURE__*/ Effect.repeat(Effect.yieldNow, { times: turns })
)
