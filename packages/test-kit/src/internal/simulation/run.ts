/**
 * One run of a program under a schedule, in virtual time: the steps, and then the phases
 * in which everything must heal, a reconnect must leave no fibers, and the end must
 * leave nothing.
 *
 * After each step all fibers run until they wait, and the program is checked.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Metric from "effect/Metric"
import * as Scope from "effect/Scope"
import * as Socket from "effect/socket/Socket"
import * as TestClock from "effect/testing/TestClock"
import * as FaultSchedule from "../../FaultSchedule.ts"
import * as ScriptedMesh from "../../ScriptedMesh.ts"
import * as Interests from "./interests.ts"
import * as Messages from "./messages.ts"
import { Violation, type Emit, type Moment, type Program, type Running, type Schedule, type Step } from "./program.ts"
import * as Virtual from "./virtual.ts"
import * as Wire from "./wire.ts"

const minute = 60_000

/** An update and an output of each task. */
const everything: ReadonlyArray<Emit> = Interests.taskNames.flatMap((task) =>
  (["update", "output"] as const).map((what) => ({ _tag: "Emit", what, task, times: 1 }) as const)
)

/** A run that has started. */
interface Current<Action> {
  readonly mesh: ScriptedMesh.ScriptedMesh["Service"]
  readonly fibers: Virtual.FiberCount
  readonly running: Running<Action>
  /** Performs a step. */
  readonly perform: (step: Step<Action>) => Effect.Effect<void>
  /** Lets every fiber run until it waits. */
  readonly settle: Effect.Effect<void, Violation>
  /** Lets time pass. */
  readonly pass: (millis: number) => Effect.Effect<void, Violation>
  /** Checks the program and the wire. */
  readonly check: (moment: Moment) => Effect.Effect<void, Violation>
  /** Closes the scope of the program. */
  readonly close: Effect.Effect<void>
  readonly violation: (detail: string) => Violation
  /** The number of completed steps. */
  step: number
}

export const run = <Action>(
  program: Program<Action>,
  schedule: Schedule<Action>,
  seed: number
): Effect.Effect<void, Violation> =>
  Virtual.run({ seed, yields: schedule.yields === true }, (world) =>
    Effect.gen(function* () {
      const current = yield* start(program, schedule, world)
      yield* current.check("step")
      for (const step of schedule.steps) {
        yield* current.perform(step)
        current.step++
        yield* current.check("step")
      }
      for (const phase of [healing, reconnecting, ending]) {
        current.step++
        yield* phase(current)
      }
    })
  ).pipe(
    Effect.catchCause((cause) => {
      const failure = cause.reasons.find(Cause.isFailReason)
      return Effect.fail(failure?.error ?? new Violation({ step: -1, detail: `a defect: ${Cause.pretty(cause)}` }))
    })
  )

const start = Effect.fnUntraced(function* <Action>(
  program: Program<Action>,
  { maxBatch, nameTasks, yields = false }: Schedule<Action>,
  { fibers, settle: settled }: Virtual.World
) {
  const mesh = yield* ScriptedMesh.make({ maxBatch, nameTasks })
  const wire = Wire.make(mesh, program.maxConnections ?? 1)
  const scope = yield* Scope.fork(yield* Effect.scope)
  const messagesOf = Messages.make()

  const inProgram = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    effect.pipe(Effect.provideService(Metric.FiberRuntimeMetrics, fibers), Scope.provide(scope))
  const violation = (detail: string) => new Violation({ step: current.step, detail })
  const settle = Effect.flatMap(settled, (isSettled) =>
    isSettled ? Effect.void : Effect.fail(violation("the program never comes to rest while time stands still"))
  )

  const running = yield* inProgram(
    Effect.provideService(program.start({ mesh, dials: wire.dials, yields }), Socket.Socket, wire.socket)
  )
  const current: Current<Action> = {
    mesh,
    fibers,
    running,
    settle,
    violation,
    step: 0,
    pass: (millis) => Effect.andThen(TestClock.adjust(millis), settle),
    close: Scope.close(scope, Exit.void),
    check: Effect.fnUntraced(function* (moment) {
      yield* settle
      const wrong = (yield* wire.look) ?? (yield* running.judge(moment))
      if (wrong !== undefined) return yield* violation(wrong)
      // The judge may have started a program again. Its first dial ends before time advances.
      yield* settle
    }),
    perform(step) {
      switch (step._tag) {
        case "Emit":
          return mesh.emit(...messagesOf(step))
        case "Reject":
          return mesh.refuse(1, 403)
        case "Act":
          return inProgram(running.act(step.action))
        default:
          return FaultSchedule.apply(mesh, step)
      }
    }
  }
  return current
})

/** Heals every fault. Minutes later the program must have seen everything that the server sends. */
const healing = Effect.fnUntraced(function* <Action>({ check, mesh, pass, perform, running }: Current<Action>) {
  yield* mesh.heal
  yield* running.release
  yield* check("step")
  yield* pass(5 * minute)
  yield* check("step")
  for (const emit of everything) yield* perform(emit)
  yield* pass(5 * minute)
  for (const emit of everything) yield* perform(emit)
  yield* check("healed")
})

/** A reconnect must not change the number of fibers. */
const reconnecting = Effect.fnUntraced(function* <Action>(current: Current<Action>) {
  const { check, fibers, mesh, pass, settle, violation } = current
  const reconnect = Effect.gen(function* () {
    yield* mesh.kill()
    yield* settle
    yield* pass(5 * minute)
    yield* check("reconnected")
    return fibers.alive()
  })
  // The first reconnect may end a consumer with the policy `fail`.
  const before = yield* reconnect
  const after = yield* reconnect
  if (after !== before) return yield* violation(`a reconnect turned ${before} fibers into ${after}`)
})

/** After the scope of the program has closed, nothing may be left. */
const ending = Effect.fnUntraced(function* <Action>(current: Current<Action>) {
  const { close, fibers, mesh, pass, settle, violation } = current
  yield* close
  yield* settle
  if ((yield* mesh.connections).some(({ open }) => open)) {
    return yield* violation("a connection is open after the program's scope has closed")
  }
  if (fibers.alive() !== 0) {
    return yield* violation(`${fibers.alive()} fibers are left after the program's scope has closed`)
  }
  const dials = (yield* mesh.dials).length
  yield* pass(60 * minute)
  if ((yield* mesh.dials).length !== dials) {
    return yield* violation("the program dials after its scope has closed")
  }
})
