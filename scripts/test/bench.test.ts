/** The benchmark's command line. The measurements are not tested. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { execFile } from "node:child_process"
import { join } from "node:path"

const program = join(import.meta.dirname, "../../bench/src/main.ts")

const bench = (...args: ReadonlyArray<string>) =>
  Effect.callback<{ readonly code: number; readonly stdout: string; readonly stderr: string }>((resume) => {
    const child = execFile(process.execPath, [program, ...args], (_, stdout, stderr) =>
      resume(Effect.succeed({ code: child.exitCode ?? 128, stdout, stderr }))
    )
    return Effect.sync(() => child.kill())
  })

describe("bench", () => {
  it.live("describes its flags", () =>
    Effect.gen(function* () {
      const { code, stderr, stdout } = yield* bench("--help")
      assert.deepStrictEqual([code, stderr], [0, ""])
      for (const flag of ["--only", "--rounds", "--quick", "--node"]) assert.include(stdout, flag)
    })
  )

  it.live("reports a row that it does not have in one line", () =>
    Effect.gen(function* () {
      const { code, stderr, stdout } = yield* bench("--only", "connect,conect")
      assert.deepStrictEqual([code, stdout], [2, ""])
      assert.match(stderr, /^--only names no row: conect[^\n]*\n$/)
    })
  )
})
