/**
 * Reads what has already arrived, before a timer ends a wait.
 *
 * After a process was stopped or blocked, its timers are due before its sockets are
 * read. A timer that ends a wait must not win over data that arrived earlier.
 */
import * as Effect from "effect/Effect"

/**
 * Enough turns of the event loop for about 2 MB of frames to reach a consumer: each
 * turn reads up to 64 KiB of a socket, and a consumer is a few turns behind it.
 */
const turns = 32

/** Waits until data that has already arrived could be read. Takes no time on the clock. */
export const arrived: Effect.Effect<void> = Effect.asVoid(Effect.repeat(Effect.yieldNow, { times: turns }))
