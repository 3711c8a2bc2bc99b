/**
 * The environment of a law. Public through `TransportLaws`.
 */
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as Socket from "effect/socket/Socket"
import type * as ClientMessage from "@makima-stream/core/ClientMessage"
import type { Encoding } from "../../ServerLog.ts"

/**
 * The server at the other end of the socket under test.
 *
 * @category models
 * @since 0.1.0
 */
export interface Server {
  /** Sends a frame to every connection. */
  readonly send: (frame: string | Uint8Array, as: Encoding) => Effect.Effect<void>
  /** Closes every connection with a close frame. */
  readonly close: (code: number, reason: string) => Effect.Effect<void>
  /** Cuts every connection. */
  readonly kill: Effect.Effect<void>
  /** Leaves every connection half-open. */
  readonly freeze: Effect.Effect<void>
  /** Refuses the next dial. */
  readonly refuse: (status: number, headers: Readonly<Record<string, string>>) => Effect.Effect<void>
  /** Never answers the next dial. */
  readonly stallDial: Effect.Effect<void>
  /** How many connections are open. */
  readonly open: Effect.Effect<number>
  /** The received requests, oldest first. `connection` counts the connections from 1. */
  readonly received: Effect.Effect<
    ReadonlyArray<{ readonly connection: number; readonly message: ClientMessage.ClientMessage }>
  >
  /** The amount of sent data that waits because the client does not read; 0 if none waits. */
  readonly undelivered: Effect.Effect<number>
}

/**
 * The environment of a law: the socket, its server, and time.
 *
 * **Details**
 *
 * Configure the socket under test with `timings`: a dial fails after
 * `connectTimeout`, and `heartbeat` detects a silent peer. A socket without such
 * settings breaks a law.
 *
 * **Example** (Checking one law by hand)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as TestClock from "effect/testing/TestClock"
 * import * as TransportLaws from "@makima-stream/test-kit/TransportLaws"
 *
 * const [name] = TransportLaws.names
 * const checked = Effect.scoped(TransportLaws.laws[name ?? "order"].check).pipe(
 *   Effect.provide(TransportLaws.layerScripted),
 *   Effect.provide(TestClock.layer())
 * )
 * await Effect.runPromise(checked)
 * ```
 *
 * @category services
 * @since 0.1.0
 */
export class Harness extends Context.Service<
  Harness,
  {
    /** The socket under test. */
    readonly socket: Socket.Socket
    /** The server that the socket connects to. */
    readonly server: Server
    /** Lets time pass: real time for a real network, virtual time for a scripted one. */
    readonly advance: (duration: Duration.Input) => Effect.Effect<void>
  }
>()("@makima-stream/test-kit/TransportLaws/Harness") {}

/**
 * The timings of a harness over a real network.
 *
 * @category models
 * @since 0.1.0
 */
export interface Timings {
  /** How long a dial may take before it fails. */
  readonly connectTimeout: Duration.Duration
  /** A ping each `interval`, and an answer to it within `deadline`. */
  readonly heartbeat: { readonly interval: Duration.Duration; readonly deadline: Duration.Duration }
}

/** Timings for laws that wait for a timeout. */
export const short: Timings = {
  connectTimeout: Duration.millis(300),
  heartbeat: { interval: Duration.millis(100), deadline: Duration.millis(200) }
}

/** Timings for the other laws: long, so that a pause of the machine breaks no law. */
export const long: Timings = {
  connectTimeout: Duration.minutes(1),
  heartbeat: { interval: Duration.minutes(1), deadline: Duration.minutes(1) }
}

/** The timings of a new harness. Defaults to short ones, for any law. */
export const CurrentTimings = Context.Reference<Timings>("@makima-stream/test-kit/TransportLaws/CurrentTimings", {
  defaultValue: () => short
})

/**
 * A law that a socket broke.
 *
 * @category errors
 * @since 0.1.0
 */
export class LawBroken extends Data.TaggedError("LawBroken")<{
  /** What was observed instead of what the law requires. */
  readonly seen: string
}> {
  /** What was observed instead of what the law requires. */
  override get message(): string {
    return this.seen
  }
}

/**
 * A law: its promise, in words, and its check.
 *
 * @category models
 * @since 0.1.0
 */
export interface Law {
  /** The promise. */
  readonly promise: string
  /** The timeout that the check waits for. The others may be long. */
  readonly waitsOut?: keyof Timings
  /** Fails when the promise is broken. */
  readonly check: Effect.Effect<void, LawBroken, Harness | Scope.Scope>
}
