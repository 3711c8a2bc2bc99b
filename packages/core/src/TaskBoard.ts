/**
 * The states of all tasks of a feed, in bounded memory.
 *
 * A pure reducer over events, and the operators that run it: a `TaskState` for
 * each task that an event named, until it is evicted.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import { dual } from "effect/Function"
import * as HashMap from "effect/HashMap"
import * as Option from "effect/Option"
import type * as Schema from "effect/Schema"
import * as Board from "./internal/projection/board.ts"
import * as Operator from "./internal/projection/operator.ts"
import * as Roster from "./internal/projection/roster.ts"
import type { MeshEvent } from "./MeshEvent.ts"
import type * as Projection from "./Projection.ts"
import type { TaskId } from "./TaskId.ts"
import type * as TaskState from "./TaskState.ts"

/**
 * Options of a board.
 *
 * @category options
 * @since 0.1.0
 */
export interface Options extends TaskState.Options {
  /** How long a task stays on the board after its end. Negative counts as 0. Defaults to 1 hour. */
  readonly endedTimeToLive?: Duration.Input | undefined
  /** The most ended tasks. When there are more, the task that ended first is evicted. Defaults to 1000. */
  readonly maxEnded?: number | undefined
  /**
   * The most tasks. When there are more, ended tasks are evicted first, then
   * approximately the live task without an event for longest. At least 1. Defaults to
   * 10,000.
   */
  readonly maxTasks?: number | undefined
  /**
   * How many characters of last outputs all tasks together keep. When there are more,
   * the text of approximately the oldest output is removed, and `lastOutputTruncated`
   * is set. Defaults to 8,388,608.
   */
  readonly maxTotalOutputChars?: number | undefined
}

/**
 * Options of `reducer`, `scan` and `run`.
 *
 * @category options
 * @since 0.2.0
 */
export interface ResumeOptions extends Options {
  /**
   * The board to start from. Other options that are set here replace those of this
   * board. Defaults to an empty board.
   */
  readonly initial?: TaskBoard | undefined
}

/**
 * The states of all tasks. Read them with `get`, `live` and `ended`.
 *
 * **Gotchas**
 *
 * A board has internal data too. Create boards with `make` and `codec`, not by hand.
 *
 * @category models
 * @since 0.1.0
 */
export interface TaskBoard {
  /** How many tasks are on the board. */
  readonly size: number
  /** How many ended tasks were evicted. */
  readonly evicted: number
  /** How many tasks without a known end were evicted, because there were too many. */
  readonly forgotten: number
  /**
   * The time from which every update is known that the feed subscribes to, in
   * milliseconds since 1970. Absent while updates may be missing. It is the initial
   * `updatesCompleteSince` of a task that appears later.
   */
  readonly updatesCompleteSince?: number
  /** Internal data of the reducer. The codec saves it. */
  readonly [Board.contents]: Board.Contents
}

/**
 * A board as JSON. Its members may change with the version of this package.
 *
 * @category models
 * @since 0.2.0
 */
export interface Encoded extends Board.Encoded {}

/**
 * A board without tasks.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options?: Options): TaskBoard => Board.make(options)

/**
 * Saves a board as JSON and restores it. A restored board continues exactly like the
 * saved one.
 *
 * **When to use**
 *
 * Use it to continue after a restart: pass the restored board as `initial`.
 *
 * **Details**
 *
 * Options may hold functions and are not saved: a restored board has the options
 * given here.
 *
 * **Gotchas**
 *
 * A board that was saved while connected is still complete "since" when it is
 * restored. The first mark of the new connection ends that stretch and counts as a
 * gap.
 *
 * **Example** (Continuing after a restart)
 *
 * ```ts
 * import * as Schema from "effect/Schema"
 * import * as TaskBoard from "@makima-stream/core/TaskBoard"
 * import * as TaskId from "@makima-stream/core/TaskId"
 *
 * const options = { maxEnded: 10 }
 * const update = { _tag: "TaskUpdated", taskId: TaskId.make("a"), status: "running" } as const
 * const board = TaskBoard.update(TaskBoard.make(options), update, 1000)
 *
 * const codec = TaskBoard.codec(options)
 * const json = JSON.stringify(Schema.encodeSync(codec)(board))
 * const restored = Schema.decodeUnknownSync(codec)(JSON.parse(json))
 * console.log(TaskBoard.live(restored).map((task) => task.taskId)) // ["a"]
 * ```
 *
 * @category schemas
 * @since 0.2.0
 */
export const codec = (options?: Options): Schema.Codec<TaskBoard, Encoded> => Board.codec(options)

/**
 * Returns the board after one event.
 *
 * **Details**
 *
 * - An event that names a task, such as an update or a `Resync` with a `taskId`, updates
 *   its state like `TaskState.update`, and adds the task if it is not on the board.
 * - A `Resync` that names no task, and a `Disconnected`, update every task.
 * - Every event evicts the tasks that are due at `at`.
 *
 * `at` is the time to record, in milliseconds since 1970. The cost of an event does not
 * depend on the number of tasks, except for a mark that opens a complete stretch for
 * all tasks.
 *
 * **Gotchas**
 *
 * - An evicted task is added as a new task at its next event. So an output that arrives
 *   more than `endedTimeToLive` after the end of its task adds a task without status,
 *   which is evicted when there are more than `maxTasks`.
 * - A task whose end was lost in a gap stays live until then too.
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
export const update = (self: TaskBoard, event: MeshEvent, at: number): TaskBoard => Board.step(self, event, at)

/**
 * Returns the board after several events at the same time: `update` for each.
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
 * Returns the state of one task, or `None` if it is not on the board.
 *
 * **Example** (An unknown task)
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
  /** Returns the state of one task, or `None` if it is not on the board. */
  (taskId: TaskId): (self: TaskBoard) => Option.Option<TaskState.TaskState>
  /** Returns the state of one task, or `None` if it is not on the board. */
  (self: TaskBoard, taskId: TaskId): Option.Option<TaskState.TaskState>
} = dual(2, (self: TaskBoard, taskId: TaskId): Option.Option<TaskState.TaskState> =>
  Option.map(HashMap.get(self[Board.contents].tasks, taskId), (entry) => Board.stateOf(self[Board.contents], entry))
)

/**
 * Returns the tasks that are not known to have ended, approximately in the order in
 * which they appeared.
 *
 * @category getters
 * @since 0.1.0
 */
export const live = (self: TaskBoard): Array<TaskState.TaskState> =>
  Roster.entriesOf(self[Board.contents], "live").map((entry) => Board.stateOf(self[Board.contents], entry))

/**
 * Returns the tasks that have ended, in the order of their ends.
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
  Roster.entriesOf(self[Board.contents], "ended").map((entry) => Board.stateOf(self[Board.contents], entry))

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
export const reducer = (options: ResumeOptions = {}): Projection.Reducer<TaskBoard, MeshEvent> => {
  const { initial, ...given } = options
  return { initial: initial === undefined ? make(given) : Board.withOptions(initial, given), fold }
}

/**
 * Folds a feed. Emits the board after each batch that changes it.
 *
 * **When to use**
 *
 * Use it for a dashboard, or for any program that needs the states of many tasks.
 *
 * **Details**
 *
 * See `Projection.scan` for when it emits. Times come from the `Clock`. Only an event
 * evicts ended tasks, so a silent feed keeps them. With `initial`, it continues from a
 * saved board.
 *
 * **Example** (The number of live tasks)
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
export const scan: Operator.Scan<TaskBoard, ResumeOptions> = Operator.scan(reducer)

/**
 * Keeps a board up to date in a fiber of the scope.
 *
 * **Details**
 *
 * See `Projection.run` for the result and for failures of the feed.
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
export const run: Operator.Run<TaskBoard, ResumeOptions> = Operator.run(reducer)
