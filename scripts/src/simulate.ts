/**
 * Runs the toolkit's own programs under generated schedules of faults, and prints the
 * smallest schedule of the first violation.
 *
 * `pnpm simulate`, `pnpm simulate --seeds 20000 --from 1001`,
 * `pnpm simulate --seed 17 --program meshClient`
 */
import * as Simulation from "@makima-stream/test-kit/Simulation"
import * as Clock from "effect/Clock"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Program from "@makima-stream/cli/Program"

/** Describes a violation; `undefined` if there is none. */
const toReport = <Action>(outcome: Simulation.Outcome<Action>): string | undefined =>
  outcome._tag === "Passed" ? undefined : Simulation.format(outcome)

/** The programs of a simulator. A test passes one that runs a changed core. */
const programsOf = ({ check, meshClient, meshPair, meshStream, repair }: typeof Simulation) => ({
  meshStream: (seed: number) => Effect.map(check(meshStream, seed), toReport),
  meshClient: (seed: number) => Effect.map(check(meshClient, seed), toReport),
  repair: (seed: number) => Effect.map(check(repair, seed), toReport),
  meshPair: (seed: number) => Effect.map(check(meshPair, seed), toReport)
})

const positive = Schema.Int.check(Schema.isGreaterThanOrEqualTo(1))

/** The command line of this program. */
export const makeCommand = (simulation: typeof Simulation) => {
  const programs = programsOf(simulation)
  return Command.make(
    "simulate",
    {
      seed: Flag.Int("seed").pipe(Flag.withDescription("Run only this seed"), Flag.optional),
      seeds: Flag.Int("seeds").pipe(
        Flag.withDescription("The number of seeds. Defaults to 1000"),
        Flag.withSchema(positive),
        Flag.optional
      ),
      from: Flag.Int("from").pipe(Flag.withDescription("The first seed. Defaults to 1"), Flag.optional),
      program: Flag.Literals("program", ["meshStream", "meshClient", "repair", "meshPair"]).pipe(
        Flag.withDescription("Run only this program"),
        Flag.optional
      )
    },
    Effect.fnUntraced(function* ({ from, program, seed, seeds }) {
      if (Option.isSome(seed) && (Option.isSome(seeds) || Option.isSome(from))) {
        return yield* new Program.Failure({ message: "--seed cannot be combined with --seeds and --from", exitCode: 2 })
      }
      const first = Option.getOrElse(
        Option.orElse(seed, () => from),
        () => 1
      )
      const count = Option.isSome(seed) ? 1 : Option.getOrElse(seeds, () => 1000)
      const names = Option.match(program, {
        onNone: () => ["meshStream", "meshClient", "repair", "meshPair"] as const,
        onSome: (name) => [name]
      })
      const start = yield* Clock.currentTimeMillis
      for (let current = first; current < first + count; current++) {
        for (const name of names) {
          const report = yield* programs[name](current)
          if (report === undefined) continue
          yield* Console.log(`${report}\nTo repeat it: pnpm simulate --seed ${current} --program ${name}`)
          return yield* new Program.Failure({ message: `Seed ${current} of ${name} has a violation`, exitCode: 1 })
        }
      }
      const seconds = ((yield* Clock.currentTimeMillis) - start) / 1000
      const range = count === 1 ? `seed ${first}` : `seeds ${first} to ${first + count - 1}`
      yield* Console.log(`${names.join(", ")}, ${range}: nothing was found in ${seconds.toFixed(1)} s`)
    })
  ).pipe(Command.withDescription("Searches for schedules of faults under which the toolkit violates an invariant"))
}

if (Program.isMain(import.meta)) Program.main(makeCommand(Simulation))
