import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Simulation from "../src/Simulation.ts"
import { simulationWith, type Patch } from "./support/mutants.ts"

/** How many seeds a mistake may take to be found. */
const patience = 1000

const maxShrinks = 600

type Program = "meshStream" | "meshClient"

/** The first seed that finds something, and what it finds. */
const search = (simulation: typeof Simulation, program: Program, seeds: number) =>
  Effect.gen(function* () {
    for (let seed = 1; seed <= seeds; seed++) {
      // Each program has actions of its own, so each is called by its own type.
      const outcome = yield* program === "meshStream"
        ? Effect.map(simulation.check(simulation.meshStream, seed, { maxShrinks }), (outcome) =>
            summary(simulation, outcome)
          )
        : Effect.map(simulation.check(simulation.meshClient, seed, { maxShrinks }), (outcome) =>
            summary(simulation, outcome)
          )
      if (outcome !== undefined) return outcome
    }
    return undefined
  })

const summary = <Action>(simulation: typeof Simulation, outcome: Simulation.Outcome<Action>) =>
  outcome._tag === "Passed"
    ? undefined
    : {
        seed: outcome.seed,
        message: outcome.violation.message,
        steps: outcome.schedule.steps.length,
        report: simulation.format(outcome)
      }

interface Mutant {
  readonly name: string
  readonly patches: ReadonlyArray<Patch>
  /** Which program shows it, and how. */
  readonly seen: { readonly [P in Program]?: RegExp }
}

/** Mistakes that other clients of this and of other feeds have made. */
const mutants: ReadonlyArray<Mutant> = [
  {
    name: "forgets its subscriptions at a reconnect",
    patches: [
      {
        file: "internal/session/subscriptions.ts",
        from: "for (const key of held()) {",
        to: "for (const key of held().filter(({ requested }) => !requested)) {"
      }
    ],
    seen: { meshStream: /the wire has/, meshClient: /the wire has/ }
  },
  {
    name: "starts its backoff anew as soon as a connection opens",
    patches: [
      {
        file: "internal/session/connection.ts",
        from: "const openedAt = clock.currentTimeMillisUnsafe()\n    epoch++",
        to: "const openedAt = clock.currentTimeMillisUnsafe()\n    step = yield* Schedule.toStep(policy.schedule)\n    epoch++"
      }
    ],
    seen: { meshStream: /waits .* ms/, meshClient: /waits .* ms/ }
  },
  {
    name: "replays its subscriptions twice",
    patches: [
      {
        file: "MeshSession.ts",
        from: "  subscriptions.reset()\n  yield* Effect.mapError(flush, fromSocketError)\n",
        to: "  subscriptions.reset()\n  yield* Effect.mapError(flush, fromSocketError)\n  if (received === 0) {\n    subscriptions.reset()\n    yield* Effect.mapError(flush, fromSocketError)\n  }\n"
      }
    ],
    seen: { meshStream: /twice/, meshClient: /twice/ }
  },
  {
    name: "says nothing of the gap that a reconnect is",
    patches: [
      {
        file: "internal/session/connection.ts",
        from: "if (lostAt === undefined) return [connected]",
        to: "if (lostAt === undefined || epoch > 0) return [connected]"
      }
    ],
    seen: { meshStream: /not Resync \(Reconnected\)|never saw/, meshClient: /not Resync \(Reconnected\)|never saw/ }
  },
  {
    name: "leaves the writing fiber of each session behind",
    patches: [
      {
        file: "MeshSession.ts",
        from: "return pulling ? Scope.close(readScope, Exit.void) : Effect.void\n    }),\n    Effect.forkIn(scope)",
        to: "return pulling ? Scope.close(readScope, Exit.void) : Effect.void\n    }),\n    Effect.forkDetach"
      }
    ],
    seen: { meshStream: /fibers/, meshClient: /fibers/ }
  },
  {
    name: "unsubscribes for everybody when one consumer leaves",
    patches: [{ file: "internal/client/demand.ts", from: "key.holders--\n", to: "key.holders = 0\n" }],
    seen: { meshClient: /the wire has/ }
  },
  {
    name: "loses what does not fit into a consumer's queue",
    patches: [
      {
        file: "internal/client/consumer.ts",
        from: 'if (overflow === "suspend") return "full"',
        to: 'if (overflow === "suspend") return "accepted"'
      }
    ],
    seen: { meshClient: /saw .* and not|never saw/ }
  },
  {
    name: "queues without a bound for a consumer that stalls",
    patches: [
      {
        file: "internal/client/consumer.ts",
        from: "if (this.size >= capacity) {",
        to: "if (this.size >= 1000 * capacity) {"
      }
    ],
    seen: { meshClient: /events behind/ }
  },
  {
    name: "leaves each session's scope open until its own closes",
    patches: [
      {
        file: "internal/session/connection.ts",
        from: "      yield* Scope.close(sessionScope, Exit.void)\n      const now",
        to: "      const now"
      }
    ],
    seen: { meshStream: /fibers/, meshClient: /fibers/ }
  },
  {
    name: "says that it lost one event where it lost several",
    patches: [
      {
        file: "internal/client/consumer.ts",
        from: "      this.dropped++\n",
        to: "      this.dropped = 1\n"
      }
    ],
    seen: { meshClient: /saw .* and not|never saw/ }
  },
  {
    name: "dials again too soon",
    patches: [
      {
        file: "internal/session/connection.ts",
        from: "dialAt: now + decision, lostAt",
        to: "dialAt: now + decision / 4, lostAt"
      }
    ],
    seen: { meshStream: /had to wait/, meshClient: /had to wait/ }
  },
  {
    name: "takes a connection for stable before it has said anything",
    patches: [
      {
        file: "internal/session/connection.ts",
        from: "heard && now - openedAt >= stableAfter",
        to: "now - openedAt >= stableAfter"
      }
    ],
    seen: { meshStream: /attempt/, meshClient: /attempt/ }
  },
  {
    name: "ends a session by a failed write before what has arrived was read",
    patches: [
      {
        file: "MeshSession.ts",
        from: "return pulling ? Scope.close(readScope, Exit.void) : Effect.void",
        to: "return Scope.close(readScope, Exit.void)"
      }
    ],
    seen: { meshStream: /./ }
  }
]

describe("Simulation", () => {
  it.live(
    "finds nothing in a copy of core that is as it is",
    () =>
      Effect.gen(function* () {
        const simulation = yield* Effect.promise(() => simulationWith("as-it-is", []))
        for (const program of ["meshStream", "meshClient"] as const) {
          assert.isUndefined((yield* search(simulation, program, 200))?.report)
        }
      }),
    60_000
  )

  for (const { name, patches, seen } of mutants) {
    it.live(
      `sees a core that ${name}`,
      () =>
        Effect.gen(function* () {
          const simulation = yield* Effect.promise(() => simulationWith(name.replaceAll(/\W+/g, "-"), patches))
          for (const program of ["meshStream", "meshClient"] as const) {
            const expected = seen[program]
            if (expected === undefined) continue
            const found = yield* search(simulation, program, patience)
            assert.match(found?.message ?? `${program}: nothing was found in ${patience} seeds`, expected)
            assert.isAtMost(found?.steps ?? 0, 12, found?.report)
          }
        }),
      60_000
    )
  }
})
