import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Stream from "effect/Stream"
import type { ServerLog } from "../src/ServerLog.ts"
import type * as Simulation from "../src/Simulation.ts"
import { createRequire } from "node:module"
import type { Modules, Patch } from "./support/mutants.ts"

// Loaded by Node itself and not by Vitest, and so are the modules that it imports.
const { modulesWith }: typeof import("./support/mutants.ts") = createRequire(import.meta.url)("./support/mutants.ts")

/** As many seeds as in `Simulation.test.ts`. Every mistake must show in one of them. */
const patience = 400

/** The most smaller schedules that are tried, for the first program that sees a mistake. */
const shrinks = 150

type Program = "meshStream" | "meshClient" | "repair"

const programs = ["meshStream", "meshClient", "repair"] as const

/** Runs a program under the schedule of a seed, and tries smaller ones. Returns a summary of what it finds. */
const check = (simulation: typeof Simulation, program: Program, seed: number, maxShrinks: number) => {
  const run = <Action>(program: Simulation.Program<Action>) =>
    Effect.map(simulation.check(program, seed, { maxShrinks }), (outcome) => summary(simulation, outcome))
  // Each program has its own type of actions.
  switch (program) {
    case "meshStream":
      return run(simulation.meshStream)
    case "meshClient":
      return run(simulation.meshClient)
    case "repair":
      return run(simulation.repair)
  }
}

const summary = <Action>(simulation: typeof Simulation, outcome: Simulation.Outcome<Action>) =>
  outcome._tag === "Passed"
    ? undefined
    : {
        message: outcome.violation.message,
        steps: outcome.schedule.steps.length,
        report: simulation.format(outcome)
      }

/** Searches all seeds, starting at `from`, for the first that shows something. */
const search = (simulation: typeof Simulation, program: Program, from: number, maxShrinks: number) =>
  Effect.gen(function* () {
    for (let tried = 0; tried < patience; tried++) {
      const found = yield* check(simulation, program, 1 + ((from - 1 + tried) % patience), maxShrinks)
      if (found !== undefined) return found
    }
    return undefined
  })

interface Mutant {
  readonly name: string
  readonly patches: ReadonlyArray<Patch>
  /** By which program it is seen, and by which message. The search starts with a seed that shows it, to save time. */
  readonly seen: { readonly [P in Program]?: { readonly from: number; readonly by: RegExp } }
}

const connection = "internal/session/connection.ts"
const session = "internal/session/session.ts"
const consumer = "internal/client/consumer.ts"
const machine = "internal/repair/machine.ts"

/** Mistakes that other clients of this and of other feeds have made. */
const mutants: ReadonlyArray<Mutant> = [
  {
    name: "forgets its subscriptions at a reconnect",
    patches: [
      {
        file: "internal/session/subscriptions.ts",
        from: "        touch(key)\n      }\n      confirmedCount = 0",
        to: "        if (resets < 2) touch(key)\n      }\n      resets++\n      confirmedCount = 0"
      },
      {
        file: "internal/session/subscriptions.ts",
        from: "  let isReplaying = false\n",
        to: "  let isReplaying = false\n  let resets = 0\n"
      }
    ],
    seen: {
      meshStream: { from: 4, by: /the wire has|before an acknowledgement/ },
      meshClient: { from: 6, by: /the wire has|before an acknowledgement/ }
    }
  },
  {
    name: "resets its backoff as soon as a connection opens",
    patches: [{ file: connection, from: "    epoch++\n", to: "    epoch++\n    yield* backoff.received(Infinity)\n" }],
    seen: { meshStream: { from: 226, by: /attempt/ }, meshClient: { from: 51, by: /attempt/ } }
  },
  {
    name: "replays its subscriptions twice",
    patches: [
      {
        file: session,
        from: "  const replayed = yield* Effect.exit(requester.replay)\n",
        to: "  yield* Effect.exit(requester.replay)\n  subscriptions.reset()\n  const replayed = yield* Effect.exit(requester.replay)\n"
      }
    ],
    seen: { meshStream: { from: 3, by: /twice/ }, meshClient: { from: 2, by: /twice/ } }
  },
  {
    name: "leaves a reconnect unmarked",
    patches: [
      {
        file: session,
        from: "if (unconfirmed !== undefined) out.push",
        to: "if (unconfirmed !== undefined && options.epoch === 1) out.push"
      }
    ],
    seen: { meshStream: { from: 4, by: /without a mark/ }, meshClient: { from: 6, by: /without a mark/ } }
  },
  {
    name: "puts its marks where the request was sent",
    patches: [
      { file: session, from: "if (unconfirmed !== undefined) out.push", to: "if (unconfirmed === -1) out.push" },
      { file: session, from: "  onExpired([])\n", to: "  handoff.offer([resync(epoch, options.onReplayEnd(), 0)])\n" }
    ],
    seen: {
      meshStream: { from: 60, by: /before an acknowledgement/ },
      meshClient: { from: 19, by: /before an acknowledgement/ }
    }
  },
  {
    name: "measures durations on the wall clock",
    patches: [
      {
        file: "internal/time.ts",
        from: "Number(clock.monotonicTimeNanosUnsafe()) / 1e6",
        to: "clock.currentTimeMillisUnsafe()"
      }
    ],
    seen: { meshStream: { from: 284, by: /./ }, meshClient: { from: 307, by: /./ } }
  },
  {
    name: "leaves the requesting fiber of each session behind",
    patches: [
      {
        file: session,
        from: "        })\n      )\n    ),\n    Effect.forkIn(scope)",
        to: "        })\n      )\n    ),\n    Effect.forkDetach"
      }
    ],
    seen: { meshStream: { from: 3, by: /fibers/ }, meshClient: { from: 3, by: /fibers/ } }
  },
  {
    name: "unsubscribes for everyone when one consumer leaves",
    patches: [
      {
        file: "internal/client/demand.ts",
        from: "key.holders--\n        if (key.holders > 0)",
        to: "key.holders = 0\n        if (key.holders > 0)"
      }
    ],
    seen: { meshClient: { from: 39, by: /the wire has/ } }
  },
  {
    name: "loses what does not fit into a consumer's queue",
    patches: [
      {
        file: consumer,
        from: "else return false\n    return true",
        to: "return true"
      }
    ],
    seen: { meshClient: { from: 30, by: /saw .* and not|never saw|without a mark/ } }
  },
  {
    name: "queues without a bound for a consumer that stalls",
    patches: [
      {
        file: consumer,
        from: "this.events.length < this.options.capacity",
        to: "this.events.length < 1000 * this.options.capacity"
      }
    ],
    seen: { meshClient: { from: 6, by: /events behind/ } }
  },
  {
    name: "ends a live set of consumers, also those that subscribe again meanwhile",
    patches: [
      {
        file: "internal/client/consumers.ts",
        from: "        for (const consumer of removed) consumer.ended ??= how\n        for (const consumer of removed) consumer.end(how)",
        to: "        for (const consumer of removed) consumer.end(how)\n        for (const consumer of consumers) consumer.end(how)"
      }
    ],
    seen: { meshClient: { from: 48, by: /from before it joined/ } }
  },
  {
    name: "leaves each session's scope open until its own closes",
    patches: [
      {
        file: connection,
        from: "    yield* Scope.close(scope, Exit.void)\n    yield* closing.await\n",
        to: "    yield* closing.await\n"
      }
    ],
    seen: { meshStream: { from: 6, by: /./ }, meshClient: { from: 6, by: /./ } }
  },
  {
    name: "reports one lost event where it lost several",
    patches: [{ file: "internal/queue/shedQueue.ts", from: "last.dropped += slot.dropped", to: "last.dropped = 1" }],
    seen: { meshClient: { from: 67, by: /saw .* and not|never saw/ } }
  },
  {
    name: "dials again too soon",
    patches: [{ file: connection, from: "dialAt: at + decision,", to: "dialAt: at + decision / 4," }],
    seen: {
      meshStream: { from: 2, by: /but not allowed before/ },
      meshClient: { from: 6, by: /but not allowed before/ }
    }
  },
  {
    name: "takes a connection for stable before it has sent anything",
    patches: [{ file: connection, from: "if (session.received() > 0)", to: "if (session.received() >= 0)" }],
    seen: { meshStream: { from: 168, by: /attempt/ }, meshClient: { from: 150, by: /attempt/ } }
  },
  {
    name: "ends a session by a failed write before what has arrived was read",
    patches: [{ file: session, from: "reading.waitUntil(reading.now() + restTimeout),", to: "Effect.void," }],
    seen: { meshStream: { from: 286, by: /./ } }
  },
  {
    name: "fetches a snapshot at Connected",
    patches: [
      {
        file: machine,
        from: 'case "Connected":\n          this.#epoch = event.epoch\n          this.#isMarked = false',
        to: 'case "Connected":\n          this.#epoch = event.epoch\n          this.#isMarked = true\n          this.refresh()'
      }
    ],
    seen: { repair: { from: 1, by: /between Connected and the mark/ } }
  },
  {
    name: "applies a snapshot without comparing versions",
    patches: [
      {
        file: machine,
        from: "return version > task.versions.highest && task.statusIn !== this.#fetches",
        to: "return true"
      }
    ],
    seen: { repair: { from: 1, by: /is restated with version/ } }
  },
  {
    name: "takes a task that a partial list leaves out for gone",
    patches: [{ file: machine, from: "if (this.#options.complete) {", to: "if (!present.has(taskId)) {" }],
    seen: { repair: { from: 54, by: /is gone/ } }
  },
  {
    name: "claims the repair of a gap that came while it fetched",
    patches: [
      {
        file: machine,
        from: "reasons: [...reasons], restated",
        to: "reasons: [...reasons, ...(this.#due?.reasons ?? [])], restated"
      }
    ],
    seen: { repair: { from: 174, by: /claims/ } }
  },
  {
    name: "leaves no gap open that came while it fetched",
    patches: [{ file: machine, from: "unconfirmed, absent, open })", to: "unconfirmed, absent, open: 0 })" }],
    seen: { repair: { from: 174, by: /leaves nothing open/ } }
  },
  {
    name: "says nothing about a snapshot that could not be fetched",
    patches: [
      {
        file: "internal/repair/driver.ts",
        from: "this.#emit([this.#machine.fail(attempts, nameOf(Cause.squash(exit.cause)))])",
        to: "this.#machine.fail(attempts, nameOf(Cause.squash(exit.cause)))"
      }
    ],
    seen: { repair: { from: 114, by: /neither a Repaired nor a RepairFailed/ } }
  }
]

/** Three lossless consumers of one event each, where the third waits until the first has seen the third event. */
const waitForEachOther = ({ MeshClient, Simulation }: Modules) => {
  let count = 0
  let done = 0
  const program = Simulation.fromEffect(
    "consumers that wait for each other",
    () =>
      Effect.scoped(
        Effect.gen(function* () {
          const client = yield* MeshClient.make()
          const third = yield* Latch.make(false)
          const updates = () =>
            client.updates(undefined, { capacity: 1 }).pipe(Stream.filter((event) => event._tag === "TaskUpdated"))
          const first = Stream.runForEach(updates(), () => (++count === 3 ? third.open : Effect.void))
          const other = Stream.runForEach(updates(), () => Effect.sync(() => void done++))
          const last = Stream.runForEach(updates(), () =>
            Effect.andThen(
              third.await,
              Effect.sync(() => void done++)
            )
          )
          yield* Effect.all([first, other, last], { concurrency: "unbounded" })
        })
      ),
    (_, moment) =>
      Effect.sync(() => (moment === "healed" && done < 6 ? "the consumers wait for each other" : undefined))
  )
  return Simulation.run(
    program,
    { maxBatch: 8, nameTasks: true, steps: [{ _tag: "Emit", what: "update", task: "a", times: 8 }] },
    1
  ).pipe(Effect.match({ onSuccess: () => undefined, onFailure: ({ message }) => message }))
}

describe("Simulation", () => {
  it.live("finds nothing in an unchanged core with the seeds that show the mutants", () =>
    Effect.gen(function* () {
      const unchanged = "export const monotonicMillis"
      // This changes no text, and loads core and the kit anew.
      const { Simulation: simulation } = yield* Effect.promise(() =>
        modulesWith("unchanged", [{ file: "internal/time.ts", from: unchanged, to: unchanged }])
      )
      for (const program of programs) {
        const seeds = new Set(mutants.flatMap(({ seen }) => seen[program]?.from ?? []))
        for (const seed of seeds) assert.isUndefined((yield* check(simulation, program, seed, shrinks))?.report)
      }
    })
  )

  for (const { name, patches, seen } of mutants) {
    it.live(`sees a core that ${name}`, () =>
      Effect.gen(function* () {
        const { Simulation: simulation } = yield* Effect.promise(() => modulesWith(name, patches))
        let isFirst = true
        for (const program of programs) {
          const expected = seen[program]
          if (expected === undefined) continue
          const found = yield* search(simulation, program, expected.from, isFirst ? shrinks : 0)
          assert.match(found?.message ?? `${program}: nothing was found in ${patience} seeds`, expected.by)
          if (isFirst) assert.isAtMost(found?.steps ?? 0, 12, found?.report)
          isFirst = false
        }
      })
    )
  }

  it.live("sees a core that does not wake its consumers before it waits for one of them", () =>
    Effect.gen(function* () {
      const name = "does-not-wake-before-it-waits"
      const file = "internal/client/consumers.ts"
      assert.isUndefined(yield* waitForEachOther(yield* Effect.promise(() => modulesWith(`${name}-as-it-is`, []))))
      const mutant = yield* Effect.promise(() =>
        modulesWith(name, [
          {
            file,
            from: "          wakeAll()\n          return Effect.flatMap(offerAgain(waited)",
            to: "          return Effect.flatMap(offerAgain(waited)"
          }
        ])
      )
      assert.strictEqual(yield* waitForEachOther(mutant), "the consumers wait for each other")
    })
  )

  it.live("sees an audit that ignores connections which the consumer did not report", () =>
    Effect.gen(function* () {
      const log: ServerLog = [
        { _tag: "Opened", seq: 1, at: 0, connection: 1 },
        { _tag: "Received", seq: 2, at: 0, connection: 1, message: { _tag: "SubscribeAll" } }
      ]
      const judge = ({ Audit }: Modules) => Audit.isClean(Audit.compare(log, []))
      const from = "if (reported.has(connection) || !isOwn(number) || connection.requests.length === 0) continue"
      const modules = (name: string, patches: ReadonlyArray<Patch>) => Effect.promise(() => modulesWith(name, patches))
      assert.isFalse(judge(yield* modules("audit-as-it-is", [])))
      assert.isTrue(
        judge(
          yield* modules("audit-ignores", [
            { part: "test-kit", file: "internal/audit/walk.ts", from, to: "if (number > 0) continue" }
          ])
        )
      )
    })
  )
})
