/**
 * The vocabulary of the simulator: schedules and their steps, programs and their
 * environment, violations and outcomes. `Simulation` exports it.
 */
import type * as Arbitrary from "effect/Arbitrary"
import * as Data from "effect/Data"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as Socket from "effect/socket/Socket"
import type * as FaultSchedule from "../../FaultSchedule.ts"
import type * as ScriptedMesh from "../../ScriptedMesh.ts"

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
