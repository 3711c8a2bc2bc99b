/**
 * The network for Node and Deno: Effect's `Socket` service on the `ws` library,
 * tuned for the task feed.
 *
 * Core depends on no platform; this module provides its socket. `layerConfig` is the
 * common case, `layer` has its options in code, `make` returns the socket as a value.
 * The end of a connection is reported as a reason of core's `MeshError`, in the `cause`
 * of the `SocketError`, so that `ReconnectPolicy` can distinguish a refused key from a
 * network that is down.
 *
 * @since 0.1.0
 */
import * as Endpoint from "@makima-stream/core/Endpoint"
import * as MeshError from "@makima-stream/core/MeshError"
import * as MeshMetrics from "@makima-stream/core/MeshMetrics"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import type * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Socket from "effect/socket/Socket"
import * as Connection from "./internal/connection.ts"
import * as Credentials from "./internal/credentials.ts"
import * as Failure from "./internal/failure.ts"
import * as Heartbeat from "./internal/heartbeat.ts"
import {
  keyHeader,
  normalise,
  type ConnectionOptions,
  type HeartbeatSettings,
  type InvalidOption,
  type Settings
} from "./internal/options.ts"
import * as Proxy from "./internal/proxy.ts"
import * as Slots from "./internal/slots.ts"
import * as MeshConfig from "./MeshConfig.ts"

export { InvalidOption } from "./internal/options.ts"
export type { ConnectionOptions, HeartbeatOptions, ProxyOption, TlsOptions } from "./internal/options.ts"

/**
 * This socket does not run on this runtime.
 *
 * **Details**
 *
 * Bun replaces the `ws` library with its own client, which cannot pause reads and does
 * not report why a handshake was refused. Use `MeshSocket` of `@makima-stream/core`
 * there.
 *
 * @category errors
 * @since 0.2.0
 */
export class UnsupportedRuntime extends Schema.TaggedError<UnsupportedRuntime>(
  "@makima-stream/node/NodeMeshSocket/UnsupportedRuntime"
)("UnsupportedRuntime", {
  /** The runtime's name. */
  runtime: Schema.String
}) {
  /** One line that says what to use instead. */
  override get message(): string {
    return `@makima-stream/node does not run on ${this.runtime}, which replaces the ws library. Use MeshSocket of @makima-stream/core there`
  }
}

/**
 * The errors of `make` and `layer`. All of them need a change of the program.
 *
 * @category errors
 * @since 0.2.0
 */
export type SocketOptionsError = Endpoint.InvalidUrl | InvalidOption | UnsupportedRuntime

/**
 * Options of the socket.
 *
 * @category options
 * @since 0.1.0
 */
export interface Options extends ConnectionOptions {
  /** The server's URL, in any spelling that core's `Endpoint.fromString` accepts. */
  readonly url: string
  /**
   * The key, sent in the `x-makima-api-key` header and nowhere else. White space
   * around it is removed. Without a key, or with an empty one, no header is sent.
   *
   * An effect runs in each attempt to connect. If it fails, dies or takes longer than
   * `connectTimeout`, the attempt fails with `CredentialsFailed` and is repeated. If the
   * server refuses the key (401, or a close with 4401 or 3000), one more attempt is made
   * with a new key. A fixed key with characters that are not allowed in a header fails
   * at once.
   */
  readonly apiKey?: Redacted.Redacted | Effect.Effect<Redacted.Redacted | undefined, unknown> | undefined
}

/**
 * Makes a socket to a task feed. It dials later: each acquisition of its `reader` is a
 * separate connection.
 *
 * **Details**
 *
 * - Frames that arrive together are pulled together: text as strings, binary as
 *   `Uint8Array`. A text frame that is not UTF-8 is pulled as its bytes, and the
 *   decoder reports it. Reads are paused while the reader does not pull.
 * - The reader's scope owns the connection. Closing it sends close code 1000, or
 *   aborts the handshake, and does not wait; the peer has one second to answer.
 * - A writer that was acquired in the same scope as a reader writes to that
 *   reader's connection, and fails once it has ended. Any other writer writes
 *   to the connection that opened last, and waits if there is none.
 * - A write succeeds when the frame was passed to the operating system, or to the
 *   buffer of Node if the operating system accepts no more.
 * - Durations are measured on the monotonic clock. Only a `Retry-After` that is
 *   a date is compared with the wall clock.
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
export const make = (options: Options): Effect.Effect<Socket.Socket, SocketOptionsError> =>
  Effect.gen(function* () {
    yield* refuseBun
    const endpoint = yield* Effect.fromResult(Endpoint.fromString(options.url))
    const settings = yield* Effect.fromResult(normalise(options))
    const apiKey = yield* Effect.fromResult(Credentials.check(options.apiKey))
    return fromSettings(endpoint, apiKey, settings)
  })

/**
 * Provides the socket from options in code.
 *
 * **When to use**
 *
 * Use it if the URL or the key does not come from the environment, for example with a
 * key that is fetched, a private CA, or other limits.
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
export const layer = (options: Options): Layer.Layer<Socket.Socket, SocketOptionsError> =>
  Layer.effect(Socket.Socket, make(options))

/**
 * Provides the socket from the configuration: `MAKIMA_API_URL`, by default the
 * public server, and `MAKIMA_API_KEY`, which is required.
 *
 * **Details**
 *
 * An invalid URL or a missing key fails the layer with a `MeshConfigError`, whose
 * message is one line that names the variable. The key is read again in each attempt to
 * connect, so that a `ConfigProvider` that reads files follows a rotated key.
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
export const layerConfig = (
  options?: ConnectionOptions
): Layer.Layer<Socket.Socket, MeshConfig.MeshConfigError | InvalidOption | UnsupportedRuntime> =>
  Layer.effect(
    Socket.Socket,
    Effect.gen(function* () {
      yield* refuseBun
      const provider = yield* ConfigProvider.ConfigProvider
      const { url } = yield* MeshConfig.load
      const settings = yield* Effect.fromResult(normalise(options ?? {}))
      const socket = fromSettings(url, MeshConfig.apiKey, settings)
      // The key and the proxy are read again in each attempt.
      return Socket.make({
        ...socket,
        reader: Effect.provideService(socket.reader, ConfigProvider.ConfigProvider, provider)
      })
    })
  )

const refuseBun: Effect.Effect<void, UnsupportedRuntime> = Effect.suspend(() =>
  process.versions["bun"] === undefined ? Effect.void : Effect.fail(new UnsupportedRuntime({ runtime: "Bun" }))
)

/** Makes a socket to an endpoint from checked settings. */
const fromSettings = (
  endpoint: Endpoint.Endpoint,
  apiKey: Credentials.ApiKey | undefined,
  settings: Settings
): Socket.Socket => {
  const slots = Slots.make()
  const reader: Socket.Socket["reader"] = Effect.gen(function* () {
    const scope = yield* Effect.scope
    slots.dialling(scope)
    const connection = yield* open(endpoint, apiKey, settings, slots.ended)
    slots.opened(scope, connection)
    if (settings.heartbeat !== undefined) yield* beat(connection, settings.heartbeat)
    return { pull: connection.pull, upgrade: Socket.SocketUpgradeError.unsupported }
  })
  return Socket.make({ reader, writer: slots.writer })
}

/** Obtains the key, dials, and waits for the handshake. The scope owns the connection. */
const open = Effect.fnUntraced(function* (
  endpoint: Endpoint.Endpoint,
  apiKey: Credentials.ApiKey | undefined,
  settings: Settings,
  onEnd: (connection: Connection.Connection) => void
): Effect.fn.Return<Connection.Connection, Socket.SocketError, Scope.Scope> {
  const { connectTimeoutMillis } = settings
  const clock = yield* Clock.Clock
  const scope = yield* Effect.scope
  const key = yield* Credentials.read(apiKey, connectTimeoutMillis)
  const query = yield* readQuery(settings)
  const proxy = yield* Effect.mapError(
    settings.agent === undefined ? Proxy.resolve(settings.proxy, new URL(endpoint)) : Effect.undefined,
    (cause) => Failure.openFailed(new MeshError.DialFailed({ cause }))
  )
  const secrets = [...settings.secrets, ...(key === undefined ? [] : [key]), ...(proxy?.secrets ?? [])]
  const scrub = Failure.scrubber(secrets)
  const dial = Effect.try({
    try: () =>
      Connection.make({
        url: query === "" ? endpoint : `${endpoint}?${query}`,
        headers: { ...settings.headers, ...(key === undefined ? {} : { [keyHeader]: key }) },
        maxFrameBytes: settings.maxFrameBytes,
        highWaterBytes: settings.highWaterBytes,
        compression: settings.compression,
        tls: settings.tls,
        agent: settings.agent,
        proxy,
        scrub,
        secretLength: Math.max(0, ...secrets.map(({ length }) => length)),
        credentialsMayChange: Credentials.mayChange(apiKey),
        wallMillis: () => clock.currentTimeMillisUnsafe(),
        now: () => monotonicMillis(clock),
        onEnd
      }),
    catch: (error) => Failure.fromDialError(error, scrub)
  })
  // A separate scope that is closed when the attempt fails, because the caller's scope may make many more attempts.
  const attempt = yield* Scope.fork(scope)
  return yield* Effect.acquireRelease(dial, (connection) => Effect.sync(connection.release)).pipe(
    Effect.tap(({ opened }) =>
      Effect.timeoutOrElse(opened, {
        duration: connectTimeoutMillis,
        orElse: () =>
          Effect.fail(Failure.openFailed(new MeshError.DialTimeout({ timeoutMillis: connectTimeoutMillis })))
      })
    ),
    Scope.provide(attempt),
    Effect.onError((cause) => Scope.close(attempt, Exit.failCause(cause)))
  )
})

/** The parameters of one dial, as text. The error of the effect is not passed on: it may contain a secret. */
const readQuery = ({ connectTimeoutMillis, query = {} }: Settings): Effect.Effect<string, Socket.SocketError> =>
  (Effect.isEffect(query) ? Effect.timeout(query, connectTimeoutMillis) : Effect.succeed(query)).pipe(
    Effect.map((query) => new URLSearchParams(query).toString()),
    Effect.catchCause((cause) =>
      Cause.hasInterruptsOnly(cause)
        ? Effect.interrupt
        : Effect.fail(
            Failure.openFailed(
              new MeshError.CredentialsFailed({ cause: new Error("The effect for the parameters of the URL failed") })
            )
          )
    )
  )

/** Starts the heartbeat of a connection. It ends with the connection, or with the scope. */
const beat = Effect.fnUntraced(function* (connection: Connection.Connection, settings: HeartbeatSettings) {
  const clock = yield* Clock.Clock
  const scope = yield* Effect.scope
  yield* Heartbeat.run(connection, {
    ...settings,
    onRoundTrip: (roundTrip) =>
      Effect.andThen(
        Metric.update(MeshMetrics.heartbeatRoundTrip, Duration.toMillis(roundTrip)),
        settings.onRoundTrip?.(roundTrip) ?? Effect.void
      ),
    now: () => monotonicMillis(clock)
  }).pipe(Effect.raceFirst(connection.ended), Effect.forkIn(scope, { startImmediately: true }))
})

const monotonicMillis = (clock: Clock.Clock): number => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
