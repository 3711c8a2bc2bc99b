/**
 * The benchmark: `pnpm bench [--quick] [--rounds 9] [--only connect,memory]`.
 * See `docs/performance.md` for what the rows mean.
 */
import { mkdirSync, writeFileSync } from "node:fs"
import { cpus } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import * as Rows from "./rows.ts"
import { scenarios, type Result as ScenarioResult } from "./scenarios.ts"
import * as Throughput from "./throughput.ts"

const { values: args } = parseArgs({
  options: {
    /** The ids of the rows to run, comma-separated; a row brings its reference with it. */
    only: { type: "string" },
    /** How often each throughput variant is run. */
    rounds: { type: "string" },
    /** Fewer rounds, fewer events: for a first look, not for a figure to publish. */
    quick: { type: "boolean", default: false },
    /** Passed to the Node of the throughput clients, such as `--cpu-prof`. */
    node: { type: "string" }
  }
})
const { quick } = args
const only = args.only?.split(",")
const isWanted = (id: string): boolean => only === undefined || only.includes(id)

const rows = Rows.throughput.filter(
  ({ id }) => isWanted(id) || Rows.throughput.some((other) => isWanted(other.id) && other.reference === id)
)
const throughput =
  rows.length === 0
    ? []
    : await Throughput.measure({
        rows,
        rounds: Number(args.rounds ?? (quick ? 3 : 9)),
        warmEvents: quick ? 100_000 : 200_000,
        measuredEvents: quick ? 200_000 : 500_000,
        nodeOptions: args.node?.split(" ") ?? []
      })

const others: Array<ScenarioResult> = []
const results = join(import.meta.dirname, "../results")
mkdirSync(results, { recursive: true })
/** After each part, so that one that fails costs no figure of the others. */
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

const table = (header: ReadonlyArray<string>, lines: ReadonlyArray<ReadonlyArray<string>>): string => {
  const line = (cells: ReadonlyArray<string>) => `| ${cells.join(" | ")} |`
  return [line(header), line(header.map((_, n) => (n === 0 ? "---" : "---:"))), ...lines.map(line)].join("\n")
}

if (throughput.length > 0) {
  console.log("\nCPU: user and system time of the whole client process. Ratio: the reference's time over the row's.\n")
  console.log(
    table(
      ["what", "CPU ratio", "at least", "wall ratio", "CPU µs/event", "wall µs/event", "1.0 is"],
      throughput.map(({ what, cpuRatio, target, wallRatio, cpuMicros, wallMicros, reference }) => [
        what,
        cpuRatio.toFixed(2),
        target?.toFixed(1) ?? "",
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
      ["what", "median", "at most", "runs"],
      others.map(({ what, unit, value, target, runs }) => [
        what,
        `${value.toFixed(1)} ${unit}`,
        target === undefined ? "" : `${target} ${unit}`,
        runs.map((run) => run.toFixed(1)).join(", ")
      ])
    )
  )
}
