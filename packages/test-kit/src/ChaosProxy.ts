/**
 * Simulates a bad network between a client and a server: a TCP proxy on 127.0.0.1 that
 * delays, throttles and splits bytes, cuts connections, and leaves them
 * half-open.
 *
 * `MockMeshServer` injects faults into frames, on the server's side. The proxy does
 * not know frames: its faults occur between two healthy processes, also in the
 * middle of a frame or of a handshake.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Bounds from "./internal/bounds.ts"
import * as Proxy from "./internal/proxy.ts"
import type { Direction, Link } from "./internal/proxyLink.ts"

/**
 * Options of a proxy.
 *
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /** The server's port at 127.0.0.1. The server may start later. */
  readonly target: number
  /** The port to listen on, at 127.0.0.1. Defaults to 0: a free port. */
  readonly port?: number
  /**
   * The most bytes in flight in each direction of each connection; a chunk of up
   * to 64 KiB may exceed it. At least 1. Defaults to 16 MiB.
   *
   * With latency, at most this many bytes pass in the time of one latency: 16 MiB at
   * 150 ms is 112 MB/s.
   *
   * @since 0.2.0
   */
  readonly maxInFlightBytes?: number
}

export type {
  /**
   * A direction of a connection: from the client to the server, or from the server
   * to the client.
   *
   * @category models
   * @since 0.2.0
   */
  Direction
} from "./internal/proxyLink.ts"

export type {
  /**
   * How bytes travel in one direction. A missing option restricts nothing.
   *
   * **Details**
   *
   * A negative delay or `NaN` counts as 0, and a rate or a size below 1 as 1.
   *
   * @category models
   * @since 0.1.0
   */
  Shape
} from "./internal/proxy.ts"

/**
 * A snapshot of a connection. Times are in milliseconds since 1970.
 *
 * @category models
 * @since 0.1.0
 */
export interface Connection {
  /** The number of the connection, in the order of acceptance, from 1. */
  readonly id: number
  /** When it was accepted. */
  readonly openedAt: number
  /** When it had closed on both sides; `undefined` while it is open. */
  readonly closedAt: number | undefined
  /** The worst fault that `kill` and `freeze` caused. A shape is not a fault. */
  readonly injury: "killed" | "frozen" | undefined
  /**
   * How many bytes are in flight in each direction: read, and not written yet.
   *
   * @since 0.2.0
   */
  readonly inFlightBytes: Readonly<Record<Direction, number>>
}

/**
 * The proxy could not listen. Usually the port is in use.
 *
 * @category errors
 * @since 0.1.0
 */
export class ListenError extends Schema.TaggedError<ListenError>("@makima-stream/test-kit/ChaosProxy/ListenError")(
  "ListenError",
  {
    /** The requested port. */
    port: Schema.Int,
    /** The error of the platform. */
    cause: Schema.Defect()
  }
) {
  /** One line with the port. */
  override get message(): string {
    return `The proxy could not listen on port ${this.port}`
  }
}

/**
 * A running proxy.
 *
 * **Details**
 *
 * `kill`, `freeze` and `thaw` take the number of a connection. Without a number they
 * apply to every open connection.
 *
 * @category models
 * @since 0.1.0
 */
export interface ChaosProxy {
  /** The port that it listens on. */
  readonly port: number
  /** The URL of the server through the proxy: `http://127.0.0.1:<port>`. */
  readonly url: string
  /** All connections, closed ones included, oldest first. */
  readonly connections: Effect.Effect<ReadonlyArray<Connection>>
  /**
   * Sets how bytes travel, in one direction or in both, on open and on later
   * connections. It applies to bytes in flight too, so `{}` restores a perfect
   * network at once. Defaults to both directions.
   */
  readonly shape: (shape: Proxy.Shape, direction?: Direction) => Effect.Effect<void>
  /** Resets both sides. Bytes in flight are lost. */
  readonly kill: (connection?: number) => Effect.Effect<void>
  /** Leaves the connections half-open: neither bytes nor the end of a side pass. */
  readonly freeze: (connection?: number) => Effect.Effect<void>
  /** Ends a freeze. The delayed bytes are forwarded, in order. */
  readonly thaw: (connection?: number) => Effect.Effect<void>
}

/**
 * Starts a proxy that lives as long as the scope.
 *
 * **When to use**
 *
 * Use it in front of a server in another process, or of a server other than
 * `MockMeshServer`, to test a program on a bad network.
 *
 * **Details**
 *
 * - If the target refuses the connection, the client's connection is reset.
 * - When one side ends, the other side is ended after all bytes before it.
 * - Backpressure passes through: while the receiver does not read, the proxy stops
 *   reading from the sender. At most `maxInFlightBytes` are in flight; without
 *   latency it is one chunk (at most 64 KiB).
 * - Delays use the clock and the random numbers of the fiber that made the proxy,
 *   and its monotonic time.
 *
 * **Gotchas**
 *
 * A frozen connection stays open on the far side after the near side has left. It
 * ends by `kill`, by `thaw`, or when the scope closes.
 *
 * **Example** (Every byte in its own segment)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as ChaosProxy from "@makima-stream/test-kit/ChaosProxy"
 * import * as MockMeshServer from "@makima-stream/test-kit/MockMeshServer"
 *
 * const program = Effect.scoped(
 *   Effect.gen(function* () {
 *     const server = yield* MockMeshServer.make()
 *     const proxy = yield* ChaosProxy.make({ target: server.port })
 *     yield* proxy.shape({ pieceBytes: 1, latencyMillis: 5 })
 *     return proxy.url // the URL for the program under test
 *   })
 * )
 * console.log((await Effect.runPromise(program)).startsWith("http://127.0.0.1:")) // true
 * ```
 *
 * **Example** (60 ms each way, and a slow uplink)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as ChaosProxy from "@makima-stream/test-kit/ChaosProxy"
 *
 * const program = Effect.gen(function* () {
 *   const proxy = yield* ChaosProxy.make({ target: 9 })
 *   yield* proxy.shape({ latencyMillis: 60, jitterMillis: 20 })
 *   yield* proxy.shape({ latencyMillis: 60, bytesPerSecond: 20_000 }, "toServer")
 *   return proxy.port > 0
 * })
 * console.log(await Effect.runPromise(Effect.scoped(program))) // true
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (
  options: Options
): Effect.fn.Return<ChaosProxy, ListenError, Scope.Scope> {
  const port = options.port ?? 0
  const proxy = yield* Effect.mapError(
    Proxy.make({
      target: options.target,
      port,
      maxInFlightBytes: Bounds.atLeast(1, options.maxInFlightBytes ?? 16 << 20)
    }),
    (cause) => new ListenError({ port, cause })
  )
  /** Applies a fault to one open connection, or to all of them. */
  const each = (id: number | undefined, f: (link: Link) => void): Effect.Effect<void> =>
    Effect.sync(() => proxy.open().forEach((link) => (id === undefined || link.state.id === id ? f(link) : undefined)))

  return {
    port: proxy.port,
    url: `http://127.0.0.1:${proxy.port}`,
    connections: Effect.sync(() => proxy.links().map(toConnection)),
    shape: (shape, direction) => Effect.sync(() => proxy.setShape(shape, direction)),
    kill: (id) => each(id, (link) => link.kill()),
    freeze: (id) => each(id, (link) => link.freeze()),
    thaw: (id) => each(id, (link) => link.thaw())
  }
})

const toConnection = ({ pipes, state }: Link): Connection => ({
  ...state,
  inFlightBytes: { toServer: pipes.toServer.inFlight(), toClient: pipes.toClient.inFlight() }
})
