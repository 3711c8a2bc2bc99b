/**
 * Decides what follows the end of a connection: how long to wait before the next
 * attempt, or the error to give up with. It applies a `ReconnectPolicy` to the
 * consecutive failures of one feed. Times are monotonic milliseconds.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as MeshError from "../../MeshError.ts"
import * as ReconnectPolicy from "../../ReconnectPolicy.ts"

export const make = Effect.fnUntraced(function* (options: ReconnectPolicy.Options | undefined) {
  const { classify, maxRetryAfter, minDelay, schedule, stableAfter } = ReconnectPolicy.make(options)
  const minDelayMillis = Duration.toMillis(minDelay)
  let step = yield* Schedule.toStep(schedule)
  let attempt = 0
  let wasOnline = false
  // Whether a retry with fresh credentials has been made since the feed was last online.
  let triedFreshCredentials = false

  /**
   * The time of a refused handshake that is waited in addition to the scheduled
   * delay: clients that were refused together get the same `Retry-After`, and the
   * jitter of the schedule spreads them.
   */
  const retryAfter = (reason: MeshError.ConnectionReason): number =>
    reason._tag === "HandshakeRejected"
      ? Math.min(Math.max(0, reason.retryAfterMillis ?? 0), Duration.toMillis(maxRetryAfter))
      : 0

  return {
    /** The number of consecutive failures. */
    attempt: () => attempt,
    retryAfter,
    /** Notes that a connection that has ended had received messages. */
    received: (uptime: number): Effect.Effect<void> => {
      wasOnline = true
      triedFreshCredentials = false
      // Only a server that sends messages, on a connection that lasts, resets the schedule.
      if (uptime < Duration.toMillis(stableAfter)) return Effect.void
      return Effect.map(Schedule.toStep(schedule), (fresh) => {
        step = fresh
        attempt = 0
      })
    },
    /**
     * Counts the end of a connection, or of an attempt. Returns how many milliseconds to wait, or the error to give up with.
     * After `ReconnectRequested`, that is until `earliest`, without a step of the schedule.
     */
    next: (
      reason: MeshError.ConnectionReason,
      now: number,
      isTooFast: boolean,
      earliest: number
    ): Effect.Effect<number | MeshError.MeshError> => {
      attempt++
      if (reason._tag === "ReconnectRequested") return Effect.succeed(Math.max(0, earliest - now))
      if (!isTooFast && classify(reason, { wasOnline }) === "fail") {
        if (!ReconnectPolicy.mayNeedFreshCredentials(reason) || triedFreshCredentials) {
          return Effect.succeed(new MeshError.MeshError({ reason }))
        }
        triedFreshCredentials = true
        return Effect.succeed(minDelayMillis)
      }
      return Effect.match(step(now, reason), {
        onSuccess: ([, duration]) => Math.max(minDelayMillis, Duration.toMillis(duration)) + retryAfter(reason),
        // The schedule has ended.
        onFailure: () =>
          new MeshError.MeshError({ reason: new MeshError.RetriesExhausted({ attempts: attempt, last: reason }) })
      })
    }
  }
})
