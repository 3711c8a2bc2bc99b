/**
 * Filters by the kind of an event: output, updates, server errors, data, lifecycle.
 *
 * They have no state, so they can be combined in any order. They process whole arrays
 * and never emit an empty array.
 */
import { constFalse, constTrue, dual } from "effect/Function"
import type * as Stream from "effect/Stream"
import { isData, isLifecycle, isRestated, isServerError, isTaskOutput, isTaskUpdated } from "../MeshEvent.ts"
import type { Data, Lifecycle, MeshEvent, Restated } from "../MeshEvent.ts"
import type * as ServerMessage from "../ServerMessage.ts"
import { isDataFirst, narrow, outputs, updates } from "../internal/operators.ts"
import type { Events, Kept, NoUnknownOptions } from "../internal/operators.ts"
import type * as Pushdown from "../internal/pushdown.ts"
import type { KeepOptions } from "./options.ts"

/**
 * An operator that keeps the events `D`, and the lifecycle elements that `keep`
 * selects.
 *
 * **Details**
 *
 * Can be used without a call in a pipe, with options in a pipe, or with the stream as
 * the first argument: `MeshStream.outputOnly`,
 * `MeshStream.outputOnly({ keep: "resync" })`,
 * `MeshStream.outputOnly(stream, { keep: "resync" })`.
 */
interface Narrowing<D extends MeshEvent> {
  <Arg extends Events | KeepOptions = {}, O extends KeepOptions = {}>(
    selfOrOptions?: Arg & NoUnknownOptions<Arg, KeepOptions>,
    options?: O & NoUnknownOptions<O, KeepOptions>
  ): [Arg] extends [Stream.Stream<infer A, infer E, infer R>]
    ? Stream.Stream<Extract<A, D | Kept<O>>, E, R>
    : <A extends MeshEvent, E, R>(self: Stream.Stream<A, E, R>) => Stream.Stream<Extract<A, D | Kept<Arg>>, E, R>
}

const narrowing = <D extends MeshEvent>(
  mayBeWanted: Pushdown.MayBeWanted,
  isWanted: (event: MeshEvent) => event is D
): Narrowing<D> =>
  dual(isDataFirst, <E, R>(self: Stream.Stream<MeshEvent, E, R>, options?: KeepOptions) =>
    narrow(self, mayBeWanted, isWanted, options)
  )

/**
 * Keeps the agents' output.
 *
 * **When to use**
 *
 * Use it to read the agents' messages. With `keep: "resync"` the program also sees
 * where a transcript has a gap.
 *
 * **Details**
 *
 * Drops all other events: updates, server errors and unknown messages. Lifecycle
 * elements are dropped unless `keep` selects them.
 *
 * **Example** (The output of an agent, with its gaps)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Stream from "effect/Stream"
 * import * as MeshEvent from "@makima-stream/core/MeshEvent"
 * import * as MeshStream from "@makima-stream/core/MeshStream"
 * import * as TaskId from "@makima-stream/core/TaskId"
 *
 * const taskId = TaskId.make("7f1c")
 * const feed = Stream.fromIterable<MeshEvent.MeshEvent>([
 *   { _tag: "Connected", epoch: 1, at: 0 },
 *   { _tag: "TaskOutput", taskId, messageType: "assistant", content: "Hello" },
 *   { _tag: "Resync", epoch: 2, reason: { _tag: "Reconnected", downMillis: 100 } }
 * ])
 *
 * // Stream<TaskOutput>
 * const output = feed.pipe(MeshStream.outputOnly)
 * // Stream<TaskOutput | Resync>
 * const marked = feed.pipe(MeshStream.outputOnly({ keep: "resync" }))
 *
 * console.log(Effect.runSync(Stream.runCollect(output)).length) // 1
 * console.log(Effect.runSync(Stream.runCollect(marked)).length) // 2
 * ```
 *
 * @category filters
 * @since 0.1.0
 */
export const outputOnly: Narrowing<ServerMessage.TaskOutput> = narrowing(outputs, isTaskOutput)

/**
 * Keeps the task updates, and what a `Repair` restated of tasks.
 *
 * **When to use**
 *
 * Use it to follow the progress of tasks without the agents' messages.
 *
 * **Details**
 *
 * Keeps `TaskUpdated`, and `Restated` (the state of a task in a snapshot). Drops all
 * other events. Lifecycle elements are dropped unless `keep` selects them.
 *
 * **Example** (Only updates)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Stream from "effect/Stream"
 * import * as MeshEvent from "@makima-stream/core/MeshEvent"
 * import * as MeshStream from "@makima-stream/core/MeshStream"
 * import * as TaskId from "@makima-stream/core/TaskId"
 *
 * const taskId = TaskId.make("7f1c")
 * const feed = Stream.fromIterable<MeshEvent.MeshEvent>([
 *   { _tag: "Connected", epoch: 1, at: 0 },
 *   { _tag: "TaskUpdated", taskId, version: 1, status: "running" }
 * ])
 *
 * // Stream<TaskUpdated | Restated>
 * const updates = feed.pipe(MeshStream.updatesOnly)
 * console.log(Effect.runSync(Stream.runCollect(updates))[0]?.status) // running
 * ```
 *
 * @category filters
 * @since 0.1.0
 */
export const updatesOnly: Narrowing<ServerMessage.TaskUpdated | Restated> = narrowing(
  updates,
  (event): event is ServerMessage.TaskUpdated | Restated => isTaskUpdated(event) || isRestated(event)
)

/**
 * Keeps the errors that the server reports.
 *
 * **When to use**
 *
 * Use it to log or count these errors. The filters for tasks drop them, because they
 * name no task.
 *
 * **Details**
 *
 * Drops all other events: updates, output and unknown messages. Lifecycle elements
 * are dropped unless `keep` selects them. Failures of the connection are not included:
 * they are the `reason` of a `Disconnected`, or the error of the stream.
 *
 * **Example** (Errors of the server)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Stream from "effect/Stream"
 * import * as MeshEvent from "@makima-stream/core/MeshEvent"
 * import * as MeshStream from "@makima-stream/core/MeshStream"
 *
 * const feed = Stream.fromIterable<MeshEvent.MeshEvent>([
 *   { _tag: "Connected", epoch: 1, at: 0 },
 *   { _tag: "ServerError", code: "NOT_FOUND", message: "no such task" }
 * ])
 *
 * // Stream<ServerError>
 * const errors = feed.pipe(MeshStream.serverErrors)
 * console.log(Effect.runSync(Stream.runCollect(errors))[0]?.code) // NOT_FOUND
 * ```
 *
 * @category filters
 * @since 0.1.0
 */
export const serverErrors: Narrowing<ServerMessage.ServerError> = narrowing(constFalse, isServerError)

/**
 * Keeps the events that the server sent and what a `Repair` restated, and drops the
 * lifecycle elements.
 *
 * **When to use**
 *
 * Use it if the state of the connection does not matter. A program with a total or a
 * cache should keep `Resync`.
 *
 * **Details**
 *
 * Keeps `Restated` too. Drops the lifecycle elements that `keep` does not select.
 *
 * **Example** (The server's messages)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Stream from "effect/Stream"
 * import * as MeshEvent from "@makima-stream/core/MeshEvent"
 * import * as MeshStream from "@makima-stream/core/MeshStream"
 * import * as TaskId from "@makima-stream/core/TaskId"
 *
 * const feed = Stream.fromIterable<MeshEvent.MeshEvent>([
 *   { _tag: "Connected", epoch: 1, at: 0 },
 *   { _tag: "TaskUpdated", taskId: TaskId.make("7f1c") }
 * ])
 *
 * // Stream<TaskUpdated | TaskOutput | ServerError | UnknownMessage | Restated>
 * const data = feed.pipe(MeshStream.dataOnly)
 * console.log(Effect.runSync(Stream.runCollect(data)).length) // 1
 * ```
 *
 * @category filters
 * @since 0.1.0
 */
export const dataOnly: Narrowing<Data | Restated> = narrowing(
  constTrue,
  (event): event is Data | Restated => isData(event) || isRestated(event)
)

const lifecycle = narrowing(constFalse, isLifecycle)

/**
 * Keeps the lifecycle elements: `Connected`, `Disconnected`, `Resync`, `Repaired`
 * and `RepairFailed`.
 *
 * **When to use**
 *
 * Use it for a status line, or for an alarm when the feed is down.
 *
 * **Details**
 *
 * Drops all messages of the server.
 *
 * **Example** (A status line)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Stream from "effect/Stream"
 * import * as MeshEvent from "@makima-stream/core/MeshEvent"
 * import * as MeshStream from "@makima-stream/core/MeshStream"
 * import * as TaskId from "@makima-stream/core/TaskId"
 *
 * const feed = Stream.fromIterable<MeshEvent.MeshEvent>([
 *   { _tag: "Connected", epoch: 1, at: 0 },
 *   { _tag: "TaskUpdated", taskId: TaskId.make("7f1c") }
 * ])
 *
 * // Stream<Connected | Disconnected | Resync | Repaired | RepairFailed>
 * const lifecycle = feed.pipe(MeshStream.lifecycleOnly)
 * console.log(Effect.runSync(Stream.runCollect(lifecycle))[0]?._tag) // Connected
 * ```
 *
 * @category filters
 * @since 0.1.0
 */
export const lifecycleOnly = <A extends MeshEvent, E, R>(
  self: Stream.Stream<A, E, R>
): Stream.Stream<Extract<A, Lifecycle>, E, R> => lifecycle(self) as Stream.Stream<Extract<A, Lifecycle>, E, R>
