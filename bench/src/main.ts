/**
 * The benchmark: `pnpm bench [--quick] [--rounds 9] [--only connect,memory]`.
 * See `docs/performance.md` for what the rows mean.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import { mkdirSync, writeFileSync } from "node:fs"
import { cpus } from "node:os"
import { join } from "node:path"
import * as Program from "@makima-stream/cli/Program"
import * as Rows from "./rows.ts"
import { scenarios, type Result as ScenarioResult } from "./scenarios.ts"
import * as Throughput from "./throughput.ts"

interface Options {
  /** The ids of the rows to run; `undefined` for all. */
  readonly only: ReadonlyArray<string> | undefined
  readonly rounds: number | undefined
  readonly quick: boolean
  readonly nodeOptions: ReadonlyArray<string>
}

const ids = [...new Set([...Rows.throughput, ...scenarios].map(({ id }) => id))]

const table = (header: ReadonlyArray<string>, lines: ReadonlyArray<ReadonlyArray<string>>): string => {
  const line = (cells: ReadonlyArray<string>) => `| ${cells.join(" | ")} |`
  return [line(header), line(header.map((_, n) => (n === 0 ? "---" : "---:"))), ...lines.map(line)].join("\n")
}

const run = async ({ nodeOptions, only, quick, rounds }: Options): Promise<void> => {
  const isWanted = (id: string): boolean => only === undefined || only.includes(id)

  const rows = Rows.throughput.filter(
    ({ id }) => isWanted(id) || Rows.throughput.some((other) => isWanted(other.id) && other.reference === id)
  )
  const throughput =
    rows.length === 0
      ? []
      : await Throughput.measure({
          rows,
          rounds: rounds ?? (quick ? 3 : 9),
          warmEvents: quick ? 100_000 : 200_000,
          measuredEvents: quick ? 200_000 : 500_000,
          nodeOptions
        })

  const others: Array<ScenarioResult> = []
  const results = join(import.meta.dirname, "../results")
  mkdirSync(results, { recursive: true })
  /** Saves after each part, so that a failure does not lose the results of the others. */
  const save = (): void =>
    writeFileSync(
      join(results, "latest.json"),
      JSON.stringify(
        {
          date: new Date().toISOString(),
          node: process.version,
          v8: process.versions.v8,
          cpu: cpus()[0]?.model,
          cores: cpus().length,
          quick,
          throughput,
          others
        },
        undefined,
        2
      )
    )

  save()
  for (const scenario of scenarios) {
    if (!isWanted(scenario.id)) continue
    process.stderr.write(`${scenario.id}\n`)
    others.push(...(await scenario.run({ quick })))
    save()
  }

  if (throughput.length > 0) {
    console.log(
      "\nCPU: user and system time of the whole client process. Ratio: the reference's time over the row's.\n"
    )
    console.log(
      table(
        ["what", "CPU ratio", "at least", "wall ratio", "CPU µs/event", "wall µs/event", "1.0 is"],
        throughput.map(({ what, cpuRatio, target, wallRatio, cpuMicros, wallMicros, reference }) => [
          what,
          cpuRatio.toFixed(2),
          target === undefined ? "" : `${target}`,
          wallRatio.toFixed(2),
          cpuMicros.toFixed(2),
          wallMicros.toFixed(2),
          reference
        ])
      )
    )
  }
  if (others.length > 0) {
    console.log("")
    console.log(
      table(
        ["what", "median", "at most", "at least", "runs"],
        others.map(({ what, unit, value, target, least, runs }) => {
          const format = (run: number): string => run.toFixed(unit === "×" ? 2 : 1)
          const bound = (limit: number | undefined): string => (limit === undefined ? "" : `${limit} ${unit}`)
          return [what, `${format(value)} ${unit}`, bound(target), bound(least), runs.map(format).join(", ")]
        })
      )
    )
  }
}

/** The command line of this program. */
export const command = Command.make(
  "bench",
  {
    only: Flag.String("only").pipe(
      Flag.withDescription(
        `The rows to run, separated by commas; the reference of a row is run too. Defaults to all: ${ids.join(", ")}`
      ),
      Flag.optional
    ),
    rounds: Flag.Int("rounds").pipe(
      Flag.withDescription("How often each throughput variant is run. Defaults to 9, or 3 with --quick"),
      Flag.withSchema(Schema.Int.check(Schema.isGreaterThanOrEqualTo(1))),
      Flag.optional
    ),
    quick: Flag.Boolean("quick").pipe(
      Flag.withDescription("Fewer rounds and events, for a first impression, not for published figures"),
      Flag.withDefault(false)
    ),
    node: Flag.String("node").pipe(
      Flag.withDescription("Node options of the throughput clients, such as --node=--cpu-prof"),
      Flag.optional
    )
  },
  Effect.fnUntraced(function* (flags) {
    const only = Option.getOrUndefined(flags.only)?.split(",")
    const unknown = only?.filter((id) => !ids.includes(id)) ?? []
    if (unknown.length > 0) {
      return yield* new Program.Failure({
        message: `--only names no row: ${unknown.join(", ")} (see --help)`,
        exitCode: 2
      })
    }
    const nodeOptions = Option.getOrUndefined(flags.node)?.split(" ") ?? []
    const rounds = Option.getOrUndefined(flags.rounds)
    yield* Effect.promise(() => run({ only, rounds, quick: flags.quick, nodeOptions }))
  })
).pipe(Command.withDescription("Measures the cost of the toolkit, alone and compared with other clients"))

if (Program.isMain(import.meta)) Program.main(command)
