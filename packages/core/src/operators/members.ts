/**
 * Filters by a member of an event: status, message type, changed fields.
 *
 * They have no state, so they can be combined in any order. They process whole arrays
 * and never emit an empty array.
 */
import { dual } from "effect/Function"
import type * as Stream from "effect/Stream"
import type { MeshEvent, Restated } from "../MeshEvent.ts"
import type * as ServerMessage from "../ServerMessage.ts"
import { isDataFirst, narrow, outputs, toPredicate, unlessCalled, updates } from "../internal/operators.ts"
import type { From, Kept, NoUnknownOptions } from "../internal/operators.ts"
import type { KeepOptions, Selector } from "./options.ts"

/**
 * An update with a status.
 *
 * @category models
 * @since 0.1.0
 */
export interface StatusUpdated extends ServerMessage.TaskUpdated {
  /** The status. An open set: a server can send a new one. */
  readonly status: string
}

/**
 * A `Restated` with a status.
 *
 * @category models
 * @since 0.2.0
 */
export interface StatusRestated extends Restated {
  /** The status in the snapshot. An open set: a server can send a new one. */
  readonly status: string
}

/**
 * Keeps the updates with a given status, with one of several statuses, or with a
 * status that satisfies a predicate.
 *
 * **When to use**
 *
 * Use it to react to a status, such as a failure. An update that repeats the task's
 * status passes each time: put `statusChanges` before it to see each change once.
 *
 * **Details**
 *
 * A `Restated` counts as an update. Drops all other events, and updates without a
 * status. Lifecycle elements are dropped unless `keep` selects them. Statuses are
 * compared exactly.
 *
 * **Example** (Failures)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Stream from "effect/Stream"
 * import * as MeshEvent from "@makima-stream/core/MeshEvent"
 * import * as MeshStream from "@makima-stream/core/MeshStream"
 * import * as TaskId from "@makima-stream/core/TaskId"
 * import * as TaskStatus from "@makima-stream/core/TaskStatus"
 *
 * const taskId = TaskId.make("7f1c")
 * const feed = Stream.fromIterable<MeshEvent.MeshEvent>([
 *   { _tag: "TaskUpdated", taskId, version: 1, status: "running" },
 *   { _tag: "TaskUpdated", taskId, version: 2, status: "failed" }
 * ])
 *
 * // Stream<StatusUpdated | StatusRestated>
 * const failures = feed.pipe(MeshStream.filterStatus(TaskStatus.defaultFailed))
 * console.log(Effect.runSync(Stream.runCollect(failures))[0]?.version) // 2
 * ```
 *
 * @category filters
 * @since 0.1.0
 */
export const filterStatus: {
  <A extends MeshEvent, E, R, O extends KeepOptions = {}>(
    self: Stream.Stream<A, E, R>,
    statuses: Selector<string>,
    options?: O & NoUnknownOptions<O, KeepOptions>
  ): Stream.Stream<
    From<A, ServerMessage.TaskUpdated, StatusUpdated> | From<A, Restated, StatusRestated> | Extract<A, Kept<O>>,
    E,
    R
  >
  <O extends KeepOptions = {}>(
    statuses: Selector<string>,
    options?: O & NoUnknownOptions<O, KeepOptions>
  ): <A extends MeshEvent, E, R>(
    self: Stream.Stream<A, E, R>
  ) => Stream.Stream<
    From<A, ServerMessage.TaskUpdated, StatusUpdated> | From<A, Restated, StatusRestated> | Extract<A, Kept<O>>,
    E,
    R
  >
} = dual(
  isDataFirst,
  <E, R>(self: Stream.Stream<MeshEvent, E, R>, statuses: Selector<string>, options?: KeepOptions) => {
    const isSelected = toPredicate(statuses)
    return narrow(
      self,
      unlessCalled(statuses, updates),
      (event) =>
        (event._tag === "TaskUpdated" || event._tag === "Restated") &&
        event.status !== undefined &&
        isSelected(event.status),
      options
    )
  }
)

/**
 * Keeps the output of one message type, of several, or of those that satisfy a
 * predicate.
 *
 * **When to use**
 *
 * Use it to select a kind of output: `assistant`, `tool_use`, `tool_result`,
 * `result`, `system`, `error`, `raw`, or a type that a newer server sends.
 *
 * **Details**
 *
 * Drops all other events. Lifecycle elements are dropped unless `keep` selects them.
 * Pieces of a message (`isPartial`) pass like whole messages: put `joinPartials`
 * before it to get only whole messages.
 *
 * **Example** (The results with their costs)
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
 *   { _tag: "TaskOutput", taskId, messageType: "assistant", content: "Hello" },
 *   { _tag: "TaskOutput", taskId, messageType: "result", content: "Done", costUsd: 0.25 }
 * ])
 *
 * // Stream<TaskOutput>
 * const results = feed.pipe(MeshStream.filterMessageType("result"))
 * console.log(Effect.runSync(Stream.runCollect(results))[0]?.costUsd) // 0.25
 * ```
 *
 * @category filters
 * @since 0.1.0
 */
export const filterMessageType: {
  <A extends MeshEvent, E, R, O extends KeepOptions = {}>(
    self: Stream.Stream<A, E, R>,
    messageTypes: Selector<string>,
    options?: O & NoUnknownOptions<O, KeepOptions>
  ): Stream.Stream<Extract<A, ServerMessage.TaskOutput | Kept<O>>, E, R>
  <O extends KeepOptions = {}>(
    messageTypes: Selector<string>,
    options?: O & NoUnknownOptions<O, KeepOptions>
  ): <A extends MeshEvent, E, R>(
    self: Stream.Stream<A, E, R>
  ) => Stream.Stream<Extract<A, ServerMessage.TaskOutput | Kept<O>>, E, R>
} = dual(
  isDataFirst,
  <E, R>(self: Stream.Stream<MeshEvent, E, R>, messageTypes: Selector<string>, options?: KeepOptions) => {
    const isSelected = toPredicate(messageTypes)
    return narrow(
      self,
      unlessCalled(messageTypes, outputs),
      (event) => event._tag === "TaskOutput" && isSelected(event.messageType),
      options
    )
  }
)

/**
 * Options of `fieldsChanged`.
 *
 * @category options
 * @since 0.1.0
 */
export interface FieldsChangedOptions extends KeepOptions {
  /**
   * Whether an update without `updatedFields` passes, since it may have changed any
   * field. Defaults to `false`.
   */
  readonly keepUnspecified?: boolean | undefined
}

/**
 * Keeps the updates that changed a given field, any of several fields, or any field
 * whose name satisfies a predicate.
 *
 * **When to use**
 *
 * Use it to fetch a part of a task again only when that part changed.
 *
 * **Details**
 *
 * Reads `updatedFields`, whose names are compared exactly. An update without
 * `updatedFields` does not say what it changed. It is dropped unless
 * `keepUnspecified` is `true`. All other events are dropped. Lifecycle elements are
 * dropped unless `keep` selects them.
 *
 * **Gotchas**
 *
 * A program with a copy of a task needs both options: the field may also have changed
 * in an update without `updatedFields`, or in a gap.
 *
 * **Example** (Tasks whose plan changed)
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
 *   { _tag: "TaskUpdated", taskId, version: 1, updatedFields: ["status"] },
 *   { _tag: "TaskUpdated", taskId, version: 2, updatedFields: ["name", "plan"] }
 * ])
 *
 * // Stream<TaskUpdated>
 * const plans = feed.pipe(MeshStream.fieldsChanged("plan"))
 * console.log(Effect.runSync(Stream.runCollect(plans))[0]?.version) // 2
 * ```
 *
 * @category filters
 * @since 0.1.0
 */
export const fieldsChanged: {
  <A extends MeshEvent, E, R, O extends FieldsChangedOptions = {}>(
    self: Stream.Stream<A, E, R>,
    fields: Selector<string>,
    options?: O & NoUnknownOptions<O, FieldsChangedOptions>
  ): Stream.Stream<Extract<A, ServerMessage.TaskUpdated | Restated | Kept<O>>, E, R>
  <O extends FieldsChangedOptions = {}>(
    fields: Selector<string>,
    options?: O & NoUnknownOptions<O, FieldsChangedOptions>
  ): <A extends MeshEvent, E, R>(
    self: Stream.Stream<A, E, R>
  ) => Stream.Stream<Extract<A, ServerMessage.TaskUpdated | Restated | Kept<O>>, E, R>
} = dual(
  isDataFirst,
  <E, R>(self: Stream.Stream<MeshEvent, E, R>, fields: Selector<string>, options?: FieldsChangedOptions) => {
    const isSelected = toPredicate(fields)
    const keepUnspecified = options?.keepUnspecified === true
    return narrow(
      self,
      unlessCalled(fields, updates),
      (event) =>
        (event._tag === "TaskUpdated" || event._tag === "Restated") &&
        // A predicate of the caller receives only the field, not the index that `some` adds.
        (event.updatedFields?.some((field) => isSelected(field)) ?? keepUnspecified),
      options
    )
  }
)
