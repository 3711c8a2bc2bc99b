/**
 * A log in SQLite, with Node's own `node:sqlite`. For one machine; nothing else must be
 * installed or started.
 *
 * Any number of processes may open one file. Requires Node 22.19 or later.
 *
 * @since 0.2.0
 */
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Limits from "./internal/limits.ts"
import * as OptionsOf from "./internal/options.ts"
import * as Pages from "./internal/pages.ts"
import * as Append from "./internal/sqlite/append.ts"
import * as Database from "./internal/sqlite/database.ts"
import * as Errors from "./internal/sqlite/errors.ts"
import { Faults } from "./internal/sqlite/faults.ts"
import * as Head from "./internal/sqlite/head.ts"
import * as LogEngine from "./LogEngine.ts"
import { LogError } from "./LogError.ts"
import { MeshLog, type NewEvent, type Retention, type Service } from "./MeshLog.ts"

/**
 * Options of a log in SQLite.
 *
 * @category options
 * @since 0.2.0
 */
export interface Options {
  /**
   * The path of the database file. It is created if it does not exist; its directory must
   * exist. SQLite stores `-wal` and `-shm` files next to it, and this package a `-head`
   * file. A file on a network share does not work.
   */
  readonly filename: string
  /** How much the log keeps. Defaults to everything. */
  readonly retention?: Retention | undefined
  /**
   * How durable an append is. `"full"`: it survives a power failure. `"normal"`: it survives
   * the end of the process, but a power failure may lose the last appends; appends are
   * about a quarter faster. Defaults to `"full"`.
   */
  readonly synchronous?: "full" | "normal" | undefined
  /**
   * What happens if appended entries are missing when the file is opened, because the WAL
   * was truncated, an old copy was restored, or the power failed with
   * `synchronous: "normal"`. `"fail"`: readers receive all entries before, and then they and
   * appends fail with `Damaged`. `"mark"`: the next append stores a `Resync` with reason
   * `LogTruncated` in their place. Defaults to `"fail"`.
   */
  readonly onLoss?: "fail" | "mark" | undefined
  /**
   * The interval in which a following reader checks for entries of other processes. At least
   * 1 millisecond. Defaults to 50 milliseconds.
   */
  readonly pollInterval?: Duration.Input | undefined
  /**
   * How long a transaction waits for other processes before it fails with
   * `Unavailable`. Defaults to 10 seconds.
   */
  readonly busyTimeout?: Duration.Input | undefined
}

/** `DatabaseSync` blocks the thread, so a transaction appends at most this many events (about 10 ms). */
const batchSize = 500

/**
 * Opens a log in SQLite, or creates one. Its scope closes it.
 *
 * **Details**
 *
 * - The file is in WAL mode: readers and one writer do not block each other.
 * - An append is stored in transactions of at most 500 events.
 * - A file of an older version of this package is migrated when it is opened.
 *
 * **Gotchas**
 *
 * Statements run on the calling thread. A transaction of 500 events takes about 10 ms.
 *
 * **Example** (Writing and reading a file)
 *
 * ```ts
 * import { mkdtempSync } from "node:fs"
 * import { tmpdir } from "node:os"
 * import { join } from "node:path"
 * import * as Effect from "effect/Effect"
 * import * as Stream from "effect/Stream"
 * import * as SqliteLog from "@makima-stream/log/SqliteLog"
 *
 * const filename = join(mkdtempSync(join(tmpdir(), "log-")), "feed.db")
 * const write = Effect.scoped(
 *   Effect.gen(function* () {
 *     const log = yield* SqliteLog.make({ filename })
 *     yield* log.append([{ id: "1", event: { _tag: "ServerError", code: "ERROR", message: "" } }])
 *   })
 * )
 * const read = Effect.scoped(
 *   Effect.flatMap(SqliteLog.make({ filename }), (log) => Stream.runCollect(log.read()))
 * )
 * const entries = await Effect.runPromise(Effect.andThen(write, read))
 * console.log(entries.map(({ event }) => event._tag)) // ["ServerError"]
 * ```
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (options: Options): Effect.Effect<Service, LogError, Scope.Scope> =>
  Effect.map(makeEngine(options), LogEngine.make)

/**
 * Makes the engine of a log in SQLite, for a program that wraps it.
 * `LogEngine.make` makes the service.
 *
 * **Example** (A log whose appends are logged)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as LogEngine from "@makima-stream/log/LogEngine"
 * import * as SqliteLog from "@makima-stream/log/SqliteLog"
 *
 * const program = Effect.map(SqliteLog.makeEngine({ filename: "feed.db" }), (engine) =>
 *   LogEngine.make({
 *     ...engine,
 *     append: (events, fence) => Effect.andThen(Effect.log(events.length), engine.append(events, fence))
 *   })
 * )
 * console.log(Effect.isEffect(program)) // true
 * ```
 *
 * @category constructors
 * @since 0.2.0
 */
export const makeEngine = Effect.fnUntraced(function* (
  options: Options
): Effect.fn.Return<LogEngine.LogEngine, LogError, Scope.Scope> {
  const { busy, filename, limits, poll } = yield* OptionsOf.checked(() => ({
    filename: OptionsOf.name("filename", options.filename),
    poll: OptionsOf.millis("pollInterval", options.pollInterval, { fallback: 50, min: 1 }),
    busy: OptionsOf.millis("busyTimeout", options.busyTimeout, { fallback: 10_000, min: 1 }),
    limits: Limits.fromRetention(options.retention)
  }))
  const faults = yield* Faults
  const clock = yield* Clock.Clock
  const now = () => clock.currentTimeMillisUnsafe()

  /** Runs a transaction. Retries while another process has a lock, without blocking the thread. */
  const attempt = <A>(run: () => A, since?: number): Effect.Effect<A, LogError> =>
    Effect.suspend(() => {
      try {
        return Effect.succeed(run())
      } catch (error) {
        const elapsed = Number(clock.monotonicTimeNanosUnsafe()) / 1e6
        const start = since ?? elapsed
        return Errors.isBusy(error) && elapsed - start < busy
          ? Effect.andThen(Effect.sleep(5), attempt(run, start))
          : Effect.fail(Errors.toLogError(error))
      }
    })

  const db = yield* Effect.acquireRelease(
    attempt(() =>
      Database.open({
        filename,
        synchronous: options.synchronous === "normal" ? "normal" : "full",
        limits,
        head: filename === ":memory:" ? Head.none : Head.make(filename),
        markLoss: options.onLoss === "mark",
        maxPageCount: faults?.maxPageCount,
        at: faults?.at ?? (() => {})
      })
    ),
    (db) => Effect.sync(db.close)
  )

  const wakeUps = yield* makeWakeUps(db, attempt, poll)
  if (Number.isFinite(limits.maxAge)) {
    yield* Effect.sleep(Math.min(60_000, Math.max(1000, limits.maxAge / 4))).pipe(
      Effect.andThen(Effect.ignore(attempt(() => db.trim(now())))),
      Effect.forever,
      Effect.forkScoped
    )
  }

  const append = Effect.fnUntraced(function* (events: ReadonlyArray<NewEvent>, fence: LogEngine.Fence | undefined) {
    let position = 0
    for (let start = 0; start === 0 || start < events.length; start += batchSize) {
      const batch = yield* encode(events.slice(start, start + batchSize))
      position = yield* attempt(() => db.append(batch, fence, now()))
      wakeUps.wake()
      // Other fibers run between two transactions.
      if (start + batchSize < events.length) yield* Effect.yieldNow
    }
    return position
  })

  const pages: Pages.Pages = {
    bounds: attempt(db.bounds),
    checkEnd: attempt(db.checkEnd),
    page: (after, upTo, wanted) => attempt(() => db.page(after, upTo, wanted)),
    positionAt: (instant) => attempt(() => db.positionAt(instant)),
    snapshot: () => attempt(db.snapshot),
    awaitAfter: wakeUps.awaitAfter
  }
  return {
    append,
    read: (read) => Pages.read(pages, read),
    bounds: pages.bounds,
    cells: {
      get: (key) => attempt(() => db.cells.get(key)),
      list: (prefix) => attempt(() => db.cells.list(prefix)),
      set: (key, value, revision) => attempt(() => db.cells.set(key, value, revision)),
      remove: (key, revision) => attempt(() => db.cells.remove(key, revision))
    }
  }
})

const encode = (events: ReadonlyArray<NewEvent>): Effect.Effect<ReadonlyArray<Append.Encoded>, LogError> =>
  Effect.suspend(() => {
    try {
      return Effect.succeed(events.map(Append.encode))
    } catch (error) {
      return error instanceof LogError ? Effect.fail(error) : Effect.die(error)
    }
  })

interface WakeUps {
  /** Wakes the readers after an append of this connection. */
  readonly wake: () => void
  /** Waits until the log may contain an entry after a position. */
  readonly awaitAfter: (position: number) => Effect.Effect<void, LogError>
}

/** Wakes waiting readers: at once for appends of this connection, by a poll for those of others. */
const makeWakeUps = (
  db: Database.Database,
  attempt: <A>(run: () => A) => Effect.Effect<A, LogError>,
  poll: number
): Effect.Effect<WakeUps, never, Scope.Scope> =>
  Effect.gen(function* () {
    let appended = Deferred.makeUnsafe<void, LogError>()
    let waiting = Deferred.makeUnsafe<void>()
    let waiters = 0
    let last = 0
    const wake = (result: Effect.Effect<void, LogError> = Effect.void) => {
      const woken = appended
      appended = Deferred.makeUnsafe()
      Deferred.doneUnsafe(woken, result)
    }
    const look = Effect.gen(function* () {
      if (waiters === 0) yield* Deferred.await(waiting)
      yield* Effect.sleep(poll)
      const found = yield* attempt(db.last)
      if (found !== last) {
        last = found
        wake()
      }
    })
    yield* look.pipe(
      Effect.catchCause((cause) => Effect.sync(() => wake(Effect.failCause(cause)))),
      Effect.forever,
      Effect.forkScoped
    )
    return {
      wake: () => wake(),
      awaitAfter: (position) =>
        Effect.suspend(() => {
          const next = appended
          return attempt(db.last).pipe(
            Effect.flatMap((found) => {
              if (found > position) return Effect.void
              waiters++
              const started = waiting
              waiting = Deferred.makeUnsafe()
              Deferred.doneUnsafe(started, Effect.void)
              return Effect.ensuring(
                Deferred.await(next),
                Effect.sync(() => waiters--)
              )
            })
          )
        })
    }
  })

/**
 * Provides a log in SQLite as a layer.
 *
 * **Example** (A week of the feed)
 *
 * ```ts
 * import * as Layer from "effect/Layer"
 * import * as SqliteLog from "@makima-stream/log/SqliteLog"
 *
 * const layer = SqliteLog.layer({ filename: "feed.db", retention: { maxAge: "7 days" } })
 * console.log(Layer.isLayer(layer)) // true
 * ```
 *
 * @category layers
 * @since 0.2.0
 */
export const layer = (options: Options): Layer.Layer<MeshLog, LogError> => Layer.effect(MeshLog, make(options))

/**
 * Provides a log in SQLite as a layer, with options from configuration.
 *
 * **Example** (The file from the environment)
 *
 * ```ts
 * import * as Config from "effect/Config"
 * import * as Layer from "effect/Layer"
 * import * as SqliteLog from "@makima-stream/log/SqliteLog"
 *
 * const layer = SqliteLog.layerConfig({ filename: Config.String("MESH_LOG") })
 * console.log(Layer.isLayer(layer)) // true
 * ```
 *
 * @category layers
 * @since 0.2.0
 */
export const layerConfig = (options: Config.Wrap<Options>): Layer.Layer<MeshLog, LogError | Config.ConfigError> =>
  Layer.effect(
    MeshLog,
    Effect.flatMap(Config.unwrap(options), (unwrapped) => make(unwrapped))
  )
