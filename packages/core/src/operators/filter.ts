/**
 * Operators that let some events through and hold none: by kind, by task, by
 * status, by message type, by changed fields.
 *
 * They have no state, work on whole arrays, and never emit an empty one, so
 * that they may stand in any order and any number.
 */
import { constFalse, constTrue, dual } from "effect/Function"
import * as Predicate from "effect/Predicate"
import * as Stream from "effect/Stream"
import type { Data, Lifecycle, MeshEvent } from "../MeshEvent.ts"
import { isLifecycle } from "../MeshEvent.ts"
import type * as ServerMessage from "../ServerMessage.ts"
import type { TaskId } from "../TaskId.ts"
import * as Wanted from "../internal/pushdown.ts"
import { isDataFirst, keptBy, toPredicate, type NoUnknownOptions } from "./options.ts"
import type { Events, KeepOptions, Kept, Selector } from "./options.ts"

/**
 * An operator that narrows the feed to the events `D`, and to `Resync` as well
 * where `keep` asks for it.
 *
 * **Details**
 *
 * Used bare in a pipe, with options in a pipe, or with the stream as the first
 * argument: `MeshStream.outputOnly`, `MeshStream.outputOnly({ keep: "resync" })`,
 * `MeshStream.outputOnly(stream, { keep: "resync" })`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Narrowing<D extends MeshEvent> {
  <Arg extends Events | KeepOptions = {}, O extends KeepOptions = {}>(
    selfOrOptions?: Arg & NoUnknownOptions<Arg, KeepOptions>,
    options?: O & NoUnknownOptions<O, KeepOptions>
  ): [Arg] extends [Stream.Stream<infer A, infer E, infer R>]
    ? Stream.Stream<Extract<A, D | Kept<O>>, E, R>
    : <A extends MeshEvent, E, R>(self: Stream.Stream<A, E, R>) => Stream.Stream<Extract<A, D | Kept<Arg>>, E, R>
}

const outputs: Wanted.MayBeWanted = (type) => type === "TaskOutput"
const updates: Wanted.MayBeWanted = (type) => type === "TaskUpdated"

/** What may be wanted, unless a function of the caller's has to be asked for every element. */
const unlessAsked = (selector: Selector<string>, mayBeWanted: Wanted.MayBeWanted): Wanted.MayBeWanted | undefined =>
  Predicate.isFunction(selector) ? undefined : mayBeWanted

/** Keeps the events that a predicate takes, and `Resync` where the options keep it; at the source, where `mayBeWanted` is given. */
const keep = <E, R>(
  self: Stream.Stream<MeshEvent, E, R>,
  mayBeWanted: Wanted.MayBeWanted | undefined,
  isWanted: (event: MeshEvent) => boolean,
  options: KeepOptions | undefined
): Stream.Stream<MeshEvent, E, R> => {
  const isKeptLifecycle = keptBy(options)
  const isKept =
    isKeptLifecycle === undefined ? isWanted : (event: MeshEvent) => isWanted(event) || isKeptLifecycle(event)
  return mayBeWanted === undefined ? Stream.filter(self, isKept) : Wanted.filter(self, mayBeWanted, isKept)
}

const narrowing = <D extends MeshEvent>(
  mayBeWanted: Wanted.MayBeWanted,
  isWanted: (event: MeshEvent) => event is D
): Narrowing<D> =>
  dual(isDataFirst, <E, R>(self: Stream.Stream<MeshEvent, E, R>, options?: KeepOptions) =>
    keep(self, mayBeWanted, isWanted, options)
  )

/**
 * Keeps the agents' output.
 *
 * **When to use**
 *
 * Use it where a program reads what the agents say. With `keep: "resync"` it can
 * tell a complete transcript from one with a hole.
 *
 * **Details**
 *
 * Drops every other event: updates, server errors, unknown messages,
 * `Connected` and `Disconnected`. `Resync` is dropped too, unless `keep`
 * asks for it.
 *
 * **Example** (What an agent said, with the holes)
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
export const outputOnly: Narrowing<ServerMessage.TaskOutput> = narrowing(
  outputs,
  (event) => event._tag === "TaskOutput"
)

/**
 * Keeps the task updates.
 *
 * **When to use**
 *
 * Use it where a program follows what becomes of tasks and does not read what
 * the agents say.
 *
 * **Details**
 *
 * Drops every other event: output, server errors, unknown messages,
 * `Connected` and `Disconnected`. `Resync` is dropped too, unless `keep`
 * asks for it.
 *
 * **Example** (Updates alone)
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
 * // Stream<TaskUpdated>
 * const updates = feed.pipe(MeshStream.updatesOnly)
 * console.log(Effect.runSync(Stream.runCollect(updates))[0]?.status) // running
 * ```
 *
 * @category filters
 * @since 0.1.0
 */
export const updatesOnly: Narrowing<ServerMessage.TaskUpdated> = narrowing(
  updates,
  (event) => event._tag === "TaskUpdated"
)

/**
 * Keeps the errors that the server reports.
 *
 * **When to use**
 *
 * Use it to log or count them beside whatever else a program does: no other
 * filter for tasks lets them through, because they name no task.
 *
 * **Details**
 *
 * Drops every other event: updates, output, unknown messages, `Connected` and
 * `Disconnected`. `Resync` is dropped too, unless `keep` asks for it. The
 * connection's own failures are not here: they are the `reason` of a
 * `Disconnected`, and in the end the stream's error.
 *
 * **Example** (The server's complaints)
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
export const serverErrors: Narrowing<ServerMessage.ServerError> = narrowing(
  constFalse,
  (event) => event._tag === "ServerError"
)

/**
 * Keeps what the server said, and drops what the connection says of itself.
 *
 * **When to use**
 *
 * Use it where the connection's comings and goings do not matter. A program
 * that keeps a total or a cache keeps `Resync`.
 *
 * **Details**
 *
 * Drops `Connected` and `Disconnected`, and `Resync` as well unless
 * `keep` asks for it.
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
 * // Stream<TaskUpdated | TaskOutput | ServerError | UnknownMessage>
 * const data = feed.pipe(MeshStream.dataOnly)
 * console.log(Effect.runSync(Stream.runCollect(data)).length) // 1
 * ```
 *
 * @category filters
 * @since 0.1.0
 */
export const dataOnly: Narrowing<Data> = narrowing(constTrue, (event): event is Data => !isLifecycle(event))

const lifecycle = narrowing(constFalse, isLifecycle)

/**
 * Keeps what the connection says of itself: `Connected`, `Disconnected` and
 * `Resync`.
 *
 * **When to use**
 *
 * Use it for a status line, or for an alarm on a feed that is down.
 *
 * **Details**
 *
 * Drops everything that the server said.
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
 * // Stream<Connected | Disconnected | Resync>
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

/**
 * What `filterTask` takes: events, and whatever other operators made of them,
 * as long as it is tagged and names its task in `taskId`.
 *
 * @category models
 * @since 0.1.0
 */
export interface MaybeOfTask {
  readonly _tag: string
  readonly taskId?: TaskId | undefined
}

/**
 * What `filterTask` lets through of the elements `A`.
 *
 * @category models
 * @since 0.1.0
 */
export type OfTask<A> = Exclude<A, ServerMessage.ServerError | ServerMessage.UnknownMessage | Lifecycle>

/**
 * Keeps what concerns one task, several tasks, or the tasks whose id a predicate
 * takes.
 *
 * **When to use**
 *
 * Use it on a feed of many tasks. Where one task is all that a program wants,
 * say so in the `Interest` as well: then the rest is never sent.
 *
 * **Details**
 *
 * - An element with a `taskId` passes where that task is meant. This goes for
 *   updates, output, and for what other operators make (`ToolUse`, `TaskLine`).
 * - `Connected`, `Disconnected` and `Resync` are dropped, unless `keep` asks for
 *   them. A `Resync` that is kept passes if it names such a task, or no task.
 * - `ServerError` and `UnknownMessage` name no task and are dropped. Take them
 *   from the feed itself with `serverErrors`.
 *
 * Ids are read when the operator is put on a stream. Use a predicate for a
 * choice that changes while the stream runs.
 *
 * Right behind `MeshStream.connect`, or behind other filters there, messages of
 * tasks whose ids are not given are only made sure to be messages, and not
 * decoded: half the work.
 *
 * **Example** (One task of two)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Stream from "effect/Stream"
 * import * as MeshEvent from "@makima-stream/core/MeshEvent"
 * import * as MeshStream from "@makima-stream/core/MeshStream"
 * import * as TaskId from "@makima-stream/core/TaskId"
 *
 * const a = TaskId.make("a")
 * const b = TaskId.make("b")
 * const feed = Stream.fromIterable<MeshEvent.MeshEvent>([
 *   { _tag: "Connected", epoch: 1, at: 0 },
 *   { _tag: "TaskUpdated", taskId: a },
 *   { _tag: "TaskUpdated", taskId: b }
 * ])
 *
 * const one = feed.pipe(MeshStream.filterTask(a))
 * console.log(Effect.runSync(Stream.runCollect(one)).length) // 1
 * ```
 *
 * @category filters
 * @since 0.1.0
 */
export const filterTask: {
  <O extends KeepOptions = {}>(
    tasks: Selector<TaskId>,
    options?: O & NoUnknownOptions<O, KeepOptions>
  ): <A extends MaybeOfTask, E, R>(self: Stream.Stream<A, E, R>) => Stream.Stream<OfTask<A> | Extract<A, Kept<O>>, E, R>
  <A extends MaybeOfTask, E, R, O extends KeepOptions = {}>(
    self: Stream.Stream<A, E, R>,
    tasks: Selector<TaskId>,
    options?: O & NoUnknownOptions<O, KeepOptions>
  ): Stream.Stream<OfTask<A> | Extract<A, Kept<O>>, E, R>
} = dual(
  isDataFirst,
  <E, R>(self: Stream.Stream<MaybeOfTask, E, R>, tasks: Selector<TaskId>, options?: KeepOptions) => {
    const isMeant = toPredicate(tasks)
    const isKeptLifecycle = keptBy(options)
    const isKept = (event: MaybeOfTask) => {
      if (isLifecycleElement(event) && isKeptLifecycle?.(event) !== true) return false
      return event.taskId === undefined
        ? event._tag !== "ServerError" && event._tag !== "UnknownMessage"
        : isMeant(event.taskId)
    }
    return Predicate.isFunction(tasks)
      ? Stream.filter(self, isKept)
      : Wanted.filter(self, (_, taskId) => isMeant(taskId), isKept)
  }
)

/** Elements of other operators have other tags, so the tag decides. */
const isLifecycleElement = (element: MaybeOfTask | Lifecycle): element is Lifecycle =>
  element._tag === "Connected" || element._tag === "Disconnected" || element._tag === "Resync"

/**
 * An update that says the task's status.
 *
 * @category models
 * @since 0.1.0
 */
export interface StatusUpdated extends ServerMessage.TaskUpdated {
  /** As it stands on the wire: an open set. */
  readonly status: string
}

/**
 * Keeps the updates whose status is the given one, one of the given ones, or one
 * that a predicate takes.
 *
 * **When to use**
 *
 * Use it to react to a status, such as a failure. An update that repeats its
 * task's status passes each time: put `statusChanges` before it to see each
 * change once.
 *
 * **Details**
 *
 * Drops every other event, and updates that say no status. `Connected` and
 * `Disconnected` are dropped, and so is `Resync`, unless `keep` asks for it.
 * Statuses are compared as they stand on the wire.
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
 * // Stream<StatusUpdated>
 * const failures = feed.pipe(MeshStream.filterStatus(TaskStatus.defaultFailed))
 * console.log(Effect.runSync(Stream.runCollect(failures))[0]?.version) // 2
 * ```
 *
 * @category filters
 * @since 0.1.0
 */
export const filterStatus: {
  <O extends KeepOptions = {}>(
    statuses: Selector<string>,
    options?: O & NoUnknownOptions<O, KeepOptions>
  ): <A extends MeshEvent, E, R>(
    self: Stream.Stream<A, E, R>
  ) => Stream.Stream<StatusUpdated | Extract<A, Kept<O>>, E, R>
  <A extends MeshEvent, E, R, O extends KeepOptions = {}>(
    self: Stream.Stream<A, E, R>,
    statuses: Selector<string>,
    options?: O & NoUnknownOptions<O, KeepOptions>
  ): Stream.Stream<StatusUpdated | Extract<A, Kept<O>>, E, R>
} = dual(
  isDataFirst,
  <E, R>(self: Stream.Stream<MeshEvent, E, R>, statuses: Selector<string>, options?: KeepOptions) => {
    const isMeant = toPredicate(statuses)
    return keep(
      self,
      unlessAsked(statuses, updates),
      (event) => event._tag === "TaskUpdated" && event.status !== undefined && isMeant(event.status),
      options
    )
  }
)

/**
 * Keeps the output of one message type, of several, or of those that a predicate
 * takes.
 *
 * **When to use**
 *
 * Use it to pick a kind of output: `assistant`, `tool_use`, `tool_result`,
 * `result`, `system`, `error`, `raw`, or a type that a newer server sends.
 *
 * **Details**
 *
 * Drops every other event. `Connected` and `Disconnected` are dropped, and so is
 * `Resync`, unless `keep` asks for it. Pieces of a message (`isPartial`)
 * pass like whole ones: put `joinPartials` before it to have whole ones.
 *
 * **Example** (What the runs cost)
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
  <O extends KeepOptions = {}>(
    messageTypes: Selector<string>,
    options?: O & NoUnknownOptions<O, KeepOptions>
  ): <A extends MeshEvent, E, R>(
    self: Stream.Stream<A, E, R>
  ) => Stream.Stream<Extract<A, ServerMessage.TaskOutput | Kept<O>>, E, R>
  <A extends MeshEvent, E, R, O extends KeepOptions = {}>(
    self: Stream.Stream<A, E, R>,
    messageTypes: Selector<string>,
    options?: O & NoUnknownOptions<O, KeepOptions>
  ): Stream.Stream<Extract<A, ServerMessage.TaskOutput | Kept<O>>, E, R>
} = dual(
  isDataFirst,
  <E, R>(self: Stream.Stream<MeshEvent, E, R>, messageTypes: Selector<string>, options?: KeepOptions) => {
    const isMeant = toPredicate(messageTypes)
    return keep(
      self,
      unlessAsked(messageTypes, outputs),
      (event) => event._tag === "TaskOutput" && isMeant(event.messageType),
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
   * Whether an update that has no `updatedFields` passes: it may have changed
   * anything. Default: `false`.
   */
  readonly keepUnspecified?: boolean | undefined
}

/**
 * Keeps the updates that changed the given field, any of the given fields, or
 * any field whose name a predicate takes.
 *
 * **When to use**
 *
 * Use it to fetch something anew only when it changed.
 *
 * **Details**
 *
 * Reads `updatedFields`, whose names are compared as they stand on the wire. An
 * update without `updatedFields` does not say what it changed; it is dropped,
 * unless `keepUnspecified` is `true`. Every other event is dropped: `Connected`
 * and `Disconnected`, and `Resync` as well unless `keep` asks for it.
 *
 * **Gotchas**
 *
 * A program that keeps a copy of a task wants both options: an update that does
 * not say what it changed, and a gap, may each have changed the field.
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
  <O extends FieldsChangedOptions = {}>(
    fields: Selector<string>,
    options?: O & NoUnknownOptions<O, FieldsChangedOptions>
  ): <A extends MeshEvent, E, R>(
    self: Stream.Stream<A, E, R>
  ) => Stream.Stream<Extract<A, ServerMessage.TaskUpdated | Kept<O>>, E, R>
  <A extends MeshEvent, E, R, O extends FieldsChangedOptions = {}>(
    self: Stream.Stream<A, E, R>,
    fields: Selector<string>,
    options?: O & NoUnknownOptions<O, FieldsChangedOptions>
  ): Stream.Stream<Extract<A, ServerMessage.TaskUpdated | Kept<O>>, E, R>
} = dual(
  isDataFirst,
  <E, R>(self: Stream.Stream<MeshEvent, E, R>, fields: Selector<string>, options?: FieldsChangedOptions) => {
    const isMeant = toPredicate(fields)
    const keepUnspecified = options?.keepUnspecified === true
    return keep(
      self,
      unlessAsked(fields, updates),
      (event) =>
        event._tag === "TaskUpdated" &&
        // A predicate of the caller's gets the field alone, not the index that `some` adds.
        (event.updatedFields?.some((field) => isMeant(field)) ?? keepUnspecified),
      options
    )
  }
)
