/**
 * The state of one task, folded from the feed.
 *
 * A pure reducer over events, and the operators that run it. `TaskBoard` keeps
 * one state for each task; `CostLedger` keeps only the costs, for many more tasks.
 *
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import * as Reduce from "./internal/projection/taskState.ts"
import type { Options, TaskState } from "./internal/projection/taskState.ts"
import type { MeshEvent } from "./MeshEvent.ts"
import { isDataFirst } from "./internal/operators.ts"
import * as Projection from "./Projection.ts"
import type { TaskId } from "./TaskId.ts"

export type {
  /**
   * A state as JSON. Its members may change with the version of this package.
   *
   * @category models
   * @since 0.2.0
   */
  Encoded,
  /**
   * Options of a task's state.
   *
   * @category options
   * @since 0.1.0
   */
  Options,
  /**
   * The known state of one task.
   *
   * @category models
   * @since 0.1.0
   */
  TaskState
} from "./internal/projection/taskState.ts"

/**
 * Options of `reducer`, `scan` and `run`.
 *
 * @category options
 * @since 0.2.0
 */
export interface ResumeOptions extends Options {
  /** The state to start from. It must be a state of the same task. Defaults to `make(taskId)`. */
  readonly initial?: TaskState | undefined
}

/**
 * The state of a task before its first event.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (taskId: TaskId): TaskState => Reduce.make(taskId)

/**
 * Saves a state as JSON and restores it. A restored state continues exactly like the
 * saved one.
 *
 * **When to use**
 *
 * Use it to continue after a restart: pass the restored state as `initial`.
 *
 * **Gotchas**
 *
 * - A state that was saved while connected is still complete "since" when it is
 *   restored. The first mark of the new connection ends that stretch and counts as
 *   a gap. Until then the state is as it was when saved.
 * - Options are not part of a state: pass the same ones again.
 *
 * **Example** (Continuing after a restart)
 *
 * ```ts
 * import * as Schema from "effect/Schema"
 * import * as TaskId from "@makima-stream/core/TaskId"
 * import * as TaskState from "@makima-stream/core/TaskState"
 *
 * const taskId = TaskId.make("7f1c")
 * const state = TaskState.update(TaskState.make(taskId), { _tag: "TaskUpdated", taskId, status: "running" }, 1000)
 *
 * const json = JSON.stringify(Schema.encodeSync(TaskState.codec)(state))
 * const restored = Schema.decodeUnknownSync(TaskState.codec)(JSON.parse(json))
 * console.log(restored.status) // running
 * ```
 *
 * @category schemas
 * @since 0.2.0
 */
export const codec: Schema.Codec<TaskState, Reduce.Encoded> = Reduce.codec

/**
 * Returns the state after one event.
 *
 * **Details**
 *
 * - An update whose `version` is not above the newest version is late or repeated, and
 *   is ignored, unless the server was restored (see `restartAfter`).
 * - An output counts in every status, because it may arrive after the update that ended
 *   the task. It does not begin a run.
 * - A `result` replaces the cost and duration of its run. A repeated result of this run
 *   or of the previous one changes nothing. `CostLedger.update` lists the cases that
 *   cannot be distinguished. Sums stay within `Number.MAX_VALUE`.
 * - A `Resync` that names the task or no task, and a `Disconnected`, change from when
 *   the state is complete. See `TaskState`.
 * - `Connected`, `ServerError`, `UnknownMessage` and the events of other tasks
 *   change nothing: the same state is returned.
 *
 * `at` is the time to record, in milliseconds since 1970.
 *
 * **Example** (A task that starts)
 *
 * ```ts
 * import * as TaskId from "@makima-stream/core/TaskId"
 * import * as TaskState from "@makima-stream/core/TaskState"
 *
 * const taskId = TaskId.make("7f1c")
 * const state = TaskState.update(
 *   TaskState.make(taskId),
 *   { _tag: "TaskUpdated", taskId, version: 1, status: "running" },
 *   1000
 * )
 * console.log(state.status, state.startedAt) // running 1000
 * ```
 *
 * @category reducers
 * @since 0.1.0
 */
export const update = (self: TaskState, event: MeshEvent, at: number, options?: Options): TaskState =>
  Reduce.step(self, event, at, Reduce.rulesOf(options))

/**
 * Returns the state after several events at the same time: `update` for each.
 *
 * **Example** (The cost of a run)
 *
 * ```ts
 * import * as TaskId from "@makima-stream/core/TaskId"
 * import * as TaskState from "@makima-stream/core/TaskState"
 *
 * const taskId = TaskId.make("7f1c")
 * const result = { _tag: "TaskOutput", taskId, messageType: "result", content: "ok", costUsd: 0.5 } as const
 * const state = TaskState.fold(TaskState.make(taskId), [result, { _tag: "TaskUpdated", taskId, status: "done" }], 0)
 * console.log(state.costUsd, TaskState.isLive(state)) // 0.5 false
 * ```
 *
 * @category reducers
 * @since 0.1.0
 */
export const fold = (self: TaskState, events: ReadonlyArray<MeshEvent>, at: number, options?: Options): TaskState =>
  Reduce.fold(self, events, at, Reduce.rulesOf(options))

/**
 * Returns `true` if an event has named the task, and it is not known to have ended.
 *
 * @category guards
 * @since 0.1.0
 */
export const isLive = (self: TaskState): boolean => Reduce.isLive(self)

/**
 * Returns the duration of this run in milliseconds, until `now` or until its end, by
 * the times of the fold. Returns `undefined` if its start was not seen.
 *
 * **Example** (A run that ended)
 *
 * ```ts
 * import * as TaskId from "@makima-stream/core/TaskId"
 * import * as TaskState from "@makima-stream/core/TaskState"
 *
 * const taskId = TaskId.make("7f1c")
 * const running = TaskState.update(TaskState.make(taskId), { _tag: "TaskUpdated", taskId, status: "running" }, 1000)
 * const done = TaskState.update(running, { _tag: "TaskUpdated", taskId, status: "done" }, 4000)
 * console.log(TaskState.elapsedMillis(running, 2000), TaskState.elapsedMillis(done, 9000)) // 1000 3000
 * ```
 *
 * @category getters
 * @since 0.1.0
 */
export const elapsedMillis = (self: TaskState, now: number): number | undefined =>
  self.startedAt === undefined ? undefined : (self.endedAt ?? now) - self.startedAt

/**
 * Folds the events of one task. Emits its state after each batch that changes it.
 *
 * **When to use**
 *
 * Use it to follow one task, for example for a progress line or to wait for a status.
 * For all tasks use `TaskBoard`.
 *
 * **Details**
 *
 * Events of other tasks in the feed change nothing. See `Projection.scan` for when it
 * emits. Times come from the `Clock`. With `initial`, it continues from a saved state.
 *
 * **Example** (The last state of a task)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Stream from "effect/Stream"
 * import * as TaskId from "@makima-stream/core/TaskId"
 * import * as TaskState from "@makima-stream/core/TaskState"
 *
 * const taskId = TaskId.make("7f1c")
 * const states = Stream.make(
 *   { _tag: "TaskUpdated", taskId, status: "running" } as const,
 *   { _tag: "TaskOutput", taskId, messageType: "result", content: "ok", costUsd: 0.25 } as const,
 *   { _tag: "TaskUpdated", taskId, status: "done" } as const
 * ).pipe(TaskState.scan(taskId))
 *
 * const last = await Effect.runPromise(Stream.runLast(states))
 * console.log(last._tag === "Some" && [last.value.status, last.value.costUsd]) // ["done", 0.25]
 * ```
 *
 * @category operators
 * @since 0.1.0
 */
export const scan: {
  /** Emits the states of one task: see `scan`. */
  <A extends MeshEvent, E, R>(
    self: Stream.Stream<A, E, R>,
    taskId: TaskId,
    options?: ResumeOptions
  ): Stream.Stream<TaskState, E, R>
  /** Emits the states of one task: see `scan`. */
  (
    taskId: TaskId,
    options?: ResumeOptions
  ): <A extends MeshEvent, E, R>(self: Stream.Stream<A, E, R>) => Stream.Stream<TaskState, E, R>
} = dual(
  isDataFirst,
  <A extends MeshEvent, E, R>(
    self: Stream.Stream<A, E, R>,
    taskId: TaskId,
    options?: ResumeOptions
  ): Stream.Stream<TaskState, E, R> => Projection.scan(self, reducer(taskId, options))
)

/**
 * Keeps the state of one task up to date in a fiber of the scope.
 *
 * **Details**
 *
 * See `Projection.run` for the result and for failures of the feed.
 *
 * **Example** (Reading the state)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Stream from "effect/Stream"
 * import * as SubscriptionRef from "effect/SubscriptionRef"
 * import * as TaskId from "@makima-stream/core/TaskId"
 * import * as TaskState from "@makima-stream/core/TaskState"
 *
 * const taskId = TaskId.make("7f1c")
 * const program = Effect.gen(function* () {
 *   const feed = Stream.make({ _tag: "TaskUpdated", taskId, status: "running" } as const)
 *   const task = yield* TaskState.run(feed, taskId)
 *   yield* task.join
 *   return (yield* SubscriptionRef.get(task.ref)).status
 * })
 * console.log(await Effect.runPromise(Effect.scoped(program))) // running
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const run: {
  /** Keeps the state of one task up to date in a fiber of the scope: see `run`. */
  <A extends MeshEvent, E, R>(
    self: Stream.Stream<A, E, R>,
    taskId: TaskId,
    options?: ResumeOptions
  ): Effect.Effect<Projection.Projection<TaskState, E>, never, R | Scope.Scope>
  /** Keeps the state of one task up to date in a fiber of the scope: see `run`. */
  (
    taskId: TaskId,
    options?: ResumeOptions
  ): <A extends MeshEvent, E, R>(
    self: Stream.Stream<A, E, R>
  ) => Effect.Effect<Projection.Projection<TaskState, E>, never, R | Scope.Scope>
} = dual(
  isDataFirst,
  <A extends MeshEvent, E, R>(
    self: Stream.Stream<A, E, R>,
    taskId: TaskId,
    options?: ResumeOptions
  ): Effect.Effect<Projection.Projection<TaskState, E>, never, R | Scope.Scope> =>
    Projection.run(self, reducer(taskId, options))
)

/**
 * The reducer of one task, for `Projection` and for projections built on it.
 *
 * **Example** (Folding a recording)
 *
 * ```ts
 * import * as TaskId from "@makima-stream/core/TaskId"
 * import * as TaskState from "@makima-stream/core/TaskState"
 *
 * const taskId = TaskId.make("7f1c")
 * const { fold, initial } = TaskState.reducer(taskId)
 * console.log(fold(initial, [{ _tag: "TaskUpdated", taskId, status: "running" }], 0).status) // running
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const reducer = (taskId: TaskId, options?: ResumeOptions): Projection.Reducer<TaskState, MeshEvent> => {
  const rules = Reduce.rulesOf(options)
  const initial = options?.initial ?? make(taskId)
  if (initial.taskId !== taskId) {
    throw new TypeError('The option "initial" must be a state of the task that is followed')
  }
  return { initial, fold: (state, events, at) => Reduce.fold(state, events, at, rules) }
}
