/**
 * Tests core in a browser: bundles it with Vite, compares its size with the
 * budgets, and runs a page in Chromium against the mock server.
 *
 * Run by `pnpm run browser`, after `pnpm run build`. Needs Chromium:
 * `apt-get install chromium`, or a path in `CHROMIUM`. With `--bundle-only` it
 * does not run the page.
 */
import * as MockMeshServer from "@makima-stream/test-kit/MockMeshServer"
import * as TaskId from "@makima-stream/core/TaskId"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { spawn } from "node:child_process"
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { createServer } from "node:http"
import { tmpdir } from "node:os"
import { extname, join, resolve } from "node:path"
import { gzipSync } from "node:zlib"
import { build, createLogger, type Plugin } from "vite"
import { executable } from "./chromium.ts"
import { listen } from "./listen.ts"

/**
 * The largest sizes in bytes, minified and gzipped, without `effect` (`docs/decisions/004-bundle-sizes.md`).
 */
const budgets = { client: 16 * 1024, connect: 9.5 * 1024 }

const root = resolve(import.meta.dirname, "../..")
const source = join(root, "scripts/browser")

class BrowserFailure extends Data.TaggedError("BrowserFailure")<{ readonly message: string }> {}

// ---------------------------------------------------------------------------
// bundling
// ---------------------------------------------------------------------------

/** A module that is not a file. It contains only the import to measure. */
const virtual = (name: string, code: string) => ({
  name: "virtual",
  resolveId: (id: string) => (id === name ? id : undefined),
  load: (id: string) => (id === name ? code : undefined)
})

/** Leaves `effect` out. As its package promises, an import of it that is not used has no effect. */
const withoutEffect: Plugin = {
  name: "without-effect",
  enforce: "pre",
  resolveId: (id) => (/^effect(\/|$)/.test(id) ? { id, external: true, moduleSideEffects: false } : null)
}

/** Bundles a file, or, without `effect`, a module of the given code. */
const bundle = async (outDir: string, options: { readonly entry: string; readonly code?: string }): Promise<void> => {
  const { code, entry } = options
  // A warning of Vite, for example about an omitted Node module, would break a page.
  const logger = createLogger("warn")
  const warnings: Array<string> = []
  logger.warn = (message) => void warnings.push(message)
  await build({
    root: source,
    configFile: false,
    customLogger: logger,
    logLevel: "warn",
    plugins: code === undefined ? [] : [virtual(entry, code), withoutEffect],
    // Resolves to the published files, not to the sources.
    resolve: {
      alias: [
        { find: /^@makima-stream\/core$/, replacement: join(root, "packages/core/dist/index.js") },
        { find: /^@makima-stream\/core\/(.*)$/, replacement: join(root, "packages/core/dist/$1.js") }
      ]
    },
    build: {
      outDir,
      emptyOutDir: true,
      modulePreload: { polyfill: false },
      chunkSizeWarningLimit: 10_000,
      rolldownOptions: {
        // Rolldown warns where a plugin is slow, as every plugin is on a busy machine.
        checks: { bundlerTimings: false },
        input: code === undefined ? join(source, entry) : entry,
        preserveEntrySignatures: code === undefined ? false : "strict"
      }
    }
  })
  if (warnings.length > 0) throw new BrowserFailure({ message: `Vite warned:\n${warnings.join("\n")}` })
}

const scripts = (directory: string): ReadonlyArray<string> =>
  readdirSync(directory, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".js"))
    .map((file) => join(directory, file))

/** Bytes, minified and gzipped. */
const weigh = (directory: string): number =>
  scripts(directory).reduce((sum, file) => sum + gzipSync(readFileSync(file), { level: 9 }).length, 0)

const kib = (bytes: number): string => `${(bytes / 1024).toFixed(1)} KiB`

// ---------------------------------------------------------------------------
// running
// ---------------------------------------------------------------------------

/** Serves the bundle on a free port, and returns what the page posts. */
const serve = (directory: string) =>
  Effect.gen(function* () {
    const reported = yield* Deferred.make<string>()
    const server = createServer((request, response) => {
      if (request.method === "POST") {
        const chunks: Array<Buffer> = []
        request.on("data", (chunk: Buffer) => chunks.push(chunk))
        request.on("end", () => {
          Deferred.doneUnsafe(reported, Effect.succeed(Buffer.concat(chunks).toString()))
          response.end()
        })
        return
      }
      const path = new URL(request.url ?? "/", "http://localhost").pathname
      const file = join(directory, path === "/" ? "index.html" : path)
      if (!existsSync(file)) return void response.writeHead(404).end()
      response.writeHead(200, { "content-type": extname(file) === ".html" ? "text/html" : "text/javascript" })
      response.end(readFileSync(file))
    })
    return { url: yield* listen(server), reported: Deferred.await(reported) }
  })

/** Opens a page in a new browser, which closes with the scope. */
const openPage = (chromium: string, url: string) =>
  Effect.gen(function* () {
    const profile = yield* Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(join(tmpdir(), "makima-stream-chromium-"))),
      (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true, maxRetries: 5 }))
    )
    const flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    const quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    const output: Array<string> = []
    const child = yield* Effect.acquireRelease(
      Effect.sync(() => {
        const spawned = spawn(
          chromium,
          [
            ...flags,
            ...quiet,
            `--user-data-dir=${profile}`,
            "--enable-logging=stderr",
            "--remote-debugging-port=0",
            url
          ],
          { stdio: ["ignore", "ignore", "pipe"] }
        )
        spawned.stderr.on("data", (chunk: Buffer) => output.push(chunk.toString()))
        return spawned
      }),
      (spawned) =>
        Effect.callback<void>((resume) => {
          if (spawned.exitCode !== null || spawned.signalCode !== null) return resume(Effect.void)
          spawned.once("exit", () => resume(Effect.void))
          spawned.kill("SIGKILL")
        })
    )
    const died = Effect.callback<never, BrowserFailure>((resume) => {
      const fail = () => resume(Effect.fail(new BrowserFailure({ message: `Chromium ended:\n${output.join("")}` })))
      child.once("error", fail)
      child.once("exit", fail)
    })
    return { died, output: Effect.sync(() => output.join("")) }
  })

const a = TaskId.make("a")

/** The actions of the server, in order. */
const scenario = Effect.fnUntraced(function* (server: MockMeshServer.Service) {
  const subscribed = (connection: number) =>
    server.awaitReceived((entry) => entry.connection === connection && entry.message._tag === "SubscribeOutput")
  yield* subscribed(1)
  yield* server.emit({ _tag: "TaskUpdated", taskId: a, version: 1, status: "running" })
  yield* server.garbage()
  yield* server.emit({ _tag: "TaskOutput", taskId: a, messageType: "assistant", content: "grüße" }, { as: "binary" })
  yield* server.drain()
  yield* server.close(1012)
  yield* subscribed(2)
  yield* server.emit({ _tag: "TaskUpdated", taskId: a, version: 2, status: "done" })
})

const expected = [
  "Connected",
  "Resync Started",
  "TaskUpdated running",
  "Resync BadFrame",
  "TaskOutput grüße",
  "Disconnected ConnectionClosed",
  "Connected",
  "Resync Reconnected",
  "TaskUpdated done"
]

const runPage = Effect.fnUntraced(function* (chromium: string, directory: string) {
  const server = yield* MockMeshServer.make()
  const { reported, url } = yield* serve(directory)
  const page = yield* openPage(chromium, `${url}?feed=${encodeURIComponent(server.wsUrl)}`)
  yield* Effect.forkScoped(scenario(server))
  const report = yield* reported.pipe(
    Effect.raceFirst(page.died),
    Effect.timeoutOrElse({
      duration: "60 seconds",
      orElse: () =>
        Effect.flatMap(page.output, (output) =>
          Effect.fail(new BrowserFailure({ message: `the page reported nothing\n${output}` }))
        )
    })
  )
  const lines = yield* Schema.decodeEffect(Schema.fromJsonString(Schema.Array(Schema.String)))(report)
  if (lines.join("\n") !== expected.join("\n")) {
    return yield* new BrowserFailure({ message: `expected:\n${expected.join("\n")}\n\ngot:\n${lines.join("\n")}` })
  }
}, Effect.scoped)

// ---------------------------------------------------------------------------

const directory = mkdtempSync(join(tmpdir(), "makima-stream-browser-"))
try {
  console.log("minified and gzipped:")
  const measure = async (name: string, code: string): Promise<number> => {
    const outDir = join(directory, name.replaceAll(" ", "-"))
    await bundle(outDir, { entry: "virtual.js", code })
    const bytes = weigh(outDir)
    console.log(`${kib(bytes).padStart(10)}  ${name}, without effect`)
    return bytes
  }
  const connect = await measure("MeshStream.connect", `export { connect } from "@makima-stream/core/MeshStream"`)
  const client = await measure("MeshClient", `export * from "@makima-stream/core/MeshClient"`)
  await measure(
    "MeshClient with two connections",
    `export * from "@makima-stream/core/MeshClient"; export { connections } from "@makima-stream/core/Merge"`
  )
  await measure("all of core", `export * from "@makima-stream/core"`)
  await bundle(join(directory, "small"), { entry: "small.ts" })
  console.log(`${kib(weigh(join(directory, "small"))).padStart(10)}  a small program, with effect`)
  if (client > budgets.client) {
    throw new BrowserFailure({ message: `MeshClient exceeds its budget of ${kib(budgets.client)}` })
  }
  if (connect > budgets.connect) {
    throw new BrowserFailure({ message: `MeshStream.connect exceeds its budget of ${kib(budgets.connect)}` })
  }

  const page = join(directory, "page")
  await bundle(page, { entry: "index.html" })
  if (process.argv.includes("--bundle-only")) {
    console.log("browser: bundled only, nothing was run")
  } else if (executable === undefined) {
    throw new BrowserFailure({ message: "there is no Chromium: `apt-get install chromium`, or a path in CHROMIUM" })
  } else {
    await Effect.runPromise(runPage(executable, page))
    console.log(`browser: ${expected.length} events in order, in ${executable}`)
  }
} catch (error) {
  console.error(error instanceof BrowserFailure ? `browser: ${error.message}` : error)
  process.exitCode = 1
} finally {
  rmSync(directory, { recursive: true, force: true })
}
