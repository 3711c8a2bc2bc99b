/** The options of the gateway that are numbers and times, and their normalised form. */
import * as Duration from "effect/Duration"

export interface Limits {
  /**
   * How many bytes may wait for one client. Above it, a client with marks loses events, which
   * an `Overflow` marks, and another client is closed with 1013. At least 1. Defaults to 4 MiB.
   */
  readonly maxBufferedBytes?: number | undefined
  /**
   * How long a client may take nothing while bytes wait for it, before it is closed with 1013. At least 1
   * second. Defaults to 30 seconds.
   */
  readonly stallTimeout?: Duration.Input | undefined
  /** The most clients, streams of events included. A further client is refused with 503. At least 1. Defaults to 10,000. */
  readonly maxClients?: number | undefined
  /** The most subscriptions of one client. A further request is answered with an `error`. At least 1. Defaults to 20,000. */
  readonly maxSubscriptions?: number | undefined
  /**
   * How long a subscription stays active at the server after the last client has left it. A client that comes
   * back within this time is acknowledged at once. Defaults to 5 seconds.
   */
  readonly subscriptionIdleTimeToLive?: Duration.Input | undefined
  /** How long the clients may take to close when the scope closes. Defaults to 2 seconds. */
  readonly drainTimeout?: Duration.Input | undefined
  /** The most events that are kept for `Last-Event-ID`. 0 keeps none. Defaults to 10,000. */
  readonly maxReplay?: number | undefined
}

export interface LimitSettings {
  readonly maxBufferedBytes: number
  readonly stallMillis: number
  readonly maxClients: number
  readonly maxSubscriptions: number
  readonly idleMillis: number
  readonly drainMillis: number
  readonly maxReplay: number
}

/** A whole number of at least `least`. A fraction is rounded down; `NaN` counts as `least`. */
const atLeast = (least: number, value: number): number => (value >= least ? Math.floor(value) : least)

const millis = (input: Duration.Input): number => Math.max(0, Duration.toMillis(input))

export const limits = (options: Limits): LimitSettings => ({
  maxBufferedBytes: atLeast(1, options.maxBufferedBytes ?? 4 * 1024 * 1024),
  stallMillis: Math.max(1000, millis(options.stallTimeout ?? "30 seconds")),
  maxClients: atLeast(1, options.maxClients ?? 10_000),
  maxSubscriptions: atLeast(1, options.maxSubscriptions ?? 20_000),
  idleMillis: millis(options.subscriptionIdleTimeToLive ?? "5 seconds"),
  drainMillis: millis(options.drainTimeout ?? "2 seconds"),
  maxReplay: atLeast(0, options.maxReplay ?? 10_000)
})
