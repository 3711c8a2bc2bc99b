/**
 * Runs a command as the program of a process: one line for each failure, exit
 * codes, signals, and a closed pipe.
 *
 * The command `makima-stream` uses it, and so do the examples.
 *
 * @since 0.2.0
 */
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Logger from "effect/Logger"
import * as Predicate from "effect/Predicate"
import * as References from "effect/References"
import * as Result from "effect/Result"
import * as Runtime from "effect/Runtime"
import { realpathSync } from "node:fs"
import * as CliError from "effect/cli/CliError"
import * as CliOutput from "effect/cli/CliOutput"
import * as Command from "effect/cli/Command"
import * as Output from "./internal/output.ts"

/**
 * The exit codes.
 *
 * @category constants
 * @since 0.2.0
 */
export const exitCodes = {
  success: 0,
  /** The task failed, the budget is spent, or the program itself failed. */
  failed: 1,
  /** The command line is wrong, or a variable or a file that it names. */
  usage: 2,
  /** The server refused, and asking again would not help. */
  refused: 3,
  /** It is not known how the task ended, because the feed has a gap. */
  unknown: 4,
  /** The time is up. */
  timeout: 124,
  /** The program was interrupted, or the reader of its output is gone. */
  interrupted: 130
} as const

/**
 * A failure for the user at the terminal: only its message is printed.
 *
 * @category errors
 * @since 0.2.0
 */
export class Failure extends Data.TaggedError("Failure")<{
  /** One line. */
  readonly message: string
  /** One of `exitCodes`. */
  readonly exitCode: number
}> {
  /** Read by Effect's runtime. */
  override readonly [Runtime.errorExitCode] = this.exitCode
}

/** Joins the lines of a message. A schema's message has a line for each issue, and a flag's has one for suggestions. */
const inOneLine = (message: string): string => message.replaceAll(/\s*\n\s*/g, " ")

/** The message of an error. Some errors that wrap another have none: then the message of the cause, or the tag. */
const toMessage = (error: { readonly message: string; readonly cause?: unknown; readonly _tag?: string }): string =>
  error.message || (Predicate.isError(error.cause) && error.cause.message) || error._tag || "Failed without a message"

/** The tags of errors that say that the command line or a variable is wrong. */
const usageTags: ReadonlySet<string> = new Set(["MeshConfigError", "ConfigError", "InvalidUrl", "InvalidOption"])

const hasTag = (error: unknown): error is { readonly _tag: string } =>
  Predicate.hasProperty(error, "_tag") && Predicate.isString(error._tag)

/** The exit code of an error; `undefined` if Effect's runtime chooses it. */
const codeOf = (error: unknown): number | undefined => {
  // A command that was called without its subcommand shows its help, which is not a failure.
  if (CliError.isCliError(error)) {
    return error._tag === "ShowHelp" && error.errors.length === 0 ? exitCodes.success : exitCodes.usage
  }
  return hasTag(error) && usageTags.has(error._tag) ? exitCodes.usage : undefined
}

/** Reports a wrong command line without the page of help. */
const oneLinePresenter = CliOutput.layerPresenter({
  present: (event) =>
    event._tag === "InvalidInvocation"
      ? Output.err(
          `${inOneLine(event.errors.map(({ message }) => inOneLine(message)).join("; "))} (see ${event.commandPath.join(" ")} --help)\n`
        )
      : CliOutput.defaultPresenter.present(event)
})

const report = (cause: Cause.Cause<unknown>): Effect.Effect<void> => {
  const error = Cause.findError(cause)
  if (Result.isFailure(error)) {
    return Cause.hasInterruptsOnly(cause) ? Effect.void : Output.err(`${Cause.pretty(cause)}\n`)
  }
  if (CliError.isCliError(error.success)) return Effect.void
  const message = Predicate.isError(error.success) ? toMessage(error.success) : String(error.success)
  return Output.err(`${inOneLine(message)}\n`)
}

/**
 * Runs the fiber until it ends, a signal interrupts it, or the output is closed.
 * The first signal interrupts, so that the program can finish what has arrived;
 * the second one ends the process at once.
 */
const runMain = Runtime.makeRunMain(({ fiber, teardown }) => {
  let interrupted = false
  const interrupt = () => {
    if (interrupted) return
    interrupted = true
    fiber.interruptUnsafe(fiber.id)
  }
  const onSignal = () => {
    if (interrupted) process.exit(exitCodes.interrupted)
    interrupt()
    const check = setInterval(() => {
      // The reader of the output does not read, so the program cannot finish. On a busy machine that shows only later.
      if (process.stdout.writableLength === 0) return
      clearInterval(check)
      process.stderr.write("The output is not read. Ctrl-C again ends at once\n")
    }, 1000).unref()
  }
  const onOutputError = (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE" || error.code === "ERR_STREAM_DESTROYED" || error.code === "EIO") interrupt()
    else throw error
  }
  process.on("SIGINT", onSignal)
  process.on("SIGTERM", onSignal)
  process.on("SIGHUP", onSignal)
  process.stdout.on("error", onOutputError)
  process.stderr.on("error", onOutputError)
  fiber.addObserver((exit) => {
    teardown(exit, (code) =>
      Output.flushed(() => process.exit(interrupted && code === 0 ? exitCodes.interrupted : code))
    )
  })
})

/**
 * Options of a program.
 *
 * @category models
 * @since 0.2.0
 */
export interface Options {
  /** Defaults to the arguments of the process. */
  readonly args?: ReadonlyArray<string> | undefined
  /** What `--version` prints. Defaults to `0.1.0`. */
  readonly version?: string | undefined
  /** The exit code of a `MeshError`. Defaults to 1. */
  readonly refused?: number | undefined
  /**
   * Whether only errors are logged, to standard error, unless `--log-level` is
   * given: for a program that reports on its connection itself. Defaults to
   * `false`.
   */
  readonly errorsOnly?: boolean | undefined
}

/**
 * Runs a command, and reports a failure in one line on standard error. The effect
 * then fails with it; `teardown` has its exit code.
 *
 * **When to use**
 *
 * In a test of a command. Use `main` for a program.
 *
 * @category running
 * @since 0.2.0
 */
export const run = <Name extends string, Input, Context, E extends { readonly message: string }>(
  command: Command.Command<Name, Input, Context, E, Command.Environment>,
  options?: Options
) =>
  Command.runWith(command, { version: options?.version ?? "0.1.0" })(options?.args ?? process.argv.slice(2)).pipe(
    Effect.tapCause(report),
    Effect.provide([oneLinePresenter, NodeServices.layer]),
    Effect.provideService(Logger.LogToStderr, options?.errorsOnly ?? false),
    Effect.provideService(References.MinimumLogLevel, options?.errorsOnly === true ? "Error" : "Info")
  )

/**
 * Returns the teardown of a program: one of `exitCodes` for an exit.
 *
 * **Details**
 *
 * 2 for a wrong command line or a missing or wrong variable, `refused` for a
 * `MeshError`, 130 for an interruption. An error with `Runtime.errorExitCode` has
 * its own code.
 *
 * @category running
 * @since 0.2.0
 */
export const teardown =
  (options?: Options): Runtime.Teardown =>
  (exit, onExit) => {
    const error = Exit.findError(exit)
    if (Result.isSuccess(error)) {
      const code = Predicate.isTagged(error.success, "MeshError") ? options?.refused : codeOf(error.success)
      if (code !== undefined) return onExit(code)
    }
    Runtime.defaultTeardown(exit, onExit)
  }

/**
 * Runs a command as the program of the process, and ends the process with the exit
 * code that `teardown` returns.
 *
 * @category running
 * @since 0.2.0
 */
export const main = <Name extends string, Input, Context, E extends { readonly message: string }>(
  command: Command.Command<Name, Input, Context, E, Command.Environment>,
  options?: Options
): void => runMain(run(command, options), { disableErrorReporting: true, teardown: teardown(options) })

/**
 * Returns whether a module is the program that was started. (`import.meta.main`
 * exists from Node 24 on.)
 *
 * @category running
 * @since 0.2.0
 */
export const isMain = ({ filename }: ImportMeta): boolean =>
  process.argv[1] !== undefined && realpathSync(process.argv[1]) === filename
