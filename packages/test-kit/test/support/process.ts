/** Runs a program as a process, in a pipe or on a pseudo-terminal, as a user would. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { spawn, spawnSync, type ChildProcess } from "node:child_process"
import * as Transcript from "./transcript.ts"

export interface Running extends Transcript.Transcript {
  readonly child: ChildProcess
  /** Writes to the standard input: keys, on a terminal. */
  readonly type: (text: string) => Effect.Effect<void>
  readonly signal: (signal: NodeJS.Signals) => Effect.Effect<void>
  /** Stops reading the output, so that the pipe fills up. */
  readonly stopReading: Effect.Effect<void>
  /** Closes the reading end of the output, as `head` does. */
  readonly closeOutput: Effect.Effect<void>
}

export interface Options {
  /** The environment, in addition to `PATH` and the cache of compiled modules. */
  readonly env?: Readonly<Record<string, string>> | undefined
  /** A shell command that starts the program as `"$0" "$@"`, for example with a limit. Defaults to none. */
  readonly shell?: string | undefined
  /** Runs on a pseudo-terminal of this size. Then everything that is printed is `stdout`. */
  readonly terminal?: { readonly columns: number; readonly rows: number } | undefined
  /** The environment variable `TERM` on the terminal. Defaults to `xterm-256color`. */
  readonly term?: string | undefined
}

const quote = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`

/** Whether this machine has `script` of util-linux, which a bare Debian has. It makes pseudo-terminals. */
export const hasTerminals = process.platform === "linux" && spawnSync("script", ["--version"]).status === 0

const commandOf = (
  program: string,
  args: ReadonlyArray<string>,
  { shell, terminal }: Options
): readonly [string, Array<string>] => {
  if (shell !== undefined) return ["sh", ["-c", shell, process.execPath, program, ...args]]
  if (terminal === undefined) return [process.execPath, [program, ...args]]
  const { columns, rows } = terminal
  const line = [process.execPath, program, ...args].map(quote).join(" ")
  return ["script", ["-q", "-e", "-f", "-c", `stty cols ${columns} rows ${rows}; exec ${line}`, "/dev/null"]]
}

const environment = ({ env, term = "xterm-256color", terminal }: Options): NodeJS.ProcessEnv => {
  const cache = process.env["NODE_COMPILE_CACHE"]
  return {
    PATH: process.env["PATH"],
    // Halves the processor time of a process.
    ...(cache === undefined ? {} : { NODE_COMPILE_CACHE: cache }),
    ...(terminal === undefined ? {} : { TERM: term, LANG: "C.UTF-8" }),
    ...env
  }
}

/** Starts a program of Node. The process is killed with the scope. */
export const start = (
  program: string,
  args: ReadonlyArray<string>,
  options: Options = {}
): Effect.Effect<Running, never, Scope.Scope> =>
  Effect.gen(function* () {
    const [command, commandArgs] = commandOf(program, args, options)
    const child = yield* Effect.acquireRelease(
      Effect.sync(() => spawn(command, commandArgs, { env: environment(options), stdio: ["pipe", "pipe", "pipe"] })),
      (child) =>
        Effect.sync(() => {
          child.stdin.destroy()
          child.kill("SIGKILL")
        })
    )
    const { end, transcript, write } = Transcript.make()
    child.stdin.on("error", () => {})
    child.stdout.setEncoding("utf8").on("data", (chunk: string) => write("stdout", chunk))
    child.stderr.setEncoding("utf8").on("data", (chunk: string) => write("stderr", chunk))
    child.on("close", end)
    return {
      ...transcript,
      child,
      type: (text) => Effect.sync(() => child.stdin.write(text)),
      signal: (signal) => Effect.sync(() => child.kill(signal)),
      stopReading: Effect.sync(() => child.stdout.pause()),
      closeOutput: Effect.sync(() => {
        child.stdout.destroy()
        child.on("exit", end)
      })
    }
  })

/** Runs a program to its end. */
export const run = (...args: Parameters<typeof start>): Effect.Effect<Transcript.Ended> =>
  Effect.scoped(Effect.flatMap(start(...args), ({ ended }) => ended))
