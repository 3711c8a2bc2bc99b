/** The packages on Bun and Deno, each as a process of its own. */
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as MockMeshServer from "@makima-stream/test-kit/MockMeshServer"
import { execFileSync, spawn } from "node:child_process"
import { readdirSync } from "node:fs"
import { createRequire } from "node:module"
import { dirname, join } from "node:path"

const require = createRequire(import.meta.url)

/**
 * The runtime's binary. The npm packages `bun` and `deno` have one in a package for each platform, and a script, which is
 * not run here, that copies it.
 */
const binary = (name: "bun" | "deno", scope: string): string | undefined => {
  try {
    const own = dirname(require.resolve(`${name}/package.json`))
    // The packages of the platform are neighbours of the runtime's own, under their scope.
    const platforms = join(own, "..", scope)
    for (const platform of readdirSync(platforms)) {
      for (const path of [join(platforms, platform, name), join(platforms, platform, "bin", name)]) {
        try {
          execFileSync(path, ["--version"], { stdio: "ignore" })
          return path
        } catch {
          // Of another platform, or of a processor without some instructions.
        }
      }
    }
  } catch {
    // Not installed.
  }
  return undefined
}

const runtimes = [
  { name: "Bun", path: binary("bun", "@oven"), args: [] },
  { name: "Deno", path: binary("deno", "@deno"), args: ["run", "--no-check", "--allow-all", "--quiet"] }
] as const

/** What a program prints to its end. */
const run = (path: string, args: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const ended = Deferred.makeUnsafe<number | null>()
    const child = yield* Effect.acquireRelease(
      Effect.sync(() => spawn(path, args, { stdio: ["ignore", "pipe", "pipe"] })),
      (child) => Effect.sync(() => child.kill("SIGKILL"))
    )
    let printed = ""
    child.stdout.on("data", (data) => (printed += String(data)))
    child.stderr.on("data", (data) => (printed += String(data)))
    child.on("close", (code) => Deferred.doneUnsafe(ended, Effect.succeed(code)))
    const awaitEnd = Effect.map(Deferred.await(ended), (code) => ({ code, printed }))
    return { awaitEnd }
  })

const program = (name: string) => new URL(`./runtimes/${name}.ts`, import.meta.url).pathname

const key = Redacted.make("the-key")

/** Runs a program until its first update. */
const follow = (path: string, args: ReadonlyArray<string>, name: string, options?: MockMeshServer.Options) =>
  Effect.gen(function* () {
    const server = yield* MockMeshServer.make(options)
    const { awaitEnd } = yield* run(path, [...args, program(name), server.url])
    yield* server.awaitReceived(({ message }) => message._tag === "SubscribeAll")
    yield* server.emitRaw(`{"type":"taskUpdated","taskId":"a","status":"running"}`)
    return yield* awaitEnd
  })

describe("runtimes", () => {
  for (const { name, path, args } of runtimes) {
    if (path === undefined) {
      it.skip(`core and the Node socket on ${name}: the npm package is not installed on this machine`, () => {})
      continue
    }

    it.live(`core follows the feed on ${name} with the runtime's own WebSocket`, () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* follow(path, args, "global-socket"), { code: 0, printed: "update of a\n" })
      })
    )

    if (name === "Deno") {
      it.live("the Node socket follows the feed on Deno, and sends its key", () =>
        Effect.gen(function* () {
          const { code, printed } = yield* follow(path, args, "node-socket", { apiKey: key })
          assert.deepStrictEqual({ code, printed }, { code: 0, printed: "update of a\n" })
        })
      )
    } else {
      it.live("the Node socket refuses to run on Bun in one line that says what to use", () =>
        Effect.gen(function* () {
          const { awaitEnd } = yield* run(path, [...args, program("node-socket"), "ws://127.0.0.1:1"])
          const { printed } = yield* awaitEnd
          assert.match(
            printed,
            /^@makima-stream\/node does not run on Bun.*MeshSocket of @makima-stream\/core there\n$/
          )
        })
      )
    }
  }
})
