/**
 * A log on NATS JetStream, for a fleet: many readers, several relays, replicas.
 *
 * The entries are in a stream; the state of durable readers and leases is in a bucket
 * of the key-value store. `MeshLog` of `@makima-stream/log` is the interface, with the
 * promises that every engine keeps.
 *
 * @since 0.2.0
 */
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as LogEngine from "@makima-stream/log/LogEngine"
import type { LogError } from "@makima-stream/log/LogError"
import { MeshLog, type Retention, type Service } from "@makima-stream/log/MeshLog"
import {
  DiscardPolicy,
  RetentionPolicy,
  StorageType,
  jetstream,
  jetstreamManager,
  JetStreamApiCodes,
  JetStreamApiError,
  type JetStreamManager,
  type StreamConfig
} from "@nats-io/jetstream"
import { Kvm } from "@nats-io/kv"
import { connect, nanos, type ConnectionOptions, type NatsConnection } from "@nats-io/transport-node"
import * as Appender from "./internal/appender.ts"
import * as Cells from "./internal/cells.ts"
import * as Errors from "./internal/errors.ts"
import { Faults, Killed } from "./internal/faults.ts"
import * as Reader from "./internal/reader.ts"
import * as Subjects from "./internal/subjects.ts"

/**
 * Options of a log on JetStream.
 *
 * @category options
 * @since 0.2.0
 */
export interface Options {
  /** The servers, such as `nats://localhost:4222`. Defaults to that. */
  readonly servers?: string | ReadonlyArray<string> | undefined
  /** The token for the server. Defaults to none. */
  readonly token?: Redacted.Redacted | undefined
  /**
   * Other options of the NATS client, such as a user, TLS or a credentials file. The
   * log sets `servers`, `token` and the reconnection itself.
   */
  readonly connection?: Omit<ConnectionOptions, "servers" | "token"> | undefined
  /**
   * The name of the feed. It is part of every subject (`mk.<feed>.…`) and of the
   * names of the stream and the bucket (`makima_<feed>`). Defaults to `"tasks"`.
   */
  readonly feed?: string | undefined
  /** How much the log keeps. Applied each time the log is opened with it. Defaults to everything. */
  readonly retention?: Retention | undefined
  /**
   * How many servers of a cluster store the log: 1, 3 or 5. Applied when the stream
   * is made. Defaults to 1.
   */
  readonly replicas?: 1 | 3 | 5 | undefined
  /**
   * How long the server remembers ids: within this time, an event with the same id
   * is not stored again. Never longer than `retention.maxAge`. Defaults to 1 hour.
   */
  readonly idempotencyWindow?: Duration.Input | undefined
  /** How long the server may take to answer a request. Defaults to 5 seconds. */
  readonly timeout?: Duration.Input | undefined
  /**
   * For how long appends and readers are retried while the server cannot be reached.
   * After that they fail with `Unavailable`. Defaults to 1 minute.
   */
  readonly retryFor?: Duration.Input | undefined
}

/**
 * Options of a log on JetStream that are read from configuration: a `Config` for each option.
 *
 * @category options
 * @since 0.2.0
 */
export interface ConfigOptions extends Readonly<{ [K in keyof Options]?: Config.Config<Options[K]> }> {}

/**
 * Opens a log on JetStream. The connection closes with the scope.
 *
 * **Details**
 *
 * - The stream and the bucket are made if they do not exist.
 * - If `append` fails, a prefix of the batch is stored: each message expects the
 *   sequence of the message before it.
 * - An event above the server's `max_payload` (1 MiB by default) is stored in parts.
 * - Positions are the stream's sequences. Parts and changes of leases have sequences
 *   too, so positions are not consecutive.
 * - `at` is the server's clock.
 *
 * **Gotchas**
 *
 * A single NATS server acknowledges before it has synced to disk (every 2 minutes by
 * default). A crash of its process loses nothing; a power failure may lose entries that
 * were not synced. Use `replicas: 3` on a cluster if that matters.
 *
 * **Example** (A log for a fleet)
 *
 * ```ts no-run
 * import * as Effect from "effect/Effect"
 * import * as Stream from "effect/Stream"
 * import * as MeshLog from "@makima-stream/log/MeshLog"
 * import * as JetStreamLog from "@makima-stream/nats/JetStreamLog"
 *
 * const program = Effect.gen(function* () {
 *   const log = yield* MeshLog.MeshLog
 *   yield* Stream.runForEach(log.read({ from: MeshLog.newest, follow: true }), ({ event, position }) =>
 *     Effect.log(position, event._tag)
 *   )
 * })
 * Effect.runFork(Effect.provide(program, JetStreamLog.layer({ servers: "nats://localhost:4222" })))
 * ```
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = Effect.fnUntraced(function* (options?: Options): Effect.fn.Return<Service, LogError, Scope.Scope> {
  const settings = yield* LogEngine.checkOptions(() => normalise(options ?? {}))
  const nc = yield* Effect.acquireRelease(
    attempt(() => connect(settings.connection)),
    (nc) => Effect.promise(() => nc.close().catch(() => undefined))
  )
  const jsm = yield* attempt(() => jetstreamManager(nc, { timeout: settings.timeoutMillis }))
  yield* attempt(() => ensureStream(jsm, settings))
  const clock = yield* Clock.Clock
  const js = jetstream(nc, { timeout: settings.timeoutMillis })
  const kv = yield* attempt(() =>
    new Kvm(js).create(settings.stream, { history: 1, replicas: settings.replicas, allow_direct: false })
  )

  const appender = Appender.make({
    nc,
    js,
    jsm,
    stream: settings.stream,
    subjects: settings.subjects,
    notify: settings.notify,
    timeoutMillis: settings.timeoutMillis,
    faults: yield* Faults,
    // Called later than this: `cells` needs the appender, which announces new holders of leases in the stream.
    getCell: (key) => Effect.suspend(() => cells.get(key))
  })
  const cells = Cells.make(kv, appender.markLease)
  const pages = Reader.make({
    js,
    jsm,
    stream: settings.stream,
    subjects: settings.subjects,
    nextNotice: yield* listen(nc, settings.notify),
    now: () => clock.currentTimeMillisUnsafe()
  })
  const again = retrying(settings.retryForMillis)
  return LogEngine.make({
    append: (events, fence) => again(appender.append(events, fence)),
    read: (read) =>
      LogEngine.readPages(
        {
          bounds: again(pages.bounds),
          page: (...arguments_) => again(pages.page(...arguments_)),
          positionAt: (instant) => again(pages.positionAt(instant)),
          snapshot: (wanted) => again(pages.snapshot(wanted)),
          awaitAfter: (position) => again(pages.awaitAfter(position))
        },
        read
      ),
    bounds: again(pages.bounds),
    cells
  })
})

/**
 * Provides a log on JetStream as a layer.
 *
 * **Example** (A week of the feed, on a cluster)
 *
 * ```ts
 * import * as Layer from "effect/Layer"
 * import * as JetStreamLog from "@makima-stream/nats/JetStreamLog"
 *
 * const layer = JetStreamLog.layer({
 *   servers: ["nats://one:4222", "nats://two:4222", "nats://three:4222"],
 *   replicas: 3,
 *   retention: { maxAge: "7 days" }
 * })
 * console.log(Layer.isLayer(layer)) // true
 * ```
 *
 * @category layers
 * @since 0.2.0
 */
export const layer = (options?: Options): Layer.Layer<MeshLog, LogError> => Layer.effect(MeshLog, make(options))

/**
 * Provides a log on JetStream as a layer, with options from configuration.
 *
 * **Example** (The servers and the token from the environment)
 *
 * ```ts
 * import * as Config from "effect/Config"
 * import * as Layer from "effect/Layer"
 * import * as JetStreamLog from "@makima-stream/nats/JetStreamLog"
 *
 * const layer = JetStreamLog.layerConfig({
 *   servers: Config.String("NATS_URL"),
 *   token: Config.Redacted("NATS_TOKEN")
 * })
 * console.log(Layer.isLayer(layer)) // true
 * ```
 *
 * @category layers
 * @since 0.2.0
 */
export const layerConfig = (options: ConfigOptions): Layer.Layer<MeshLog, LogError | Config.ConfigError> =>
  Layer.effect(
    MeshLog,
    Effect.flatMap(Config.unwrap<Options>(options), (unwrapped) => make(unwrapped))
  )

// ---------------------------------------------------------------------------
// settings
// ---------------------------------------------------------------------------

interface Settings {
  readonly connection: ConnectionOptions
  readonly stream: string
  readonly subjects: Subjects.Subjects
  readonly notify: string
  readonly limits: LogEngine.Limits
  readonly hasRetention: boolean
  readonly replicas: number
  readonly windowMillis: number
  readonly timeoutMillis: number
  readonly retryForMillis: number
}

const millis = (name: string, input: Duration.Input | undefined, fallback: number): number => {
  if (input === undefined) return fallback
  const value = Duration.toMillis(Duration.fromInputUnsafe(input))
  return value > 0 ? value : LogEngine.refuseOption(name, `must be a time above 0, not ${value} ms`)
}

const normalise = (options: Options): Settings => {
  const { feed = "tasks", replicas = 1, servers } = options
  if (feed === "") return LogEngine.refuseOption("feed", "must be a non-empty string")
  if (replicas !== 1 && replicas !== 3 && replicas !== 5) return LogEngine.refuseOption("replicas", "must be 1, 3 or 5")
  const limits = LogEngine.fromRetention(options.retention)
  const token = LogEngine.token(feed)
  return {
    connection: {
      name: "makima-stream",
      reconnectTimeWait: 250,
      // A stack trace for each request takes a tenth of the time of an append.
      noAsyncTraces: true,
      ...options.connection,
      servers:
        servers === undefined || typeof servers === "string" ? (servers ?? "nats://localhost:4222") : [...servers],
      ...(options.token === undefined ? {} : { token: Redacted.value(options.token) }),
      maxReconnectAttempts: -1
    },
    // A stream's name cannot contain `=`, with which the token of an unusual name starts.
    stream: `makima_${token.replace("=", "_")}`,
    subjects: Subjects.make(feed),
    notify: `mkn.${token}`,
    limits,
    hasRetention: options.retention !== undefined,
    replicas,
    windowMillis: Math.min(millis("idempotencyWindow", options.idempotencyWindow, 60 * 60 * 1000), limits.maxAge),
    timeoutMillis: millis("timeout", options.timeout, 5000),
    retryForMillis: millis("retryFor", options.retryFor, 60_000)
  }
}

// ---------------------------------------------------------------------------
// the stream
// ---------------------------------------------------------------------------

const attempt = <A>(run: () => Promise<A>): Effect.Effect<A, LogError> =>
  Effect.tryPromise({ try: run, catch: Errors.toLogError })

const unlimited = (limit: number): number => (Number.isFinite(limit) ? limit : -1)

/** Makes the stream, or applies a retention that was given. */
const ensureStream = async (jsm: JetStreamManager, settings: Settings): Promise<void> => {
  const { limits, stream } = settings
  const changeable = {
    max_age: Number.isFinite(limits.maxAge) ? nanos(limits.maxAge) : 0,
    max_msgs: unlimited(limits.maxEntries),
    max_bytes: unlimited(limits.maxBytes),
    duplicate_window: nanos(settings.windowMillis)
  } satisfies Partial<StreamConfig>
  try {
    const { config } = await jsm.streams.info(stream)
    const isSame =
      config.max_age === changeable.max_age &&
      config.max_msgs === changeable.max_msgs &&
      config.max_bytes === changeable.max_bytes
    if (settings.hasRetention && !isSame) await jsm.streams.update(stream, changeable)
  } catch (error) {
    if (!(error instanceof JetStreamApiError) || error.code !== JetStreamApiCodes.StreamNotFound) throw error
    await jsm.streams.add({
      name: stream,
      subjects: [settings.subjects.all],
      storage: StorageType.File,
      retention: RetentionPolicy.Limits,
      discard: DiscardPolicy.Old,
      num_replicas: settings.replicas,
      ...changeable
    })
  }
}

/**
 * Makes a function that returns an effect, which waits for the next append after the
 * call, by any process. It waits for a second at most, because an announcement can be
 * lost.
 */
const listen = Effect.fnUntraced(function* (nc: NatsConnection, notify: string) {
  let next = Deferred.makeUnsafe<void>()
  yield* Effect.acquireRelease(
    Effect.sync(() =>
      nc.subscribe(notify, {
        callback: () => {
          const current = next
          next = Deferred.makeUnsafe()
          Deferred.doneUnsafe(current, Effect.void)
        }
      })
    ),
    (subscription) => Effect.sync(() => subscription.unsubscribe())
  )
  return (): Effect.Effect<void> => Effect.asVoid(Effect.timeoutOption(Deferred.await(next), "1 second"))
})

/** Retries while the server cannot be reached. A repeated append stores nothing twice. */
const retrying =
  (forMillis: number) =>
  <A>(effect: Effect.Effect<A, LogError>): Effect.Effect<A, LogError> =>
    Effect.retry(effect, {
      while: ({ reason }) => reason._tag === "Unavailable" && !(reason.cause instanceof Killed),
      schedule: Schedule.upTo(Schedule.spaced("250 millis"), { duration: forMillis })
    })
