import { assert, describe, it } from "@effect/vitest"
import { execFile } from "node:child_process"
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import * as Effect from "effect/Effect"
import type { Outcome } from "../../src/docs/run.ts"

const script = join(import.meta.dirname, "../../src/docs/run.ts")

/** Runs examples as `docs:check` does, and returns the first line of each problem. */
const run = (...examples: ReadonlyArray<{ readonly code: string; readonly expected?: string }>) =>
  Effect.gen(function* () {
    const directory = yield* Effect.acquireRelease(
      Effect.promise(() => mkdtemp(join(tmpdir(), "makima-stream-"))),
      (path) => Effect.promise(() => rm(path, { recursive: true }))
    )
    return yield* Effect.promise(async () => {
      const jobs = examples.map(({ expected }, i) => ({
        path: join(directory, `${i}.mts`),
        ...(expected === undefined ? {} : { expected: [expected] })
      }))
      await Promise.all(examples.map(({ code }, i) => writeFile(join(directory, `${i}.mts`), code)))
      await writeFile(join(directory, "jobs.json"), JSON.stringify(jobs))
      await promisify(execFile)(process.execPath, [script, join(directory, "jobs.json"), join(directory, "out.json")])
      // The list is written by the script under test.
      const outcomes = JSON.parse(await readFile(join(directory, "out.json"), "utf8")) as ReadonlyArray<Outcome>
      return outcomes.map(({ problem }) => problem?.split("\n")[0])
    })
  }).pipe(Effect.scoped)

describe("running the examples", () => {
  it.live("waits for each until nothing of it is left, and compares what it printed", () =>
    Effect.gen(function* () {
      const later = `setTimeout(() => console.log("late"), 5)`
      assert.deepStrictEqual(
        yield* run({ code: later, expected: "late" }, { code: later, expected: "never" }, { code: "console.log(1)" }),
        [undefined, "it prints", undefined]
      )
    })
  )

  it.live("reports each example that fails in any way, and runs the next one", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(
        yield* run(
          { code: `throw new Error("at once")` },
          { code: `void Promise.reject(new Error("unseen"))` },
          { code: `setTimeout(() => { throw new Error("in a timer") }, 1)` },
          { code: `await new Promise(() => {})` },
          { code: `process.exitCode = 3` },
          { code: `process.exit(2)` },
          { code: `console.log("fine")`, expected: "fine" }
        ),
        [
          "Error: at once",
          "Error: unseen",
          "Error: in a timer",
          "it waits for something that never happens",
          "it sets the exit code 3",
          "it exits with code 2",
          undefined
        ]
      )
    })
  )
})
