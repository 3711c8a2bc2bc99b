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

/** The URLs of the modules that each import adds to those before it. */
const modules = (...specifiers: ReadonlyArray<string>): Effect.Effect<ReadonlyArray<ReadonlyArray<string>>> =>
  Effect.promise(async (signal) => {
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ["--input-type=module", "--eval", program(specifiers)],
      { cwd: import.meta.dirname, signal }
    )
    const added: ReadonlyArray<ReadonlyArray<string>> = JSON.parse(stdout)
    return added
  })

/** The names of modules of Effect, such as `Stream` and `internal/effect`. */
const ofEffect = (urls: ReadonlyArray<string>): ReadonlyArray<string> =>
  urls.flatMap((url) => /\/node_modules\/effect\/dist\/(.+)\.js$/.exec(url)?.[1] ?? [])

describe("import of @makima-stream/core", () => {
  it.live("loads of Effect what Stream and Schema load, and four modules more", () =>
    Effect.gen(function* () {
      const [stream = [], schema = [], core = []] = yield* modules(
        "effect/Stream",
        "effect/Schema",
        "@makima-stream/core"
      )
      const base = ofEffect([...stream, ...schema]).length
      assert.isAbove(base, 100)
      // A new one costs start-up time in every program. `Config` alone would add seven.
      assert.sameMembers([...ofEffect(core)], ["Random", "Ref", "SubscriptionRef", "socket/Socket"])
      // The time of an import grows with the number of files. `bench/` measures the time.
      assert.isBelow(core.length, 0.75 * base)
    })
  )
})
