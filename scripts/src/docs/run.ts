/**
 * Runs examples one after the other in this process: a fence has ended when the
 * event loop has nothing left to do, which is when `node fence.ts` would exit.
 *
 * Takes a file with the list of them, and writes what went wrong as JSON to
 * another.
 */
import { readFileSync, writeFileSync } from "node:fs"
import { pathToFileURL } from "node:url"
import { format } from "node:util"
import { normalise } from "./fences.ts"

/** An example to run. */
export interface Job {
  readonly path: string
  readonly expected?: ReadonlyArray<string>
}

/** How it went. */
export interface Outcome {
  readonly path: string
  readonly millis: number
  /** Absent where it went well. */
  readonly problem?: string
}

/** How long one example may take, in milliseconds. */
const patience = 20_000

const [, , jobsFile, outcomesFile] = process.argv
if (jobsFile === undefined || outcomesFile === undefined) throw new Error("usage: run.ts <jobs.json> <outcomes.json>")
// The list is written by `docs-check.ts`.
const jobs = JSON.parse(readFileSync(jobsFile, "utf8")) as ReadonlyArray<Job>

const outcomes: Array<Outcome> = []
const realExit = process.exit.bind(process)
let current:
  | { readonly job: Job; readonly start: number; output: string; problem?: string; settled: boolean }
  | undefined

const note = (problem: string): void => {
  if (current !== undefined) current.problem ??= problem
}
const noteError = (error: unknown): void =>
  note(error instanceof Error ? (error.stack ?? error.message) : format(error))

process.on("uncaughtException", noteError)
process.on("unhandledRejection", noteError)
process.exit = (code) => {
  if (code !== undefined && code !== null && Number(code) !== 0) note(`it exits with code ${code}`)
  // The caller relies on the end of the program here.
  throw new Error("process.exit")
}
for (const method of ["log", "info", "warn", "error", "debug"] as const) {
  console[method] = (...args: ReadonlyArray<unknown>) => {
    if (current !== undefined && method === "log") current.output += `${format(...args)}\n`
  }
}

const finish = (): void => {
  if (current === undefined) return
  const { job, output, settled, start } = current
  if (process.exitCode !== undefined) note(`it sets the exit code ${process.exitCode}`)
  process.exitCode = undefined
  if (!settled) note("it waits for something that never comes")
  if (job.expected !== undefined && normalise(output) !== normalise(job.expected.join(""))) {
    note(
      `it prints\n${output.trimEnd().replace(/^/gm, "    ")}\nand says that it prints\n${job.expected.join("\n").replace(/^/gm, "    ")}`
    )
  }
  const { problem } = current
  outcomes.push({ path: job.path, millis: performance.now() - start, ...(problem === undefined ? {} : { problem }) })
  current = undefined
}

const end = (): never => {
  writeFileSync(outcomesFile, JSON.stringify(outcomes))
  return realExit(0)
}

let next = 0
const startNext = (): void => {
  const job = jobs[next++]
  if (job === undefined) return end()
  current = { job, start: performance.now(), output: "", settled: false }
  const mine = current
  import(pathToFileURL(job.path).href).then(
    () => {
      mine.settled = true
    },
    (error: unknown) => {
      mine.settled = true
      noteError(error)
    }
  )
}

// An example that does not end by itself (a server left open, say) would hold up all that follow.
setInterval(() => {
  if (current === undefined || performance.now() - current.start < patience) return
  note(`it does not end by itself within ${patience} ms; what would follow it was not run`)
  finish()
  end()
}, 1000).unref()

process.on("beforeExit", () => {
  finish()
  // Node asks for more work once only: something must be left in the loop for it to ask again.
  setImmediate(startNext)
})
startNext()
