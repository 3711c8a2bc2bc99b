/**
 * Runs consecutive examples in this process: an example has ended when the event loop is
 * empty, which is when `node fence.ts` would exit.
 *
 * Reads the list of examples from one file, and writes their outcomes as JSON to another
 * file.
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

/** The outcome of an example. */
export interface Outcome {
  readonly path: string
  readonly millis: number
  /** What went wrong; absent if the example succeeded. */
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
  // The caller expects that the program ends here.
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
  if (!settled) note("it waits for something that never happens")
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

// An example that does not end by itself (for example with an open server) would block all later examples.
setInterval(() => {
  if (current === undefined || performance.now() - current.start < patience) return
  note(`it does not end by itself within ${patience} ms; the examples after it were not run`)
  finish()
  end()
}, 1000).unref()

process.on("beforeExit", () => {
  finish()
  // Node emits `beforeExit` again only if there was work in the event loop.
  setImmediate(startNext)
})
startNext()
