/**
 * What the tasks of a feed cost, by task and in all, each result counted once.
 *
 * A pure reducer over events, and the operators that run it. `TaskState` and
 * `TaskBoard` count by the same rules; the ledger keeps less of each task, and
 * what ended tasks cost stays in the total after they are let go.
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
import { type NoUnknownOptions, type Selector, toPredicate } from "./operators/options.ts"
import * as Results from "./internal/projection/results.ts"
import * as Roster from "./internal/projection/roster.ts"
import type { MeshEvent } from "./MeshEvent.ts"
import * as Projection from "./Projection.ts"
import type { TaskOutput, TaskUpdated } from "./ServerMessage.ts"
import type { TaskId } from "./TaskId.ts"
import * as TaskStatus from "./TaskStatus.ts"

/**
 * Options of a ledger.
 *
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /** The statuses that end a task. Default: `TaskStatus.defaultTerminal`. */
  readonly terminal?: Selector<string> | undefined
  /**
   * How long a task has an entry of its own after its end; after that its cost
   * is only in the total, and a repeat of its result would count again. Default:
   * 1 day.
   */
  readonly endedTimeToLive?: Duration.Input | undefined
  /** How many ended tasks have an entry at most; the one that ended first goes. Default: 10,000. */
  readonly maxEnded?: number | undefined
  /**
   * How many tasks have an entry in all. Beyond it the ended ones go first, and
   * then the live one that was not heard of for about the longest. Default:
   * 10,000.
   */
  readonly maxTasks?: number | undefined
}

/**
 * `Options` with the defaults filled in.
 *
 * @category options
 * @since 0.1.0
 */
export interface Settings extends Roster.Limits {
  /** Whether a status ends a task. */
  readonly isTerminal: (status: string) => boolean
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
 * What one task cost.
 *
 * @category models
 * @since 0.1.0
 */
export interface TaskCost {
  readonly taskId: TaskId
  /** US dollars, in all its runs. */
  readonly costUsd: number
  /** Milliseconds that its results say it took, in all its runs. */
  readonly durationMs: number
  /** How many runs were seen, counting from 1. */
  readonly runs: number
  /** The newest status. */
  readonly status?: string
  /** The newest version. */
  readonly version?: number
  /** When its last update or result came, in milliseconds since 1970. */
  readonly lastEventAt?: number
  /** When it was first seen to have ended, in milliseconds since 1970; absent while it has not. */
  readonly endedAt?: number
  /** What it takes to count each result once. */
  readonly results: Results.Results
}

/**
 * What tasks cost, by task and in all.
 *
 * @category models
 * @since 0.1.0
 */
export interface CostLedger {
  /** US dollars, in all: the entries, and what was rolled up. A floating-point sum, to be read to the cent. */
  readonly totalUsd: number
  /** The entries by task, in no order. */
  readonly tasks: HashMap.HashMap<TaskId, TaskCost>
  /** US dollars of the tasks that have no entry any more. */
  readonly rolledUsd: number
  /** How many tasks have no entry any more. */
  readonly rolledTasks: number
  /** How many `Resync` came. Each may hide a result, so where this is not 0 the total is what it cost at least. */
  readonly gaps: number
  /** The options that it was made with. */
  readonly settings: Settings
  /** In which order tasks are let go. */
  readonly order: Roster.Order
}

/**
 * A ledger without entries.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options?: Options): CostLedger => ({
  totalUsd: 0,
  tasks: HashMap.empty(),
  rolledUsd: 0,
  rolledTasks: 0,
  gaps: 0,
  settings: {
    isTerminal: toPredicate(options?.terminal ?? TaskStatus.defaultTerminal),
    ...Roster.limitsOf({
      endedTimeToLive: options?.endedTimeToLive ?? "1 day",
      maxEnded: options?.maxEnded ?? 10_000,
      maxTasks: options?.maxTasks ?? 10_000
    })
  },
  order: Roster.emptyOrder
})

/**
 * The ledger after one event.
 *
 * **Details**
 *
 * What counts is an output of type `result` that is not partial, and its
 * `costUsd`. The protocol gives results no id, so:
 *
 * - A task has one result a run. A later one of the same run replaces the cost of
 *   that run.
 * - A new run begins when the status goes from a terminal one to another; its
 *   result then adds to what the runs before cost. A result may trail the update
 *   that ended its run.
 * - A result that equals the last one of the run before (in cost, duration,
 *   `isError` and content) is a repeat of it and is not counted, also when it
 *   comes after the new run began.
 * - An update whose `version` is not above the newest known is a repeat or comes
 *   too late, and begins no run.
 *
 * A `Resync` counts in `gaps`. `Connected`, `Disconnected` and everything else
 * change nothing. Every event rolls up the tasks whose time is over at `at`, the
 * time in milliseconds since 1970.
 *
 * **Gotchas**
 *
 * - Runs are told by updates. A feed of output alone (`Interest.output`), or one
 *   in which the update between two runs is lost, shows one run, and the second
 *   result replaces the first: the total is then too low, never too high. Ask for
 *   updates too (`Interest.task`), and look at `gaps`.
 * - A result that comes so late that the next run has begun counts for that run,
 *   until that run's own result replaces it.
 * - Costs of a run that has no result (one that was killed) are unknown to the
 *   feed.
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
export const update = (self: CostLedger, event: MeshEvent, at: number): CostLedger => {
  const updated =
    event._tag === "TaskUpdated"
      ? updateTask(self, event.taskId, (task) => onUpdate(task, event, at, self.settings))
      : event._tag === "TaskOutput" && Results.isResult(event)
        ? updateTask(self, event.taskId, (task) => onResult(task, event, at))
        : event._tag === "Resync"
          ? { ...self, gaps: self.gaps + 1 }
          : self
  let { rolledUsd, rolledTasks } = updated
  const trimmed = Roster.trim(updated, self.settings, at, "taskId" in event ? event.taskId : undefined, (task) => {
    rolledUsd += task.costUsd
    rolledTasks++
  })
  return trimmed === updated ? updated : { ...updated, ...pick(trimmed), rolledUsd, rolledTasks }
}

const pick = ({ tasks, order }: Roster.Roster<TaskCost>): Roster.Roster<TaskCost> => ({ tasks, order })

const updateTask = (self: CostLedger, taskId: TaskId, f: (task: TaskCost) => TaskCost): CostLedger => {
  const known = Option.getOrUndefined(HashMap.get(self.tasks, taskId))
  const before = known ?? { taskId, costUsd: 0, durationMs: 0, runs: 1, results: Results.none }
  const after = f(before)
  if (after === before) return self
  return {
    ...self,
    ...Roster.set(self, known, after),
    // Zero must not be added: a sum in floating point that nothing changed stays as it is.
    totalUsd: after.costUsd === before.costUsd ? self.totalUsd : self.totalUsd - before.costUsd + after.costUsd
  }
}

type Draft = { -readonly [K in keyof TaskCost]: TaskCost[K] }

const onUpdate = (self: TaskCost, update: TaskUpdated, at: number, { isTerminal }: Settings): TaskCost => {
  const change = Results.read(self, update, isTerminal)
  if (change === undefined) return self
  const draft: Draft = { ...self, lastEventAt: at }
  if (update.version !== undefined) draft.version = update.version
  if (change.status === undefined) return draft
  draft.status = change.status
  if (change.beginsRun) {
    draft.runs++
    draft.results = Results.beginRun(self.results)
    delete draft.endedAt
  }
  if (change.isTerminal) draft.endedAt ??= at
  return draft
}

const onResult = (self: TaskCost, output: TaskOutput, at: number): TaskCost => {
  const results = Results.add(self.results, output)
  return results === self.results
    ? self
    : { ...self, lastEventAt: at, results, costUsd: results.costUsd, durationMs: results.durationMs }
}

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
 * What one task cost, as long as it has an entry.
 *
 * **Example** (A task that nobody spoke of)
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
export const reducer = (options?: Options): Projection.Reducer<CostLedger, MeshEvent> => ({
  initial: make(options),
  fold
})

/**
 * The ledgers of a feed, one for each batch that changes it.
 *
 * **When to use**
 *
 * Use it for a cost meter, or for a budget that stops something.
 *
 * **Details**
 *
 * Emits as `Projection.scan` does, with the times of the `Clock`. `Connected` and
 * `Disconnected` change nothing; `Resync` counts in `gaps`. An update changes the
 * ledger too, because it may begin a run: put `Stream.map((ledger) =>
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
export const scan: {
  /** The ledgers of a feed: see `scan`. */
  <Arg extends Stream.Stream<MeshEvent, unknown, unknown> | Options = {}>(
    selfOrOptions?: Arg & NoUnknownOptions<Arg, Options>,
    options?: Options
  ): [Arg] extends [Stream.Stream<infer _A, infer E, infer R>]
    ? Stream.Stream<CostLedger, E, R>
    : <A extends MeshEvent, E, R>(self: Stream.Stream<A, E, R>) => Stream.Stream<CostLedger, E, R>
} = dual(
  (args) => Stream.isStream(args[0]),
  <A extends MeshEvent, E, R>(self: Stream.Stream<A, E, R>, options?: Options): Stream.Stream<CostLedger, E, R> =>
    Projection.scan(self, reducer(options))
)

/**
 * Keeps a ledger up to date in a fiber of the scope.
 *
 * **Details**
 *
 * See `Projection.run` for what it gives and where a failure of the feed shows.
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
export const run: {
  /** Keeps a ledger up to date in a fiber of the scope: see `run`. */
  <Arg extends Stream.Stream<MeshEvent, unknown, unknown> | Options = {}>(
    selfOrOptions?: Arg & NoUnknownOptions<Arg, Options>,
    options?: Options
  ): [Arg] extends [Stream.Stream<infer _A, infer E, infer R>]
    ? Effect.Effect<Projection.Projection<CostLedger, E>, never, R | Scope.Scope>
    : <A extends MeshEvent, E, R>(
        self: Stream.Stream<A, E, R>
      ) => Effect.Effect<Projection.Projection<CostLedger, E>, never, R | Scope.Scope>
} = dual(
  (args) => Stream.isStream(args[0]),
  <A extends MeshEvent, E, R>(
    self: Stream.Stream<A, E, R>,
    options?: Options
  ): Effect.Effect<Projection.Projection<CostLedger, E>, never, R | Scope.Scope> =>
    Projection.run(self, reducer(options))
)
