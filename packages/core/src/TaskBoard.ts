/**
 * All tasks of a feed and what is known of each, in bounded memory.
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
  /** The maximum number of ended tasks. Beyond it the task that ended first is evicted. Defaults to 1000. */
  readonly maxEnded?: number | undefined
  /**
   * The maximum number of tasks. Beyond it ended ones are evicted first, and then the
   * live one without an event for about the longest. At least 1. Defaults to 10,000.
   */
  readonly maxTasks?: number | undefined
  /**
   * How many characters of last outputs are kept in all tasks together. Beyond it
   * the text of the output that is about the oldest is removed, and
   * `lastOutputTruncated` is set. Defaults to 8,388,608.
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
   * The board to start from. Options given besides it replace those that it was
   * made with; it keeps the others. Defaults to an empty board.
   */
  readonly initial?: TaskBoard | undefined
}

/**
 * All tasks, and what is known of each. Read tasks with `get`, `live` and `ended`.
 *
 * **Gotchas**
 *
 * A board also has hidden bookkeeping. Make boards with `make` and `codec`, not by
 * hand.
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
   * From when every update of every task is known that the feed subscribes to, in
   * milliseconds since 1970. Absent while updates may be missing. A task that
   * appears later starts with it as its `updatesCompleteSince`.
   */
  readonly updatesCompleteSince?: number
  /** What the reducer needs besides the members above. Saved by the codec. */
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
 * Saves a board as JSON and restores it. A restored board goes on exactly as the
 * saved one would have.
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
 * The board after one event.
 *
 * **Details**
 *
 * - An event that names a task updates its state as `TaskState.update` does, and
 *   adds the task if it is not on the board. A `Resync` that names it does so too.
 * - A `Resync` that names no task, and a `Disconnected`, update every task.
 * - Every event evicts the tasks whose time is over at `at`.
 *
 * `at` is the time to record, in milliseconds since 1970. An event costs about the
 * same whatever the number of tasks; only a mark that opens a complete stretch for
 * all tasks visits each of them.
 *
 * **Gotchas**
 *
 * - A task that was evicted comes back as a new one with its next event. An output
 *   that comes more than `endedTimeToLive` after the end of its task so leaves a
 *   task without status, which is evicted when there are more than `maxTasks`.
 * - A task whose end fell into a gap stays live for the same time.
 *
 * **Example** (Two tasks)
 *
 * ```ts
 * import { TaskBoard, TaskId } from "@makima-stream/core"
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
  /** What is known of one task. */
  (taskId: TaskId): (self: TaskBoard) => Option.Option<TaskState.TaskState>
  /** What is known of one task. */
  (self: TaskBoard, taskId: TaskId): Option.Option<TaskState.TaskState>
} = dual(2, (self: TaskBoard, taskId: TaskId): Option.Option<TaskState.TaskState> =>
  Option.map(HashMap.get(self[Board.contents].tasks, taskId), (entry) => Board.stateOf(self[Board.contents], entry))
)

/**
 * The tasks that are not known to have ended, about in the order in which they
 * appeared.
 *
 * @category getters
 * @since 0.1.0
 */
export const live = (self: TaskBoard): Array<TaskState.TaskState> =>
  Roster.entriesOf(self[Board.contents], "live").map((entry) => Board.stateOf(self[Board.contents], entry))

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
 * The boards of a feed, one for each batch that changes it.
 *
 * **When to use**
 *
 * Use it for a dashboard, or for anything that asks about more than one task.
 *
 * **Details**
 *
 * Emits as `Projection.scan` does, with the times of the `Clock`. Ended tasks are
 * evicted when an event comes after their time, so a silent feed keeps them. With
 * `initial`, it continues from a saved board.
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
export const scan: Operator.Scan<TaskBoard, ResumeOptions> = Operator.scan(reducer)

/**
 * Keeps a board up to date in a fiber of the scope.
 *
 * **Details**
 *
 * See `Projection.run` for the result, and for where a failure of the feed shows.
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
