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
import * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Metric from "effect/Metric"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Socket from "effect/socket/Socket"
import * as TestClock from "effect/testing/TestClock"
import type { ServerMessage } from "@makima-stream/core/ServerMessage"
import * as FaultSchedule from "./FaultSchedule.ts"
import * as ClientProgram from "./internal/simulation/clientProgram.ts"
import * as Interests from "./internal/simulation/interests.ts"
import * as PairProgram from "./internal/simulation/pairProgram.ts"
import * as RepairProgram from "./internal/simulation/repairProgram.ts"
import * as StreamProgram from "./internal/simulation/streamProgram.ts"
import * as Virtual from "./internal/simulation/virtual.ts"
import * as Wire from "./internal/simulation/wire.ts"
import * as ScriptedMesh from "./ScriptedMesh.ts"

// ---------------------------------------------------------------------------
// schedules
// ---------------------------------------------------------------------------

/**
 * The server emits messages. Each message has a unique number: in `updatedBy` of
 * an update, `content` of an output, `message` of an error.
 *
 * @category models
 * @since 0.1.0
 */
export interface Emit {
  readonly _tag: "Emit"
  /** An update (`running`), the last update of a task (`done`), an output, a partial output, or a server's error. */
  readonly what: "update" | "done" | "output" | "partial" | "error"
  /** The task of the messages. */
  readonly task: "a" | "b" | "c"
  /** How many messages. */
  readonly times: number
}

/**
 * The program itself acts: for example, a consumer joins, leaves or stalls.
 *
 * @category models
 * @since 0.1.0
 */
export interface Act<Action> {
  readonly _tag: "Act"
  /** The action, a value that the program defines. */
  readonly action: Action
}

/**
 * The server refuses the next dial with status 403, which ends a program with the
 * default policy.
 *
 * @category models
 * @since 0.2.0
 */
export interface Reject {
  readonly _tag: "Reject"
}

/**
 * One step of a schedule.
 *
 * @category models
 * @since 0.1.0
 */
export type Step<Action> = FaultSchedule.Fault | Emit | Act<Action> | Reject

/**
 * The steps of a run, and the settings of its server and scheduler.
 *
 * @category models
 * @since 0.1.0
 */
export interface Schedule<Action> {
  /** The most frames that one pull returns. */
  readonly maxBatch: number
  /** Whether acknowledgements name their task. */
  readonly nameTasks: boolean
  /**
   * Whether the scheduler yields at random steps of every fiber. Shows races between
   * operations that normally run without a yield. Defaults to `false`.
   *
   * @since 0.2.0
   */
  readonly yields?: boolean
  /** The steps, in order. Before each step, all fibers run until they wait. */
  readonly steps: ReadonlyArray<Step<Action>>
}

/** One of twenty numbers, each with the same probability. */
const kind = Arbitrary.schema(Schema.Literals([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19]))

const int = (minimum: number, maximum: number): Arbitrary.Arbitrary<number> =>
  Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum, maximum })))

const emit: Arbitrary.Arbitrary<Emit> = Arbitrary.schema(
  Schema.TaggedStruct("Emit", {
    what: Schema.Literals(["update", "update", "done", "output", "output", "partial", "error"]),
    task: Schema.Literals(Interests.taskNames),
    times: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 12 }))
  })
)

const { Advance: _, StepClock: __, ...faults } = FaultSchedule.Fault.cases

/** Short and long times, and those around a threshold: five seconds of uptime, a heartbeat, a backoff. */
const advance: Arbitrary.Arbitrary<FaultSchedule.Fault> = Arbitrary.schema(
  Schema.TaggedStruct("Advance", {
    millis: Schema.Literals([
      1, 10, 100, 500, 1000, 1500, 2000, 3000, 4000, 4999, 5000, 6000, 8000, 10_000, 15_000, 25_000, 30_000, 40_000,
      60_000, 120_000
    ])
  })
)

/** `TestClock` delays sleeps by a step back, so these are short: every sleep must end before the run does. */
const StepClock = Schema.TaggedStruct("StepClock", {
  millis: Schema.Literals([-60_000, -10_000, -1000, 1000, 10_000, 60_000, 3_600_000])
})

const stepClock: Arbitrary.Arbitrary<FaultSchedule.Fault> = Arbitrary.schema(StepClock)

const fault: Arbitrary.Arbitrary<FaultSchedule.Fault> = Arbitrary.schema(Schema.Union(Object.values(faults)))

/** Faults that make a program dial, or that fail its dials. Consecutive ones exercise the backoff. */
const cut: Arbitrary.Arbitrary<FaultSchedule.Fault> = Arbitrary.schema(
  Schema.Union([faults.Kill, faults.Close, faults.Refuse])
)

/** A fatal refusal of the next dial. */
const fatal: Arbitrary.Arbitrary<Reject> = Arbitrary.schema(Schema.TaggedStruct("Reject", {}))

const stepOf = <Action>(action: Arbitrary.Arbitrary<Action> | undefined): Arbitrary.Arbitrary<Step<Action>> => {
  const act: Arbitrary.Arbitrary<Step<Action>> =
    action === undefined ? emit : Arbitrary.map(action, (action) => ({ _tag: "Act", action }))
  return Arbitrary.flatMap(kind, (kind): Arbitrary.Arbitrary<Step<Action>> => {
    if (kind < 5) return emit
    if (kind < 9) return advance
    if (kind < 14) return act
    if (kind < 16) return cut
    if (kind < 17) return fatal
    // Frequent, because a step shows only between the start of a duration and its end.
    return kind < 18 ? stepClock : fault
  })
}

/** The most steps that a generated schedule has, in each of three parts. */
const maxSteps = 14

const scheduleOf = <Action>(program: Program<Action>): Arbitrary.Arbitrary<Schedule<Action>> => {
  // Generators prefer their bounds: a single part would be empty in every fourth schedule.
  const part = Arbitrary.array(stepOf(program.action), { maxLength: maxSteps })
  return Arbitrary.map(
    Arbitrary.all([int(1, 8), Arbitrary.schema(Schema.Boolean), Arbitrary.schema(Schema.Boolean), part, part, part]),
    ([maxBatch, nameTasks, yields, ...parts]) => ({ maxBatch, nameTasks, yields, steps: parts.flat() })
  )
}

// ---------------------------------------------------------------------------
// programs
// ---------------------------------------------------------------------------

/**
 * The environment of a program under simulation.
 *
 * @category models
 * @since 0.1.0
 */
export interface World {
  /** The server. The `Socket` that leads to it is in the context. */
  readonly mesh: ScriptedMesh.ScriptedMesh["Service"]
  /**
   * The times at which the program dialled, in milliseconds on the monotonic clock.
   *
   * @since 0.2.0
   */
  readonly dials: () => ReadonlyArray<number>
  /**
   * Whether the scheduler yields at random, so that time may pass inside an operation
   * that otherwise takes no time.
   *
   * @since 0.2.0
   */
  readonly yields: boolean
}

/**
 * When a program is judged: after a step (`step`); at the end, after every fault
 * was healed, minutes have passed, and the server has sent messages of every task
 * (`healed`); and again after a reconnect without faults (`reconnected`).
 *
 * @category models
 * @since 0.1.0
 */
export type Moment = "step" | "healed" | "reconnected"

/**
 * A running program.
 *
 * @category models
 * @since 0.1.0
 */
export interface Running<Action> {
  /** Performs an action of the program. */
  readonly act: (action: Action) => Effect.Effect<void>
  /** Checks the program. Returns a description of the first violation, or `undefined`. */
  readonly judge: (moment: Moment) => Effect.Effect<string | undefined>
  /** Ends what the program's own actions block, such as stalled consumers. */
  readonly release: Effect.Effect<void>
}

/**
 * A program, and how to start it. Its scope is that of the run: when it closes, no
 * fiber and no connection of the program may be left.
 *
 * @category models
 * @since 0.1.0
 */
export interface Program<Action> {
  /** Its name in reports. */
  readonly name: string
  /** The actions that a schedule may contain. Defaults to none. */
  readonly action?: Arbitrary.Arbitrary<Action>
  /** Starts it in the background, in the current scope. */
  readonly start: (world: World) => Effect.Effect<Running<Action>, never, Socket.Socket | Scope.Scope>
  /** The most connections that it may have at the same time. Defaults to 1. */
  readonly maxConnections?: number
}

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
 * An invariant was violated.
 *
 * @category errors
 * @since 0.1.0
 */
export class Violation extends Data.TaggedError("Violation")<{
  /** The number of completed steps. Above the length of the schedule for the phases after it. */
  readonly step: number
  /** A description of the violation. */
  readonly detail: string
}> {
  /** A description of the violation. */
  override get message(): string {
    return this.detail
  }
}

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
): Effect.Effect<void, Violation> =>
  Virtual.run({ seed, yields: schedule.yields === true }, ({ fibers, settle }) =>
    Effect.gen(function* () {
      const { maxBatch, nameTasks, steps } = schedule
      const mesh = yield* ScriptedMesh.make({ maxBatch, nameTasks })
      const wire = Wire.make(mesh, program.maxConnections ?? 1)
      const scope = yield* Scope.fork(yield* Effect.scope)
      const says = speaker()
      let step = 0

      const violation = (detail: string) => new Violation({ step, detail })
      const inProgram = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
        effect.pipe(Effect.provideService(Metric.FiberRuntimeMetrics, fibers), Scope.provide(scope))

      const rest = Effect.flatMap(settle, (still) =>
        still ? Effect.void : Effect.fail(violation("the program never comes to rest while time stands still"))
      )
      const pass = (millis: number) => Effect.andThen(TestClock.adjust(millis), rest)
      const look = (moment: Moment) =>
        Effect.gen(function* () {
          yield* rest
          const wrong = (yield* wire.look) ?? (yield* running.judge(moment))
          if (wrong !== undefined) return yield* violation(wrong)
        })

      const perform = (next: Step<Action>): Effect.Effect<void> => {
        switch (next._tag) {
          case "Emit":
            return mesh.emit(...says(next))
          case "Reject":
            return mesh.refuse(1, 403)
          case "Act":
            return inProgram(running.act(next.action))
          default:
            return FaultSchedule.apply(mesh, next)
        }
      }

      const running = yield* inProgram(
        Effect.provideService(
          program.start({ mesh, dials: wire.dials, yields: schedule.yields === true }),
          Socket.Socket,
          wire.socket
        )
      )
      yield* look("step")
      for (const next of steps) {
        yield* perform(next)
        step++
        yield* look("step")
      }

      step++
      yield* mesh.heal
      yield* running.release
      yield* look("step")
      yield* pass(5 * minute)
      yield* look("step")
      const everything: Array<Emit> = Interests.taskNames.flatMap((task) =>
        (["update", "output"] as const).map((what) => ({ _tag: "Emit", what, task, times: 1 }) as const)
      )
      for (const each of everything) yield* perform(each)
      yield* pass(5 * minute)
      for (const each of everything) yield* perform(each)
      yield* look("healed")

      step++
      const reconnect = mesh
        .kill()
        .pipe(
          Effect.andThen(rest),
          Effect.andThen(pass(5 * minute)),
          Effect.andThen(look("reconnected")),
          Effect.map(fibers.alive)
        )
      // The first reconnect may end a consumer with the policy `fail`.
      const before = yield* reconnect
      const after = yield* reconnect
      if (after !== before) return yield* violation(`a reconnect turned ${before} fibers into ${after}`)

      step++
      yield* Scope.close(scope, Exit.void)
      yield* rest
      const open = (yield* mesh.connections).filter(({ open }) => open)
      if (open.length > 0) return yield* violation("a connection is open after the program's scope has closed")
      if (fibers.alive() !== 0) {
        return yield* violation(`${fibers.alive()} fibers are left after the program's scope has closed`)
      }
      const dials = (yield* mesh.dials).length
      yield* pass(60 * minute)
      if ((yield* mesh.dials).length !== dials) {
        return yield* violation("the program dials after its scope has closed")
      }
    })
  ).pipe(
    Effect.catchCause((cause) => {
      const failure = cause.reasons.find(Cause.isFailReason)
      return Effect.fail(failure?.error ?? new Violation({ step: -1, detail: `a defect: ${Cause.pretty(cause)}` }))
    })
  )

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
 * The result of a search: no violation, or the smallest failing schedule that was
 * found.
 *
 * @category models
 * @since 0.1.0
 */
export type Outcome<Action> =
  | { readonly _tag: "Passed" }
  | {
      readonly _tag: "Failed"
      /** The program's name. */
      readonly program: string
      /** The seed that reproduces the violation. */
      readonly seed: number
      /** The violation under the smallest schedule. */
      readonly violation: Violation
      /** The smallest schedule found. */
      readonly schedule: Schedule<Action>
      /** The number of steps before shrinking. */
      readonly generatedSteps: number
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
  Arbitrary.checkEffect(scheduleOf(program), (schedule) => Effect.as(run(program, schedule, seed), true), {
    runs: 1,
    seed,
    size: 3 * maxSteps,
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
export const format = <Action>(outcome: Outcome<Action>): string => {
  if (outcome._tag === "Passed") return "Nothing was found."
  const { generatedSteps, program, schedule, seed, violation } = outcome
  const { maxBatch, nameTasks, steps } = schedule
  const lines = steps.map((step, index) => {
    const here = index + 1 === violation.step ? "   <-- here" : ""
    return `  ${String(index + 1).padStart(2)}. ${showStep(step)}${here}`
  })
  const where =
    violation.step < 0 || violation.step <= steps.length ? "" : " (after the schedule: while healing, or at the end)"
  return [
    `${program}, seed ${seed}: ${violation.message}${where}`,
    `The smallest schedule found, ${steps.length} of ${generatedSteps} steps, with pulls of ${maxBatch} frames and acknowledgements that ${
      nameTasks ? "name" : "do not name"
    } their task${schedule.yields === true ? ", and a scheduler that yields at random" : ""}:`,
    ...lines
  ].join("\n")
}

const showStep = <Action>(step: Step<Action>): string => {
  const { _tag, ...members } = step._tag === "Act" ? { _tag: step._tag, ...toRecord(step.action) } : step
  const said = Object.entries(members).map(([key, value]) => `${key}: ${JSON.stringify(value)}`)
  return said.length === 0 ? _tag : `${_tag} ${said.join(", ")}`
}

const toRecord = (action: unknown): object => (typeof action === "object" && action !== null ? action : { action })

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

const minute = 60_000

/** Makes the messages of a run, each with a unique number. */
const speaker = () => {
  const versions = new Map<string, number>()
  let number = 0
  return ({ task, times, what }: Emit): ReadonlyArray<ServerMessage> =>
    Array.from({ length: times }, (): ServerMessage => {
      const id = `#${++number}`
      const taskId = Interests.taskOf(task)
      switch (what) {
        case "update":
        case "done": {
          const version = (versions.get(task) ?? 0) + 1
          versions.set(task, version)
          return { _tag: "TaskUpdated", taskId, version, status: what === "done" ? "done" : "running", updatedBy: id }
        }
        case "output":
          return { _tag: "TaskOutput", taskId, messageType: "assistant", content: id }
        case "partial":
          return { _tag: "TaskOutput", taskId, messageType: "assistant", content: id, isPartial: true }
        case "error":
          return { _tag: "ServerError", code: "SIMULATED", message: id }
      }
    })
}
