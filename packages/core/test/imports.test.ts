/**
 * What an import of the package loads. The time of an import depends on the machine, the list of modules does not.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { execFile } from "node:child_process"
import { promisify } from "node:util"

/** Imports modules in a process of their own, one after the other, and prints the URLs that each of them adds. */
const program = (specifiers: ReadonlyArray<string>) => `
  import { registerHooks } from "node:module"
  let urls = []
  registerHooks({ load: (url, context, next) => { urls.push(url); return next(url, context) } })
  const added = []
  for (const specifier of ${JSON.stringify(specifiers)}) {
    urls = []
    await import(specifier)
    added.push(urls)
  }
  console.log(JSON.stringify(added))
`

/** The modules of Effect, such as `Stream` and `internal/effect`, that each import adds to those before it. */
const effectModules = (...specifiers: ReadonlyArray<string>): Effect.Effect<ReadonlyArray<ReadonlyArray<string>>> =>
  Effect.promise(async (signal) => {
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ["--input-type=module", "--eval", program(specifiers)],
      { cwd: import.meta.dirname, signal }
    )
    const added: ReadonlyArray<ReadonlyArray<string>> = JSON.parse(stdout)
    return added.map((urls) => urls.flatMap((url) => /\/node_modules\/effect\/dist\/(.+)\.js$/.exec(url)?.[1] ?? []))
  })

describe("import of @makima-stream/core", () => {
  it.live("loads of Effect what Stream and Schema load, and a few modules more", () =>
    Effect.gen(function* () {
      const [stream = [], schema = [], core = []] = yield* effectModules(
        "effect/Stream",
        "effect/Schema",
        "@makima-stream/core"
      )
      assert.isAbove(stream.length + schema.length, 100)
      // Most of these are the dependencies of Socket. A new one costs start-up time in every program.
      assert.sameMembers(
        [...core],
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
