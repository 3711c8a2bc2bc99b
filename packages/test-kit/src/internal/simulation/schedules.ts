/**
 * Generates schedules: messages, faults, passing time and the actions of a program, in
 * proportions that show faults often.
 */
import * as Arbitrary from "effect/Arbitrary"
import * as Schema from "effect/Schema"
import * as FaultSchedule from "../../FaultSchedule.ts"
import * as Interests from "./interests.ts"
import type { Emit, Program, Reject, Schedule, Step } from "./program.ts"

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

/** The most steps that a generated schedule has, in each of its parts. */
const maxSteps = 14

const parts = 3

/** The most steps of a generated schedule. */
export const maxLength = parts * maxSteps

/** Schedules for a program. */
export const scheduleOf = <Action>(program: Program<Action>): Arbitrary.Arbitrary<Schedule<Action>> => {
  // Generators prefer their bounds: a single part would be empty in every fourth schedule.
  const part = Arbitrary.array(stepOf(program.action), { maxLength: maxSteps })
  return Arbitrary.map(
    Arbitrary.all([int(1, 8), Arbitrary.schema(Schema.Boolean), Arbitrary.schema(Schema.Boolean), part, part, part]),
    ([maxBatch, nameTasks, yields, ...parts]) => ({ maxBatch, nameTasks, yields, steps: parts.flat() })
  )
}
