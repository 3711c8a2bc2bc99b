/**
 * Faults and the time between them as data: each fault is a verb of `ScriptedMesh`.
 *
 * A schedule can be printed, stored, generated (`MeshArbitrary.faults`), shrunk
 * and run again. `Simulation` runs whole programs under generated schedules.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import type { ScriptedMesh } from "./ScriptedMesh.ts"

const between = (minimum: number, maximum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))

/**
 * A fault, or a period of time.
 *
 * **Details**
 *
 * - A fault has the meaning of the `ScriptedMesh` verb of the same name. It applies to
 *   all open connections.
 * - `Advance` advances virtual time. `StepClock` steps the wall clock; the monotonic
 *   clock does not follow a step back.
 * - Acknowledgements are missing with `SetAcknowledge` `never`, late with
 *   `DelayAcknowledgements` or `manual`, and bare with `SetNameTasks` `false`.
 * - Values are generated within the bounds of the schema.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Fault = Schema.TaggedUnion({
  /** Virtual time passes. */
  Advance: {
    /** How long, in milliseconds. */
    millis: between(1, 120_000)
  },
  /** The server closes every connection with a close frame. */
  Close: {
    /** The close code. */
    code: Schema.Literals([1000, 1001, 1011, 1012, 1013, 4000, 4408, 4429])
  },
  /** The server cuts every connection. */
  Kill: {
    /** Whether frames that the program has not pulled yet are lost. */
    drop: Schema.Boolean
  },
  /** Every connection becomes half-open. */
  Freeze: {},
  /** Every half-open connection continues. */
  Thaw: {},
  /** The next dials are refused with an HTTP status. */
  Refuse: {
    /** The number of dials. */
    times: between(1, 8),
    /** The HTTP status. */
    status: Schema.Literals([429, 500, 502, 503]),
    /** The `Retry-After` of the response; 0 for none. */
    retryAfterSeconds: between(0, 60)
  },
  /** The next dials are never answered. */
  StallDial: {
    /** The number of dials. */
    times: between(1, 4)
  },
  /** Every later dial takes this long. */
  DelayDial: {
    /** The delay in milliseconds. */
    millis: between(0, 12_000)
  },
  /** The next messages are lost. */
  DropNext: {
    /** The number of messages. */
    times: between(1, 3)
  },
  /** The next messages arrive twice. */
  DuplicateNext: {
    /** The number of messages. */
    times: between(1, 3)
  },
  /** The next messages arrive together, in reverse. */
  Reorder: {
    /** The number of messages. */
    times: between(2, 4)
  },
  /** Changes when requests are acknowledged. */
  SetAcknowledge: {
    /** At once, by `Acknowledge`, or not at all. */
    mode: Schema.Literals(["auto", "manual", "never"])
  },
  /**
   * Changes whether acknowledgements name their task.
   *
   * @since 0.2.0
   */
  SetNameTasks: {
    /** Whether they do. */
    named: Schema.Boolean
  },
  /**
   * Later requests take effect at once, and are acknowledged after this time.
   *
   * @since 0.2.0
   */
  DelayAcknowledgements: {
    /** The delay in milliseconds. */
    millis: between(0, 30_000)
  },
  /**
   * Later requests take effect after this time, and are acknowledged then.
   *
   * @since 0.2.0
   */
  DelayRequests: {
    /** The delay in milliseconds. */
    millis: between(0, 30_000)
  },
  /**
   * The wall clock steps by this many milliseconds, but not below 0.
   *
   * @since 0.2.0
   */
  StepClock: {
    /** The step in milliseconds; negative for a step back. */
    millis: between(-3_600_000, 3_600_000)
  },
  /** Retained acknowledgements are sent. */
  Acknowledge: {
    /** The number of acknowledgements. */
    times: between(1, 3)
  },
  /** Every connection receives a frame that cannot be decoded. */
  Garbage: {
    /** Why it cannot be decoded. */
    problem: Schema.Literals(["InvalidJson", "InvalidMessage", "InvalidUtf8", "NotAnObject"])
  }
})

/**
 * A fault, or a period of time: see the schema of the same name.
 *
 * @category models
 * @since 0.1.0
 */
export type Fault = typeof Fault.Type

/**
 * Faults that happen one after the other.
 *
 * @category schemas
 * @since 0.1.0
 */
export const FaultSchedule = Schema.Array(Fault)

/**
 * Faults that happen one after the other.
 *
 * @category models
 * @since 0.1.0
 */
export type FaultSchedule = typeof FaultSchedule.Type

/**
 * Applies a fault to a mesh.
 *
 * **Gotchas**
 *
 * `Advance` and `StepClock` need the `TestClock`, which `it.effect` provides.
 *
 * **Example** (A server that goes away for a minute)
 *
 * ```ts
 * import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
 * import * as TestClock from "effect/testing/TestClock"
 * import * as FaultSchedule from "@makima-stream/test-kit/FaultSchedule"
 * import * as ScriptedMesh from "@makima-stream/test-kit/ScriptedMesh"
 *
 * const program = Effect.gen(function* () {
 *   const mesh = yield* ScriptedMesh.make()
 *   yield* FaultSchedule.run(mesh, [
 *     { _tag: "Refuse", times: 4, status: 503, retryAfterSeconds: 0 },
 *     { _tag: "Kill", drop: true },
 *     { _tag: "Advance", millis: 60_000 }
 *   ])
 *   return yield* Effect.clockWith((clock) => clock.currentTimeMillis)
 * })
 * Effect.runPromise(Effect.provide(program, TestClock.layer())).then(console.log) // 60000
 * ```
 *
 * @category running
 * @since 0.1.0
 */
export const apply = (mesh: ScriptedMesh["Service"], fault: Fault): Effect.Effect<void> => {
  switch (fault._tag) {
    case "Advance":
      return TestClock.adjust(fault.millis)
    case "Close":
      return mesh.close(fault.code)
    case "Kill":
      return mesh.kill(undefined, { drop: fault.drop })
    case "Freeze":
      return mesh.freeze()
    case "Thaw":
      return mesh.thaw()
    case "Refuse":
      return mesh.refuse(
        fault.times,
        fault.status,
        fault.retryAfterSeconds === 0 ? {} : { "retry-after": String(fault.retryAfterSeconds) }
      )
    case "StallDial":
      return mesh.stallDial(fault.times)
    case "DelayDial":
      return mesh.delayDial(fault.millis)
    case "DropNext":
      return mesh.dropNext(fault.times)
    case "DuplicateNext":
      return mesh.duplicateNext(fault.times)
    case "Reorder":
      return mesh.reorder(fault.times)
    case "SetAcknowledge":
      return mesh.setAcknowledge(fault.mode)
    case "SetNameTasks":
      return mesh.setNameTasks(fault.named)
    case "DelayAcknowledgements":
      return mesh.delayAcknowledgements(fault.millis)
    case "DelayRequests":
      return mesh.delayRequests(fault.millis)
    case "StepClock":
      return Effect.flatMap(Clock.currentTimeMillis, (now) => TestClock.setTime(Math.max(0, now + fault.millis)))
    case "Acknowledge":
      return mesh.acknowledge(fault.times)
    case "Garbage":
      return Effect.asVoid(mesh.garbage(fault.problem))
  }
}

/**
 * Applies a schedule to a mesh. Other fibers run after each fault.
 *
 * @category running
 * @since 0.1.0
 */
export const run = (mesh: ScriptedMesh["Service"], schedule: FaultSchedule): Effect.Effect<void> =>
  Effect.forEach(schedule, (fault) => Effect.andThen(apply(mesh, fault), Effect.yieldNow), { discard: true })
