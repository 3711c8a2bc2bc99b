/** The simulator as a person starts it. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { execFile } from "node:child_process"
import { cpSync } from "node:fs"
import { join } from "node:path"
import { copyWith } from "../../packages/test-kit/test/support/mutants.ts"

const root = join(import.meta.dirname, "../..")

const simulateIn = (directory: string, ...args: ReadonlyArray<string>) =>
  Effect.callback<{ readonly code: number; readonly stdout: string; readonly stderr: string }>((resume) => {
    const child = execFile(
      process.execPath,
      [join(directory, "scripts/src/simulate.ts"), ...args],
      (_, stdout, stderr) => resume(Effect.succeed({ code: child.exitCode ?? 128, stdout, stderr }))
    )
    return Effect.sync(() => child.kill())
  })

const simulate = (...args: ReadonlyArray<string>) => simulateIn(root, ...args)

describe("simulate", () => {
  it.live(
    "runs the seeds that it is given, and says that it found nothing",
    () =>
      Effect.gen(function* () {
        const { code, stderr, stdout } = yield* simulate("--seeds", "20", "--from", "5000")
        assert.match(stdout, /^meshStream and meshClient, seeds 5000 to 5019: nothing was found in [\d.]+ s\n$/)
        assert.deepStrictEqual([code, stderr], [0, ""])
      }),
    30_000
  )

  it.live(
    "prints the seed and the smallest schedule of a failure, and finds the very same by that seed",
    () =>
      Effect.gen(function* () {
        const copy = copyWith("for-the-simulator", [
          {
            file: "internal/client/demand.ts",
            from: "key.holders--\n        if (key.holders === 0) idle.schedule",
            to: "key.holders = 0\n        if (key.holders === 0) idle.schedule"
          }
        ])
        for (const file of ["scripts/src/simulate.ts", "examples/src/support/cli.ts"]) {
          cpSync(join(root, file), join(copy, file))
        }
        const found = yield* simulateIn(copy)
        const [, seed = "", program = ""] = /pnpm simulate --seed (\d+) --program (\w+)/.exec(found.stdout) ?? []
        assert.strictEqual(found.code, 1)
        assert.strictEqual(found.stderr, `Seed ${seed} of ${program} has a violation\n`)
        assert.match(found.stdout, /^meshClient, seed \d+: the wire has .*\n.*\n +1\. \w+ /)
        const again = yield* simulateIn(copy, "--seed", seed, "--program", program)
        assert.deepStrictEqual(again, found)
      }),
    60_000
  )

  it.live(
    "says in one line what is wrong with how it was called",
    () =>
      Effect.gen(function* () {
        const calls: ReadonlyArray<readonly [ReadonlyArray<string>, RegExp]> = [
          [["--seed", "x"], /--seed/],
          [["--seeds", "0"], /--seeds/],
          [["--seed", "1", "--seeds", "2"], /--seed is one seed/],
          [["--program", "meshBrowser"], /"meshStream" \| "meshClient"/]
        ]
        for (const [args, expected] of calls) {
          const { code, stderr, stdout } = yield* simulate(...args)
          assert.strictEqual(code, 2)
          assert.strictEqual(stdout, "")
          assert.match(stderr, expected)
          assert.strictEqual(stderr.trimEnd().split("\n").length, 1)
        }
      }),
    60_000
  )
})
