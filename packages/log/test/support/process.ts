/** Starts the programs of this directory as processes. */
import { spawn, type ChildProcess } from "node:child_process"
import { fileURLToPath } from "node:url"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

export interface Running {
  readonly child: ChildProcess
  readonly stdout: () => string
  /** Waits until the output matches. Dies if the process ends without it. */
  readonly awaitOutput: (matches: (stdout: string) => boolean) => Effect.Effect<void>
  /** The signal that ended the process, if one did. */
  readonly ended: Effect.Effect<NodeJS.Signals | null>
}

export const start = (
  program: string,
  args: ReadonlyArray<string>,
  env: Readonly<Record<string, string>> = {}
): Effect.Effect<Running, never, Scope.Scope> =>
  Effect.gen(function* () {
    const child = yield* Effect.acquireRelease(
      Effect.sync(() =>
        spawn(process.execPath, [fileURLToPath(new URL(program, import.meta.url)), ...args], {
          env: { ...process.env, ...env },
          stdio: ["ignore", "pipe", "pipe"]
        })
      ),
      (child) => Effect.sync(() => child.kill("SIGKILL"))
    )
    const watchers = new Set<() => void>()
    const look = () => {
      for (const watcher of Array.from(watchers)) watcher()
    }
    let [stdout, stderr] = ["", ""]
    let end: { readonly signal: NodeJS.Signals | null } | undefined
    child.stdout.on("data", (chunk) => {
      stdout += String(chunk)
      look()
    })
    child.stderr.on("data", (chunk) => (stderr += String(chunk)))
    child.on("close", (_, signal) => {
      end = { signal }
      look()
    })
    const when = <A>(found: () => Effect.Effect<A> | undefined): Effect.Effect<A> =>
      Effect.callback((resume) => {
        const watcher = () => {
          const effect = found()
          if (effect !== undefined) resume(effect)
        }
        watchers.add(watcher)
        watcher()
        return Effect.sync(() => watchers.delete(watcher))
      })
    return {
      child,
      stdout: () => stdout,
      awaitOutput: (matches) =>
        when(() => {
          if (matches(stdout)) return Effect.void
          return end === undefined ? undefined : Effect.die(new Error(`Ended: ${stdout}\n${stderr}`))
        }),
      ended: when(() => (end === undefined ? undefined : Effect.succeed(end.signal)))
    }
  })
