/**
 * Determines when to connect again, how long to wait, and when to give up.
 *
 * A policy has a schedule of delays, a rule for resetting that schedule, and a
 * classifier that separates temporary from permanent failures. `MeshStream` and
 * `MeshClient` have it as an option; missing options default to `defaults`.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import type { ConnectionReason } from "./MeshError.ts"

/**
 * What to do after a connection ended: connect again, or fail with the reason.
 *
 * @category models
 * @since 0.1.0
 */
export type Verdict = "retry" | "fail"

/**
 * The second argument of a classifier.
 *
 * @category models
 * @since 0.2.0
 */
export interface ClassifyContext {
  /**
   * Whether this feed was online before: the server confirmed its subscriptions, or
   * sent a message, on at least one connection. The default classifier retries more
   * reasons after that.
   */
  readonly wasOnline: boolean
}

/**
 * How a stream or a client reconnects after its connection ended.
 *
 * @category models
 * @since 0.1.0
 */
export interface ReconnectPolicy {
  /**
   * The delays. The input of the schedule is the reason of the last failure. When the
   * schedule ends, the feed fails with `RetriesExhausted`. Defaults to `schedule`.
   */
  readonly schedule: Schedule.Schedule<unknown, ConnectionReason>
  /**
   * The shortest delay. Shorter delays of the schedule are raised to it, so that no
   * schedule floods a server. At least 1 millisecond. Defaults to 100 milliseconds.
   */
  readonly minDelay: Duration.Input
  /**
   * The schedule is reset after a connection has lasted this long and has received a
   * message. This protects a server that accepts connections and closes them at once.
   * Negative values count as 0. Defaults to 5 seconds.
   */
  readonly stableAfter: Duration.Input
  /**
   * The longest `Retry-After` of a refused handshake. A longer one is reduced to this.
   * Negative values count as 0. Defaults to 1 hour.
   */
  readonly maxRetryAfter: Duration.Input
  /** Decides which reasons are retried. Defaults to `classify`. */
  readonly classify: (reason: ConnectionReason, context: ClassifyContext) => Verdict
}

/**
 * The options of a policy. An option that is missing or `undefined` has its
 * default.
 *
 * @category models
 * @since 0.2.0
 */
export type Options = { readonly [Option in keyof ReconnectPolicy]?: ReconnectPolicy[Option] | undefined }

/**
 * The default schedule: 2, 4, 8, 16, 30, 30, … seconds, each multiplied by a random
 * factor from 0.5 to 1.
 *
 * **Details**
 *
 * The delays are those of the server's existing client. The random factor is applied
 * *after* the cap, so the fifth and all later delays are between 15 and 30 seconds:
 * clients that lost the server at the same time do not return at the same time.
 * (`Schedule.jittered` would vary the delays by 20 % and exceed the cap.)
 *
 * @category schedules
 * @since 0.1.0
 */
export const schedule: Schedule.Schedule<Duration.Duration> = Schedule.exponential("2 seconds").pipe(
  Schedule.modifyDelay(({ duration }) =>
    Effect.map(Random.next, (random) => Math.min(Duration.toMillis(duration), 30_000) * (0.5 + random / 2))
  )
)

/**
 * The default classifier. It has a verdict for every reason.
 *
 * **Details**
 *
 * These reasons fail at once, because they are permanent:
 *
 * - a handshake refused with 301, 308 (the feed is elsewhere), 401, 403 (the
 *   key), 426 or 505 (the server does not speak this protocol);
 * - a close with 1008, 3000, 3003, or 4400 to 4499 except 4408 (timeout) and
 *   4429 (too many requests);
 * - a fixed key that cannot be sent in a header;
 * - a frame that could not be decoded, with `onBadFrame: "fail"`.
 *
 * These reasons fail only if the feed has never been online. Otherwise they are
 * retried, because the server accepted this client before:
 *
 * - a handshake refused with 404: the URL is wrong, or the server is being
 *   deployed;
 * - a certificate that is not accepted: it is the wrong server, or the
 *   certificate has expired.
 *
 * All other reasons are retried: loss of network, timeouts, TLS alerts, and credentials
 * that could not be obtained, since their effect runs again in each attempt.
 *
 * **Gotchas**
 *
 * After a refused key (401, or a close with 4401 or 3000) the feed connects once more
 * before it fails, if the transport obtains a new key for each attempt: see
 * `credentialsMayChange` of `HandshakeRejected`.
 *
 * **Example** (Retry a 404 from the first attempt on)
 *
 * ```ts
 * import * as MeshError from "@makima-stream/core/MeshError"
 * import * as ReconnectPolicy from "@makima-stream/core/ReconnectPolicy"
 *
 * const classify: ReconnectPolicy.ReconnectPolicy["classify"] = (reason, context) =>
 *   reason._tag === "HandshakeRejected" && reason.status === 404 ? "retry" : ReconnectPolicy.classify(reason, context)
 *
 * console.log(classify(new MeshError.HandshakeRejected({ status: 404 }), { wasOnline: false })) // retry
 * ```
 *
 * @category classification
 * @since 0.1.0
 */
export const classify = (reason: ConnectionReason, context: ClassifyContext): Verdict =>
  isPermanent(reason, context.wasOnline) ? "fail" : "retry"

const isPermanent = (reason: ConnectionReason, wasOnline: boolean): boolean => {
  switch (reason._tag) {
    case "HandshakeRejected":
      return [301, 308, 401, 403, 426, 505].includes(reason.status) || (reason.status === 404 && !wasOnline)
    case "ConnectionClosed":
      return isFinalClose(reason.code)
    case "TlsFailed":
      return !wasOnline
    case "CredentialsFailed":
      return reason.isFinal === true
    default:
      return reason._tag === "BadFrame"
  }
}

// 3000 and 3003 are registered with IANA as "Unauthorized" and "Forbidden".
const isFinalClose = (code: number): boolean =>
  [1008, 3000, 3003].includes(code) || (code >= 4400 && code <= 4499 && code !== 4408 && code !== 4429)

/**
 * Returns `true` if the server refused the key and the next attempt may use another
 * key.
 *
 * **Details**
 *
 * Returns `true` for a handshake refused with 401 and for a close with 4401 or 3000, if
 * the transport set `credentialsMayChange`. The feed then connects once more, with a new
 * key and after the delay of the schedule. A second consecutive refusal is final.
 *
 * **Example** (A key that has expired)
 *
 * ```ts
 * import * as MeshError from "@makima-stream/core/MeshError"
 * import * as ReconnectPolicy from "@makima-stream/core/ReconnectPolicy"
 *
 * const expired = new MeshError.HandshakeRejected({ status: 401, credentialsMayChange: true })
 * console.log(ReconnectPolicy.mayNeedFreshCredentials(expired)) // true
 * console.log(ReconnectPolicy.mayNeedFreshCredentials(new MeshError.HandshakeRejected({ status: 401 }))) // false
 * ```
 *
 * @category classification
 * @since 0.2.0
 */
export const mayNeedFreshCredentials = (reason: ConnectionReason): boolean =>
  "credentialsMayChange" in reason &&
  reason.credentialsMayChange === true &&
  [401, 4401, 3000].includes(reason._tag === "HandshakeRejected" ? reason.status : reason.code)

/**
 * Makes a policy from options.
 *
 * **Details**
 *
 * An option that is `undefined`, or a duration that is `NaN`, means the default. A
 * duration below its minimum is raised to it.
 *
 * **Gotchas**
 *
 * Throws for an invalid duration such as `"soon"`. The types exclude it.
 *
 * **Example** (At most five consecutive attempts)
 *
 * ```ts
 * import * as Schedule from "effect/Schedule"
 * import * as ReconnectPolicy from "@makima-stream/core/ReconnectPolicy"
 *
 * const policy = ReconnectPolicy.make({
 *   schedule: ReconnectPolicy.schedule.pipe(Schedule.upTo({ times: 5 })),
 *   stableAfter: undefined
 * })
 * console.log(String(policy.stableAfter)) // 5 seconds
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: Options = {}): ReconnectPolicy => {
  return {
    schedule: options.schedule ?? schedule,
    minDelay: atLeast(1, options.minDelay, "100 millis"),
    stableAfter: atLeast(0, options.stableAfter, "5 seconds"),
    maxRetryAfter: atLeast(0, options.maxRetryAfter, "1 hour"),
    classify: options.classify ?? classify
  }
}

/** Returns the option, its default if it is missing or `NaN`, or its minimum. */
const atLeast = (minMillis: number, input: Duration.Input | undefined, otherwise: Duration.Input): Duration.Input => {
  // `NaN` is checked before the conversion, since a `Duration` of `NaN` is zero.
  if (input === undefined || Number.isNaN(input)) return otherwise
  return Duration.toMillis(input) >= minMillis ? input : minMillis
}

/**
 * The default policy.
 *
 * @category defaults
 * @since 0.1.0
 */
export const defaults: ReconnectPolicy = /*#__PURE__*/ make()
