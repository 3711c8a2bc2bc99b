/**
 * The interface of log engines, for authors of engines.
 *
 * An engine appends, reads, and stores cells: small values that change by compare and
 * set. `make` adds durable consumers and leases, and returns the `MeshLog` service.
 *
 * @since 0.2.0
 */
import type * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"
import * as Consumers from "./internal/consumer.ts"
import * as Leases from "./internal/lease.ts"
import type { LogError } from "./LogError.ts"
import type { Bounds, Entry, NewEvent, ReadOptions, Service } from "./MeshLog.ts"

export { decodeEvent, encodeEvent } from "./internal/codec.ts"
export { isNewerUpdate, truncated } from "./internal/entries.ts"
export { toWanted, type Wanted } from "./internal/filter.ts"
export { fromRetention, type Limits } from "./internal/limits.ts"
export { checkOptions, refuseOption } from "./internal/engineOptions.ts"
export { read as readPages, type Page, type Pages } from "./internal/pages.ts"
export { token } from "./internal/token.ts"

/**
 * A small value in the log, with the revision of its last change.
 *
 * @category models
 * @since 0.2.0
 */
export interface Cell {
  /** Its name. See `Cells`. */
  readonly key: string
  /** Its text. */
  readonly value: string
  /** Positive. Grows with each change of the cell. */
  readonly revision: number
}

/**
 * Small values that change by compare and set.
 *
 * **Details**
 *
 * A key consists of parts that are separated by `/`, with the characters
 * `A-Z a-z 0-9 _ - . =`. A value is text of at most 64 KiB. Reads are linearizable: they
 * see every earlier change by any process.
 *
 * @category models
 * @since 0.2.0
 */
export interface Cells {
  /** Returns the cell, or `undefined` if there is none. */
  readonly get: (key: string) => Effect.Effect<Cell | undefined, LogError>
  /** Returns the cells whose key starts with a prefix that ends with `/`. */
  readonly list: (prefix: string) => Effect.Effect<ReadonlyArray<Cell>, LogError>
  /**
   * Sets the value if the cell still has the revision, and returns the new one;
   * otherwise returns `undefined`. Revision 0 means that the cell does not exist.
   */
  readonly set: (key: string, value: string, revision: number) => Effect.Effect<number | undefined, LogError>
  /** Deletes the cell if it still has the revision, and returns whether it did. */
  readonly remove: (key: string, revision: number) => Effect.Effect<boolean, LogError>
}

/**
 * The lease that fences an append.
 *
 * **Details**
 *
 * The engine must refuse the append with `Fenced` unless the cell `leaseKey(name)` has this
 * term and an owner at the moment when the events are stored. `leaseTerm` decodes the cell.
 *
 * @category models
 * @since 0.2.0
 */
export interface Fence {
  /** The name of the lease. */
  readonly name: string
  /** The term in which the writer acquired it. */
  readonly term: number
}

/**
 * The operations that an engine implements. `MeshLog` describes their promises.
 *
 * @category models
 * @since 0.2.0
 */
export interface LogEngine {
  /** As in `MeshLog`, with the lease that it is fenced by. */
  readonly append: (events: ReadonlyArray<NewEvent>, fence: Fence | undefined) => Effect.Effect<number, LogError>
  /** As in `MeshLog`. `readPages` makes it of pages. */
  readonly read: (options: ReadOptions) => Stream.Stream<Entry, LogError>
  /** As in `MeshLog`. */
  readonly bounds: Effect.Effect<Bounds, LogError>
  /** What leases and durable readers are kept in. */
  readonly cells: Cells
}

/**
 * Makes the service of an engine.
 *
 * **Example** (The service of an engine in memory)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as LogEngine from "@makima-stream/log/LogEngine"
 * import * as MemoryLog from "@makima-stream/log/MemoryLog"
 *
 * const program = Effect.gen(function* () {
 *   const engine = yield* MemoryLog.makeEngine()
 *   // An engine that counts its appends.
 *   let appends = 0
 *   const log = LogEngine.make({
 *     ...engine,
 *     append: (events, fence) => Effect.tap(engine.append(events, fence), () => Effect.sync(() => appends++))
 *   })
 *   yield* log.append([{ id: "1", event: { _tag: "ServerError", code: "ERROR", message: "" } }])
 *   return appends
 * })
 * console.log(Effect.runSync(program)) // 1
 * ```
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (engine: LogEngine): Service => ({
  append: (events, options) => engine.append(events, options?.lease),
  read: (options) => engine.read(options ?? {}),
  bounds: engine.bounds,
  lease: (name, options) => Leases.acquire(engine.cells, name, options),
  consumer: (name, options) => Consumers.make(engine, name, options)
})

/**
 * Returns the key of the cell of a lease.
 *
 * @category leases
 * @since 0.2.0
 */
export const leaseKey: (name: string) => string = Leases.keyOf

/**
 * Returns the term in the value of a lease's cell, or `undefined` if the lease is
 * not held.
 *
 * @category leases
 * @since 0.2.0
 */
export const leaseTerm: (value: string) => number | undefined = Leases.termOf
