/**
 * Closes gaps with snapshots.
 *
 * The feed replays nothing, but a REST endpoint, a database or a log may know the
 * current state of the tasks. The program defines how to fetch it. A repair fetches it
 * after each mark of a gap, compares it with the events that have passed in the
 * meantime, and emits what is newer.
 *
 * `repair` is the operator for one stream. `make` returns the value of the option
 * `repair` of `MeshClient`, where one repair serves all consumers. `RepairHttp` makes a `fetch`
 * for a REST endpoint. `MeshEvent` has the elements: `Restated`, `Repaired` and
 * `RepairFailed`.
 *
 * @since 0.2.0
 */
import type * as Cause from "effect/Cause"
import { dual } from "effect/Function"
import * as Stream from "effect/Stream"
import * as Pushdown from "./internal/pushdown.ts"
import * as Driver from "./internal/repair/driver.ts"
import type * as Machine from "./internal/repair/machine.ts"
import * as RepairOptions from "./internal/repair/options.ts"
import type * as Port from "./internal/repair/port.ts"
import type * as MeshError from "./MeshError.ts"
import type { MeshEvent, RepairElement } from "./MeshEvent.ts"
import { isDataFirst } from "./internal/operators.ts"

/**
 * The state of one task at one moment.
 *
 * **Details**
 *
 * - `version`: the task's version, which is compared with that of its updates. A
 *   snapshot without it is applied only if no update of its task passes while it is
 *   fetched.
 * - `status`, `updatedFields`: as in an update.
 * - `costUsd`: the cost of the task so far, in US dollars.
 *
 * A member that is absent or `undefined` is not known.
 *
 * @category models
 * @since 0.2.0
 */
export interface TaskSnapshot extends Machine.TaskSnapshot {}

/**
 * The tasks that a fetch requests: all, or those of `taskIds`.
 *
 * @category models
 * @since 0.2.0
 */
export type Ask = Machine.Ask

/**
 * Options of a repair.
 *
 * @category options
 * @since 0.2.0
 */
export interface Options<R = never> extends RepairOptions.Options<R> {}

/**
 * Options of a repair that fails the stream when no snapshot can be fetched.
 *
 * @category options
 * @since 0.2.0
 */
export interface FatalOptions<R = never> extends Options<R> {
  /** Fails the stream with the reason `SnapshotFailed`. */
  readonly onFailure: "fail"
}

/**
 * Repairs the gaps of a stream with snapshots.
 *
 * **When to use**
 *
 * Use it if a program keeps the state of tasks (a board, a cache, a table): without it,
 * a task whose end was lost in a gap stays wrong. With a `MeshClient`, use its option
 * `repair` instead: one fetch serves all consumers.
 *
 * **Details**
 *
 * - Every element of the feed passes at once, in order. Without the elements that the
 *   repair adds, the output equals the input.
 * - A fetch begins after a `Resync`, never at a `Connected`, so that the stream is
 *   complete from before the fetch on. A mark that names a task requests that task, all
 *   other marks request all tasks. `Subscribed` of output requests nothing, because
 *   output cannot be repaired.
 * - A task of the snapshot is emitted as `Restated` if its `version` is above the
 *   highest version that has passed. Without a version it is emitted if no update of it
 *   has passed since the fetch began, and if it contains something new.
 * - With `complete`, a known task that is absent from the snapshot is emitted as `gone`.
 * - A `Repaired` follows the `Restated` elements of its snapshot. It lists the marks that
 *   it repairs, and counts the marks that came while the fetch ran and stay open.
 * - At most one fetch runs. Marks that arrive meanwhile wait for the next fetch. Fetches
 *   begin after a random time up to `spread`, and at least `minInterval` apart.
 * - An attempt that fails, or takes longer than `timeout`, is repeated by the schedule
 *   `retry`. When the schedule ends, a `RepairFailed` is emitted, or the stream fails
 *   (`onFailure`). The next fetch includes what was not repaired. A defect or an
 *   interruption of `fetch` is not retried.
 * - The scope of the stream owns the fetch: it is interrupted when the stream ends.
 *
 * **Gotchas**
 *
 * - Only marks that reach the operator are repaired. Put it before filters that drop
 *   `Resync`, and after `MeshStream.markGaps` and queues that mark lost events.
 * - If the endpoint reads from a replica that lags, delay the request inside `fetch` by
 *   the lag: data from before the mark does not close the gap.
 * - Without versions, an update without a status hides the snapshot of its task.
 *
 * **Example** (The end of a task was lost in a gap)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Stream from "effect/Stream"
 * import type * as MeshEvent from "@makima-stream/core/MeshEvent"
 * import * as Repair from "@makima-stream/core/Repair"
 * import * as TaskId from "@makima-stream/core/TaskId"
 *
 * const taskId = TaskId.make("7f1c")
 * const feed = Stream.fromIterable<MeshEvent.MeshEvent>([
 *   { _tag: "TaskUpdated", taskId, version: 1, status: "running" },
 *   { _tag: "Resync", epoch: 2, reason: { _tag: "Reconnected", downMillis: 900 } }
 * ]).pipe(Stream.concat(Stream.never))
 *
 * const program = feed.pipe(
 *   Repair.repair({
 *     fetch: () => Effect.succeed([{ taskId, version: 2, status: "done" }]),
 *     spread: 0
 *   }),
 *   Stream.takeUntil((event) => event._tag === "Repaired"),
 *   Stream.runCollect
 * )
 * const events = await Effect.runPromise(program)
 * console.log(events.map((event) => event._tag)) // ["TaskUpdated", "Resync", "Restated", "Repaired"]
 * ```
 *
 * @category operators
 * @since 0.2.0
 */
export const repair: {
  /** Repairs the gaps of a stream, and fails it when no snapshot can be fetched: see `repair`. */
  <R2 = never>(
    options: FatalOptions<R2>
  ): <A extends MeshEvent, E, R>(
    self: Stream.Stream<A, E, R>
  ) => Stream.Stream<A | RepairElement, E | MeshError.MeshError, R | R2>
  /** Repairs the gaps of a stream: see `repair`. */
  <R2 = never>(
    options: Options<R2>
  ): <A extends MeshEvent, E, R>(self: Stream.Stream<A, E, R>) => Stream.Stream<A | RepairElement, E, R | R2>
  /** Repairs the gaps of a stream, and fails it when no snapshot can be fetched: see `repair`. */
  <A extends MeshEvent, E, R, R2 = never>(
    self: Stream.Stream<A, E, R>,
    options: FatalOptions<R2>
  ): Stream.Stream<A | RepairElement, E | MeshError.MeshError, R | R2>
  /** Repairs the gaps of a stream: see `repair`. */
  <A extends MeshEvent, E, R, R2 = never>(
    self: Stream.Stream<A, E, R>,
    options: Options<R2>
  ): Stream.Stream<A | RepairElement, E, R | R2>
} = dual(isDataFirst, <A extends MeshEvent, E, R, R2>(self: Stream.Stream<A, E, R>, options: Options<R2>) => {
  const settings = RepairOptions.settings(options)
  return Pushdown.source(({ isWanted, mayBeWanted }) => {
    // A repair needs every element except output. So of the elements that later filters drop, only output is dropped before it.
    const feed =
      isWanted === undefined
        ? self
        : Pushdown.filter(
            self,
            (type, taskId) => type !== "TaskOutput" || mayBeWanted?.(type, taskId) !== false,
            (event) => event._tag !== "TaskOutput" || isWanted(event)
          )
    const repaired = Stream.transformPull(feed, (pull, scope) =>
      Driver.make<A, E | Cause.Done, R2>(settings, pull, scope)
    )
    return isWanted === undefined ? repaired : Stream.filter(repaired, isWanted)
  })
})

/**
 * The value of the option `repair` of `MeshClient`.
 *
 * @category models
 * @since 0.2.0
 */
export interface Repair extends Port.Repair {}

/**
 * Makes a repair for the option `repair` of `MeshClient`.
 *
 * **When to use**
 *
 * Use it if several consumers share a client: one repair fetches for all of them.
 *
 * **Details**
 *
 * - It repairs the gaps of the connection, like `repair`. Each consumer receives the
 *   `Restated` elements of the tasks in its interest, and every `Repaired` and
 *   `RepairFailed`.
 * - A consumer that joins later first receives the state of its tasks that the client
 *   knows, as `Restated` after its `JoinedLate`. So does a consumer whose queue has lost
 *   events, after its `Overflow`. This causes no fetch.
 * - `everything()` follows live tasks in a snapshot too. A task that is live in a
 *   snapshot does not become stale.
 * - With `onFailure: "fail"`, the client gives up and every stream fails.
 *
 * `fetch` must not need services: provide them first.
 *
 * **Example** (A client with a repair)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Stream from "effect/Stream"
 * import * as MeshClient from "@makima-stream/core/MeshClient"
 * import * as Repair from "@makima-stream/core/Repair"
 * import * as TaskId from "@makima-stream/core/TaskId"
 * import * as ScriptedMesh from "@makima-stream/test-kit/ScriptedMesh"
 *
 * const fetch = () => Effect.succeed([{ taskId: TaskId.make("7f1c"), version: 4, status: "running" }])
 *
 * const program = Effect.gen(function* () {
 *   const client = yield* MeshClient.make({ repair: Repair.make({ fetch, spread: 0 }) })
 *   return yield* client.updates().pipe(
 *     Stream.takeUntil((event) => event._tag === "Repaired"),
 *     Stream.runCollect
 *   )
 * })
 * const events = await Effect.runPromise(Effect.scoped(Effect.provide(program, ScriptedMesh.layer())))
 * console.log(events.map((event) => event._tag)) // ["Connected", "Resync", "Restated", "Repaired"]
 * ```
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (options: Options): Repair => ({ attach: Driver.attach(RepairOptions.settings(options)) })
