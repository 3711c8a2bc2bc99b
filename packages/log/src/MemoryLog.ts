/**
 * A log in memory, for tests and for programs that need a short history.
 *
 * It keeps every promise of `MeshLog` except durability: it ends with its process.
 *
 * @since 0.2.0
 */
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { TaskId } from "@makima-stream/core/TaskId"
import { encodeEvent } from "./internal/codec.ts"
import { isNewerUpdate } from "./internal/entries.ts"
import { taskOf } from "./internal/filter.ts"
import * as Limits from "./internal/limits.ts"
import * as Pages from "./internal/pages.ts"
import * as LogEngine from "./LogEngine.ts"
import { Fenced, LogError } from "./LogError.ts"
import { MeshLog, type Entry, type NewEvent, type Retention, type Service } from "./MeshLog.ts"

/**
 * Options of a log in memory.
 *
 * @category options
 * @since 0.2.0
 */
export interface Options {
  /** How much the log keeps. Defaults to everything. */
  readonly retention?: Retention | undefined
  /**
   * Where the log stores its entries. Several logs with one store act like several
   * processes on one log. Defaults to a new one.
   */
  readonly store?: Store | undefined
}

/**
 * The storage that logs in memory can share. Made by `makeStore`.
 *
 * @category models
 * @since 0.2.0
 */
export interface Store {
  /** What the logs share. Opaque. */
  readonly state: State
}

interface Stored extends Entry {
  readonly id: string
  readonly bytes: number
}

interface State {
  entries: Array<Stored>
  last: number
  lastAt: number
  bytes: number
  readonly ids: Map<string, number>
  readonly newest: Map<TaskId, { readonly entry: Stored; readonly version: number | undefined }>
  readonly cells: Map<string, LogEngine.Cell>
  /** Grows with each change of any cell, so that a cell that is created again has a higher revision. */
  revision: number
  appended: Deferred.Deferred<void>
}

/**
 * Makes an empty store.
 *
 * @category constructors
 * @since 0.2.0
 */
export const makeStore = (): Store => ({
  state: {
    entries: [],
    last: 0,
    lastAt: Number.NEGATIVE_INFINITY,
    bytes: 0,
    ids: new Map(),
    newest: new Map(),
    cells: new Map(),
    revision: 0,
    appended: Deferred.makeUnsafe()
  }
})

/**
 * Makes a log in memory.
 *
 * **Example** (Two handles on one log)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as MemoryLog from "@makima-stream/log/MemoryLog"
 *
 * const program = Effect.gen(function* () {
 *   const store = MemoryLog.makeStore()
 *   const writer = yield* MemoryLog.make({ store })
 *   const reader = yield* MemoryLog.make({ store })
 *   yield* writer.append([{ id: "1", event: { _tag: "ServerError", code: "ERROR", message: "" } }])
 *   return yield* reader.bounds
 * })
 * console.log(Effect.runSync(program)) // { first: 1, last: 1 }
 * ```
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (options?: Options): Effect.Effect<Service> => Effect.map(makeEngine(options), LogEngine.make)

/**
 * Makes the engine of a log in memory, for a program that wraps it.
 * `LogEngine.make` makes the service.
 *
 * **Example** (A log whose appends are logged)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as LogEngine from "@makima-stream/log/LogEngine"
 * import * as MemoryLog from "@makima-stream/log/MemoryLog"
 *
 * const program = Effect.map(MemoryLog.makeEngine(), (engine) =>
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
export const makeEngine = (options?: Options): Effect.Effect<LogEngine.LogEngine> =>
  Effect.map(Clock.Clock, (clock) => {
    const { state } = options?.store ?? makeStore()
    const limits = Limits.fromRetention(options?.retention)
    const expire = () => trim(state, limits, clock.currentTimeMillisUnsafe())
    const pages = makePages(state, expire)
    return {
      append: (events, fence) =>
        Effect.suspend(() => {
          if (fence !== undefined) {
            const cell = state.cells.get(LogEngine.leaseKey(fence.name))
            if (cell === undefined || LogEngine.leaseTerm(cell.value) !== fence.term) {
              return Effect.fail(new LogError({ reason: new Fenced({ lease: fence.name, term: fence.term }) }))
            }
          }
          const position = append(state, events, clock.currentTimeMillisUnsafe())
          expire()
          return Effect.succeed(position)
        }),
      read: (read) => Pages.read(pages, read),
      bounds: pages.bounds,
      cells: makeCells(state)
    }
  })

const utf8 = new TextEncoder()

const append = (state: State, events: ReadonlyArray<NewEvent>, now: number): number => {
  let position = state.last
  state.lastAt = Math.max(state.lastAt, now)
  for (const { event, id } of events) {
    const old = state.ids.get(id)
    if (old !== undefined) {
      position = old
      continue
    }
    position = ++state.last
    const entry: Stored = { position, at: state.lastAt, event, id, bytes: utf8.encode(encodeEvent(event)).length }
    state.entries.push(entry)
    state.ids.set(id, position)
    state.bytes += entry.bytes
    if (event._tag === "TaskUpdated") {
      const newest = state.newest.get(event.taskId)
      if (newest === undefined || isNewerUpdate(event.version, newest.version)) {
        state.newest.set(event.taskId, { entry, version: event.version ?? newest?.version })
      }
    }
  }
  const { appended } = state
  state.appended = Deferred.makeUnsafe()
  Deferred.doneUnsafe(appended, Effect.void)
  return position
}

/** Removes the oldest entries while a limit is exceeded. */
const trim = (state: State, limits: Limits.Limits, now: number): void => {
  let removed = 0
  let { bytes } = state
  for (const entry of state.entries) {
    const excess =
      state.entries.length - removed > limits.maxEntries || bytes > limits.maxBytes || now - entry.at > limits.maxAge
    if (!excess) break
    removed++
    bytes -= entry.bytes
    state.ids.delete(entry.id)
    const taskId = taskOf(entry.event)
    if (taskId !== undefined && state.newest.get(taskId)?.entry === entry) state.newest.delete(taskId)
  }
  state.bytes = bytes
  if (removed > 0) state.entries = state.entries.slice(removed)
}

/** How many entries a page has. */
const pageSize = 512

const makePages = (state: State, expire: () => void): Pages.Pages => {
  const first = () => state.entries[0]?.position ?? state.last + 1
  const bounds = Effect.sync(() => {
    expire()
    return { first: first(), last: state.last }
  })
  return {
    bounds,
    page: (after, upTo) =>
      Effect.sync(() => {
        expire()
        // Positions are consecutive.
        const start = Math.max(0, after + 1 - first())
        const entries = state.entries.slice(start, start + pageSize).filter(({ position }) => position <= upTo)
        return { entries: entries.map(toEntry), position: entries.at(-1)?.position ?? after, first: first() }
      }),
    positionAt: (instant) =>
      Effect.sync(() => {
        expire()
        const found = state.entries.find(({ at }) => at >= instant)
        if (first() > 1 && (found === undefined ? state.entries.length === 0 : found === state.entries[0])) return 0
        return found === undefined ? state.last : found.position - 1
      }),
    snapshot: () =>
      Effect.sync(() => {
        expire()
        const entries = Array.from(state.newest.values(), ({ entry }) => toEntry(entry))
        return { entries: entries.sort((a, b) => a.position - b.position), position: state.last }
      }),
    awaitAfter: (position) =>
      Effect.suspend(() => (state.last > position ? Effect.void : Deferred.await(state.appended)))
  }
}

const toEntry = ({ at, event, position }: Stored): Entry => ({ position, at, event })

const makeCells = (state: State): LogEngine.Cells => ({
  get: (key) => Effect.sync(() => state.cells.get(key)),
  list: (prefix) => Effect.sync(() => Array.from(state.cells.values()).filter(({ key }) => key.startsWith(prefix))),
  set: (key, value, revision) =>
    Effect.sync(() => {
      if ((state.cells.get(key)?.revision ?? 0) !== revision) return undefined
      const next = ++state.revision
      state.cells.set(key, { key, value, revision: next })
      return next
    }),
  remove: (key, revision) => Effect.sync(() => state.cells.get(key)?.revision === revision && state.cells.delete(key))
})

/**
 * Provides a log in memory as a layer.
 *
 * **Example** (The last thousand entries)
 *
 * ```ts
 * import * as Layer from "effect/Layer"
 * import * as MemoryLog from "@makima-stream/log/MemoryLog"
 *
 * console.log(Layer.isLayer(MemoryLog.layer({ retention: { maxEntries: 1000 } }))) // true
 * ```
 *
 * @category layers
 * @since 0.2.0
 */
export const layer = (options?: Options): Layer.Layer<MeshLog> => Layer.effect(MeshLog, make(options))

/**
 * Provides a log in memory as a layer, with options from configuration.
 *
 * **Example** (A retention from the configuration)
 *
 * ```ts
 * import * as Config from "effect/Config"
 * import * as Layer from "effect/Layer"
 * import * as MemoryLog from "@makima-stream/log/MemoryLog"
 *
 * const layer = MemoryLog.layerConfig({ retention: { maxEntries: Config.Int("LOG_ENTRIES") } })
 * console.log(Layer.isLayer(layer)) // true
 * ```
 *
 * @category layers
 * @since 0.2.0
 */
export const layerConfig = (options: Config.Wrap<Options>): Layer.Layer<MeshLog, Config.ConfigError> =>
  Layer.effect(
    MeshLog,
    Effect.flatMap(Config.unwrap(options), (unwrapped) => make(unwrapped))
  )
