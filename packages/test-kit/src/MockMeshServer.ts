/**
 * A server of the task feed over real WebSockets, for tests and demos.
 *
 * It has the server's side of the protocol, keeps a log of everything that it
 * did, and breaks on demand: connections are killed, frozen, closed, refused or
 * never answered, frames come damaged or in pieces. `Workload` makes what it
 * plays, `Audit` compares its log with what a consumer saw.
 *
 * Reach for it where the network itself is under test, or for a demo. A test of
 * a program on top of the feed is faster and wholly deterministic without
 * sockets, in memory and under `TestClock`.
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
import type { DecodeError } from "@makima-stream/core/DecodeError"
import type { Interest } from "@makima-stream/core/Interest"
import type { ServerMessage } from "@makima-stream/core/ServerMessage"
import * as Garbage from "./internal/garbage.ts"
import * as Server from "./internal/mockServer.ts"
import * as Recorder from "./internal/recorder.ts"
import type { Encoding, Entry, Opened, Received, ServerLog } from "./ServerLog.ts"
import type { Workload } from "./Workload.ts"

/**
 * Options of a mock server.
 *
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /** The port to listen on, at 127.0.0.1. Default: 0, which takes a free one. */
  readonly port?: number
  /**
   * Where the feed is; every other path is answered with 404. Default:
   * `/api/v1/mesh/tasks/subscribe`.
   */
  readonly path?: string
  /**
   * The key that a client must bring in `x-makima-api-key`; another one, or
   * none, is refused with 401. Default: no key is asked for.
   */
  readonly apiKey?: Redacted.Redacted
  /** Whether requests are acknowledged. Default: `true`. */
  readonly acknowledge?: boolean
  /**
   * Whether acknowledgements name their task, which the protocol leaves open.
   * Default: `true`.
   */
  readonly nameTasks?: boolean
  /** Whether to compress where the client offers it. Default: `false`. */
  readonly perMessageDeflate?: boolean
  /**
   * Whether the log keeps messages (`Sent`, `SentRaw`, `Unheard`) besides what
   * else happens. Set it to `false` for a benchmark, where a log of everything
   * would fill the memory. Default: `true`.
   */
  readonly keepMessages?: boolean
}

/**
 * Options of what is sent.
 *
 * @category options
 * @since 0.1.0
 */
export interface SendOptions {
  /** How the frame travels. Default: `text`; for raw bytes `binary`. */
  readonly as?: Encoding
}

/**
 * Options of `play`.
 *
 * @category options
 * @since 0.1.0
 */
export interface PlayOptions extends SendOptions {
  /** How many times as fast as the workload says; `Infinity` for no waiting at all. Default: 1. */
  readonly speed?: number
}

/**
 * A connection, as it was when it was asked for.
 *
 * @category models
 * @since 0.1.0
 */
export interface Connection {
  /**
   * The n-th connection that the server opened, from 1. Where one consumer is
   * the only client, this is its epoch.
   */
  readonly id: number
  /** The headers of the handshake, in lower case, but for the key. */
  readonly headers: Readonly<Record<string, string>>
  /** What `x-makima-api-key` said. */
  readonly apiKey: Redacted.Redacted | undefined
  /** What the client is subscribed to. */
  readonly interest: Interest
  /** Whether it is frozen. */
  readonly frozen: boolean
  /** How many bytes wait in this process for the network to take them. */
  readonly bufferedBytes: number
}

/**
 * The server could not listen: most often the port is taken.
 *
 * @category errors
 * @since 0.1.0
 */
export class ListenError extends Schema.TaggedError<ListenError>("@makima-stream/test-kit/ListenError")("ListenError", {
  /** The port that was asked for. */
  port: Schema.Int,
  /** What the platform said. */
  cause: Schema.Defect()
}) {
  /** What happened, in one line. */
  override get message(): string {
    return `The mock server could not listen on port ${this.port}`
  }
}

/**
 * A running mock server.
 *
 * **Details**
 *
 * The verbs that break a connection (`kill`, `close`, `freeze`, `thaw`) take the
 * number of one, or concern all that are open. A verb has changed the server's
 * state and its log when it returns; the network is as late as it is.
 *
 * **Gotchas**
 *
 * The clock for `at` and `play` is the one in effect when the server was made:
 * under `TestClock` a `play` waits until the test moves time on.
 *
 * @category models
 * @since 0.1.0
 */
export interface Service {
  /** The port that it listens on. */
  readonly port: number
  /** The server's URL, as a user would configure it: `http://127.0.0.1:<port>`. */
  readonly url: string
  /** The feed's URL: `ws://127.0.0.1:<port>/api/v1/mesh/tasks/subscribe`. */
  readonly wsUrl: string

  /** The connections that are open, oldest first. A frozen one is open until it is killed or closed. */
  readonly connections: Effect.Effect<ReadonlyArray<Connection>>
  /** What was done and what happened, oldest first, as it is now. */
  readonly log: Effect.Effect<ServerLog>
  /** The requests that came, oldest first. */
  readonly received: Effect.Effect<ReadonlyArray<Received>>

  /**
   * Sends a message to every connection that wants it, and gives their number.
   * One that nobody wants is logged as `Unheard`, and gone.
   */
  readonly emit: (message: ServerMessage, options?: SendOptions) => Effect.Effect<number>
  /**
   * Sends messages in order, and gives how often one was sent.
   *
   * Nothing here waits for the network: who sends without end must `drain`.
   */
  readonly emitAll: (messages: Iterable<ServerMessage>, options?: SendOptions) => Effect.Effect<number>
  /** Sends a frame as it is to every connection, whatever it is subscribed to: text from a string, else binary. */
  readonly emitRaw: (frame: string | Uint8Array, options?: SendOptions) => Effect.Effect<number>
  /** `emitRaw` for many frames. */
  readonly emitRawAll: (frames: Iterable<string | Uint8Array>, options?: SendOptions) => Effect.Effect<number>
  /** Sends a frame that is no message to every connection, wrong in the given way. Default: `InvalidJson`. */
  readonly garbage: (problem?: DecodeError["problem"]) => Effect.Effect<number>
  /**
   * Emits a workload at its times, on the clock. While more than 1 MiB is
   * buffered on a connection it waits for the network; what became late is then
   * sent at once.
   */
  readonly play: (workload: Workload, options?: PlayOptions) => Effect.Effect<void>
  /**
   * Waits until no connection has more than `limit` bytes buffered. A frozen
   * connection is not waited for. Default: 0.
   */
  readonly drain: (limit?: number) => Effect.Effect<void>

  /** Cuts the TCP connection, with no close frame. What the network still held may be lost. */
  readonly kill: (connection?: number) => Effect.Effect<void>
  /**
   * Begins the closing handshake; nothing is sent afterwards. A code that may
   * not be sent (1005, 1006 and the like) is a defect. On a frozen connection
   * the close frame is held back like any other. Default: 1000 and no reason.
   */
  readonly close: (code?: number, reason?: string, connection?: number) => Effect.Effect<void>
  /**
   * Leaves the connection half-open: nothing is read, no ping is answered, no
   * frame leaves.
   *
   * What is emitted meanwhile is held back, and logged as sent but not
   * `delivered`. It never arrives if the connection is killed, which is what
   * normally comes next; if it thaws, it arrives in order.
   */
  readonly freeze: (connection?: number) => Effect.Effect<void>
  /** Ends a freeze: what was held back leaves, what came is read. */
  readonly thaw: (connection?: number) => Effect.Effect<void>
  /** Refuses the next handshakes with an HTTP status. Queues up behind the faults that are still to come. */
  readonly refuse: (count: number, status: number, headers?: Readonly<Record<string, string>>) => Effect.Effect<void>
  /** Takes the next dials and never answers their handshakes. Queues up like `refuse`. */
  readonly stallDial: (count: number) => Effect.Effect<void>

  /** Waits until the server has opened its n-th connection (which may have ended by then), and gives it. */
  readonly awaitConnection: (n: number) => Effect.Effect<Connection>
  /** Waits for a request, one that has come already included. It has been carried out by then. */
  readonly awaitReceived: (predicate: (received: Received) => boolean) => Effect.Effect<Received>
  /**
   * Waits for the first entry of the log, of the past or the future, that the
   * predicate holds for. Entries that the log does not keep are seen if they
   * come later.
   */
  readonly awaitEntry: <E extends Entry>(predicate: (entry: Entry) => entry is E) => Effect.Effect<E>
}

/**
 * The service of a running mock server.
 *
 * **Example** (A client of a real server, in one process)
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

/** How much may be buffered on a connection before `play` waits, in bytes. */
const highWaterMark = 1 << 20
/** How many messages `play` emits at most before it looks at what is buffered. */
const batchSize = 512

/**
 * Starts a server that lives as long as the scope.
 *
 * **Details**
 *
 * Closing the scope cuts every connection, logs that as `Killed`, and gives the
 * port back before it returns. The log can be read afterwards.
 *
 * **Example** (A feed that refuses twice and then serves)
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
  const server = Server.make({
    path,
    apiKey: options?.apiKey,
    acknowledge: options?.acknowledge ?? true,
    nameTasks: options?.nameTasks ?? true,
    perMessageDeflate: options?.perMessageDeflate ?? false,
    recorder
  })
  const port = yield* Effect.acquireRelease(listen(server, options?.port ?? 0), () =>
    Effect.callback<void>((resume) => server.stop(() => resume(Effect.void)))
  )

  /** Does something to one open connection, or to all of them. */
  const each = (id: number | undefined, f: (connection: Server.Connection) => void): Effect.Effect<void> =>
    Effect.sync(() => {
      for (const connection of server.reachable()) if (id === undefined || connection.id === id) f(connection)
    })

  const addFaults = (count: number, fault: Server.Fault): Effect.Effect<void> =>
    Effect.sync(() => {
      for (let i = 0; i < count; i++) server.faults.push(fault)
    })

  const emitAll: Service["emitAll"] = (messages, options) =>
    Effect.sync(() => {
      const as = options?.as ?? "text"
      let count = 0
      for (const message of messages) count += server.emit(message, as)
      return count
    })

  const emitRawAll: Service["emitRawAll"] = (frames, options) =>
    Effect.sync(() => {
      let count = 0
      for (const frame of frames) {
        count += server.emitRaw(frame, options?.as ?? (typeof frame === "string" ? "text" : "binary"))
      }
      return count
    })

  const drain: Service["drain"] = (limit = 0) =>
    Effect.suspend(() =>
      Effect.forEach(
        server.connections(),
        ({ socket }) =>
          Effect.callback<void>((resume) => {
            const cancel = socket.onDrained(limit, () => resume(Effect.void))
            return Effect.sync(cancel)
          }),
        { concurrency: "unbounded", discard: true }
      )
    )

  const play = Effect.fnUntraced(
    function* (workload: Workload, options?: PlayOptions) {
      const speed = options?.speed ?? 1
      const as = options?.as ?? "text"
      const start = clock.currentTimeMillisUnsafe()
      let next = 0

      /** Emits what is due, and gives how long it is until the next is; 0 where it stopped short. */
      const emitDue = (): number => {
        const elapsed = clock.currentTimeMillisUnsafe() - start
        for (let emitted = 0; emitted < batchSize; emitted++) {
          const entry = workload[next]
          if (entry === undefined) return 0
          const wait = Math.ceil(entry.at / speed) - elapsed
          if (wait > 0) return wait
          server.emit(entry.message, as)
          next++
          if (server.connections().some(isCongested)) return 0
        }
        return 0
      }

      while (next < workload.length) {
        const wait = emitDue()
        // Clients in this process, and the sockets themselves, must get their turn.
        yield* wait > 0 ? Effect.sleep(wait) : Effect.andThen(drain(highWaterMark), Effect.yieldNow)
      }
    },
    Effect.provideService(Clock.Clock, clock)
  )

  return {
    port,
    url: `http://127.0.0.1:${port}`,
    wsUrl: `ws://127.0.0.1:${port}${path}`,
    connections: Effect.sync(() => server.connections().map(toConnection)),
    log: Effect.sync(recorder.snapshot),
    received: Effect.sync(() => recorder.snapshot().filter((entry) => entry._tag === "Received")),
    emit: (message, options) => Effect.sync(() => server.emit(message, options?.as ?? "text")),
    emitAll,
    emitRaw: (frame, options) => emitRawAll([frame], options),
    emitRawAll,
    garbage: (problem = "InvalidJson") => emitRawAll([Garbage.frames[problem]]),
    play,
    drain,
    kill: (connection) => each(connection, server.kill),
    close: (code = 1000, reason = "", connection) =>
      each(connection, (connection) => server.close(connection, code, reason)),
    freeze: (connection) => each(connection, server.freeze),
    thaw: (connection) => each(connection, server.thaw),
    refuse: (count, status, headers = {}) => addFaults(count, { _tag: "Refuse", status, headers }),
    stallDial: (count) => addFaults(count, { _tag: "Stall" }),
    awaitConnection: (n) =>
      recorder
        .await((entry): entry is Opened => entry._tag === "Opened" && entry.connection === n)
        .pipe(Effect.map(() => toConnection(server.get(n)))),
    awaitReceived: (predicate) =>
      recorder.await((entry): entry is Received => entry._tag === "Received" && predicate(entry)),
    awaitEntry: recorder.await
  }
})

const isCongested = ({ socket }: Server.Connection): boolean => !socket.isFrozen() && socket.buffered() > highWaterMark

const listen = (server: Server.MockServer, port: number): Effect.Effect<number, ListenError> =>
  Effect.callback((resume) =>
    server.listen(
      port,
      (port) => resume(Effect.succeed(port)),
      (cause) => resume(Effect.fail(new ListenError({ port, cause })))
    )
  )

const toConnection = ({ id, headers, apiKey, feed, socket }: Server.Connection): Connection => ({
  id,
  headers,
  apiKey,
  interest: feed.interest(),
  frozen: socket.isFrozen(),
  bufferedBytes: socket.buffered()
})

/**
 * A server for the life of the layer: see `make`.
 *
 * **Example** (A server that asks for a key)
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
