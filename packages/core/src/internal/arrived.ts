/**
 * Reading what has already arrived, before a timer decides that nothing came.
 *
 * When a process stood still (it was stopped, or something blocked it), its timers
 * are due before its sockets are read. A timer that ends a wait must not win over
 * data that was there first.
 */
import * as Effect from "effect/Effect"

/**
 * Enough turns of the event loop for some 2 MB of frames to reach a consumer: each
 * turn reads up to 64 KiB of a socket, and a consumer is a few turns behind it.
 */
const turns = 32

/** Returns after what has already arrived could be read. Takes no time on the clock. */
export const arrived: Effect.Effect<void> = Effect.asVoid(Effect.repeat(Effect.yieldNow, { times: turns }))
