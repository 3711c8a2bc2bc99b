/**
 * All tasks of a feed and what is known of each, in bounded memory.
 *
 * A pure reducer over events, and the operators that run it: a `TaskState` for
 * each task that an event named, until the task is let go.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as HashMap from "effect/HashMap"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { NoUnknownOptions } from "./operators/options.ts"
import * as Roster from "./internal/projection/roster.ts"
import * as Reduce from "./internal/projection/taskState.ts"
import type { MeshEvent, ResyncReason } from "./MeshEvent.ts"
import * as Projection from "./Projection.ts"
import type { TaskId } from "./TaskId.ts"
import type * as TaskState from "./TaskState.ts"

/**
 * Options of a board.
 *
 * @category options
 * @since 0.1.0
 */
export interface Options extends TaskState.Options {
  /** How long a task stays on the board after its end. Default: 1 hour. */
  readonly endedTimeToLive?: Duration.Input | undefined
  /** How many ended tasks stay at most; the one that ended first goes. Default: 1000. */
  readonly maxEnded?: number | undefined
  /**
   * How many tasks stay in all. Beyond it the ended ones go first, and then the
   * live one that was not heard of for about the longest. Default: 10,000.
   */
  readonly maxTasks?: number | undefined
}

/**
 * `Options` with the defaults filled in.
 *
 * @category options
 * @since 0.1.0
 */
export interface Settings extends Roster.Limits, Reduce.Meaning {}

export type {
  /**
   * The order in which tasks are let go.
   *
   * @category models
   * @since 0.1.0
   */
  Order
} from "./internal/projection/roster.ts"

/**
 * What a board keeps of a task. Read tasks with `get`, `live` and `ended`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Entry {
  readonly taskId: TaskId
  /** When the task's last update or output came, in milliseconds since 1970. */
  readonly lastEventAt?: number
  /** When it was first seen to have ended, in milliseconds since 1970; absent while it has not. */
  readonly endedAt?: number
  /** All but the gaps of everything since the task's last event. */
  readonly state: TaskState.TaskState
  /** How many gaps of everything `state` knows of. */
  readonly gapsSeen: number
}

/**
 * All tasks, and what is known of each.
 *
 * @category models
 * @since 0.1.0
 */
export interface TaskBoard {
  /** What is kept of each task. Read tasks with `get`, `live` and `ended`. */
  readonly tasks: HashMap.HashMap<TaskId, Entry>
  /** How many gaps of everything there were while tasks were live. */
  readonly gaps: number
  /** Why, the last time. */
  readonly lastGap?: ResyncReason
  /** How many ended tasks were let go. */
  readonly evicted: number
  /** How many tasks were let go that were not known to have ended, because there were too many. */
  readonly forgotten: number
  /** The options that it was made with. */
  readonly settings: Settings
  /** In which order tasks are let go. */
  readonly order: Roster.Order
}

/**
 * A board without tasks.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options?: Options): TaskBoard => ({
  tasks: HashMap.empty(),
  gaps: 0,
  evicted: 0,
  forgotten: 0,
  settings: {
    ...Reduce.meaningOf(options),
    ...Roster.limitsOf({
      endedTimeToLive: options?.endedTimeToLive ?? "1 hour",
      maxEnded: options?.maxEnded ?? 1000,
      maxTasks: options?.maxTasks ?? 10_000
    })
  },
  order: Roster.emptyOrder
})

/**
 * The board after one event.
 *
 * **Details**
 *
 * - An event that names a task updates its state as `TaskState.update` does, and
 *   puts the task on the board if it is not there; a `Resync` that names it too.
 * - A `Resync` that names no task counts as a gap in every live task.
 * - Everything else, `Connected` and `Disconnected` included, changes no task.
 * - Every event lets go of the tasks whose time is over at `at`.
 *
 * `at` is the time to put down, in milliseconds since 1970.
 *
 * **Gotchas**
 *
 * - A task that was let go comes back as a new one with its next event. An output
 *   that trails the end of its task by more than `endedTimeToLive` so leaves a task
 *   without status, which goes when there are more than `maxTasks`.
 * - A task whose end fell into a gap stays live for the same time.
 *
 * **Example** (Two tasks)
 *
 * ```ts
 * import * as TaskBoard from "@makima-stream/core/TaskBoard"
 * import * as TaskId from "@makima-stream/core/TaskId"
 *
 * const update = (id: string, status: string) =>
 *   ({ _tag: "TaskUpdated", taskId: TaskId.make(id), status }) as const
 *
 * const board = TaskBoard.fold(TaskBoard.make(), [update("a", "running"), update("b", "done")], 1000)
 * console.log(TaskBoard.live(board).map((task) => task.taskId)) // ["a"]
 * ```
 *
 * @category reducers
 * @since 0.1.0
 */
export const update = (self: TaskBoard, event: MeshEvent, at: number): TaskBoard => {
  const taskId = "taskId" in event ? event.taskId : undefined
  const updated =
    taskId !== undefined
      ? updateTask(self, taskId, event, at)
      : event._tag === "Resync" && self.order.live.size > 0
        ? { ...self, gaps: self.gaps + 1, lastGap: event.reason }
        : self
  let { evicted, forgotten } = self
  const trimmed = Roster.trim(updated, self.settings, at, taskId, ({ endedAt }) => {
    if (endedAt === undefined) forgotten++
    else evicted++
  })
  return trimmed === updated ? updated : { ...updated, tasks: trimmed.tasks, order: trimmed.order, evicted, forgotten }
}

const updateTask = (self: TaskBoard, taskId: TaskId, event: MeshEvent, at: number): TaskBoard => {
  const known = Option.getOrUndefined(HashMap.get(self.tasks, taskId))
  const before = known === undefined ? Reduce.make(taskId) : stateOf(self, known)
  const state = Reduce.step(before, event, at, self.settings)
  if (state === before) return self
  const { lastEventAt, endedAt } = state
  return {
    ...self,
    ...Roster.set(self, known, {
      taskId,
      ...(lastEventAt === undefined ? {} : { lastEventAt }),
      ...(endedAt === undefined ? {} : { endedAt }),
      state,
      gapsSeen: self.gaps
    })
  }
}

/**
 * A gap of everything touches every live task. It is only counted on the board
 * when it comes, and reaches a task when that is looked at, so that a feed with
 * many gaps and many tasks costs no more than one with few.
 */
const stateOf = ({ gaps, lastGap }: TaskBoard, { state, gapsSeen }: Entry): TaskState.TaskState =>
  gaps === gapsSeen || lastGap === undefined || !Reduce.isLive(state)
    ? state
    : { ...state, gaps: state.gaps + gaps - gapsSeen, lastGap }

/**
 * The board after several events at one time: `update` for each.
 *
 * @category reducers
 * @since 0.1.0
 */
export const fold = (self: TaskBoard, events: ReadonlyArray<MeshEvent>, at: number): TaskBoard => {
  let board = self
  for (const event of events) board = update(board, event, at)
  return board
}

/**
 * What is known of one task.
 *
 * **Example** (A task that nobody spoke of)
 *
 * ```ts
 * import * as Option from "effect/Option"
 * import * as TaskBoard from "@makima-stream/core/TaskBoard"
 * import * as TaskId from "@makima-stream/core/TaskId"
 *
 * console.log(Option.isSome(TaskBoard.get(TaskBoard.make(), TaskId.make("7f1c")))) // false
 * ```
 *
 * @category getters
 * @since 0.1.0
 */
export const get: {
  /** What is known of one task. */
  (taskId: TaskId): (self: TaskBoard) => Option.Option<TaskState.TaskState>
  /** What is known of one task. */
  (self: TaskBoard, taskId: TaskId): Option.Option<TaskState.TaskState>
} = dual(2, (self: TaskBoard, taskId: TaskId): Option.Option<TaskState.TaskState> =>
  Option.map(HashMap.get(self.tasks, taskId), (entry) => stateOf(self, entry))
)

/**
 * The tasks that are not known to have ended, about in the order in which they
 * came.
 *
 * @category getters
 * @since 0.1.0
 */
export const live = (self: TaskBoard): Array<TaskState.TaskState> =>
  Roster.entriesOf(self, "live").map((entry) => stateOf(self, entry))

/**
 * The tasks that have ended, in the order of their ends.
 *
 * **Example** (One of two)
 *
 * ```ts
 * import * as TaskBoard from "@makima-stream/core/TaskBoard"
 * import * as TaskId from "@makima-stream/core/TaskId"
 *
 * const update = (id: string, status: string) =>
 *   ({ _tag: "TaskUpdated", taskId: TaskId.make(id), status }) as const
 *
 * const board = TaskBoard.fold(TaskBoard.make(), [update("a", "running"), update("b", "done")], 1000)
 * console.log(TaskBoard.ended(board).map((task) => task.taskId)) // ["b"]
 * ```
 *
 * @category getters
 * @since 0.1.0
 */
export const ended = (self: TaskBoard): Array<TaskState.TaskState> =>
  Roster.entriesOf(self, "ended").map(({ state }) => state)

/**
 * The reducer of a board, for `Projection` and for projections built on it.
 *
 * **Example** (Folding a recording)
 *
 * ```ts
 * import * as TaskBoard from "@makima-stream/core/TaskBoard"
 * import * as TaskId from "@makima-stream/core/TaskId"
 *
 * const { fold, initial } = TaskBoard.reducer({ maxEnded: 10 })
 * const update = { _tag: "TaskUpdated", taskId: TaskId.make("7f1c"), status: "running" } as const
 * console.log(TaskBoard.live(fold(initial, [update], 0)).length) // 1
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const reducer = (options?: Options): Projection.Reducer<TaskBoard, MeshEvent> => ({
  initial: make(options),
  fold
})

/**
 * The boards of a feed, one for each batch that changes it.
 *
 * **When to use**
 *
 * Use it for a dashboard, or for anything that asks about more than one task.
 *
 * **Details**
 *
 * Emits as `Projection.scan` does, with the times of the `Clock`. `Connected` and
 * `Disconnected` change nothing; `Resync` counts in the `gaps` of the tasks that
 * it concerns. Ended tasks go when an event comes after their time, so a feed
 * that is silent keeps them.
 *
 * **Example** (How many tasks are live)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Stream from "effect/Stream"
 * import * as TaskBoard from "@makima-stream/core/TaskBoard"
 * import * as TaskId from "@makima-stream/core/TaskId"
 *
 * const update = (id: string, status: string) =>
 *   ({ _tag: "TaskUpdated", taskId: TaskId.make(id), status }) as const
 *
 * const counts = Stream.make(update("a", "running"), update("b", "running"), update("a", "done")).pipe(
 *   Stream.rechunk(1),
 *   TaskBoard.scan,
 *   Stream.map((board) => TaskBoard.live(board).length)
 * )
 * console.log(await Effect.runPromise(Stream.runCollect(counts))) // [1, 2, 1]
 * ```
 *
 * @category operators
 * @since 0.1.0
 */
export const scan: {
  /** The boards of a feed: see `scan`. */
  <Arg extends Stream.Stream<MeshEvent, unknown, unknown> | Options = {}>(
    selfOrOptions?: Arg & NoUnknownOptions<Arg, Options>,
    options?: Options
  ): [Arg] extends [Stream.Stream<infer _A, infer E, infer R>]
    ? Stream.Stream<TaskBoard, E, R>
    : <A extends MeshEvent, E, R>(self: Stream.Stream<A, E, R>) => Stream.Stream<TaskBoard, E, R>
} = dual(
  (args) => Stream.isStream(args[0]),
  <A extends MeshEvent, E, R>(self: Stream.Stream<A, E, R>, options?: Options): Stream.Stream<TaskBoard, E, R> =>
    Projection.scan(self, reducer(options))
)

/**
 * Keeps a board up to date in a fiber of the scope.
 *
 * **Details**
 *
 * See `Projection.run` for what it gives and where a failure of the feed shows.
 *
 * **Example** (Reading the board)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Stream from "effect/Stream"
 * import * as SubscriptionRef from "effect/SubscriptionRef"
 * import * as TaskBoard from "@makima-stream/core/TaskBoard"
 * import * as TaskId from "@makima-stream/core/TaskId"
 *
 * const program = Effect.gen(function* () {
 *   const feed = Stream.make({ _tag: "TaskUpdated", taskId: TaskId.make("a"), status: "running" } as const)
 *   const running = yield* TaskBoard.run(feed)
 *   yield* running.join
 *   return TaskBoard.live(yield* SubscriptionRef.get(running.ref)).length
 * })
 * console.log(await Effect.runPromise(Effect.scoped(program))) // 1
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const run: {
  /** Keeps a board up to date in a fiber of the scope: see `run`. */
  <Arg extends Stream.Stream<MeshEvent, unknown, unknown> | Options = {}>(
    selfOrOptions?: Arg & NoUnknownOptions<Arg, Options>,
    options?: Options
  ): [Arg] extends [Stream.Stream<infer _A, infer E, infer R>]
    ? Effect.Effect<Projection.Projection<TaskBoard, E>, never, R | Scope.Scope>
    : <A extends MeshEvent, E, R>(
        self: Stream.Stream<A, E, R>
      ) => Effect.Effect<Projection.Projection<TaskBoard, E>, never, R | Scope.Scope>
} = dual(
  (args) => Stream.isStream(args[0]),
  <A extends MeshEvent, E, R>(
    self: Stream.Stream<A, E, R>,
    options?: Options
  ): Effect.Effect<Projection.Projection<TaskBoard, E>, never, R | Scope.Scope> =>
    Projection.run(self, reducer(options))
)
