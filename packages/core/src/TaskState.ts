/**
 * What is known of one task, folded from the feed.
 *
 * A pure reducer over events, and the operators that run it. `TaskBoard` keeps
 * one of these for each task; `CostLedger` keeps only what tasks cost, for many
 * more of them.
 *
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Selector } from "./operators/options.ts"
import type { Results } from "./internal/projection/results.ts"
import * as Reduce from "./internal/projection/taskState.ts"
import type { MeshEvent, ResyncReason } from "./MeshEvent.ts"
import * as Projection from "./Projection.ts"
import type { TaskOutput } from "./ServerMessage.ts"
import type { TaskId } from "./TaskId.ts"

/**
 * What is known of one task.
 *
 * **Details**
 *
 * A *run* is what happens between two ends of a task: a new one begins when the
 * status goes from a terminal one to another. All times are the clock's, in
 * milliseconds since 1970, and say when the event was folded, not when it
 * happened on the server. What is not known is absent.
 *
 * @category models
 * @since 0.1.0
 */
export interface TaskState {
  readonly taskId: TaskId
  /** The newest status. */
  readonly status?: string
  /** The newest version. */
  readonly version?: number
  /** The newest output that is not partial. */
  readonly lastOutput?: TaskOutput
  /** When the first event named the task. */
  readonly firstEventAt?: number
  /** When the task's last update or output came. */
  readonly lastEventAt?: number
  /** When this run was first seen at work: by an output, or an update to a status that is not a waiting one. */
  readonly startedAt?: number
  /** When this run was first seen to have ended. */
  readonly endedAt?: number
  /** How many runs were seen, this one included. */
  readonly runs: number
  /** What the results of all runs say they cost, in US dollars, each counted once. */
  readonly costUsd: number
  /** What the results of all runs say they took, in milliseconds, each counted once. */
  readonly durationMs: number
  /**
   * How many outputs came of each message type, partial ones left out. At most
   * 64 types are told apart; outputs of any further type count under `*`.
   */
  readonly counts: ReadonlyMap<string, number>
  /** How many partial outputs came. */
  readonly partials: number
  /** How many times events of the task may have been missed. 0: nothing is known to be missing. */
  readonly gaps: number
  /** Why, the last time. */
  readonly lastGap?: ResyncReason
  /** What it takes to count each result once. */
  readonly results: Results
}

export type {
  /**
   * What a task's results add up to, and what it takes to tell a repeat.
   *
   * @category models
   * @since 0.1.0
   */
  Results
} from "./internal/projection/results.ts"

/**
 * Which statuses mean what.
 *
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /** The statuses that end a task. Default: `TaskStatus.defaultTerminal`. */
  readonly terminal?: Selector<string> | undefined
  /** The statuses of a task that is not at work yet. Default: `pending`. */
  readonly waiting?: Selector<string> | undefined
}

/**
 * A task of which nothing is known.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (taskId: TaskId): TaskState => Reduce.make(taskId)

/**
 * The state after one event.
 *
 * **Details**
 *
 * - An update whose `version` is not above the newest known is a repeat or comes
 *   too late, and changes nothing.
 * - An output counts, whatever the status: it may trail the update that ended the
 *   task. It does not begin a run.
 * - A `result` replaces what its run cost and took; one that repeats the result
 *   of this run or of the run before changes nothing. See `CostLedger` for what
 *   this cannot tell.
 * - A `Resync` that names the task counts as a gap; one that names none does
 *   while the task is live.
 * - Everything else, `Connected`, `Disconnected` and the events of other tasks
 *   included, changes nothing, and gives the state back as it is.
 *
 * `at` is the time to put down, in milliseconds since 1970.
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
  Reduce.step(self, event, at, Reduce.meaningOf(options))

/**
 * The state after several events at one time: `update` for each.
 *
 * **Example** (A run that cost something)
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
  Reduce.fold(self, events, at, Reduce.meaningOf(options))

/**
 * Whether the task has been heard of and is not known to have ended.
 *
 * @category guards
 * @since 0.1.0
 */
export const isLive = (self: TaskState): boolean => Reduce.isLive(self)

/**
 * How long this run has been at work, in milliseconds, by the clock of this
 * program: until `now`, or until its end. `undefined` when its start was not
 * seen.
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
 * The states of one task, one for each batch of the feed that changes it.
 *
 * **When to use**
 *
 * Use it to follow one task: a progress line, a gate that waits for a status.
 * For all tasks there is `TaskBoard`.
 *
 * **Details**
 *
 * The events of other tasks may be in the feed and change nothing. `Connected`
 * and `Disconnected` change nothing; `Resync` counts in `gaps`. Emits as
 * `Projection.scan` does, with the times of the `Clock`.
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
  /** The states of one task: see `scan`. */
  (
    taskId: TaskId,
    options?: Options
  ): <A extends MeshEvent, E, R>(self: Stream.Stream<A, E, R>) => Stream.Stream<TaskState, E, R>
  /** The states of one task: see `scan`. */
  <A extends MeshEvent, E, R>(
    self: Stream.Stream<A, E, R>,
    taskId: TaskId,
    options?: Options
  ): Stream.Stream<TaskState, E, R>
} = dual(
  (args) => Stream.isStream(args[0]),
  <A extends MeshEvent, E, R>(
    self: Stream.Stream<A, E, R>,
    taskId: TaskId,
    options?: Options
  ): Stream.Stream<TaskState, E, R> => Projection.scan(self, reducer(taskId, options))
)

/**
 * Keeps the state of one task up to date in a fiber of the scope.
 *
 * **Details**
 *
 * See `Projection.run` for what it gives and where a failure of the feed shows.
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
  (
    taskId: TaskId,
    options?: Options
  ): <A extends MeshEvent, E, R>(
    self: Stream.Stream<A, E, R>
  ) => Effect.Effect<Projection.Projection<TaskState, E>, never, R | Scope.Scope>
  /** Keeps the state of one task up to date in a fiber of the scope: see `run`. */
  <A extends MeshEvent, E, R>(
    self: Stream.Stream<A, E, R>,
    taskId: TaskId,
    options?: Options
  ): Effect.Effect<Projection.Projection<TaskState, E>, never, R | Scope.Scope>
} = dual(
  (args) => Stream.isStream(args[0]),
  <A extends MeshEvent, E, R>(
    self: Stream.Stream<A, E, R>,
    taskId: TaskId,
    options?: Options
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
export const reducer = (taskId: TaskId, options?: Options): Projection.Reducer<TaskState, MeshEvent> => {
  const meaning = Reduce.meaningOf(options)
  return { initial: make(taskId), fold: (state, events, at) => Reduce.fold(state, events, at, meaning) }
}
