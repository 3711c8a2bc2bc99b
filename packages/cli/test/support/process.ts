/** Runs the built command as a process, in a pipe or on a pseudo-terminal, as a user would. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { assert } from "@effect/vitest"
import { spawn, spawnSync } from "node:child_process"
import { existsSync, readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"

/** The built file. */
export const program = fileURLToPath(new URL("../../dist/bin/makima-stream.js", import.meta.url))

export interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface Running {
  /** Waits until the output contains a text. Dies with the output if the process ends without it. */
  readonly awaitOut: (text: string) => Effect.Effect<string>
  /** The same for standard error. */
  readonly awaitErr: (text: string) => Effect.Effect<string>
  /** What was printed so far. */
  readonly printed: Effect.Effect<string>
  /** Writes to the standard input: keys, on a terminal. */
  readonly type: (text: string) => Effect.Effect<void>
  readonly signal: (signal: NodeJS.Signals) => Effect.Effect<void>
  /** Stops reading the output, so that the pipe fills up. */
  readonly stopReading: Effect.Effect<void>
  /** Closes the reading end of the output, as `head` does. */
  readonly closeOutput: Effect.Effect<void>
  readonly ended: Effect.Effect<Ended>
}

export interface Options {
  readonly env?: Readonly<Record<string, string>> | undefined
  /** Runs on a pseudo-terminal of this size. Then everything that is printed is `stdout`. */
  readonly terminal?: { readonly columns: number; readonly rows: number } | undefined
  /** The environment variable `TERM` on the terminal. Defaults to `xterm-256color`. */
  readonly term?: string | undefined
}

const quote = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`

/** Whether this machine has `script` of util-linux, which a bare Debian has. It makes pseudo-terminals. */
export const hasTerminals = process.platform === "linux" && spawnSync("script", ["--version"]).status === 0

const commandOf = (args: ReadonlyArray<string>, terminal: Options["terminal"]): readonly [string, Array<string>] => {
  if (terminal === undefined) return [process.execPath, [program, ...args]]
  const { columns, rows } = terminal
  const line = [process.execPath, program, ...args].map(quote).join(" ")
  return ["script", ["-q", "-e", "-f", "-c", `stty cols ${columns} rows ${rows}; exec ${line}`, "/dev/null"]]
}

/** Starts the command. The process is killed with the scope. */
export const start = (args: ReadonlyArray<string>, options: Options = {}): Effect.Effect<Running, never, Scope.Scope> =>
  Effect.gen(function* () {
    const [command, commandArgs] = commandOf(args, options.terminal)
    const child = yield* Effect.acquireRelease(
      Effect.sync(() =>
        spawn(command, commandArgs, {
          env: {
            PATH: process.env["PATH"],
            // Does not exist, and cannot be created, even by root.
            HOME: "/proc/nonexistent",
            // Halves the processor time of a process.
            ...(process.env["NODE_COMPILE_CACHE"] === undefined
              ? {}
              : { NODE_COMPILE_CACHE: process.env["NODE_COMPILE_CACHE"] }),
            ...(options.terminal === undefined ? {} : { TERM: options.term ?? "xterm-256color", LANG: "C.UTF-8" }),
            ...options.env
          },
          stdio: ["pipe", "pipe", "pipe"]
        })
      ),
      (child) =>
        Effect.sync(() => {
          child.stdin.destroy()
          child.kill("SIGKILL")
        })
    )
    const watchers = new Set<() => void>()
    const changed = () => {
      for (const watcher of watchers) watcher()
    }
    let stdout = ""
    let stderr = ""
    let ended: Ended | undefined
    child.stdin.on("error", () => {})
    child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
      stdout += chunk
      changed()
    })
    child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
      stderr += chunk
      changed()
    })
    const end = (code: number | null) => {
      ended = { code, stdout, stderr }
      changed()
    }
    child.on("close", end)

    /** Waits until the function returns an effect. */
    const when = <A>(look: () => Effect.Effect<A> | undefined): Effect.Effect<A> =>
      Effect.callback((resume) => {
        const watcher = () => {
          const found = look()
          if (found === undefined) return
          watchers.delete(watcher)
          resume(found)
        }
        watchers.add(watcher)
        watcher()
        return Effect.sync(() => watchers.delete(watcher))
      })
    const awaitText = (printed: () => string) => (text: string) =>
      when(() => {
        if (printed().includes(text)) return Effect.succeed(printed())
        return ended === undefined
          ? undefined
          : Effect.die(new Error(`Ended without "${text}": ${JSON.stringify(ended)}`))
      })

    return {
      awaitOut: awaitText(() => stdout),
      awaitErr: awaitText(() => stderr),
      printed: Effect.sync(() => stdout),
      type: (text) => Effect.sync(() => child.stdin.write(text)),
      signal: (signal) => Effect.sync(() => child.kill(signal)),
      stopReading: Effect.sync(() => child.stdout.pause()),
      closeOutput: Effect.sync(() => {
        child.stdout.destroy()
        child.on("exit", end)
      }),
      ended: when(() => (ended === undefined ? undefined : Effect.succeed(ended)))
    }
  })

/** Runs the command to its end. */
export const run = (...args: Parameters<typeof start>): Effect.Effect<Ended> =>
  Effect.scoped(Effect.flatMap(start(...args), ({ ended }) => ended))

/** One line on standard error, without a stack trace. */
export const assertOneLine = (stderr: string, includes: string): void => {
  assert.match(stderr, /^[^\n]+\n$/)
  assert.include(stderr, includes)
  assert.notMatch(stderr, /\bat .*:\d+/)
}

/** The objects of an output of JSON lines. */
export const objects = (stdout: string): ReadonlyArray<Record<string, unknown>> =>
  stdout
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => Object(JSON.parse(line)))

/** Waits until a file contains a text: what another process has written. */
export const awaitFile = (path: string, text: string): Effect.Effect<void> =>
  Effect.suspend(() =>
    existsSync(path) && readFileSync(path, "utf8").includes(text)
      ? Effect.void
      : Effect.andThen(Effect.sleep("10 millis"), awaitFile(path, text))
  )
