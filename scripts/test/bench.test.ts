/** The benchmark's command line. The measurements are not tested. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { command } from "../../bench/src/main.ts"
import { runCommand } from "../../packages/cli/test/support/command.ts"

describe("bench", () => {
  it.live("describes its flags", () =>
    Effect.gen(function* () {
      const { code, stderr, stdout } = yield* runCommand(command, ["--help"])
      assert.deepStrictEqual([code, stderr], [0, ""])
      for (const flag of ["--only", "--rounds", "--quick", "--node"]) assert.include(stdout, flag)
    })
  )

  it.live("reports an unknown row in one line", () =>
    Effect.gen(function* () {
      const { code, stderr, stdout } = yield* runCommand(command, ["--only", "connect,conect"])
      assert.deepStrictEqual([code, stdout], [2, ""])
      assert.match(stderr, /^--only names no row: conect[^\n]*\n$/)
    })
  )
})
