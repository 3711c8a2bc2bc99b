/**
 * The network for browsers, workers, Deno and Bun: Effect's `Socket` service on
 * the platform's own `WebSocket`.
 *
 * `NodeMeshSocket` of `@makima-stream/node` does more where it runs: it pauses
 * reads, sends pings and headers, and reports why a handshake was refused. The
 * WebSocket API of browsers supports none of these. This module supports the same
 * spellings of the server's URL, one writer for each connection, typed reasons as far
 * as the platform reports them, a bound on the frames that wait to be pulled, and a
 * heartbeat that uses the protocol's own acknowledgements.
 *
 * @since 0.2.0
 */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as Layer from "effect/Layer"
import * as Predicate from "effect/Predicate"
import type * as Scope from "effect/Scope"
import * as Socket from "effect/socket/Socket"
import * as Endpoint from "./Endpoint.ts"
import { atLeast } from "./internal/bounds.ts"
import * as Heartbeat from "./internal/socket/heartbeat.ts"
import * as WebSocket from "./internal/socket/webSocket.ts"
import * as MeshError from "./MeshError.ts"

/**
 * Options of the socket.
 *
 * @category options
 * @since 0.2.0
 */
export interface Options {
  /** The server's URL, in any spelling that `Endpoint.fromString` accepts. */
  readonly url: string
  /**
   * Parameters that are added to the URL, for a gateway that needs them. An effect runs
   * in each attempt to connect, so that a position or a token can change; if it fails,
   * the attempt fails with `CredentialsFailed` and is repeated. Servers and proxies log
   * URLs, so do not put the server's key here. Defaults to none.
   */
  readonly query?: Query | Effect.Effect<Query, unknown> | undefined
  /** The WebSocket subprotocols to offer. Defaults to none. */
  readonly protocols?: string | ReadonlyArray<string> | undefined
  /**
   * The time limit of one attempt to connect, once for `query` and once for the
   * connection. Zero, a negative number and `NaN` count as the default. Defaults
   * to 10 seconds.
   */
  readonly connectTimeout?: Duration.Input | undefined
  /**
   * How many bytes of frames may wait to be pulled: bytes of a binary frame, UTF-16
   * code units of a text frame. The WebSocket API cannot be paused, so above this bound
   * the connection ends with `ConnectionLost`, after the waiting frames; the feed then
   * connects again and marks the gap. Fractions are rounded down, and a number below 1
   * or `NaN` counts as 1. Defaults to 16 MiB.
   */
  readonly maxBufferedBytes?: number | undefined
  /** How a silent server is detected. `false` turns this off. Defaults to on. See `withHeartbeat`. */
  readonly heartbeat?: HeartbeatOptions | false | undefined
  /** Makes the WebSocket. Defaults to `new globalThis.WebSocket(url, protocols)`. */
  readonly webSocket?: ((url: string, protocols: Array<string>) => Socket.WebSocketLike) | undefined
}

/**
 * Options of the heartbeat.
 *
 * @category options
 * @since 0.2.0
 */
export interface HeartbeatOptions {
  /**
   * After how long without a frame a request is sent. Zero, a negative number
   * and `NaN` count as the default. Defaults to 15 seconds.
   */
  readonly interval?: Duration.Input | undefined
  /**
   * How long the client then waits for any frame. A dead server is detected
   * `interval` plus `deadline` after its last frame, at the latest. Zero, a negative
   * number and `NaN` count as the default. Defaults to 10 seconds.
   */
  readonly deadline?: Duration.Input | undefined
}

/**
 * Parameters of a URL, by name.
 *
 * @category options
 * @since 0.2.0
 */
export type Query = Readonly<Record<string, string>>

/**
 * Makes a socket to a task feed. It dials later: each acquisition of its `reader` is a
 * separate connection.
 *
 * **When to use**
 *
 * Use it in a browser, a worker, Bun or Deno. On Node, use `NodeMeshSocket`.
 *
 * **Details**
 *
 * - Frames that arrive together are pulled together: text as strings, binary as
 *   `Uint8Array`.
 * - The reader's scope owns the connection. Closing it sends close code 1000, or
 *   aborts the handshake, and does not wait.
 * - A writer writes to the connection of the reader that was acquired in the same
 *   scope. It fails without one, and once that connection has ended.
 * - A failed dial is `DialFailed` or `DialTimeout`; the end of a connection is
 *   `ConnectionClosed` with its code, or `ConnectionLost`.
 *
 * **Gotchas**
 *
 * - The WebSocket API sends no headers, so it sends no key: connect to a gateway that
 *   has the key.
 * - The API reports no status of a refused handshake. A refused key is
 *   `DialFailed`, and is retried.
 * - The API has no ping: `heartbeat` detects a silent server, if the server acknowledges
 *   requests.
 * - The API cannot be paused. `maxBufferedBytes` does not bound what the browser has
 *   received but not delivered yet.
 * - A text frame that is not UTF-8 ends the connection.
 *
 * **Example** (A socket without a layer)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as MeshSocket from "@makima-stream/core/MeshSocket"
 *
 * const program = Effect.gen(function* () {
 *   const socket = yield* MeshSocket.make({ url: "http://localhost:8080" })
 *   const { pull } = yield* socket.reader
 *   return yield* pull
 * }).pipe(Effect.scoped)
 * console.log(Effect.isEffect(program)) // true
 * ```
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (options: Options): Effect.Effect<Socket.Socket, Endpoint.InvalidUrl> =>
  Effect.map(Effect.fromResult(Endpoint.fromString(options.url)), (endpoint) => {
    const connectTimeout = millisOf(options.connectTimeout, 10_000)
    const query = queryOf(options.query, connectTimeout)
    const settings: Omit<WebSocket.Options, "url"> = {
      connectTimeout,
      protocols: typeof options.protocols === "string" ? [options.protocols] : [...(options.protocols ?? [])],
      maxBufferedBytes: atLeast(1, options.maxBufferedBytes ?? 16 * 1024 * 1024),
      webSocket: options.webSocket ?? ((url, protocols) => new globalThis.WebSocket(url, protocols))
    }
    const connections = new WeakMap<Scope.Scope, WebSocket.Connection>()
    const reader: Socket.Socket["reader"] = Effect.gen(function* () {
      const scope = yield* Effect.scope
      const url = urlOf(endpoint, yield* query)
      const connection = yield* WebSocket.open({ ...settings, url })
      connections.set(scope, connection)
      return { pull: connection.pull, upgrade: Socket.SocketUpgradeError.unsupported }
    })
    const writer: Socket.Socket["writer"] = Effect.map(Effect.scope, (scope) => {
      const withConnection = (
        write: (connection: WebSocket.Connection) => void
      ): Effect.Effect<void, Socket.SocketError> =>
        Effect.suspend(() => {
          const connection = connections.get(scope)
          const end = connection === undefined ? notConnected : connection.end()
          if (connection === undefined || end !== undefined) return Effect.fail(writeFailed(end))
          return Effect.try({ try: () => write(connection), catch: writeFailed })
        })
      return {
        write: (chunk) => withConnection((connection) => connection.write(chunk)),
        writeAll: (chunks) => withConnection((connection) => chunks.forEach(connection.write))
      }
    })
    const socket = Socket.make({ reader, writer })
    return options.heartbeat === false ? socket : withHeartbeat(socket, options.heartbeat)
  })

/**
 * Adds a heartbeat to a socket without ping, made of the protocol's own
 * acknowledgements.
 *
 * **When to use**
 *
 * Use over a transport that cannot ping, such as Effect's `Socket` on the global
 * `WebSocket`, or a tunnel of your own. `MeshSocket` has it by default.
 * `NodeMeshSocket` has pings and does not need it.
 *
 * **Details**
 *
 * - After `interval` without a frame it sends `unsubscribeOutput` for the task
 *   `00000000-0000-0000-0000-000000000000`, which changes nothing and is
 *   acknowledged. If no frame follows within `deadline`, the connection is
 *   abandoned with `HeartbeatTimeout`, and the feed connects again.
 * - The first request follows the first frame, to learn whether the server answers.
 *   A connection to a server that has never answered is not abandoned.
 * - Silence counts only while a pull waits for frames.
 *
 * **Example** (Effect's own WebSocket with a heartbeat)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Layer from "effect/Layer"
 * import * as Socket from "effect/socket/Socket"
 * import * as MeshSocket from "@makima-stream/core/MeshSocket"
 *
 * const live = Layer.effect(
 *   Socket.Socket,
 *   Effect.map(
 *     Socket.makeWebSocket("wss://example.com/api/v1/mesh/tasks/subscribe"),
 *     MeshSocket.withHeartbeat({ interval: "5 seconds" })
 *   )
 * ).pipe(Layer.provide(Socket.layerWebSocketConstructorGlobal))
 * console.log(Layer.isLayer(live)) // true
 * ```
 *
 * @category combinators
 * @since 0.2.0
 */
export const withHeartbeat: {
  /** Returns a function that adds a heartbeat to a socket. */
  (options?: HeartbeatOptions): (socket: Socket.Socket) => Socket.Socket
  /** Adds a heartbeat to the socket. */
  (socket: Socket.Socket, options?: HeartbeatOptions): Socket.Socket
} = dual(
  ([first]) => Predicate.hasProperty(first, Socket.TypeId),
  (socket: Socket.Socket, options: HeartbeatOptions = {}) =>
    Heartbeat.wrap(socket, {
      intervalMillis: millisOf(options.interval, 15_000),
      deadlineMillis: millisOf(options.deadline, 10_000)
    })
)

/**
 * Provides the socket.
 *
 * **Example** (The shared client in a page)
 *
 * ```ts
 * import * as Layer from "effect/Layer"
 * import * as MeshClient from "@makima-stream/core/MeshClient"
 * import * as MeshSocket from "@makima-stream/core/MeshSocket"
 *
 * const live = MeshClient.layer().pipe(Layer.provide(MeshSocket.layer({ url: "http://localhost:8080" })))
 * console.log(Layer.isLayer(live)) // true
 * ```
 *
 * @category layers
 * @since 0.2.0
 */
export const layer = (options: Options): Layer.Layer<Socket.Socket, Endpoint.InvalidUrl> =>
  Layer.effect(Socket.Socket, make(options))

// ---------------------------------------------------------------------------
// settings
// ---------------------------------------------------------------------------

const millisOf = (input: Duration.Input | undefined, fallback: number): number => {
  const millis = input === undefined ? Number.NaN : Duration.toMillis(Duration.fromInputUnsafe(input))
  return millis > 0 ? millis : fallback
}

const queryOf = (query: Options["query"], timeout: number): Effect.Effect<Query, Socket.SocketError> =>
  Effect.isEffect(query)
    ? query.pipe(
        Effect.timeout(timeout),
        Effect.catchCause((cause) =>
          Effect.fail(WebSocket.openFailed(new MeshError.CredentialsFailed({ cause: Cause.squash(cause) })))
        )
      )
    : Effect.succeed(query ?? {})

const urlOf = (endpoint: Endpoint.Endpoint, query: Query): string => {
  const parameters = new URLSearchParams(query).toString()
  return parameters === "" ? endpoint : `${endpoint}?${parameters}`
}

const notConnected = new Error("The socket is not connected")

const writeFailed = (cause: unknown): Socket.SocketError =>
  new Socket.SocketError({
    reason: new Socket.SocketWriteError({
      cause: Socket.isSocketError(cause) ? MeshError.fromSocketError(cause) : cause
    })
  })
