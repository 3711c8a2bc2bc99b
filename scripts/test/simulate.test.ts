/** The command line of the simulator. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Simulation from "@makima-stream/test-kit/Simulation"
import { createRequire } from "node:module"
import { runCommand } from "../../packages/cli/test/support/command.ts"
import { makeCommand } from "../src/simulate.ts"

// Loaded by Node itself and not by Vitest, and so are the modules that it imports.
const { modulesWith }: typeof import("../../packages/test-kit/test/support/mutants.ts") = createRequire(
  import.meta.url
)("../../packages/test-kit/test/support/mutants.ts")

describe("simulate", () => {
  it.live("runs the seeds that it is given, and reports that it found nothing", () =>
    Effect.gen(function* () {
      const { code, stderr, stdout } = yield* runCommand(makeCommand(Simulation), ["--seeds", "2", "--from", "5000"])
      assert.match(stdout, /^meshStream, meshClient, [\w, ]+, seeds 5000 to 5001: nothing was found in [\d.]+ s\n$/)
      assert.deepStrictEqual([code, stderr], [0, ""])
    })
  )

  it.live("prints the seed and the smallest schedule of a failure, and finds the same failure by that seed", () =>
    Effect.gen(function* () {
      const mutant = yield* Effect.promise(() =>
        modulesWith("unsubscribes for everyone", [
          {
            file: "internal/client/demand.ts",
            from: "key.holders--\n        if (key.holders > 0)",
            to: "key.holders = 0\n        if (key.holders > 0)"
          }
        ])
      )
      const command = makeCommand(mutant.Simulation)
      // The search starts shortly before a seed that shows it, to save time.
      const found = yield* runCommand(command, ["--from", "37"])
      const [, seed = "", program = ""] = /pnpm simulate --seed (\d+) --program (\w+)/.exec(found.stdout) ?? []
      assert.strictEqual(found.code, 1, found.stdout)
      assert.strictEqual(found.stderr, `Seed ${seed} of ${program} has a violation\n`)
      assert.match(found.stdout, /^meshClient, seed \d+: the wire has .*\n.*\n +1\. \w+ /)
      const again = yield* runCommand(command, ["--seed", seed, "--program", program])
      assert.deepStrictEqual(again, found)
    })
  )

  it.live("reports a wrong command line in one line", () =>
    Effect.gen(function* () {
      const calls: ReadonlyArray<readonly [ReadonlyArray<string>, RegExp]> = [
        [["--seed", "x"], /--seed/],
        [["--seeds", "0"], /--seeds/],
        [["--seed", "1", "--seeds", "2"], /--seed cannot be combined/],
        [["--program", "meshBrowser"], /"meshStream" \| "meshClient"/]
      ]
      for (const [args, expected] of calls) {
        const { code, stderr, stdout } = yield* runCommand(makeCommand(Simulation), args)
        assert.deepStrictEqual([code, stdout], [2, ""], args.join(" "))
        assert.match(stderr, /^[^\n]+\n$/)
        assert.match(stderr, expected)
      }
    })
  )
})
