import { spawn, spawnSync, type ChildProcess } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { afterAll } from "@effect/vitest"

/** Whether a NATS server is installed. `.ci/run` installs it. */
export const isInstalled = spawnSync("nats-server", ["--version"]).status === 0

/** A NATS server of the test, with a store of its own. */
export interface Server {
  readonly url: string
  readonly directory: string
  /** Kills the process and starts it again with the same store and port. */
  readonly restart: Effect.Effect<void>
  /** Kills the process. */
  readonly kill: Effect.Effect<void>
  readonly start: Effect.Effect<void>
}

const launch = (directory: string, port: number): Effect.Effect<readonly [ChildProcess, number]> =>
  Effect.gen(function* () {
    const listening = yield* Deferred.make<number>()
    const child = spawn(
      "nats-server",
      ["--config", join(directory, "nats.conf"), "--addr", "127.0.0.1", "--port", String(port)],
      { stdio: ["ignore", "ignore", "pipe"] }
    )
    let text = ""
    child.stderr?.setEncoding("utf8").on("data", (chunk: string) => {
      text += chunk
      const found = /client connections on [^\s]*:(\d+)[\s\S]*Server is ready/.exec(text)
      if (found?.[1] !== undefined) Deferred.doneUnsafe(listening, Effect.succeed(Number(found[1])))
    })
    child.once("exit", () => Deferred.doneUnsafe(listening, Effect.die(new Error(`nats-server ended:\n${text}`))))
    return [child, yield* Deferred.await(listening)] as const
  })

const end = (child: ChildProcess): Effect.Effect<void> =>
  Effect.callback((resume) => {
    if (child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
    child.once("exit", () => resume(Effect.void))
    child.kill("SIGKILL")
  })

/** Starts a server on a free port, whose store has at most so many bytes. The scope ends it and removes its store. */
export const startWith = Effect.fnUntraced(function* (
  maxStoreBytes: number | undefined
): Effect.fn.Return<Server, never, Scope.Scope> {
  const directory = yield* Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "makima-nats-"))),
    (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
  )
  const limit = maxStoreBytes === undefined ? "" : `, max_file_store: ${maxStoreBytes}`
  yield* Effect.sync(() =>
    writeFileSync(join(directory, "nats.conf"), `jetstream { store_dir: ${JSON.stringify(directory)}${limit} }\n`)
  )
  let [child, port] = yield* launch(directory, -1)
  yield* Effect.addFinalizer(() => Effect.suspend(() => end(child)))
  const again = Effect.map(
    Effect.suspend(() => launch(directory, port)),
    ([next]) => {
      child = next
    }
  )
  const kill = Effect.suspend(() => end(child))
  return { url: `nats://127.0.0.1:${port}`, directory, kill, start: again, restart: Effect.andThen(kill, again) }
})

/** Starts a server on a free port. The scope ends it and removes its store. */
export const start: Effect.Effect<Server, never, Scope.Scope> = startWith(undefined)

/**
 * Defines a server that the tests of a file share, started by the first one and ended after the last one. Returns an effect
 * of the options of a log with a feed of its own, which no other test reads.
 */
export const share = (): Effect.Effect<{ readonly servers: string; readonly feed: string }> => {
  const scope = Scope.makeUnsafe()
  afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))
  const server = Effect.runSync(Effect.cached(Scope.provide(start, scope)))
  let feeds = 0
  // A name that has to be encoded in subjects.
  return Effect.map(server, ({ url }) => ({ servers: url, feed: `the feed ${++feeds}` }))
}
