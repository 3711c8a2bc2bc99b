/**
 * A server of the task feed over real WebSockets, for tests and demos.
 *
 * It implements the server's side of the protocol, logs everything that it does,
 * and injects faults: it kills, freezes, closes or refuses connections or never
 * answers them, damages or fragments frames, and delays requests and
 * acknowledgements. It plays a `Workload`; `Audit` compares its log with the events
 * of a consumer.
 *
 * Use it if the network itself is under test, or for a demo. For a test of a
 * program on top of the feed use `ScriptedMesh`: it runs in memory under
 * `TestClock`, and is faster and deterministic. `MeshServer` has the verbs that both
 * have in common.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Interest from "@makima-stream/core/Interest"
import type { ServerMessage } from "@makima-stream/core/ServerMessage"
import * as Bounds from "./internal/bounds.ts"
import * as Garbage from "./internal/garbage.ts"
import type * as Mock from "./internal/mockConnection.ts"
import { MockServer } from "./internal/mockServer.ts"
import * as Play from "./internal/play.ts"
import * as Recorder from "./internal/recorder.ts"
import * as Verbs from "./internal/verbs.ts"
import type { MeshServer, RequestOptions } from "./MeshServer.ts"
import type { Encoding, Entry, Opened, Received } from "./ServerLog.ts"
import type { Workload } from "./Workload.ts"

const encodings = ["text", "binary", "fragmented"] as const

/**
 * Options of a mock server.
 *
 * @category options
 * @since 0.1.0
 */
export interface Options extends RequestOptions {
  /** The port to listen on. Defaults to 0: a free port. */
  readonly port?: number
  /**
   * The address to listen on: `0.0.0.0` accepts connections from other machines,
   * such as containers. Defaults to `127.0.0.1`.
   *
   * @since 0.2.0
   */
  readonly host?: string
  /**
   * The path of the feed; other paths are answered with 404. Defaults to
   * `/api/v1/mesh/tasks/subscribe`.
   */
  readonly path?: string
  /**
   * The key that a client must send in `x-makima-api-key`. A client with another
   * key, or without one, is refused with 401. Defaults to no check.
   */
  readonly apiKey?: Redacted.Redacted
  /** Whether frames are compressed if the client offers it. Defaults to `false`. */
  readonly perMessageDeflate?: boolean
  /**
   * Whether the log keeps messages (`Sent`, `SentRaw`, `Unheard`). Set it to `false`
   * for a benchmark, whose log would fill the memory. Defaults to `true`.
   */
  readonly keepMessages?: boolean
}

/**
 * Options of `emit`, `emitAll`, `emitRaw` and `emitRawAll`.
 *
 * @category options
 * @since 0.1.0
 */
export interface SendOptions {
  /** How the frame travels. Defaults to `text`; to `binary` for raw bytes. */
  readonly as?: Encoding
}

/**
 * Options of `play`.
 *
 * @category options
 * @since 0.1.0
 */
export interface PlayOptions extends SendOptions {
  /** The factor on the speed of the workload; `Infinity` sends everything at once. Defaults to 1, as does a factor that is not above 0. */
  readonly speed?: number
}

/**
 * A snapshot of an open connection.
 *
 * @category models
 * @since 0.1.0
 */
export interface Connection {
  /**
   * The number of the connection, in the order of opening, from 1. If there is
   * only one client, this is its epoch.
   */
  readonly id: number
  /** The headers of the handshake except the key. Names are in lower case. */
  readonly headers: Readonly<Record<string, string>>
  /** The value of `x-makima-api-key`. */
  readonly apiKey: Redacted.Redacted | undefined
  /** The client's subscriptions. */
  readonly interest: Interest.Interest
  /** Whether it is frozen. */
  readonly frozen: boolean
  /** How many bytes this process has not handed to the network yet. */
  readonly bufferedBytes: number
}

/**
 * The server could not listen. Usually the port is in use.
 *
 * @category errors
 * @since 0.1.0
 */
export class ListenError extends Schema.TaggedError<ListenError>("@makima-stream/test-kit/MockMeshServer/ListenError")(
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
    return `The mock server could not listen on port ${this.port}`
  }
}

/**
 * A running mock server.
 *
 * **Details**
 *
 * `kill`, `close`, `freeze` and `thaw` take the number of a connection. Without a
 * number they apply to all open connections. When a verb returns, the server's state
 * and its log have changed; only the network may take longer.
 *
 * **Gotchas**
 *
 * - `at`, `play` and all delays use the clock of the fiber that made the server:
 *   under `TestClock` they wait until the test advances it.
 * - Vitest's fake timers stop Effect's scheduler if they fake `setImmediate`, as
 *   `vi.useFakeTimers()` does: a test hangs. Use `TestClock`, or
 *   `vi.useFakeTimers({ toNotFake: ["setImmediate", "clearImmediate"] })`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Service extends Omit<MeshServer, "emit" | "emitRaw" | "close" | "received" | "awaitReceived"> {
  /** The port that the server listens on. */
  readonly port: number
  /** The address that the server listens on. */
  readonly host: string
  /**
   * The server's URL, as a user would configure it: `http://127.0.0.1:<port>`. For
   * `0.0.0.0` and `::` it has the loopback address.
   */
  readonly url: string
  /** The feed's URL: `ws://127.0.0.1:<port>/api/v1/mesh/tasks/subscribe`. */
  readonly wsUrl: string

  /** The open connections, oldest first. A frozen one is open until it is killed or closed. */
  readonly connections: Effect.Effect<ReadonlyArray<Connection>>
  /** The requests that were received, oldest first. */
  readonly received: Effect.Effect<ReadonlyArray<Received>>

  /**
   * Sends a message to every connection that subscribed to it. Returns the number of
   * these connections. A message that no connection subscribed to is logged as
   * `Unheard`.
   */
  readonly emit: (message: ServerMessage, options?: SendOptions) => Effect.Effect<number>
  /**
   * Emits messages in order. Returns the number of sends.
   *
   * It does not wait for the network: use `drain` between large numbers of messages.
   */
  readonly emitAll: (messages: Iterable<ServerMessage>, options?: SendOptions) => Effect.Effect<number>
  /** Sends a raw frame to every connection: a string as text, bytes as binary. Returns the number of connections. */
  readonly emitRaw: (frame: string | Uint8Array, options?: SendOptions) => Effect.Effect<number>
  /** Sends raw frames to every connection. Returns the number of sends. */
  readonly emitRawAll: (frames: Iterable<string | Uint8Array>, options?: SendOptions) => Effect.Effect<number>
  /**
   * Emits a workload at its times. Waits for the network while more than 1 MiB is
   * buffered on a connection, and then sends all messages that are due at once.
   */
  readonly play: (workload: Workload, options?: PlayOptions) => Effect.Effect<void>
  /**
   * Waits until no connection has more than `limit` bytes buffered. Frozen
   * connections are skipped. Defaults to 0.
   */
  readonly drain: (limit?: number) => Effect.Effect<void>
  /**
   * Begins the closing handshake; nothing is sent afterwards. A code that must not
   * be sent (such as 1005 and 1006) is a defect. On a frozen connection the close
   * frame is sent at the thaw. Defaults to 1000 without a reason.
   */
  readonly close: (code?: number, reason?: string, connection?: number) => Effect.Effect<void>

  /** Waits until the server has opened its n-th connection, and returns it. Defaults to 1. */
  readonly awaitConnection: (n?: number) => Effect.Effect<Connection>
  /** Waits for a request, past ones included. It has taken effect by then. */
  readonly awaitReceived: (predicate: (received: Received) => boolean) => Effect.Effect<Received>
  /**
   * Waits for the first matching entry of the log, past or future. An entry that the
   * log does not keep (`keepMessages: false`) matches only if it is added later.
   */
  readonly awaitEntry: <E extends Entry>(predicate: (entry: Entry) => entry is E) => Effect.Effect<E>
}

/**
 * The service of a running mock server.
 *
 * **Example** (A server and its client in one process)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as MockMeshServer from "@makima-stream/test-kit/MockMeshServer"
 *
 * const program = Effect.gen(function* () {
 *   const server = yield* MockMeshServer.MockMeshServer
 *   const open = yield* server.connections
 *   return [server.url, open.length] as const
 * })
 * const [url, open] = await Effect.runPromise(Effect.provide(program, MockMeshServer.layer()))
 * console.log(url.startsWith("http://127.0.0.1:"), open) // true 0
 * ```
 *
 * @category services
 * @since 0.1.0
 */
export class MockMeshServer extends Context.Service<MockMeshServer, Service>()(
  "@makima-stream/test-kit/MockMeshServer"
) {}

/**
 * Starts a server that lives as long as the scope.
 *
 * **Details**
 *
 * Closing the scope cuts every connection, logs that as `Killed`, and frees the
 * port before it returns. The log can be read afterwards.
 *
 * **Example** (A server that refuses two dials)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as MockMeshServer from "@makima-stream/test-kit/MockMeshServer"
 *
 * const program = Effect.scoped(
 *   Effect.gen(function* () {
 *     const server = yield* MockMeshServer.make()
 *     yield* server.refuse(2, 503, { "retry-after": "1" })
 *     return server.wsUrl
 *   })
 * )
 * console.log((await Effect.runPromise(program)).endsWith("/api/v1/mesh/tasks/subscribe")) // true
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (
  options?: Options
): Effect.fn.Return<Service, ListenError, Scope.Scope> {
  const path = options?.path ?? "/api/v1/mesh/tasks/subscribe"
  const clock = yield* Clock.Clock
  const recorder = Recorder.make({ clock, keepMessages: options?.keepMessages ?? true })
  const scope = yield* Effect.scope
  const run = Effect.runForkWith(yield* Effect.context<never>())
  const host = options?.host ?? "127.0.0.1"
  const settings = Verbs.toSettings(options ?? {})
  const server = new MockServer({
    path,
    apiKey: options?.apiKey,
    settings,
    clock,
    schedule: (millis, callback) => {
      run(Effect.forkIn(Effect.andThen(Effect.sleep(millis), Effect.sync(callback)), scope))
    },
    perMessageDeflate: options?.perMessageDeflate ?? false,
    recorder
  })
  const port = yield* Effect.acquireRelease(listen(server, host, options?.port ?? 0), () =>
    Effect.callback<void>((resume) => server.stop(() => resume(Effect.void)))
  )

  /** Applies a verb to one open connection, or to all of them. */
  const each = (id: number | undefined, f: (connection: Mock.Connection) => void): Effect.Effect<void> =>
    Effect.sync(() => {
      for (const connection of server.reachable()) if (id === undefined || connection.id === id) f(connection)
    })

  const emitAll: Service["emitAll"] = (messages, options) =>
    Effect.sync(() => {
      const as = Bounds.oneOf("as", options?.as, encodings)
      let count = 0
      for (const message of messages) count += server.emit(message, as)
      return count
    })

  const emitRawAll: Service["emitRawAll"] = (frames, options) =>
    Effect.sync(() => {
      let count = 0
      for (const frame of frames) {
        count += server.emitRaw(
          frame,
          Bounds.oneOf("as", options?.as ?? (typeof frame === "string" ? "text" : "binary"), encodings)
        )
      }
      return count
    })

  const play: Service["play"] = (workload, options) => {
    const speed = options?.speed !== undefined && options.speed > 0 ? options.speed : 1
    return Effect.suspend(() =>
      Play.play(server, clock, workload, { as: Bounds.oneOf("as", options?.as, encodings), speed })
    )
  }

  const authority = `${toUrlHost(host)}:${port}`
  return {
    ...Verbs.make({
      settings,
      dials: server.dials,
      messages: server.messages,
      acknowledge: (n) => server.acknowledge(n),
      healConnections: () => server.healConnections()
    }),
    port,
    host,
    url: `http://${authority}`,
    wsUrl: `ws://${authority}${path}`,
    connections: Effect.sync(() => server.connections().map(toConnection)),
    subscriptions: Effect.sync(() => server.connections().at(-1)?.requests.feed.interest() ?? Interest.empty),
    log: Effect.sync(recorder.snapshot),
    received: Effect.sync(() => recorder.snapshot().filter((entry) => entry._tag === "Received")),
    emit: (message, options) => Effect.sync(() => server.emit(message, Bounds.oneOf("as", options?.as, encodings))),
    emitAll,
    emitRaw: (frame, options) => emitRawAll([frame], options),
    emitRawAll,
    garbage: (problem = "InvalidJson") => emitRawAll([Garbage.frames[problem]]),
    play,
    drain: (limit = 0) => Play.drain(server, Bounds.atLeast(0, limit)),
    kill: (connection) => each(connection, (connection) => connection.kill()),
    close: (code = 1000, reason = "", connection) => each(connection, (connection) => connection.close(code, reason)),
    freeze: (connection) => each(connection, (connection) => connection.freeze()),
    thaw: (connection) => each(connection, (connection) => connection.thaw()),
    awaitConnection: (n = 1) =>
      recorder
        .await((entry): entry is Opened => entry._tag === "Opened" && entry.connection === n)
        .pipe(Effect.map(() => toConnection(server.get(n)))),
    awaitReceived: (predicate) =>
      recorder.await((entry): entry is Received => entry._tag === "Received" && predicate(entry)),
    awaitEntry: recorder.await
  }
})

/** Returns the host under which a server on this machine can be reached. */
const toUrlHost = (host: string): string => {
  if (host === "0.0.0.0") return "127.0.0.1"
  if (host === "::") return "[::1]"
  return host.includes(":") ? `[${host}]` : host
}

const listen = (server: MockServer, host: string, port: number): Effect.Effect<number, ListenError> =>
  Effect.callback((resume) =>
    server.listen(
      host,
      port,
      (port) => resume(Effect.succeed(port)),
      (cause) => resume(Effect.fail(new ListenError({ port, cause })))
    )
  )

const toConnection = ({ id, headers, apiKey, requests, socket }: Mock.Connection): Connection => ({
  id,
  headers,
  apiKey,
  interest: requests.feed.interest(),
  frozen: socket.isFrozen(),
  bufferedBytes: socket.buffered()
})

/**
 * A server that lives as long as the layer. See `make`.
 *
 * **Example** (A server that checks a key)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Redacted from "effect/Redacted"
 * import * as MockMeshServer from "@makima-stream/test-kit/MockMeshServer"
 *
 * const path = MockMeshServer.MockMeshServer.use(({ wsUrl }) => Effect.succeed(new URL(wsUrl).pathname))
 * const server = MockMeshServer.layer({ apiKey: Redacted.make("secret") })
 * console.log(await Effect.runPromise(Effect.provide(path, server))) // /api/v1/mesh/tasks/subscribe
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options?: Options): Layer.Layer<MockMeshServer, ListenError> =>
  Layer.effect(MockMeshServer, make(options))
