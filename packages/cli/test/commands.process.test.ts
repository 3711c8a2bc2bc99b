/** What the launcher answers, and the demo, as processes. `docs.process.test.ts` runs each command as a process. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { version } from "../src/internal/version.ts"
import { run } from "./support/process.ts"

describe.concurrent("makima-stream", () => {
  it.live("--version and -v print the version", () =>
    Effect.gen(function* () {
      const expected = { code: 0, stdout: `makima-stream v${version}\n`, stderr: "" }
      assert.deepStrictEqual(yield* run(["--version"]), expected)
      assert.deepStrictEqual(yield* run(["-v"]), expected)
      // With other arguments, the whole program answers the same.
      assert.deepStrictEqual(yield* run(["tail", "--version"]), expected)
    })
  )

  it.live("demo --json prints the object of the audit", () =>
    Effect.gen(function* () {
      const { code, stderr, stdout } = yield* run(["demo", "--json", "--tasks", "3"])
      assert.deepStrictEqual([code, stderr], [0, ""])
      assert.match(stdout, /^\{[^\n]+\}\n$/)
      assert.include(stdout, '"unmarkedGaps":0')
    })
  )
})
