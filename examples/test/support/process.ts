/** Runs an example as a process, as a user would. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { assert } from "@effect/vitest"
import { spawn } from "node:child_process"
import { fileURLToPath } from "node:url"

export interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface Running {
  /** Waits until the output contains a text. Dies with the output if the process ends without it. */
  readonly awaitOutput: (text: string) => Effect.Effect<string>
  /** Sends SIGINT, as Ctrl-C does. */
  readonly interrupt: Effect.Effect<void>
  readonly ended: Effect.Effect<Ended>
}

/** Starts an example by its file's name without the ending, with an empty standard input. */
export const start = (
  example: string,
  options: { readonly args?: ReadonlyArray<string>; readonly env?: Record<string, string> }
): Effect.Effect<Running, never, Scope.Scope> =>
  Effect.gen(function* () {
    const program = fileURLToPath(new URL(`../../src/${example}.ts`, import.meta.url))
    const child = yield* Effect.acquireRelease(
      Effect.sync(() =>
        spawn(process.execPath, [program, ...(options.args ?? [])], {
          env: { PATH: process.env.PATH, NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE, ...options.env },
          stdio: ["ignore", "pipe", "pipe"]
        })
      ),
      (child) => Effect.sync(() => child.kill("SIGKILL"))
    )
    const watchers = new Set<() => void>()
    const changed = () => {
      for (const watcher of watchers) watcher()
    }
    let stdout = ""
    let stderr = ""
    let ended: Ended | undefined
    child.stdout.on("data", (chunk) => {
      stdout += String(chunk)
      changed()
    })
    child.stderr.on("data", (chunk) => (stderr += String(chunk)))
    child.on("close", (code) => {
      ended = { code, stdout, stderr }
      changed()
    })

    /** Waits until the function returns an effect. */
    const when = <A>(look: () => Effect.Effect<A> | undefined): Effect.Effect<A> =>
      Effect.callback((resume) => {
        const watcher = () => {
          const found = look()
          if (found !== undefined) resume(found)
        }
        watchers.add(watcher)
        watcher()
        return Effect.sync(() => watchers.delete(watcher))
      })

    return {
      awaitOutput: (text) =>
        when(() => {
          if (stdout.includes(text)) return Effect.succeed(stdout)
          return ended === undefined
            ? undefined
            : Effect.die(new Error(`Ended without "${text}": ${JSON.stringify(ended)}`))
        }),
      interrupt: Effect.sync(() => child.kill("SIGINT")),
      ended: when(() => (ended === undefined ? undefined : Effect.succeed(ended)))
    }
  })

/** Runs an example to its end. */
export const run = (...args: Parameters<typeof start>): Effect.Effect<Ended> =>
  Effect.scoped(Effect.flatMap(start(...args), ({ ended }) => ended))

/** One line on stderr, without a stack trace. */
export const assertOneLine = (stderr: string, includes: string): void => {
  assert.match(stderr, /^[^\n]+\n$/)
  assert.include(stderr, includes)
  assert.notMatch(stderr, /\bat .*:\d+/)
}
