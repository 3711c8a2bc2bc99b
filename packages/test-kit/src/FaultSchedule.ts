/**
 * What goes wrong, and when, as a value: the verbs of a `ScriptedMesh` as data,
 * with the passing of time between them.
 *
 * A schedule can be printed, kept, generated (`MeshArbitrary.faults`), made
 * smaller and run again, which a script in code cannot. `Simulation` runs whole
 * programs under generated ones.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import type { ScriptedMesh } from "./ScriptedMesh.ts"

const between = (minimum: number, maximum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))

/**
 * One thing that happens.
 *
 * **Details**
 *
 * Each has the meaning of the `ScriptedMesh` verb of the same name, for all open
 * connections where it concerns any; `Advance` lets `millis` milliseconds of
 * virtual time pass. The bounds are those within which values are generated.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Fault = Schema.TaggedUnion({
  /** Milliseconds of virtual time pass. */
  Advance: { millis: between(1, 120_000) },
  /** The server closes every connection with a close frame. */
  Close: {
    /** The close code. */
    code: Schema.Literals([1000, 1001, 1011, 1012, 1013, 4000, 4408, 4429])
  },
  /** Every connection breaks off. */
  Kill: {
    /** Whether what the program has not read yet is lost. */
    drop: Schema.Boolean
  },
  /** Every connection is left half-open. */
  Freeze: {},
  /** Every connection is live again. */
  Thaw: {},
  /** The next dials are refused with an HTTP status. */
  Refuse: {
    /** How many dials. */
    times: between(1, 8),
    /** The HTTP status. */
    status: Schema.Literals([429, 500, 502, 503]),
    /** The answer's `Retry-After`; 0 for none. */
    retryAfterSeconds: between(0, 60)
  },
  /** The next dials are never answered. */
  StallDial: { times: between(1, 4) },
  /** Every dial takes this long from now on. */
  DelayDial: { millis: between(0, 12_000) },
  /** The next messages are lost on the way. */
  DropNext: { times: between(1, 3) },
  /** The next messages arrive twice. */
  DuplicateNext: { times: between(1, 3) },
  /** The next messages arrive together, in reverse. */
  Reorder: { times: between(2, 4) },
  /** Requests are acknowledged by themselves, by hand, or not at all from now on. */
  SetAcknowledge: {
    /** Which of the three. */
    mode: Schema.Literals(["auto", "manual", "never"])
  },
  /** Acknowledgements that are held back are sent. */
  Acknowledge: { times: between(1, 3) },
  /** Every connection gets a frame that is no message. */
  Garbage: {
    /** What is wrong with the frame. */
    problem: Schema.Literals(["InvalidJson", "InvalidMessage", "InvalidUtf8", "NotAnObject"])
  }
})

/**
 * One thing that happens: see the schema of the same name.
 *
 * @category models
 * @since 0.1.0
 */
export type Fault = typeof Fault.Type

/**
 * Things that happen one after the other.
 *
 * @category schemas
 * @since 0.1.0
 */
export const FaultSchedule = Schema.Array(Fault)

/**
 * Things that happen one after the other.
 *
 * @category models
 * @since 0.1.0
 */
export type FaultSchedule = typeof FaultSchedule.Type

/**
 * Lets one thing happen to a mesh.
 *
 * **Gotchas**
 *
 * `Advance` needs the `TestClock`, which `it.effect` provides.
 *
 * **Example** (A server that goes away for a minute)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
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
    case "Acknowledge":
      return mesh.acknowledge(fault.times)
    case "Garbage":
      return mesh.garbage(fault.problem)
  }
}

/**
 * Lets a whole schedule happen to a mesh, with a turn for every fiber between
 * two things.
 *
 * @category running
 * @since 0.1.0
 */
export const run = (mesh: ScriptedMesh["Service"], schedule: FaultSchedule): Effect.Effect<void> =>
  Effect.forEach(schedule, (fault) => Effect.andThen(apply(mesh, fault), Effect.yieldNow), { discard: true })
