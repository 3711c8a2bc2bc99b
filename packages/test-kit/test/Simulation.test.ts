import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import * as Scheduler from "effect/Scheduler"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Socket from "effect/socket/Socket"
import * as ClientMessage from "@makima-stream/core/ClientMessage"
import * as Interest from "@makima-stream/core/Interest"
import * as MeshStream from "@makima-stream/core/MeshStream"
import * as TaskId from "@makima-stream/core/TaskId"
import type * as MeshEvent from "@makima-stream/core/MeshEvent"
import * as Simulation from "../src/Simulation.ts"

/**
 * Most mistakes of `Simulation.mutants.test.ts` show in fewer. That file also runs the seeds that show the others, on the
 * unchanged sources, and `.ci/run` continues from here.
 */
const seeds = 100

const nothing: Simulation.Schedule<never> = { maxBatch: 1, nameTasks: true, steps: [] }

/** What is wrong with a program under a schedule; `undefined` where nothing is. */
const violationOf = <Action>(program: Simulation.Program<Action>, schedule: Simulation.Schedule<Action>) =>
  Simulation.run(program, schedule, 1).pipe(
    Effect.match({ onSuccess: () => undefined, onFailure: ({ message }) => message })
  )

const dial = Effect.flatMap(Socket.Socket, (socket) => socket.reader)

const reconnecting = Effect.scoped(Effect.flatMap(dial, ({ pull }) => Effect.forever(pull))).pipe(
  Effect.retry(Schedule.spaced("1 second"))
)

/** Consumes the feed, and keeps what it saw. */
const follower = (events: Array<MeshEvent.MeshEvent>) => () =>
  MeshStream.connect({ interest: Interest.all }).pipe(
    Stream.runForEach((event) => Effect.sync(() => events.push(event)))
  )

describe("Simulation", () => {
  it.live(`finds nothing in ${seeds} seeds of each of the toolkit's programs`, () =>
    Effect.gen(function* () {
      for (let seed = 1; seed <= seeds; seed++) {
        const stream = yield* Simulation.check(Simulation.meshStream, seed)
        assert.strictEqual(stream._tag, "Passed", Simulation.format(stream))
        const client = yield* Simulation.check(Simulation.meshClient, seed)
        assert.strictEqual(client._tag, "Passed", Simulation.format(client))
        const repair = yield* Simulation.check(Simulation.repair, seed)
        assert.strictEqual(repair._tag, "Passed", Simulation.format(repair))
      }
    })
  )

  it.live("a client with two connections does not ask without a pause while one stays behind", () =>
    Effect.gen(function* () {
      // A run that asks without a pause does not end.
      const pair = yield* Simulation.check(Simulation.meshPair, 431)
      assert.strictEqual(pair._tag, "Passed", Simulation.format(pair))
    })
  )

  it.live("dates what a program sees after a fatal end by its own time, not by the next step", () =>
    Effect.gen(function* () {
      // The judge starts the stream again after a 403. Its first dial fails before time advances.
      const stream = yield* Simulation.check(Simulation.meshStream, 588)
      assert.strictEqual(stream._tag, "Passed", Simulation.format(stream))
    })
  )

  it.live("finds nothing in twenty seeds of a client with two connections", () =>
    Effect.gen(function* () {
      for (let seed = 1; seed <= 20; seed++) {
        const pair = yield* Simulation.check(Simulation.meshPair, seed)
        assert.strictEqual(pair._tag, "Passed", Simulation.format(pair))
      }
    })
  )

  describe("a run", () => {
    it.live("is the same for the same seed, and another for another", () =>
      Effect.gen(function* () {
        const trace = (seed: number) =>
          Effect.gen(function* () {
            const events: Array<MeshEvent.MeshEvent> = []
            const program = Simulation.fromEffect("a follower", follower(events))
            assert.strictEqual((yield* Simulation.check(program, seed))._tag, "Passed")
            return events
          })
        const first = yield* trace(5)
        assert.isAbove(first.length, 20)
        assert.deepStrictEqual(yield* trace(5), first)
        assert.notDeepEqual(yield* trace(6), first)
      })
    )

    it.live("lets time pass only where the schedule says so", () =>
      Effect.gen(function* () {
        const seen: Array<readonly [number, string]> = []
        const program: Simulation.Program<string> = {
          name: "a clock",
          start: () =>
            Effect.succeed({
              act: (action) =>
                Effect.flatMap(Clock.currentTimeMillis, (at) => Effect.sync(() => seen.push([at, action]))),
              judge: () => Effect.succeed(undefined),
              release: Effect.void
            })
        }
        yield* Simulation.run(
          program,
          {
            ...nothing,
            steps: [
              { _tag: "Act", action: "first" },
              { _tag: "Advance", millis: 1234 },
              { _tag: "Act", action: "second" }
            ]
          },
          1
        )
        assert.deepStrictEqual<unknown>(seen, [
          [0, "first"],
          [1234, "second"]
        ])
      })
    )
  })

  describe("sees a program that", () => {
    const programs: ReadonlyArray<
      readonly [string, (world: Simulation.World) => Effect.Effect<unknown, unknown, Socket.Socket>, RegExp]
    > = [
      [
        "has two connections at once",
        () => Effect.scoped(Effect.andThen(Effect.andThen(dial, dial), Effect.never)),
        /connections 1, 2 were open at once/
      ],
      [
        "asks for the same twice",
        () =>
          Effect.scoped(
            Effect.gen(function* () {
              const socket = yield* Socket.Socket
              yield* socket.reader
              const { write } = yield* socket.writer
              const request = ClientMessage.encodeFrame({ _tag: "Subscribe", taskId: TaskId.make("a") })
              yield* write(request)
              yield* write(request)
              return yield* Effect.never
            })
          ),
        /Subscribe.* was sent twice within 0 ms/
      ],
      [
        "sends a frame that is not a request",
        () =>
          Effect.scoped(
            Effect.gen(function* () {
              const socket = yield* Socket.Socket
              yield* socket.reader
              yield* (yield* socket.writer).write("hello")
            })
          ),
        /not a request/
      ],
      ["never comes to rest", () => Effect.forever(Effect.yieldNow), /never comes to rest/],
      [
        "leaves a connection open",
        () =>
          Effect.gen(function* () {
            const scope = yield* Scope.make()
            const { pull } = yield* Scope.provide(dial, scope)
            // An interruption passes this by.
            yield* Effect.catch(Effect.forever(pull), () => Scope.close(scope, Exit.void))
          }).pipe(Effect.repeat(Schedule.spaced("1 second"))),
        /a connection is open after the program's scope has closed/
      ],
      ["leaves a fiber", () => Effect.andThen(Effect.forkDetach(Effect.never), reconnecting), /1 fibers are left/],
      [
        "gains a fiber with each reconnect",
        () =>
          Effect.scoped(
            Effect.flatMap(dial, ({ pull }) =>
              Effect.ensuring(Effect.forever(pull), Effect.asVoid(Effect.forkDetach(Effect.never)))
            )
          ).pipe(Effect.retry(Schedule.spaced("1 second"))),
        /a reconnect turned \d+ fibers into \d+/
      ]
    ]

    for (const [name, program, expected] of programs) {
      it.live(name, () =>
        Effect.gen(function* () {
          const wrong = yield* violationOf(Simulation.fromEffect(name, program), nothing)
          assert.match(wrong ?? "nothing was found", expected)
        })
      )
    }

    it.live("detects a dial after every consumer has left", () =>
      Effect.gen(function* () {
        // A fiber of another runtime, so to speak, which no scope and no count knows of.
        const program = Simulation.fromEffect("a zombie", ({ mesh }) =>
          Effect.gen(function* () {
            const clock = yield* Clock.Clock
            const scheduler = yield* Scheduler.Scheduler
            Effect.scoped(mesh.socket.reader).pipe(
              Effect.delay("50 minutes"),
              Effect.provideService(Clock.Clock, clock),
              Effect.provideService(Scheduler.Scheduler, scheduler),
              Effect.runFork
            )
          })
        )
        assert.strictEqual(yield* violationOf(program, nothing), "the program dials after its scope has closed")
      })
    )

    it.live("dies", () =>
      Effect.gen(function* () {
        const program: Simulation.Program<string> = {
          name: "a bomb",
          start: () =>
            Effect.succeed({
              act: (action) => Effect.die(new Error(action)),
              judge: () => Effect.succeed(undefined),
              release: Effect.void
            })
        }
        const wrong = yield* violationOf(program, { ...nothing, steps: [{ _tag: "Act", action: "boom" }] })
        assert.match(wrong ?? "nothing was found", /a defect: .*boom/)
      })
    )
  })

  it.live("finds nothing wrong with a correct program of a user", () =>
    Effect.gen(function* () {
      const program = Simulation.fromEffect("a loop", () => reconnecting)
      for (let seed = 1; seed <= 20; seed++) {
        const outcome = yield* Simulation.check(program, seed)
        assert.strictEqual(outcome._tag, "Passed", Simulation.format(outcome))
      }
    })
  )

  describe("a failure", () => {
    /** Loses count of what was emitted when the server closes with 1012, of all codes. */
    const program: Simulation.Program<"Count"> = {
      name: "a counter",
      start: ({ mesh }) =>
        Effect.succeed({
          act: () => Effect.void,
          judge: () =>
            Effect.map(mesh.log, (log) =>
              log.some((entry) => entry._tag === "Closed" && entry.code === 1012) ? "it lost count" : undefined
            ),
          release: Effect.void
        }).pipe(Effect.tap(() => Effect.forkScoped(reconnecting)))
    }

    const firstFailure = Effect.gen(function* () {
      for (let seed = 1; seed <= 100; seed++) {
        const outcome = yield* Simulation.check(program, seed)
        if (outcome._tag === "Failed") return outcome
      }
      return assert.fail("nothing was found in 100 seeds")
    })

    it.live("is made as small as it can be, and found again by its seed", () =>
      Effect.gen(function* () {
        const failure = yield* firstFailure
        assert.isAbove(failure.generatedSteps, 1)
        assert.deepStrictEqual(failure.schedule.steps, [{ _tag: "Close", code: 1012 }])
        const again = yield* Simulation.check(program, failure.seed)
        assert.deepStrictEqual<unknown>(again, failure)
        assert.strictEqual(yield* violationOf(program, failure.schedule), "it lost count")
      })
    )

    it.live("is shown with its seed, its schedule and the place", () =>
      Effect.gen(function* () {
        const failure = yield* firstFailure
        assert.deepStrictEqual(Simulation.format(failure).split("\n"), [
          `a counter, seed ${failure.seed}: it lost count`,
          `The smallest schedule found, 1 of ${failure.generatedSteps} steps, with pulls of 1 frames and acknowledgements that do not name their task:`,
          "   1. Close code: 1012   <-- here"
        ])
      })
    )
  })

  it.live("draws a program's own chance from the seed too", () =>
    Effect.gen(function* () {
      const drawn: Array<number> = []
      const program = Simulation.fromEffect("a die", () => Effect.map(Random.next, (value) => drawn.push(value)))
      for (const seed of [1, 1, 2]) yield* Effect.exit(Simulation.run(program, nothing, seed))
      assert.strictEqual(drawn[0], drawn[1])
      assert.notStrictEqual(drawn[0], drawn[2])
    })
  )
})
