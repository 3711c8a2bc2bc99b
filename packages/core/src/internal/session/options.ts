/**
 * The options of one connection, and their normalised form. Every module that
 * opens connections passes its options through `settings`, once.
 */
import * as Duration from "effect/Duration"
import { atLeast, oneOf } from "../bounds.ts"

/**
 * The rate at which requests are sent.
 *
 * @category options
 * @since 0.2.0
 */
export interface Pace {
  /** The average number of requests per second. Values that are not above 0 count as 1. */
  readonly requestsPerSecond: number
  /**
   * How many requests may be sent at once. At least 1. Defaults to
   * `requestsPerSecond`.
   */
  readonly burst?: number | undefined
}

/**
 * Options of one connection.
 *
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /**
   * What happens at a frame that cannot be decoded: `mark` emits an element in its
   * place and continues, `fail` ends the connection with `BadFrame`. Defaults to
   * `mark`.
   */
  readonly onBadFrame?: "mark" | "fail" | undefined
  /**
   * The number of consecutive undecodable frames after which the connection ends with
   * `TooManyBadFrames`. At least 1; a fraction is rounded down. Defaults to 100.
   */
  readonly maxBadFrames?: number | undefined
  /**
   * How long a request waits for its acknowledgement. After that, the mark that
   * depends on it is emitted with `unconfirmed`, the request is repeated (after this
   * time, then after twice this time, and so on), and an opposite request of the same
   * subscription may be sent. Time in which the session is not pulled does not count,
   * so a slow consumer causes no timeout. At least 1 millisecond. Defaults to 5
   * seconds.
   */
  readonly ackTimeout?: Duration.Input | undefined
  /**
   * Limits the rate of requests, for servers that close a connection which sends
   * too many at once. Defaults to no limit.
   *
   * **Details**
   *
   * If the server closes a connection with 1008 or 4429 within a second after the
   * last request, the client reconnects with half the pace, even if no pace is set. A
   * burst of fewer than 10 requests is not halved, because such a close has another
   * cause.
   */
  readonly pace?: Pace | undefined
}

/** Normalised options. Times in milliseconds. */
export interface Settings {
  readonly failOnBadFrame: boolean
  readonly maxBadFrames: number
  readonly ackTimeout: number
  readonly pace: PaceSettings | undefined
}

export interface PaceSettings {
  readonly requestsPerSecond: number
  readonly burst: number
}

const paceSettings = ({ burst, requestsPerSecond }: Pace): PaceSettings => {
  const rate = requestsPerSecond > 0 && Number.isFinite(requestsPerSecond) ? requestsPerSecond : 1
  return { requestsPerSecond: rate, burst: atLeast(1, burst ?? rate) }
}

export const settings = ({
  ackTimeout = "5 seconds",
  maxBadFrames = 100,
  onBadFrame,
  pace
}: Options = {}): Settings => ({
  failOnBadFrame: oneOf("onBadFrame", onBadFrame, ["mark", "fail"]) === "fail",
  maxBadFrames: atLeast(1, maxBadFrames),
  ackTimeout: atLeast(1, Duration.toMillis(ackTimeout)),
  pace: pace && paceSettings(pace)
})

/** The smallest burst that is halved. A close after fewer requests has another cause. */
const minBurst = 10

/**
 * Half of a pace, or half of `sent` requests at once if there was no pace. Returns
 * `undefined` if the burst was too small to be the cause of a close.
 */
export const halvePace = (pace: PaceSettings | undefined, sent: number): PaceSettings | undefined => {
  const { burst, requestsPerSecond } = pace ?? { burst: sent, requestsPerSecond: sent }
  return burst < minBurst ? undefined : { requestsPerSecond: requestsPerSecond / 2, burst: Math.floor(burst / 2) }
}
