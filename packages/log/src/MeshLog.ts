/**
 * The kept feed: a log of events that remains when its writers and readers end.
 *
 * The server replays nothing, so a program that needs the history must store it. A
 * `Relay` appends the feed to a log. Readers start at any position, resume after a
 * restart, and share the work. `MemoryLog` and `SqliteLog` are engines of this package,
 * `@makima-stream/nats` has an engine on JetStream. A program that uses this service runs
 * on each of them.
 *
 * Marks are stored in the log: a gap of the relay is a gap of every reader, at the same
 * place.
 *
 * @since 0.2.0
 */
import * as Context from "effect/Context"
import type * as DateTime from "effect/DateTime"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { MeshEvent } from "@makima-stream/core/MeshEvent"
import type * as MeshStream from "@makima-stream/core/MeshStream"
import type { TaskId } from "@makima-stream/core/TaskId"
import type { LogError } from "./LogError.ts"

export { LogError } from "./LogError.ts"

// ---------------------------------------------------------------------------
// entries
// ---------------------------------------------------------------------------

/**
 * An event in the log.
 *
 * @category models
 * @since 0.2.0
 */
export interface Entry<out E extends MeshEvent = MeshEvent> {
  /**
   * The place in the log: a positive integer. Positions grow from one entry to the next,
   * but may have gaps.
   */
  readonly position: number
  /** When the log stored it, in milliseconds since 1970. Never decreases from one entry to the next. */
  readonly at: number
  /** The event. */
  readonly event: E
}

/**
 * An event to append.
 *
 * @category models
 * @since 0.2.0
 */
export interface NewEvent {
  /**
   * Identifies the event. The log stores one entry for each id, so an append can be
   * repeated. A non-empty string.
   */
  readonly id: string
  /** The event. */
  readonly event: MeshEvent
}

/**
 * Options of `append`.
 *
 * @category options
 * @since 0.2.0
 */
export interface AppendOptions {
  /**
   * The lease of the writer. The append fails with `Fenced` if another process has acquired
   * it, or if it was released. Defaults to none: the append is not fenced.
   */
  readonly lease?: Pick<Lease, "name" | "term"> | undefined
}

// ---------------------------------------------------------------------------
// positions
// ---------------------------------------------------------------------------

/**
 * Where a reader starts.
 *
 * **Details**
 *
 * - `Beginning`: at the first entry that was ever stored.
 * - `New`: after the last entry of the log when the reader starts.
 * - `After`: after a position, such as the last one that a program has handled. 0 is
 *   the beginning.
 * - `Time`: at the first entry that was stored at or after an instant.
 * - `LastPerTask`: with the newest update of each task, by `version` and ordered by
 *   position: a snapshot, ready for `Repair`. A following reader continues with
 *   every entry after the snapshot.
 *
 * If retention has removed entries that a reader requests, it first receives a `Resync`
 * with reason `LogTruncated`.
 *
 * @category models
 * @since 0.2.0
 */
export type From = Beginning | New | After | Time | LastPerTask

/**
 * See `From`.
 *
 * @category models
 * @since 0.2.0
 */
export interface Beginning {
  readonly _tag: "Beginning"
}

/**
 * See `From`.
 *
 * @category models
 * @since 0.2.0
 */
export interface New {
  readonly _tag: "New"
}

/**
 * See `From`.
 *
 * @category models
 * @since 0.2.0
 */
export interface After {
  readonly _tag: "After"
  /** The position before the first entry that the reader wants. */
  readonly position: number
}

/**
 * See `From`.
 *
 * @category models
 * @since 0.2.0
 */
export interface Time {
  readonly _tag: "Time"
  /** The instant in milliseconds since 1970. */
  readonly at: number
}

/**
 * See `From`.
 *
 * @category models
 * @since 0.2.0
 */
export interface LastPerTask {
  readonly _tag: "LastPerTask"
}

/**
 * Starts at the first entry that was ever stored.
 *
 * @category positions
 * @since 0.2.0
 */
export const beginning: Beginning = { _tag: "Beginning" }

/**
 * Starts after the last entry of the log when the reader starts.
 *
 * @category positions
 * @since 0.2.0
 */
export const newest: New = { _tag: "New" }

/**
 * Starts with the newest update of each task.
 *
 * @category positions
 * @since 0.2.0
 */
export const lastPerTask: LastPerTask = { _tag: "LastPerTask" }

/**
 * Starts after a position. 0 is the beginning.
 *
 * **Gotchas**
 *
 * Throws a `RangeError` if the position is not an integer of at least 0.
 *
 * **Example** (Resuming after position 42)
 *
 * ```ts
 * import * as MeshLog from "@makima-stream/log/MeshLog"
 *
 * console.log(MeshLog.after(42)) // { _tag: "After", position: 42 }
 * ```
 *
 * @category positions
 * @since 0.2.0
 */
export const after = (position: number): After => {
  if (!Number.isSafeInteger(position) || position < 0) {
    throw new RangeError(`A position is an integer of at least 0, not ${position}`)
  }
  return { _tag: "After", position }
}

/**
 * Starts at the first entry that was stored at or after an instant: a `Date`, a
 * `DateTime`, or milliseconds since 1970.
 *
 * **Gotchas**
 *
 * Throws a `RangeError` if the instant is not a finite number.
 *
 * **Example** (From the first moment of 2026)
 *
 * ```ts
 * import * as MeshLog from "@makima-stream/log/MeshLog"
 *
 * console.log(MeshLog.time(new Date("2026-01-01T00:00:00Z"))) // { _tag: "Time", at: 1767225600000 }
 * ```
 *
 * @category positions
 * @since 0.2.0
 */
export const time = (instant: number | Date | DateTime.DateTime): Time => {
  const at =
    typeof instant === "number" ? instant : instant instanceof Date ? instant.getTime() : instant.epochMilliseconds
  if (!Number.isFinite(at)) throw new RangeError("An instant is a valid date or a finite number of milliseconds")
  return { _tag: "Time", at }
}

// ---------------------------------------------------------------------------
// reading
// ---------------------------------------------------------------------------

/**
 * Which entries a reader receives. The log finds them with an index, while operators would
 * read every event.
 *
 * **Details**
 *
 * Each member has the meaning of an operator of `MeshStream`. Several members have the
 * meaning of several operators after each other:
 *
 * | member | operator |
 * | --- | --- |
 * | `tasks` | `filterTask(tasks, { keep })` |
 * | `kind: "updates"` | `updatesOnly({ keep })` |
 * | `kind: "output"` | `outputOnly({ keep })` |
 * | `messageTypes` | `filterMessageType(messageTypes, { keep })` |
 *
 * A selector that is a function cannot use an index, and is called for each entry. Without
 * any of these members every entry is delivered, and `keep` has no effect.
 *
 * **Gotchas**
 *
 * As with the operators, marks are dropped by default. A reader that must know
 * about gaps sets `keep: "resync"`. This includes `LogTruncated`.
 *
 * @category options
 * @since 0.2.0
 */
export interface Filter extends MeshStream.KeepOptions {
  /** The tasks. Defaults to all tasks, and events without a task. */
  readonly tasks?: MeshStream.Selector<TaskId> | undefined
  /** Only updates (with `Restated`), or only output. Defaults to everything. */
  readonly kind?: "updates" | "output" | undefined
  /** Only output of these message types. Defaults to every type. */
  readonly messageTypes?: MeshStream.Selector<string> | undefined
}

/**
 * Options of `read`.
 *
 * @category options
 * @since 0.2.0
 */
export interface ReadOptions {
  /** Where to start. Defaults to `beginning`. */
  readonly from?: From | undefined
  /** Which entries to deliver. Defaults to all. */
  readonly filter?: Filter | undefined
  /**
   * `true` continues with new entries as they are appended, without a gap or repetition;
   * `false` ends at the last entry of the log when the reader starts. Defaults to `false`.
   */
  readonly follow?: boolean | undefined
}

/**
 * The positions of a log.
 *
 * @category models
 * @since 0.2.0
 */
export interface Bounds {
  /** The position of the first entry; `last + 1` if the log is empty. */
  readonly first: number
  /** The position of the last stored entry, even if it has been removed since; 0 if there was none yet. */
  readonly last: number
}

/**
 * How much a log keeps. The oldest entries are removed first.
 *
 * **Details**
 *
 * A missing limit means no limit. Entries are removed in batches, so a log may exceed its
 * limits for a short time.
 *
 * @category options
 * @since 0.2.0
 */
export interface Retention {
  /** Removes entries that are older. */
  readonly maxAge?: Duration.Input | undefined
  /** Removes the oldest entries beyond this number. At least 1. */
  readonly maxEntries?: number | undefined
  /** Removes the oldest entries beyond this total size of their encoded events in bytes. At least 1. */
  readonly maxBytes?: number | undefined
}

// ---------------------------------------------------------------------------
// durable readers
// ---------------------------------------------------------------------------

/**
 * Options of `consumer`.
 *
 * @category options
 * @since 0.2.0
 */
export interface ConsumerOptions {
  /** Which entries to deliver. Defaults to all. Must be the same in each process of one name. */
  readonly filter?: Filter | undefined
  /** Where a new name starts. An existing name continues at its position. Defaults to `beginning`. */
  readonly from?: Beginning | New | After | Time | undefined
  /**
   * The number of unacknowledged entries at which the stream waits. It may be exceeded by
   * one batch. At least 1. Defaults to 1024.
   */
  readonly capacity?: number | undefined
  /**
   * The number of partitions into which the tasks of a new name are divided. A partition
   * belongs to one process at a time, so this is the largest useful number of processes.
   * From 1 to 256. Defaults to 16.
   */
  readonly partitions?: number | undefined
  /**
   * How long a process may be silent before others take its tasks. At least 1
   * second. Defaults to 10 seconds.
   */
  readonly timeToLive?: Duration.Input | undefined
  /**
   * The name of this process among those that share the work. A process that restarts with
   * its old name continues at once; otherwise it waits up to `timeToLive` for the tasks of a
   * killed predecessor. Two running processes must not use the same name. Defaults to a
   * random one.
   */
  readonly member?: string | undefined
}

/**
 * A durable reader. See `MeshLog.consumer`.
 *
 * @category models
 * @since 0.2.0
 */
export interface Consumer {
  /**
   * Streams the entries that this process must handle, oldest first for each task. Run it
   * once. It ends only with an error or by interruption.
   */
  readonly entries: Stream.Stream<Entry, LogError>
  /**
   * Records that entries have been handled. They are not delivered again. If the task of an
   * entry has moved to another process, the call has no effect: that process delivers the
   * entry again.
   */
  readonly acknowledge: (entries: Entry | Iterable<Entry>) => Effect.Effect<void, LogError>
}

// ---------------------------------------------------------------------------
// leases
// ---------------------------------------------------------------------------

/**
 * Options of `lease`.
 *
 * @category options
 * @since 0.2.0
 */
export interface LeaseOptions {
  /**
   * How long a holder may be silent before another process takes over. The holder
   * renews the lease three times as often. At least 1 second. Defaults to 10
   * seconds.
   */
  readonly timeToLive?: Duration.Input | undefined
  /**
   * Returns how many milliseconds longer than others this process waits once the lease is
   * free, so that a better candidate comes first. Called at each look with the time at
   * which this process saw the last renewal, in milliseconds on the monotonic clock.
   * Defaults to 0.
   */
  readonly delay?: ((renewedAt: number) => number) | undefined
  /**
   * Called by the holder before each renewal. Returns how many milliseconds ago its work was
   * complete, or `undefined` if that is not known. The renewal carries it to the processes
   * that wait for the lease. Defaults to `undefined`.
   */
  readonly behind?: (() => number | undefined) | undefined
  /**
   * Called while this process waits for the lease, for each renewal that proves something:
   * with a time on the monotonic clock at which the holder's work was complete, at least.
   * See `behind`. Defaults to nothing.
   */
  readonly onComplete?: ((time: number) => void) | undefined
}

/**
 * A lease. From the point of view of the log, at most one process holds it.
 *
 * **Details**
 *
 * A process that was paused or disconnected may believe that it still holds a lease that
 * another process has acquired. Its appends with this lease fail with `Fenced`.
 *
 * @category models
 * @since 0.2.0
 */
export interface Lease {
  /** Its name. */
  readonly name: string
  /** Grows with each acquisition of the name, so it identifies this one. */
  readonly term: number
  /** Returns `true` while the lease is held: it has not been lost, released, or left without renewal for its time to live. */
  readonly isHeld: Effect.Effect<boolean>
  /** Waits until the lease is lost or released. */
  readonly awaitLost: Effect.Effect<void>
  /** Releases the lease, so that another process can acquire it at once. Closing the scope does the same. */
  readonly release: Effect.Effect<void>
}

// ---------------------------------------------------------------------------
// the service
// ---------------------------------------------------------------------------

/**
 * The methods of a log. `MeshLog` is the service.
 *
 * @category models
 * @since 0.2.0
 */
export interface Service {
  /**
   * Appends events in order and returns the position of the last one. An event whose id
   * is already in the log is not stored again; its position is the old one. Without
   * events, returns the position of the last entry.
   *
   * After success, the events are stored as durably as the engine promises. After a
   * failure, a prefix may have been stored: append the same events again.
   */
  readonly append: (events: ReadonlyArray<NewEvent>, options?: AppendOptions) => Effect.Effect<number, LogError>
  /** Streams entries from a position on, oldest first. */
  readonly read: (options?: ReadOptions) => Stream.Stream<Entry, LogError>
  /**
   * Opens a durable reader. Its position is kept in the log under its name. Every
   * entry is delivered at least once; entries that were acknowledged are skipped.
   * Processes that open the same name share the work by task: the entries of a task
   * go to one process at a time, in order. A mark without a task goes to each process.
   * Closing the scope passes the work to the other processes.
   */
  readonly consumer: (name: string, options?: ConsumerOptions) => Effect.Effect<Consumer, LogError, Scope.Scope>
  /**
   * Waits for the lease of a name, acquires it and renews it until the scope closes. A
   * lease that its holder no longer renews is acquired within its time to live plus 1
   * second.
   */
  readonly lease: (name: string, options?: LeaseOptions) => Effect.Effect<Lease, LogError, Scope.Scope>
  /** Returns the first and the last position. */
  readonly bounds: Effect.Effect<Bounds, LogError>
}

/**
 * A log of events.
 *
 * **Details**
 *
 * A failure is a `LogError` with a `reason`. Each method can be used by any number of
 * fibers at once.
 *
 * **Example** (Appending and reading)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Stream from "effect/Stream"
 * import * as TaskId from "@makima-stream/core/TaskId"
 * import * as MemoryLog from "@makima-stream/log/MemoryLog"
 * import * as MeshLog from "@makima-stream/log/MeshLog"
 *
 * const taskId = TaskId.make("7f1c")
 * const program = Effect.gen(function* () {
 *   const log = yield* MeshLog.MeshLog
 *   yield* log.append([{ id: "u:7f1c:1", event: { _tag: "TaskUpdated", taskId, version: 1 } }])
 *   return yield* Stream.runCollect(log.read({ from: MeshLog.beginning }))
 * })
 * const entries = await Effect.runPromise(Effect.provide(program, MemoryLog.layer()))
 * console.log(entries.map(({ event, position }) => [position, event._tag])) // [[1, "TaskUpdated"]]
 * ```
 *
 * @category services
 * @since 0.2.0
 */
export class MeshLog extends Context.Service<MeshLog, Service>()("@makima-stream/log/MeshLog") {}

/**
 * Returns the events of entries, so that operators and projections can be used on the log
 * as on a live feed.
 *
 * **Example** (The messages of one task, from the log)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Stream from "effect/Stream"
 * import * as MeshStream from "@makima-stream/core/MeshStream"
 * import * as TaskId from "@makima-stream/core/TaskId"
 * import * as MemoryLog from "@makima-stream/log/MemoryLog"
 * import * as MeshLog from "@makima-stream/log/MeshLog"
 *
 * const taskId = TaskId.make("7f1c")
 * const program = Effect.gen(function* () {
 *   const log = yield* MeshLog.MeshLog
 *   yield* log.append([
 *     { id: "1", event: { _tag: "TaskUpdated", taskId, status: "running" } },
 *     { id: "2", event: { _tag: "TaskOutput", taskId, messageType: "assistant", content: "Hello" } }
 *   ])
 *   const output = MeshLog.events(log.read()).pipe(MeshStream.outputOnly)
 *   return yield* Stream.runCollect(output)
 * })
 * const [first] = await Effect.runPromise(Effect.provide(program, MemoryLog.layer()))
 * console.log(first?.content) // Hello
 * ```
 *
 * @category reading
 * @since 0.2.0
 */
export const events = <A extends MeshEvent, E, R>(entries: Stream.Stream<Entry<A>, E, R>): Stream.Stream<A, E, R> =>
  Stream.map(entries, ({ event }) => event)
