/**
 * When to try again, how long to wait, and when to give up.
 *
 * A policy has a schedule for the delays, a rule for going back to the start of
 * that schedule, and one total classifier that tells the reasons that may heal
 * from those that will not. `MeshStream` and `MeshClient` take a policy as an
 * option; whatever is left out has the default of `defaults`.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import type { ConnectionReason } from "./MeshError.ts"

/**
 * What to do about a connection that ended: try again, or fail with its reason.
 *
 * @category models
 * @since 0.1.0
 */
export type Verdict = "retry" | "fail"

/**
 * How a stream or a client comes back after its connection ended.
 *
 * @category models
 * @since 0.1.0
 */
export interface ReconnectPolicy {
  /**
   * The delays. Its input is the reason why the last connection, or the attempt
   * at one, ended; when it ends, the feed fails with `RetriesExhausted`.
   */
  readonly schedule: Schedule.Schedule<unknown, ConnectionReason>
  /**
   * The shortest delay there can be, whatever the schedule says, so that no
   * schedule can hammer a server. Default: 100 milliseconds.
   */
  readonly minDelay: Duration.Input
  /**
   * How long a connection must have been up, besides having brought a message,
   * before the schedule goes back to its start. Default: 5 seconds. A server
   * that accepts and closes is therefore not hammered.
   */
  readonly stableAfter: Duration.Input
  /**
   * The longest `Retry-After` of a refused handshake that is waited out; a
   * longer one is cut to this. Default: 1 hour.
   */
  readonly maxRetryAfter: Duration.Input
  /** Which reasons may heal. Default: `classify`. */
  readonly classify: (reason: ConnectionReason) => Verdict
}

/**
 * The default schedule: 2, 4, 8, 16, 30, 30, … seconds, each spread over its
 * upper half.
 *
 * **Details**
 *
 * The shape is that of the server's existing client. Each delay is multiplied
 * by a factor drawn evenly from 0.5 to 1 *after* the cap, so the fifth and every
 * later delay is spread over 15 to 30 seconds: clients that lost one server
 * together do not come back together. (`Schedule.jittered` would spread by 20 %
 * and exceed the cap.)
 *
 * @category schedules
 * @since 0.1.0
 */
export const schedule: Schedule.Schedule<Duration.Duration> = Schedule.exponential("2 seconds").pipe(
  Schedule.modifyDelay(({ duration }) =>
    Effect.map(Random.next, (random) => Duration.times(Duration.min(duration, Duration.seconds(30)), 0.5 + random / 2))
  )
)

/**
 * The default classifier. Total: every reason has a verdict.
 *
 * **Details**
 *
 * Fails at once: a handshake refused with 401 or 403 (the key), or 404 (the
 * endpoint); a certificate that is not accepted; a close for policy, which is
 * 1008 and 4400 to 4499 but for 4408 (timeout) and 4429 (too many requests); a
 * bad frame where the program asked to fail on one.
 *
 * Everything else may heal, loss of network above all. So do failing
 * credentials: they are an effect that is run anew in each attempt.
 *
 * **Example** (Never giving up on a 404, for a server that is being deployed)
 *
 * ```ts
 * import { MeshError, ReconnectPolicy } from "@makima-stream/core"
 *
 * const classify: ReconnectPolicy.ReconnectPolicy["classify"] = (reason) =>
 *   reason._tag === "HandshakeRejected" && reason.status === 404 ? "retry" : ReconnectPolicy.classify(reason)
 *
 * console.log(classify(new MeshError.HandshakeRejected({ status: 404 }))) // retry
 * ```
 *
 * @category classification
 * @since 0.1.0
 */
export const classify = (reason: ConnectionReason): Verdict => {
  switch (reason._tag) {
    case "HandshakeRejected":
      return reason.status === 401 || reason.status === 403 || reason.status === 404 ? "fail" : "retry"
    case "ConnectionClosed":
      return isPolicyClose(reason.code) ? "fail" : "retry"
    case "TlsFailed":
    case "BadFrame":
      return "fail"
    case "DialFailed":
    case "DialTimeout":
    case "CredentialsFailed":
    case "ConnectionLost":
    case "HeartbeatTimeout":
    case "FrameTooLarge":
    case "TooManyBadFrames":
    case "ReconnectRequested":
      return "retry"
  }
}

const isPolicyClose = (code: number): boolean =>
  code === 1008 || (code >= 4400 && code <= 4499 && code !== 4408 && code !== 4429)

/**
 * The default policy.
 *
 * @category defaults
 * @since 0.1.0
 */
export const defaults: ReconnectPolicy = {
  schedule,
  minDelay: "100 millis",
  stableAfter: "5 seconds",
  maxRetryAfter: "1 hour",
  classify
}

/**
 * A policy from the defaults and what differs from them.
 *
 * **Example** (At most five attempts in a row)
 *
 * ```ts
 * import { Schedule } from "effect"
 * import { ReconnectPolicy } from "@makima-stream/core"
 *
 * const policy = ReconnectPolicy.make({
 *   schedule: ReconnectPolicy.schedule.pipe(Schedule.upTo({ times: 5 }))
 * })
 * console.log(policy.stableAfter) // 5 seconds
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options?: Partial<ReconnectPolicy>): ReconnectPolicy => ({ ...defaults, ...options })
