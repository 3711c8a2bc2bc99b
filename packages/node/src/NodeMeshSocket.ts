/**
 * The network for Node: Effect's `Socket` service on the `ws` library, tuned
 * for the task feed.
 *
 * Core knows no platform; this is the socket to put under it. `layerConfig` is
 * the common case, `layer` the one with options in code, `make` the plain
 * value. What happens to a connection comes as a reason of core's `MeshError`,
 * in the `cause` of the `SocketError`, so that `ReconnectPolicy` can tell a
 * refused key from a network that is down.
 *
 * @since 0.1.0
 */
import * as Endpoint from "@makima-stream/core/Endpoint"
import * as MeshError from "@makima-stream/core/MeshError"
import * as MeshMetrics from "@makima-stream/core/MeshMetrics"
import * as Clock from "effect/Clock"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import * as Socket from "effect/socket/Socket"
import * as Connection from "./internal/connection.ts"
import * as Credentials from "./internal/credentials.ts"
import * as Failure from "./internal/failure.ts"
import * as Heartbeat from "./internal/heartbeat.ts"
import { version } from "./internal/version.ts"
import * as MeshConfig from "./MeshConfig.ts"

/**
 * How a silent peer is noticed.
 *
 * @category options
 * @since 0.1.0
 */
export interface HeartbeatOptions {
  /** How often a ping is sent. Default: 15 seconds. */
  readonly interval?: Duration.Input
  /**
   * How long a ping may go without any byte from the server after it. A dead
   * peer is noticed within `interval` plus `deadline` of its last sign of life.
   * Default: 10 seconds.
   */
  readonly deadline?: Duration.Input
  /**
   * Told the round trip of each ping that was answered, when the heartbeat next
   * wakes. What it fails with is ignored.
   */
  readonly onRoundTrip?: (roundTrip: Duration.Duration) => Effect.Effect<void>
}

/**
 * How a `wss` server is verified, and how this client identifies itself to it.
 *
 * @category options
 * @since 0.1.0
 */
export interface TlsOptions {
  /**
   * The certificates to trust, in PEM, instead of those that come with Node: a
   * private CA, or a server's self-signed certificate.
   */
  readonly ca?: string | Buffer | ReadonlyArray<string | Buffer>
  /** This client's own certificate chain, in PEM, where the server asks for one. */
  readonly cert?: string | Buffer | ReadonlyArray<string | Buffer>
  /** The key of `cert`, in PEM. */
  readonly key?: Redacted.Redacted<string | Buffer>
  /** The passphrase of `key`. */
  readonly passphrase?: Redacted.Redacted
  /** The name that the server's certificate must be for. Default: the URL's host. */
  readonly servername?: string
  /**
   * `false` accepts any certificate, and so any machine in between: for tests
   * only. Default: true.
   */
  readonly rejectUnauthorized?: boolean
}

/**
 * Options of the socket but for its URL and its key.
 *
 * @category options
 * @since 0.1.0
 */
export interface ConnectionOptions {
  /** The `user-agent` header. Default: `makima-stream/<version>`. */
  readonly userAgent?: string
  /**
   * How long the credentials, and after them the connection, may each take in
   * one attempt. Default: 10 seconds.
   */
  readonly connectTimeout?: Duration.Input
  /** How a silent peer is noticed; `false` turns that off. Default: on. */
  readonly heartbeat?: HeartbeatOptions | false
  /**
   * The largest frame accepted, in bytes, after decompression. A larger one
   * ends the connection with `FrameTooLarge`. At least 1. Default: 16 MiB.
   */
  readonly maxFrameBytes?: number
  /**
   * How many bytes of frames may wait to be pulled before reads are paused. The
   * buffer can exceed this by what Node has read ahead, 128 KiB at most. A
   * reader that comes late gets 64 frames a pull. At least 1. Default: 64 KiB.
   */
  readonly highWaterBytes?: number
  /** How a `wss` server is verified. */
  readonly tls?: TlsOptions
  /**
   * Offers `permessage-deflate` to the server. Frames of this feed are small:
   * it saves bandwidth and costs time. Default: false.
   */
  readonly compression?: boolean
}

/**
 * Options of the socket.
 *
 * @category options
 * @since 0.1.0
 */
export interface Options extends ConnectionOptions {
  /** The server's URL, in any spelling that core's `Endpoint.fromString` takes. */
  readonly url: string
  /**
   * The key, sent in the `x-makima-api-key` header and nowhere else. As an
   * effect it is run anew in each attempt to connect; when it fails, dies or
   * takes too long, the attempt fails with `CredentialsFailed`. Without a key,
   * or with an empty one, no header is sent.
   */
  readonly apiKey?: Redacted.Redacted | Effect.Effect<Redacted.Redacted | undefined, unknown> | undefined
}

/**
 * A socket to a task feed. Nothing is dialled yet: each acquisition of its
 * `reader` is a connection of its own.
 *
 * **Details**
 *
 * - Frames that arrive together are pulled together: text as strings, binary as
 *   `Uint8Array`. A text frame that is not UTF-8 comes as its bytes, for the
 *   decoder to judge. Reads are paused while nobody pulls.
 * - The reader's scope owns the connection. Closing it sends close code 1000, or
 *   aborts the handshake, and does not wait; the peer has one second to answer.
 * - A writer that was acquired in the same scope as a reader writes to that
 *   reader's connection, and fails once it has ended. Any other writer writes
 *   to the connection that opened last, and waits for one where there is none.
 * - A write succeeds when the frame is handed to the operating system, or to
 *   Node where that is busy.
 *
 * **Gotchas**
 *
 * With `compression`, up to 64 KiB of compressed frames are inflated after
 * reads are paused. Each of them stays within `maxFrameBytes`.
 *
 * **Example** (A socket without retries or layers)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as NodeMeshSocket from "@makima-stream/node/NodeMeshSocket"
 *
 * const program = Effect.gen(function* () {
 *   const socket = yield* NodeMeshSocket.make({ url: "http://localhost:8080" })
 *   const { pull } = yield* socket.reader
 *   return yield* pull
 * }).pipe(Effect.scoped)
 * console.log(Effect.isEffect(program)) // true
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: Options): Effect.Effect<Socket.Socket, Endpoint.InvalidUrl> =>
  Effect.map(Effect.fromResult(Endpoint.fromString(options.url)), (endpoint) =>
    fromEndpoint(endpoint, options.apiKey, options)
  )

/**
 * Provides the socket from options in code.
 *
 * **When to use**
 *
 * Use where the URL or the key come from somewhere other than the environment:
 * a key that is fetched or refreshed, a private CA, other limits.
 *
 * **Example** (A key that is fetched for each attempt)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Layer from "effect/Layer"
 * import * as Redacted from "effect/Redacted"
 * import * as NodeMeshSocket from "@makima-stream/node/NodeMeshSocket"
 *
 * const layer = NodeMeshSocket.layer({
 *   url: "https://api.makima.jp",
 *   apiKey: Effect.succeed(Redacted.make("from a vault")),
 *   heartbeat: { interval: "5 seconds" }
 * })
 * console.log(Layer.isLayer(layer)) // true
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options): Layer.Layer<Socket.Socket, Endpoint.InvalidUrl> =>
  Layer.effect(Socket.Socket, make(options))

/**
 * Provides the socket from the configuration: `MAKIMA_API_URL`, by default the
 * public server, and `MAKIMA_API_KEY`, which is required.
 *
 * **Details**
 *
 * A bad URL or a missing key fails the layer with a `MeshConfigError`, one line
 * that names the variable. The key is read again in each attempt to connect, so
 * that a `ConfigProvider` over files follows a key that is rotated.
 *
 * **Example** (Following every task with the key from the environment)
 *
 * ```ts
 * import * as Console from "effect/Console"
 * import * as Effect from "effect/Effect"
 * import * as Stream from "effect/Stream"
 * import * as Interest from "@makima-stream/core/Interest"
 * import * as MeshStream from "@makima-stream/core/MeshStream"
 * import * as NodeMeshSocket from "@makima-stream/node/NodeMeshSocket"
 *
 * const program = MeshStream.connect({ interest: Interest.all }).pipe(
 *   Stream.runForEach((event) => Console.log(event._tag)),
 *   Effect.provide(NodeMeshSocket.layerConfig())
 * )
 * // To run it: NodeRuntime.runMain(program), from "@effect/platform-node/NodeRuntime"
 * console.log(Effect.isEffect(program)) // true
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (options?: ConnectionOptions): Layer.Layer<Socket.Socket, MeshConfig.MeshConfigError> =>
  Layer.effect(
    Socket.Socket,
    Effect.gen(function* () {
      const provider = yield* ConfigProvider.ConfigProvider
      const { url } = yield* MeshConfig.load
      const apiKey = Effect.provideService(MeshConfig.apiKey, ConfigProvider.ConfigProvider, provider)
      return fromEndpoint(url, apiKey, options ?? {})
    })
  )

/** Where writes go: the connection of one scope, or of any. */
interface Slot {
  connection: Connection.Connection | undefined
  readonly opened: Latch.Latch
}

const makeSlot = (): Slot => ({ connection: undefined, opened: Latch.makeUnsafe(false) })

const fromEndpoint = (
  endpoint: Endpoint.Endpoint,
  apiKey: Credentials.ApiKey | undefined,
  options: ConnectionOptions
): Socket.Socket => {
  const connectTimeout = Duration.toMillis(options.connectTimeout ?? "10 seconds")
  const heartbeat = options.heartbeat === false ? undefined : (options.heartbeat ?? {})
  const interval = Duration.toMillis(heartbeat?.interval ?? "15 seconds")
  const deadline = Duration.toMillis(heartbeat?.deadline ?? "10 seconds")
  const userAgent = options.userAgent ?? `makima-stream/${version}`

  const anyScope = makeSlot()
  const scopes = new WeakMap<Scope.Scope, Slot>()

  // A writer of the connection's own scope is told of the end; any other waits for the next connection.
  const onEnd = (connection: Connection.Connection) => {
    if (anyScope.connection !== connection) return
    anyScope.connection = undefined
    anyScope.opened.closeUnsafe()
  }

  const dial = (key: string | undefined, clock: Clock.Clock) => {
    const scrub = Failure.scrubber(key)
    return Effect.try({
      try: () =>
        Connection.make({
          url: endpoint,
          headers: { "user-agent": userAgent, ...(key === undefined ? {} : { [Credentials.headerName]: key }) },
          scrub,
          maxFrameBytes: atLeastOne(options.maxFrameBytes ?? 16 * 1024 * 1024),
          highWaterBytes: atLeastOne(options.highWaterBytes ?? 64 * 1024),
          compression: options.compression ?? false,
          tls: reveal(options.tls),
          wallMillis: () => clock.currentTimeMillisUnsafe(),
          now: () => monotonicMillis(clock),
          onEnd
        }),
      catch: (error) => Failure.fromDialError(error, scrub)
    })
  }

  const reader: Socket.Socket["reader"] = Effect.gen(function* () {
    const scope = yield* Effect.scope
    const clock = yield* Clock.Clock
    const slot = scopes.get(scope) ?? makeSlot()
    scopes.set(scope, slot)
    slot.opened.closeUnsafe()
    slot.connection = undefined

    const key = yield* Credentials.read(apiKey, connectTimeout)
    // The scope may outlive the attempt by far, and see many more of them.
    const attempt = yield* Scope.fork(scope)
    const connection = yield* Effect.acquireRelease(dial(key, clock), (connection) =>
      Effect.sync(connection.release)
    ).pipe(
      Effect.tap(({ opened }) =>
        Effect.timeoutOrElse(opened, {
          duration: connectTimeout,
          orElse: () => Effect.fail(Failure.openFailed(new MeshError.DialTimeout({ timeoutMillis: connectTimeout })))
        })
      ),
      Scope.provide(attempt),
      Effect.onError((cause) => Scope.close(attempt, Exit.failCause(cause)))
    )

    for (const each of [slot, anyScope]) {
      each.connection = connection
      each.opened.openUnsafe()
    }
    if (heartbeat !== undefined) {
      yield* Heartbeat.run(connection, {
        interval,
        deadline,
        onRoundTrip: (roundTrip) =>
          Effect.andThen(
            Metric.update(MeshMetrics.heartbeatRoundTrip, Duration.toMillis(roundTrip)),
            heartbeat.onRoundTrip?.(roundTrip) ?? Effect.void
          ),
        now: () => monotonicMillis(clock)
      }).pipe(Effect.raceFirst(connection.ended), Effect.forkIn(scope, { startImmediately: true }))
    }

    return { pull: connection.pull, upgrade: Socket.SocketUpgradeError.unsupported }
  })

  const writer: Socket.Socket["writer"] = Effect.map(Effect.scope, (scope) => {
    const withConnection = (
      write: (connection: Connection.Connection) => Effect.Effect<void, Socket.SocketError>
    ): Effect.Effect<void, Socket.SocketError> =>
      Effect.suspend(() => {
        const slot = scopes.get(scope) ?? anyScope
        return slot.connection === undefined
          ? Effect.andThen(slot.opened.await, withConnection(write))
          : write(slot.connection)
      })
    return {
      write: (chunk) => withConnection((connection) => connection.write(chunk)),
      writeAll: (chunks) => withConnection((connection) => connection.writeAll(chunks))
    }
  })

  return Socket.make({ reader, writer })
}

const monotonicMillis = (clock: Clock.Clock): number => Number(clock.monotonicTimeNanosUnsafe()) / 1e6

/** What Node wants, in clear. It lives no longer than a dial. */
const reveal = (tls: TlsOptions = {}): Connection.TlsOptions => {
  const { ca, cert, key, passphrase, servername, rejectUnauthorized } = tls
  return {
    ...(ca === undefined ? {} : { ca: mutable(ca) }),
    ...(cert === undefined ? {} : { cert: mutable(cert) }),
    ...(key === undefined ? {} : { key: Redacted.value(key) }),
    ...(passphrase === undefined ? {} : { passphrase: Redacted.value(passphrase) }),
    ...(servername === undefined ? {} : { servername }),
    ...(rejectUnauthorized === undefined ? {} : { rejectUnauthorized })
  }
}

const mutable = (pem: string | Buffer | ReadonlyArray<string | Buffer>): string | Buffer | Array<string | Buffer> =>
  typeof pem === "string" || Buffer.isBuffer(pem) ? pem : [...pem]

/** A bound in bytes. To `ws` a limit of 0 is none, and nothing is above one that is no number. */
const atLeastOne = (bytes: number): number => (bytes >= 1 ? bytes : 1)
