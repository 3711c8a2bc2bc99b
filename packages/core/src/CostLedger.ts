/**
 * The costs of the tasks of a feed, by task and in total, with each result counted
 * once.
 *
 * A pure reducer over events, and the operators that run it. `TaskState` and
 * `TaskBoard` count by the same rules. The ledger keeps less data for each task, and
 * the cost of an evicted task stays in the total.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import { dual } from "effect/Function"
import * as HashMap from "effect/HashMap"
import type * as Option from "effect/Option"
import type * as Schema from "effect/Schema"
import * as Ledger from "./internal/projection/ledger.ts"
import * as Operator from "./internal/projection/operator.ts"
import type { MeshEvent } from "./MeshEvent.ts"
import type { Selector } from "./operators/options.ts"
import type * as Projection from "./Projection.ts"
import type { TaskId } from "./TaskId.ts"

/**
 * Options of a ledger.
 *
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /** The statuses that end a task. Defaults to `TaskStatus.defaultTerminal`. */
  readonly terminal?: Selector<string> | undefined
  /**
   * How long a task keeps its entry after its end. After that its cost is only in the
   * total, and a repeated result would be counted again. Negative counts as 0. Defaults
   * to 1 day.
   */
  readonly endedTimeToLive?: Duration.Input | undefined
  /** The most entries of ended tasks. When there are more, the task that ended first is evicted. Defaults to 10,000. */
  readonly maxEnded?: number | undefined
  /**
   * The most entries. When there are more, ended tasks are evicted first, then
   * approximately the live task without an event for longest. At least 1. Defaults to
   * 10,000.
   */
  readonly maxTasks?: number | undefined
  /**
   * How many consecutive lower versions after a new connection show that the server was
   * restored from a backup: see `TaskState.Options`. Defaults to 3.
   */
  readonly restartAfter?: number | undefined
}

/**
 * Options of `reducer`, `scan` and `run`.
 *
 * @category options
 * @since 0.2.0
 */
export interface ResumeOptions extends Options {
  /**
   * The ledger to start from. Other options that are set here replace those of this
   * ledger. Defaults to an empty ledger.
   */
  readonly initial?: CostLedger | undefined
}

/**
 * The cost of one task.
 *
 * @category models
 * @since 0.1.0
 */
export interface TaskCost {
  readonly taskId: TaskId
  /** The cost of all its runs in US dollars, between `-Number.MAX_VALUE` and `Number.MAX_VALUE`. */
  readonly costUsd: number
  /** The duration of all its runs in milliseconds, from their results. */
  readonly durationMs: number
  /** The number of observed runs, starting at 1. */
  readonly runs: number
  /** The newest status, cut after 256 characters. */
  readonly status?: string
  /** The newest version. */
  readonly version?: number
  /** When its last update or result was folded, in milliseconds since 1970. */
  readonly lastEventAt?: number
  /** When it was first seen to have ended, in milliseconds since 1970. Absent while it is live. */
  readonly endedAt?: number
  /** Internal data of the reducer. The codec saves it. */
  readonly [Ledger.contents]: Ledger.TaskContents
}

/**
 * The costs of tasks, by task and in total.
 *
 * **Details**
 *
 * A cost is used as the server reports it, even if it is extreme or negative.
 * `totalUsd` is the exact sum of the entries' `costUsd` and of the costs of evicted
 * entries, rounded once to the nearest number, so a corrected cost leaves no error. A
 * sum above the largest finite number is reported as `Number.MAX_VALUE`, never as
 * `Infinity`, and becomes correct again when the cost is corrected.
 *
 * **Gotchas**
 *
 * A ledger has internal data too. Create ledgers with `make` and `codec`, not by hand.
 *
 * @category models
 * @since 0.1.0
 */
export interface CostLedger {
  /** The total cost in US dollars: the sum of the entries and `rolledUsd`. */
  readonly totalUsd: number
  /** The entries by task, unordered. */
  readonly tasks: HashMap.HashMap<TaskId, TaskCost>
  /** The cost of evicted entries in US dollars. */
  readonly rolledUsd: number
  /** The number of evicted entries. */
  readonly rolledTasks: number
  /**
   * How many times updates may have been missed. A missed update may hide the start of
   * a run. The result of that run then replaced the previous one.
   */
  readonly updateGaps: number
  /**
   * How many times outputs may have been missed. A result may be among them. If this
   * or `updateGaps` is not 0, the total is a lower bound.
   */
  readonly outputGaps: number
  /** Internal data of the reducer. The codec saves it. */
  readonly [Ledger.contents]: Ledger.Contents
}

/**
 * A ledger as JSON. Its members may change with the version of this package.
 *
 * @category models
 * @since 0.2.0
 */
export interface Encoded extends Ledger.Encoded {}

/**
 * A ledger without entries.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options?: Options): CostLedger => Ledger.make(options)

/**
 * Saves a ledger as JSON and restores it. A restored ledger continues exactly like the
 * saved one.
 *
 * **When to use**
 *
 * Use it to continue after a restart: pass the restored ledger as `initial`.
 *
 * **Details**
 *
 * Options may hold functions and are not saved: a restored ledger has the options
 * given here.
 *
 * **Example** (Continuing after a restart)
 *
 * ```ts
 * import * as Schema from "effect/Schema"
 * import * as CostLedger from "@makima-stream/core/CostLedger"
 * import * as TaskId from "@makima-stream/core/TaskId"
 *
 * const taskId = TaskId.make("7f1c")
 * const result = { _tag: "TaskOutput", taskId, messageType: "result", content: "ok", costUsd: 0.5 } as const
 * const ledger = CostLedger.update(CostLedger.make(), result, 1000)
 *
 * const codec = CostLedger.codec()
 * const json = JSON.stringify(Schema.encodeSync(codec)(ledger))
 * const restored = Schema.decodeUnknownSync(codec)(JSON.parse(json))
 * console.log(CostLedger.update(restored, result, 2000).totalUsd) // 0.5
 * ```
 *
 * @category schemas
 * @since 0.2.0
 */
export const codec = (options?: Options): Schema.Codec<CostLedger, Encoded> => Ledger.codec(options)

/**
 * Returns the ledger after one event.
 *
 * **Details**
 *
 * Counts the `costUsd` of each output of type `result` that is not partial. Results
 * have no id in the protocol, so:
 *
 * - A run has one result. A later result of the same run replaces its cost.
 * - A new run begins when the status changes from a terminal to a non-terminal one. The
 *   costs of runs are added. A result may arrive after the update that ended its run.
 * - A result that equals the last result of the previous run (in cost, duration,
 *   `isError` and content) is a repetition and is not counted, even if it arrives after
 *   the new run began.
 * - An update whose `version` is not above the newest version is late or repeated, and
 *   begins no run, unless the server was restored (see `restartAfter`).
 *
 * A `Resync` counts in `updateGaps`, `outputGaps` or both, by the rule of `TaskState`.
 * `Connected`, `Disconnected` and other events change nothing. Every event evicts the
 * tasks that are due at `at`, which is in milliseconds since 1970; their costs stay in
 * the total.
 *
 * **Gotchas**
 *
 * - Only updates separate runs. If the feed has only output (`Interest.output`), or if
 *   the update between two runs was lost, both runs count as one, and the second result
 *   replaces the first: the total is then too low, never too high. Subscribe to updates
 *   too (`Interest.task`), and check `updateGaps` and `outputGaps`.
 * - A result that arrives after the next run has begun counts for that run, until the
 *   result of that run replaces it.
 * - The cost of a run without a result (because it was killed) is not in the feed.
 * - A result that is repeated after its task was evicted counts again: set
 *   `endedTimeToLive` above the longest delay of a repetition.
 *
 * **Example** (A repeated result, and a second run)
 *
 * ```ts
 * import * as CostLedger from "@makima-stream/core/CostLedger"
 * import * as TaskId from "@makima-stream/core/TaskId"
 *
 * const taskId = TaskId.make("7f1c")
 * const status = (status: string) => ({ _tag: "TaskUpdated", taskId, status }) as const
 * const result = (costUsd: number, durationMs: number) =>
 *   ({ _tag: "TaskOutput", taskId, messageType: "result", content: "ok", costUsd, durationMs }) as const
 *
 * const events = [status("running"), result(0.5, 900), result(0.5, 900), status("done"), status("running"), result(0.25, 400)]
 * const ledger = CostLedger.fold(CostLedger.make(), events, 0)
 * console.log(ledger.totalUsd) // 0.75
 * ```
 *
 * @category reducers
 * @since 0.1.0
 */
export const update = (self: CostLedger, event: MeshEvent, at: number): CostLedger => Ledger.step(self, event, at)

/**
 * Returns the ledger after several events at the same time: `update` for each.
 *
 * @category reducers
 * @since 0.1.0
 */
export const fold = (self: CostLedger, events: ReadonlyArray<MeshEvent>, at: number): CostLedger => {
  let ledger = self
  for (const event of events) ledger = update(ledger, event, at)
  return ledger
}

/**
 * Returns the cost of one task, or `None` if it has no entry.
 *
 * **Example** (An unknown task)
 *
 * ```ts
 * import * as Option from "effect/Option"
 * import * as CostLedger from "@makima-stream/core/CostLedger"
 * import * as TaskId from "@makima-stream/core/TaskId"
 *
 * console.log(Option.isSome(CostLedger.get(CostLedger.make(), TaskId.make("7f1c")))) // false
 * ```
 *
 * @category getters
 * @since 0.1.0
 */
export const get: {
  /** Returns the cost of one task, or `None` if it has no entry. */
  (taskId: TaskId): (self: CostLedger) => Option.Option<TaskCost>
  /** Returns the cost of one task, or `None` if it has no entry. */
  (self: CostLedger, taskId: TaskId): Option.Option<TaskCost>
} = dual(2, (self: CostLedger, taskId: TaskId): Option.Option<TaskCost> => HashMap.get(self.tasks, taskId))

/**
 * The reducer of a ledger, for `Projection` and for projections built on it.
 *
 * **Example** (Folding a recording)
 *
 * ```ts
 * import * as CostLedger from "@makima-stream/core/CostLedger"
 * import * as TaskId from "@makima-stream/core/TaskId"
 *
 * const { fold, initial } = CostLedger.reducer()
 * const taskId = TaskId.make("7f1c")
 * const result = { _tag: "TaskOutput", taskId, messageType: "result", content: "ok", costUsd: 0.5 } as const
 * console.log(fold(initial, [result], 0).totalUsd) // 0.5
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const reducer = (options: ResumeOptions = {}): Projection.Reducer<CostLedger, MeshEvent> => {
  const { initial, ...given } = options
  return { initial: initial === undefined ? make(given) : Ledger.withOptions(initial, given), fold }
}

/**
 * Folds a feed. Emits the ledger after each batch that changes it.
 *
 * **When to use**
 *
 * Use it for a cost meter, or to enforce a budget.
 *
 * **Details**
 *
 * See `Projection.scan` for when it emits. Times come from the `Clock`. With `initial`,
 * it continues from a saved ledger. An update changes the ledger too, because it may
 * begin a run. To emit only changes of the total, add
 * `Stream.map((ledger) => ledger.totalUsd)` and `Stream.changes`.
 *
 * **Example** (A meter)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Stream from "effect/Stream"
 * import * as CostLedger from "@makima-stream/core/CostLedger"
 * import * as TaskId from "@makima-stream/core/TaskId"
 *
 * const result = (id: string, costUsd: number) =>
 *   ({ _tag: "TaskOutput", taskId: TaskId.make(id), messageType: "result", content: "ok", costUsd }) as const
 *
 * const totals = Stream.make(result("a", 0.5), result("b", 0.25)).pipe(
 *   Stream.rechunk(1),
 *   CostLedger.scan,
 *   Stream.map((ledger) => ledger.totalUsd)
 * )
 * console.log(await Effect.runPromise(Stream.runCollect(totals))) // [0.5, 0.75]
 * ```
 *
 * @category operators
 * @since 0.1.0
 */
export const scan: Operator.Scan<CostLedger, ResumeOptions> = Operator.scan(reducer)

/**
 * Keeps a ledger up to date in a fiber of the scope.
 *
 * **Details**
 *
 * See `Projection.run` for the result and for failures of the feed.
 *
 * **Example** (Reading the total)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Stream from "effect/Stream"
 * import * as SubscriptionRef from "effect/SubscriptionRef"
 * import * as CostLedger from "@makima-stream/core/CostLedger"
 * import * as TaskId from "@makima-stream/core/TaskId"
 *
 * const taskId = TaskId.make("7f1c")
 * const program = Effect.gen(function* () {
 *   const feed = Stream.make({ _tag: "TaskOutput", taskId, messageType: "result", content: "ok", costUsd: 0.5 } as const)
 *   const running = yield* CostLedger.run(feed)
 *   yield* running.join
 *   return (yield* SubscriptionRef.get(running.ref)).totalUsd
 * })
 * console.log(await Effect.runPromise(Effect.scoped(program))) // 0.5
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const run: Operator.Run<CostLedger, ResumeOptions> = Operator.run(reducer)
