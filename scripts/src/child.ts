/** A child process, which ends at the latest with the scope. */
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import { spawn, type ChildProcess } from "node:child_process"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"

export interface Child {
  readonly process: ChildProcess
  /** The lines that it prints. */
  readonly lines: Queue.Dequeue<string>
  /** Its exit code, or 128 for a signal. */
  readonly exited: Effect.Effect<number>
  readonly signal: (signal: NodeJS.Signals) => Effect.Effect<void>
}

/**
 * The file of a module that runs as a process: its source by default. The tests run bundles, which start in a third of the
 * time.
 */
export const FileOf = Context.Reference<(module: string) => string>("@makima-stream/scripts/Child/FileOf", {
  defaultValue: () => (module) => fileURLToPath(new URL(`${module}.ts`, import.meta.url))
})

/** Runs a module with Node. `module` is its path from this directory, without the ending. */
export const start = (
  module: string,
  args: ReadonlyArray<string>,
  nodeArgs: ReadonlyArray<string> = [],
  env: Readonly<Record<string, string>> = {}
): Effect.Effect<Child, never, Scope.Scope> =>
  Effect.gen(function* () {
    const path = (yield* FileOf)(module)
    const lines = yield* Queue.unbounded<string>()
    const exited = Deferred.makeUnsafe<number>()
    const child = yield* Effect.acquireRelease(
      Effect.sync(() => {
        const child = spawn(process.execPath, [...nodeArgs, path, ...args], {
          env: { ...process.env, ...env },
          stdio: ["pipe", "pipe", "inherit"]
        })
        createInterface({ input: child.stdout }).on("line", (line) => Queue.offerUnsafe(lines, line))
        // `close` instead of `exit`, because its last output has been read by then.
        child.on("close", (code) => Deferred.doneUnsafe(exited, Effect.succeed(code ?? 128)))
        // Ignores writes to a process that has ended.
        child.stdin.on("error", () => {})
        return child
      }),
      (child) =>
        Effect.suspend(() => {
          child.kill("SIGKILL")
          return Deferred.await(exited)
        })
    )
    return {
      process: child,
      lines,
      exited: Deferred.await(exited),
      signal: (signal) => Effect.sync(() => child.kill(signal))
    }
  })
