/**
 * What an import of the published package loads. The time of an import depends on the machine, the list of modules does not.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { execFile } from "node:child_process"
import { existsSync, globSync, readFileSync, rmSync } from "node:fs"
import { dirname, resolve } from "node:path"
import { pathToFileURL } from "node:url"
import { promisify } from "node:util"
import { rolldown } from "rolldown"
import { afterAll, beforeAll } from "vitest"
import { build } from "../scripts/build.ts"

/** The published files. They import `effect`, so they are inside the repository. */
const directory = resolve(import.meta.dirname, `../../../build/published.${process.pid}`)

beforeAll(() => build(directory))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

const prefix = pathToFileURL(`${directory}/`).href
const published = (module: string): string => `${prefix}${module}.js`

const chunks = ["plain", "schemas", "feed"].map((name) => `chunks/${name}`)

/** The public modules, such as `MeshStream`. */
const publicModules = (): ReadonlyArray<string> =>
  globSync("[A-Z]*.js", { cwd: directory }).map((file) => file.slice(0, -".js".length))

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

/** The published files among the URLs, such as `chunks/feed`. */
const ofCore = (urls: ReadonlyArray<string>): ReadonlyArray<string> =>
  urls.flatMap((url) => (url.startsWith(prefix) ? [url.slice(prefix.length, -".js".length)] : []))

/** The bundle of a program, without the lines that import and export. With side effects, a bundler keeps what it cannot prove to be pure. */
const bundled = (code: string, moduleSideEffects: boolean): Effect.Effect<string> =>
  Effect.promise(async () => {
    const bundle = await rolldown({
      input: "program",
      external: /^effect\//,
      treeshake: { moduleSideEffects: (_id, isExternal) => moduleSideEffects && !isExternal },
      plugins: [
        {
          name: "program",
          resolveId: (id) => (id === "program" ? id : null),
          load: (id) => (id === "program" ? code : null)
        }
      ]
    })
    const { output } = await bundle.generate({ comments: false })
    await bundle.close()
    return output[0].code.replaceAll(/^(import|export) .*$/gm, "").trim()
  })

describe("import of @makima-stream/core", () => {
  it.live("loads of Effect what Stream and Schema load, and four modules more", () =>
    Effect.gen(function* () {
      const [stream = [], schema = [], core = []] = yield* modules("effect/Stream", "effect/Schema", published("index"))
      assert.isAbove(ofEffect([...stream, ...schema]).length, 100)
      // A new one costs start-up time in every program. `Config` alone would add seven.
      assert.sameMembers([...ofEffect(core)], ["Random", "Ref", "SubscriptionRef", "socket/Socket"])
    })
  )

  it.live("loads the root, a file for each of its modules, and three chunks", () =>
    Effect.gen(function* () {
      const [core = []] = yield* modules(published("index"))
      const exported = publicModules().filter((name) => name !== "RepairHttp")
      // The time of an import grows with the number of files. `bench/` measures the time.
      assert.sameMembers([...ofCore(core)], ["index", ...exported, ...chunks])
    })
  )

  it.live("loads for a module that needs no streams only its chunk and those before it", () =>
    Effect.gen(function* () {
      const loaded = yield* modules(...["TaskStatus", "MeshMetrics", "ReconnectPolicy", "MeshEvent"].map(published))
      const [status = [], metrics = [], policy = [], event = []] = loaded
      assert.deepStrictEqual([...ofEffect(status)], [])
      assert.deepStrictEqual([...ofCore(status)], ["TaskStatus", "chunks/plain"])
      assert.deepStrictEqual([...ofCore(metrics)], ["MeshMetrics"])
      assert.deepStrictEqual([...ofCore(policy)], ["ReconnectPolicy"])
      assert.deepStrictEqual([...ofCore(event)], ["MeshEvent", "chunks/schemas"])
      assert.notInclude(ofEffect(loaded.flat()), "Stream")
    })
  )

  it("contains each source file once, so each class and each service has one identity", () => {
    const sources = globSync("**/*.js.map", { cwd: directory }).flatMap((file) => {
      const map: { readonly sources: ReadonlyArray<string> } = JSON.parse(readFileSync(`${directory}/${file}`, "utf8"))
      return map.sources.map((source) => resolve(directory, dirname(file), source))
    })
    assert.sameMembers(sources, [...new Set(sources)])
    assert.include(sources, resolve(import.meta.dirname, "../src/MeshError.ts"))
    // A file without a map only exports from others.
    for (const file of globSync("**/*.js", { cwd: directory })) {
      if (existsSync(`${directory}/${file}.map`)) continue
      assert.match(readFileSync(`${directory}/${file}`, "utf8"), /^((import|export) .*\n)+$/, file)
    }
  })
})

describe("a bundle of @makima-stream/core", () => {
  it.live("contains nothing of a chunk that the program does not use", () =>
    Effect.gen(function* () {
      for (const chunk of chunks) {
        const code = `import ${JSON.stringify(`${directory}/${chunk}.js`)}`
        assert.strictEqual(yield* bundled(code, true), "", chunk)
      }
    })
  )

  it.live("of one codec contains no other", () =>
    Effect.gen(function* () {
      const code = yield* bundled(`export { TaskId } from ${JSON.stringify(`${directory}/TaskId.js`)}`, false)
      assert.include(code, "InvalidTaskId")
      assert.isBelow(code.length, 600)
    })
  )
})
