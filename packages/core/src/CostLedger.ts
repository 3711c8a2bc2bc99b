/**
 * What the tasks of a feed cost, by task and in all, each result counted once.
 *
 * A pure reducer over events, and the operators that run it. `TaskState` and
 * `TaskBoard` count by the same rules; the ledger keeps less of each task, and the
 * cost of an evicted task stays in the total.
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
   * How long a task keeps an entry of its own after its end. After that its cost is
   * only in the total, and a repeat of its result would count again. Negative counts
   * as 0. Defaults to 1 day.
   */
  readonly endedTimeToLive?: Duration.Input | undefined
  /** The maximum number of entries of ended tasks. Beyond it the task that ended first is evicted. Defaults to 10,000. */
  readonly maxEnded?: number | undefined
  /**
   * The maximum number of entries. Beyond it ended tasks are evicted first, and then
   * the live one without an event for about the longest. At least 1. Defaults to
   * 10,000.
   */
  readonly maxTasks?: number | undefined
  /**
   * How many consecutive lower versions after a new connection show that the server was
   * restored: see
   * `TaskState.Options`. Defaults to 3.
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
   * The ledger to start from. Options given besides it replace those that it was
   * made with; it keeps the others. Defaults to an empty ledger.
   */
  readonly initial?: CostLedger | undefined
}

/**
 * What one task cost.
 *
 * @category models
 * @since 0.1.0
 */
export interface TaskCost {
  readonly taskId: TaskId
  /** US dollars, in all its runs. At most `Number.MAX_VALUE` in either direction. */
  readonly costUsd: number
  /** The durations in its results in milliseconds, in all its runs. */
  readonly durationMs: number
  /** The number of runs seen, starting at 1. */
  readonly runs: number
  /** The newest status, cut after 256 characters. */
  readonly status?: string
  /** The newest version. */
  readonly version?: number
  /** When its last update or result came, in milliseconds since 1970. */
  readonly lastEventAt?: number
  /** When it was first seen to have ended, in milliseconds since 1970. Absent while it is live. */
  readonly endedAt?: number
  /** What the reducer needs besides the members above. Saved by the codec. */
  readonly [Ledger.contents]: Ledger.TaskContents
}

/**
 * What tasks cost, by task and in all.
 *
 * **Details**
 *
 * A cost is taken as the server reports it, also if it is absurd or negative.
 * `totalUsd` is the exact sum of the entries' `costUsd` and of the rolled up costs,
 * rounded once to the nearest number: a cost that is corrected leaves no trace. A
 * sum beyond the largest finite number is reported as `Number.MAX_VALUE`, never as
 * `Infinity`, and is right again once the cost is corrected.
 *
 * **Gotchas**
 *
 * A ledger also has hidden bookkeeping. Make ledgers with `make` and `codec`, not by
 * hand.
 *
 * @category models
 * @since 0.1.0
 */
export interface CostLedger {
  /** US dollars, in all: the entries and `rolledUsd`. */
  readonly totalUsd: number
  /** The entries by task, in no order. */
  readonly tasks: HashMap.HashMap<TaskId, TaskCost>
  /** US dollars of the tasks whose entries were evicted. */
  readonly rolledUsd: number
  /** How many entries were evicted. */
  readonly rolledTasks: number
  /**
   * How many times updates may have been missed. A missed update may hide where a
   * run began, so that its result replaced the previous one.
   */
  readonly updateGaps: number
  /**
   * How many times outputs may have been missed. Each may hide a result. Where this
   * or `updateGaps` is not 0, the total is a lower bound.
   */
  readonly outputGaps: number
  /** What the reducer needs besides the members above. Saved by the codec. */
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
 * Saves a ledger as JSON and restores it. A restored ledger goes on exactly as the
 * saved one would have.
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
 * The ledger after one event.
 *
 * **Details**
 *
 * Counts the `costUsd` of each output of type `result` that is not partial. Results
 * have no id in the protocol, so:
 *
 * - A task has one result a run. A later one of the same run replaces the cost of
 *   that run.
 * - A new run begins when the status goes from a terminal one to another; its
 *   result then adds to what the runs before cost. A result may trail the update
 *   that ended its run.
 * - A result that equals the last one of the run before (in cost, duration,
 *   `isError` and content) is a repeat of it and is not counted, also when it
 *   comes after the new run began.
 * - An update whose `version` is not above the newest one is late or a repeat, and
 *   begins no run, unless the server was restored (see `restartAfter`).
 *
 * A `Resync` that follows something known counts in `updateGaps`, `outputGaps` or
 * both, by the rule of `TaskState`. `Connected`, `Disconnected` and everything else
 * change nothing. Every event rolls up the tasks whose time is over at `at`, the
 * time in milliseconds since 1970.
 *
 * **Gotchas**
 *
 * - Runs are separated by updates. A feed of output alone (`Interest.output`), or one
 *   in which the update between two runs is lost, shows one run, and the second
 *   result replaces the first: the total is then too low, never too high. Subscribe to
 *   updates too (`Interest.task`), and check `updateGaps` and `outputGaps`.
 * - A result that comes so late that the next run has begun counts for that run,
 *   until that run's own result replaces it.
 * - The cost of a run without a result (one that was killed) is not in the feed.
 * - A repeat that comes after its task was rolled up counts again: keep
 *   `endedTimeToLive` above the longest delay of a repeat.
 *
 * **Example** (A repeat, and a second run)
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
 * The ledger after several events at one time: `update` for each.
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
 * Returns what one task cost, or `None` if it has no entry.
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
  /** What one task cost, as long as it has an entry. */
  (taskId: TaskId): (self: CostLedger) => Option.Option<TaskCost>
  /** What one task cost, as long as it has an entry. */
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
 * The ledgers of a feed, one for each batch that changes it.
 *
 * **When to use**
 *
 * Use it for a cost meter, or for a budget that stops something.
 *
 * **Details**
 *
 * Emits as `Projection.scan` does, with the times of the `Clock`. With `initial`,
 * it continues from a saved ledger. An update changes the ledger too, because it
 * may begin a run: put `Stream.map((ledger) =>
 * ledger.totalUsd)` and `Stream.changes` after it for the total alone.
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
 * See `Projection.run` for the result, and for where a failure of the feed shows.
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
