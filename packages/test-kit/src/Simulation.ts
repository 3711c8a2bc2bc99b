/**
 * A search for the faults that nobody thought of: whole programs, run in virtual
 * time against a `ScriptedMesh` under generated schedules, with what must always
 * hold checked after every step.
 *
 * A run is a pure function of its seed: the schedule, the program's own chance
 * and the clock come from it. A failure is made smaller until no part of its
 * schedule can be left out, and is reported with the seed that repeats it.
 *
 * `meshStream` and `meshClient` are the toolkit's own programs. A program of
 * your own takes part by saying how it starts (`Program`).
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
import * as StreamProgram from "./internal/simulation/streamProgram.ts"
import * as Virtual from "./internal/simulation/virtual.ts"
import * as Wire from "./internal/simulation/wire.ts"
import * as ScriptedMesh from "./ScriptedMesh.ts"

// ---------------------------------------------------------------------------
// schedules
// ---------------------------------------------------------------------------

/**
 * The server says something. Each message is told from every other by a number:
 * `updatedBy` of an update, `content` of an output, `message` of an error.
 *
 * @category models
 * @since 0.1.0
 */
export interface Emit {
  readonly _tag: "Emit"
  /** An update (`running`), the last update of a task (`done`), an output, a partial output, or a server's error. */
  readonly what: "update" | "done" | "output" | "partial" | "error"
  /** The task that it is about. */
  readonly task: "a" | "b" | "c"
  /** How many messages. */
  readonly times: number
}

/**
 * The program does something of its own: a consumer comes, goes, stalls.
 *
 * @category models
 * @since 0.1.0
 */
export interface Act<Action> {
  readonly _tag: "Act"
  /** What it does, in the program's own terms. */
  readonly action: Action
}

/**
 * The server refuses the next dial for good: with status 403, which ends a
 * program that has the default policy.
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
 * What happens in a run, and in which kind of world.
 *
 * @category models
 * @since 0.1.0
 */
export interface Schedule<Action> {
  /** How many frames a pull brings at most. */
  readonly maxBatch: number
  /** Whether acknowledgements name their task. */
  readonly nameTasks: boolean
  /**
   * Whether the scheduler yields at random steps of every fiber, also between two
   * that look like one. Defaults to `false`.
   *
   * @since 0.2.0
   */
  readonly yields?: boolean
  /** What happens, one after the other. Between two steps the program comes to rest. */
  readonly steps: ReadonlyArray<Step<Action>>
}

/** One of twenty, each as often as the others. */
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

/** Moments and minutes, and the times around which something happens: five seconds of uptime, a heartbeat, a backoff. */
const advance: Arbitrary.Arbitrary<FaultSchedule.Fault> = Arbitrary.schema(
  Schema.TaggedStruct("Advance", {
    millis: Schema.Literals([
      1, 10, 100, 500, 1000, 1500, 2000, 3000, 4000, 4999, 5000, 6000, 8000, 10_000, 15_000, 25_000, 30_000, 40_000,
      60_000, 120_000
    ])
  })
)

/** `TestClock` delays sleeps by a step back, so these are short: whatever sleeps must wake before a run ends. */
const StepClock = Schema.TaggedStruct("StepClock", {
  millis: Schema.Literals([-60_000, -10_000, -1000, 1000, 10_000, 60_000, 3_600_000])
})

const fault: Arbitrary.Arbitrary<FaultSchedule.Fault> = Arbitrary.schema(
  Schema.Union([...Object.values(faults), StepClock])
)

/** What makes a program dial, or keeps it from getting through: several in a row are what a backoff is for. */
const cut: Arbitrary.Arbitrary<FaultSchedule.Fault> = Arbitrary.schema(
  Schema.Union([faults.Kill, faults.Close, faults.Refuse])
)

/** A refusal for good, and something that makes a program dial. */
const fatal: Arbitrary.Arbitrary<Reject> = Arbitrary.schema(Schema.TaggedStruct("Reject", {}))

const stepOf = <Action>(action: Arbitrary.Arbitrary<Action> | undefined): Arbitrary.Arbitrary<Step<Action>> => {
  const act: Arbitrary.Arbitrary<Step<Action>> =
    action === undefined ? emit : Arbitrary.map(action, (action) => ({ _tag: "Act", action }))
  return Arbitrary.flatMap(kind, (kind): Arbitrary.Arbitrary<Step<Action>> => {
    if (kind < 5) return emit
    if (kind < 9) return advance
    if (kind < 14) return act
    if (kind < 16) return cut
    return kind < 17 ? fatal : fault
  })
}

/** The most steps that a generated schedule has, in each of three parts. */
const maxSteps = 14

const scheduleOf = <Action>(program: Program<Action>): Arbitrary.Arbitrary<Schedule<Action>> => {
  // A generator likes its bounds: one part alone would be empty in every fourth schedule.
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
 * What a program under simulation finds around it.
 *
 * @category models
 * @since 0.1.0
 */
export interface World {
  /** The server. The `Socket` that leads to it is in the context. */
  readonly mesh: ScriptedMesh.ScriptedMesh["Service"]
  /**
   * When the program dialled, in milliseconds on the monotonic clock.
   *
   * @since 0.2.0
   */
  readonly dials: () => ReadonlyArray<number>
}

/**
 * When a program is judged: after a step; at the end, when every fault is over,
 * minutes have passed, and the server has said something of every task since
 * (`healed`); and once more after a reconnect without faults (`reconnected`).
 *
 * @category models
 * @since 0.1.0
 */
export type Moment = "step" | "healed" | "reconnected"

/**
 * A program that runs.
 *
 * @category models
 * @since 0.1.0
 */
export interface Running<Action> {
  /** Does something of the program's own. */
  readonly act: (action: Action) => Effect.Effect<void>
  /** Looks for what is wrong, in words. */
  readonly judge: (moment: Moment) => Effect.Effect<string | undefined>
  /** Ends whatever keeps the program itself from going on, such as consumers that stall. */
  readonly release: Effect.Effect<void>
}

/**
 * A program, and how to start it. Its scope is the run's: when it closes,
 * nothing of the program may be left.
 *
 * @category models
 * @since 0.1.0
 */
export interface Program<Action> {
  /** What it is called in a report. */
  readonly name: string
  /** What it may be told to do in the middle of a run. Default: nothing. */
  readonly action?: Arbitrary.Arbitrary<Action>
  /** Starts it, in the background of the scope. */
  readonly start: (world: World) => Effect.Effect<Running<Action>, never, Socket.Socket | Scope.Scope>
  /** How many connections it may have at a time. Default: 1. */
  readonly maxConnections?: number
}

/**
 * A program that is one effect, and is told nothing.
 *
 * **Details**
 *
 * The effect runs in the background of each run. `judge` is what must hold after
 * every step, besides what holds for every program: it gives what is wrong, in
 * words. An effect that ends, whatever with, is no violation by itself.
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
 * Something that must always hold did not.
 *
 * @category errors
 * @since 0.1.0
 */
export class Violation extends Data.TaggedError("Violation")<{
  /** After how many steps of the schedule; the number of steps and more for what comes after them. */
  readonly step: number
  /** What was wrong. */
  readonly detail: string
}> {
  /** What was wrong. */
  override get message(): string {
    return this.detail
  }
}

/**
 * Runs a program under a schedule, and fails with the first violation.
 *
 * **Details**
 *
 * Checked after every step: what the program judges; no more than
 * `maxConnections` connections at a time; nothing is asked for twice on a
 * connection; the program comes to rest while time stands still.
 *
 * After the last step every fault is healed and minutes pass. Then the program
 * has to be back in order, by its own judgement; a reconnect must leave as many
 * fibers as there were; and when its scope closes, no connection, no fiber and
 * no dial may be left, an hour long.
 *
 * **Example** (A schedule of one's own)
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
 * Effect.runPromise(run).then(() => console.log("well")) // well
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
        Effect.provideService(program.start({ mesh, dials: wire.dials }), Socket.Socket, wire.socket)
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
      // The first one may cost a consumer that chose to fail its life.
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
        return yield* violation("somebody dials after the program's scope has closed")
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
  /** How many smaller schedules are tried at most once one has failed. Default: 1,000. */
  readonly maxShrinks?: number
}

/**
 * What a search found: nothing, or a schedule under which something that must
 * always hold did not, and the smallest one found from there.
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
      /** The seed that shows it. */
      readonly seed: number
      /** What was wrong, under the smallest schedule. */
      readonly violation: Violation
      /** The smallest schedule found. */
      readonly schedule: Schedule<Action>
      /** How many steps the schedule had before it was made smaller. */
      readonly generatedSteps: number
    }

/**
 * Runs a program under the schedule of a seed. The same seed gives the same run,
 * and the same outcome.
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
 * What was found, for a person: what was wrong, and the smallest schedule that
 * shows it.
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
    violation.step < 0 || violation.step <= steps.length
      ? ""
      : " (in what follows every schedule: healing, and the end)"
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
 * A `MeshStream` whose consumer comes, goes, stalls, dies and changes what it
 * wants.
 *
 * **Details**
 *
 * Judged besides what holds for every program: the consumer saw every frame that
 * it pulled, in order, once, with `Connected`, `Disconnected` and `Resync` where
 * they belong; it is never further behind than one pull; what arrived before the
 * end of a connection was seen before it; attempts are counted and spaced as the
 * default policy says; when all is well, the wire has what is wanted.
 *
 * @category programs
 * @since 0.1.0
 */
export const meshStream: Program<StreamProgram.Action> = StreamProgram.program

/**
 * A `MeshClient` with up to four consumers of all kinds and overflow policies,
 * that come, go, stall and die, and a `reconnect` now and then.
 *
 * **Details**
 *
 * Judged besides what holds for every program: each consumer saw what was for it
 * of the frames that were pulled, in order, once, where a `Resync` for `Overflow`
 * stands for as many as it says; a consumer that suspends is never further behind
 * than its queue; nobody fails but who chose to; attempts are counted and spaced
 * as the default policy says; when all is well, the wire has the union of what
 * the consumers want, and with no consumer left there is no connection.
 *
 * @category programs
 * @since 0.1.0
 */
export const meshClient: Program<ClientProgram.Action> = ClientProgram.program

const minute = 60_000

/** Makes the messages of a run, each with a number of its own. */
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
