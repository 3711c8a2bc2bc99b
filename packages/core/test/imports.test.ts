/**
 * What an import of the package loads. The time of an import depends on the machine, the list of modules does not.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { execFile } from "node:child_process"
import { promisify } from "node:util"

/** Imports modules in a process of their own, and prints the URLs of all modules that this loads. */
const program = (specifiers: ReadonlyArray<string>) => `
  import { registerHooks } from "node:module"
  const urls = new Set()
  registerHooks({ load: (url, context, next) => { urls.add(url); return next(url, context) } })
  for (const specifier of ${JSON.stringify(specifiers)}) await import(specifier)
  console.log(JSON.stringify([...urls]))
`

/** The modules of Effect that an import of `specifiers` loads, such as `Stream` and `internal/effect`. */
const effectModules = (...specifiers: ReadonlyArray<string>): Effect.Effect<ReadonlyArray<string>> =>
  Effect.promise(async (signal) => {
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ["--input-type=module", "--eval", program(specifiers)],
      { cwd: import.meta.dirname, signal }
    )
    const urls: ReadonlyArray<string> = JSON.parse(stdout)
    return urls.flatMap((url) => /\/node_modules\/effect\/dist\/(.+)\.js$/.exec(url)?.[1] ?? [])
  })

describe("import of @makima-stream/core", () => {
  it.live("loads of Effect what Stream and Schema load, and a few modules more", () =>
    Effect.gen(function* () {
      const [base, core] = yield* Effect.all([
        effectModules("effect/Stream", "effect/Schema"),
        effectModules("@makima-stream/core")
      ])
      assert.isAbove(base.length, 100)
      // Most of these are the dependencies of Socket. A new one costs start-up time in every program.
      assert.sameMembers(
        core.filter((name) => !base.includes(name)),
        [
          "Config",
          "ConfigProvider",
          "FileSystem",
          "LogLevel",
          "Path",
          "PlatformError",
          "Random",
          "SubscriptionRef",
          "internal/glob",
          "socket/Socket"
        ]
      )
    })
  )
})
