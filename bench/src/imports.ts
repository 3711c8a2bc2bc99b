/** The CPU time of an import in a new process. */
import { execFile } from "node:child_process"
import { existsSync } from "node:fs"
import { join, resolve } from "node:path"
import { pathToFileURL } from "node:url"
import { promisify } from "node:util"

// The published files, not the sources: Node strips the types of these first.
const core = resolve(import.meta.dirname, "../../packages/core/dist/index.js")

const program = (specifiers: ReadonlyArray<string>): string => `
  const before = process.cpuUsage()
  for (const specifier of ${JSON.stringify(specifiers)}) await import(specifier)
  const { user, system } = process.cpuUsage(before)
  console.log(user + system)
`

/** User and system time in microseconds. */
const cpuTime = async (...specifiers: ReadonlyArray<string>): Promise<number> => {
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ["--input-type=module", "--eval", program(specifiers)],
    { cwd: join(import.meta.dirname, "..") }
  )
  return Number(stdout)
}

/** The CPU time of importing core, divided by that of `effect/Stream` and `effect/Schema`. One ratio for each round. */
export const measure = async (rounds: number): Promise<ReadonlyArray<number>> => {
  if (!existsSync(core)) throw new Error("There is no packages/core/dist: run `pnpm build` first")
  const ratios: Array<number> = []
  for (let n = 0; n < rounds; n++) {
    const base = await cpuTime("effect/Stream", "effect/Schema")
    ratios.push((await cpuTime(pathToFileURL(core).href)) / base)
  }
  return ratios
}
