/**
 * Searches for unknown faults: runs whole programs in virtual time against a
 * `ScriptedMesh` under generated schedules, and checks invariants after every
 * step.
 *
 * A run is a pure function of its seed, which determines the schedule, the
 * program's random numbers and the clock. A failing schedule is shrunk until
 * every remaining part is needed, and is reported with the seed that repeats it.
 *
 * `meshStream` and `meshClient` are the toolkit's own programs. To simulate a
 * program of your own, describe how it starts (`Program`).
 *
 * @since 0.1.0
 */
import * as Arbitrary from "effect/Arbitrary"
import * as Effect from "effect/Effect"
import type * as Socket from "effect/socket/Socket"
import * as ClientProgram from "./internal/simulation/clientProgram.ts"
import * as PairProgram from "./internal/simulation/pairProgram.ts"
import type { Moment, Outcome, Program, Schedule, Violation, World } from "./internal/simulation/program.ts"
import * as RepairProgram from "./internal/simulation/repairProgram.ts"
import * as Report from "./internal/simulation/report.ts"
import * as Run from "./internal/simulation/run.ts"
import * as Schedules from "./internal/simulation/schedules.ts"
import * as StreamProgram from "./internal/simulation/streamProgram.ts"

export type {
  /**
   * The program itself acts: for example, a consumer joins, leaves or stalls.
   *
   * @category models
   * @since 0.1.0
   */
  Act,
  /**
   * The server emits messages. Each message has a unique number: in `updatedBy` of
   * an update, `content` of an output, `message` of an error.
   *
   * @category models
   * @since 0.1.0
   */
  Emit,
  /**
   * When a program is judged: after a step (`step`); at the end, after every fault
   * was healed, minutes have passed, and the server has sent messages of every task
   * (`healed`); and again after a reconnect without faults (`reconnected`).
   *
   * @category models
   * @since 0.1.0
   */
  Moment,
  /**
   * The result of a search: no violation, or the smallest failing schedule that was
   * found.
   *
   * @category models
   * @since 0.1.0
   */
  Outcome,
  /**
   * A program, and how to start it. Its scope is that of the run: when it closes, no
   * fiber and no connection of the program may be left.
   *
   * @category models
   * @since 0.1.0
   */
  Program,
  /**
   * The server refuses the next dial with status 403, which ends a program with the
   * default policy.
   *
   * @category models
   * @since 0.2.0
   */
  Reject,
  /**
   * A running program.
   *
   * @category models
   * @since 0.1.0
   */
  Running,
  /**
   * The steps of a run, and the settings of its server and scheduler.
   *
   * @category models
   * @since 0.1.0
   */
  Schedule,
  /**
   * One step of a schedule.
   *
   * @category models
   * @since 0.1.0
   */
  Step,
  /**
   * The environment of a program under simulation.
   *
   * @category models
   * @since 0.1.0
   */
  World
} from "./internal/simulation/program.ts"

export {
  /**
   * An invariant was violated.
   *
   * @category errors
   * @since 0.1.0
   */
  Violation
} from "./internal/simulation/program.ts"

// ---------------------------------------------------------------------------
// programs
// ---------------------------------------------------------------------------

/**
 * Makes a program without actions from an effect.
 *
 * **Details**
 *
 * The effect runs in the background of each run. `judge` is called after every
 * step, in addition to the checks for every program, and returns a description of
 * what is wrong. It is no violation if the effect ends, successfully or not.
 *
 * **Example** (A program that must never lose count)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Stream from "effect/Stream"
 * import * as Interest from "@makima-stream/core/Interest"
 * import * as MeshStream from "@makima-stream/core/MeshStream"
 * import * as Simulation from "@makima-stream/test-kit/Simulation"
 *
 * const program = Simulation.fromEffect("a follower", () =>
 *   MeshStream.connect({ interest: Interest.all }).pipe(Stream.runDrain)
 * )
 * Effect.runPromise(Simulation.check(program, 1)).then((outcome) => console.log(outcome._tag)) // Passed
 * ```
 *
 * @category programs
 * @since 0.1.0
 */
export const fromEffect = <E>(
  name: string,
  program: (world: World) => Effect.Effect<unknown, E, Socket.Socket>,
  judge?: (world: World, moment: Moment) => Effect.Effect<string | undefined>
): Program<never> => ({
  name,
  start: (world) =>
    Effect.as(Effect.forkScoped(program(world)), {
      act: () => Effect.void,
      judge: (moment) => (judge === undefined ? Effect.succeed(undefined) : judge(world, moment)),
      release: Effect.void
    })
})

// ---------------------------------------------------------------------------
// runs
// ---------------------------------------------------------------------------

/**
 * Runs a program under a schedule, and fails with the first violation.
 *
 * **Details**
 *
 * Checked after every step: the program's own `judge`; at most `maxConnections`
 * connections at a time; no request is repeated on a connection; all fibers
 * eventually wait while the clock stands still.
 *
 * After the last step every fault is healed and minutes pass. Then the program's
 * own `judge` must be satisfied; a reconnect must not change the number of fibers;
 * and after its scope has closed, no connection and no fiber may be left, and no
 * dial may follow within an hour.
 *
 * **Example** (A hand-written schedule)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Stream from "effect/Stream"
 * import * as Interest from "@makima-stream/core/Interest"
 * import * as MeshStream from "@makima-stream/core/MeshStream"
 * import * as Simulation from "@makima-stream/test-kit/Simulation"
 *
 * const program = Simulation.fromEffect("a follower", () =>
 *   MeshStream.connect({ interest: Interest.all }).pipe(Stream.runDrain)
 * )
 * const run = Simulation.run(
 *   program,
 *   {
 *     maxBatch: 4,
 *     nameTasks: true,
 *     steps: [
 *       { _tag: "Emit", what: "update", task: "a", times: 3 },
 *       { _tag: "Kill", drop: true },
 *       { _tag: "Advance", millis: 5000 }
 *     ]
 *   },
 *   1
 * )
 * Effect.runPromise(run).then(() => console.log("no violation")) // no violation
 * ```
 *
 * @category running
 * @since 0.1.0
 */
export const run = <Action>(
  program: Program<Action>,
  schedule: Schedule<Action>,
  seed: number
): Effect.Effect<void, Violation> => Run.run(program, schedule, seed)

// ---------------------------------------------------------------------------
// searching
// ---------------------------------------------------------------------------

/**
 * Options of a search.
 *
 * @category options
 * @since 0.1.0
 */
export interface CheckOptions {
  /** The most smaller schedules to try after a failure. Defaults to 1,000. */
  readonly maxShrinks?: number
}

/**
 * Runs a program under the schedule that a seed generates. The same seed returns
 * the same outcome.
 *
 * **Example** (The toolkit's own stream under the schedule of seed 1)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Simulation from "@makima-stream/test-kit/Simulation"
 *
 * Effect.runPromise(Simulation.check(Simulation.meshStream, 1)).then((outcome) => console.log(outcome._tag)) // Passed
 * ```
 *
 * @category searching
 * @since 0.1.0
 */
export const check = <Action>(
  program: Program<Action>,
  seed: number,
  options?: CheckOptions
): Effect.Effect<Outcome<Action>> =>
  Arbitrary.checkEffect(Schedules.scheduleOf(program), (schedule) => Effect.as(run(program, schedule, seed), true), {
    runs: 1,
    seed,
    size: Schedules.maxLength,
    maxShrinks: options?.maxShrinks ?? 1000
  }).pipe(
    Effect.map((result): Outcome<Action> => {
      if (result._tag !== "Falsified" || result.failure._tag !== "PropertyError") return { _tag: "Passed" }
      return {
        _tag: "Failed",
        program: program.name,
        seed,
        violation: result.failure.error,
        schedule: result.shrunkInput,
        generatedSteps: result.initialInput.steps.length
      }
    })
  )

/**
 * Returns an outcome as readable text: the violation, and the smallest schedule
 * that shows it.
 *
 * **Example** (A search through many seeds)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Simulation from "@makima-stream/test-kit/Simulation"
 *
 * const program = Effect.gen(function* () {
 *   for (let seed = 1; seed <= 20; seed++) {
 *     const outcome = yield* Simulation.check(Simulation.meshClient, seed)
 *     if (outcome._tag === "Failed") return Simulation.format(outcome)
 *   }
 *   return "Nothing was found."
 * })
 * Effect.runPromise(program).then(console.log) // Nothing was found.
 * ```
 *
 * @category searching
 * @since 0.1.0
 */
export const format: <Action>(outcome: Outcome<Action>) => string = Report.format

// ---------------------------------------------------------------------------
// the toolkit's own programs
// ---------------------------------------------------------------------------

/**
 * A `MeshStream` with a consumer that joins, leaves, stalls, dies and changes its
 * interest.
 *
 * **Details**
 *
 * Checked in addition to the invariants of every program:
 *
 * - The consumer saw every frame that it pulled, in order, once, with `Connected`,
 *   `Disconnected` and `Resync` in their places.
 * - It is never further behind than one pull.
 * - It saw what arrived on a connection before the end of that connection.
 * - Attempts are counted and delayed as the default policy defines.
 * - After healing, the server's subscriptions are those that the consumer wants.
 *
 * @category programs
 * @since 0.1.0
 */
export const meshStream: Program<StreamProgram.Action> = StreamProgram.program

/**
 * A `MeshClient` with up to four consumers of all kinds and overflow policies,
 * which join, leave, stall and die, and with occasional calls of `reconnect`.
 *
 * **Details**
 *
 * Checked in addition to the invariants of every program:
 *
 * - Each consumer saw the pulled frames that it wants, in order, once. A `Resync`
 *   for `Overflow` stands for as many of them as it counts.
 * - A consumer with the policy `suspend` is never further behind than its queue.
 * - Only a consumer with the policy `fail` fails.
 * - Attempts are counted and delayed as the default policy defines.
 * - After healing, the server's subscriptions are the union of what the consumers
 *   want; without consumers there is no connection.
 *
 * @category programs
 * @since 0.1.0
 */
export const meshClient: Program<ClientProgram.Action> = ClientProgram.program

/**
 * A `MeshStream` with a `Repair`, and a snapshot server that is slow, stale within a
 * bound, failing or partial.
 *
 * **Details**
 *
 * Checked in addition to the invariants of every program:
 *
 * - Without what the repair adds, the consumer saw every frame that it pulled, in order,
 *   once.
 * - No fetch began between `Connected` and the mark of a connection, and there are not
 *   more fetches than marks.
 * - A `Restated` is above every version that has passed of its task. None is `gone`,
 *   since no list is complete.
 * - A `Repaired` names only marks from before its fetch began, and leaves a mark open
 *   that came later. After it, no task is below what the server had sent when the fetch
 *   began, unless the snapshot was stale or left the task out.
 * - The last mark is followed by a `Repaired` or a `RepairFailed`; after healing, each
 *   task has the version that the server has.
 *
 * @category programs
 * @since 0.2.0
 */
export const repair: Program<RepairProgram.Action> = RepairProgram.program

/**
 * A `MeshClient` with two connections (`Merge.connections`) and up to two consumers,
 * under faults of both connections and of each of them.
 *
 * **Details**
 *
 * Checked in addition to the invariants of every program:
 *
 * - Each consumer saw everything that the server emitted, in order, once, or there is
 *   a mark at the place (`MergeAudit`).
 * - When a connection is lost while both are aligned, no mark follows.
 * - Two dials are at least a second apart.
 *
 * @category programs
 * @since 0.2.0
 */
export const meshPair: Program<PairProgram.Action> = PairProgram.program
