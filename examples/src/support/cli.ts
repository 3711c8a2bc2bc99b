/**
 * The command line of the examples: a wrong command line and a failure of the
 * program are reported in one line on stderr.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import * as Runtime from "effect/Runtime"
import { realpathSync } from "node:fs"
import * as CliError from "effect/cli/CliError"
import * as CliOutput from "effect/cli/CliOutput"
import * as Command from "effect/cli/Command"

/** A failure for the user at the terminal: only its message is printed. */
export class Failure extends Data.TaggedError("Failure")<{
  readonly message: string
  /** 1 for a failure of the program, 2 for a wrong command line. */
  readonly exitCode: 1 | 2
}> {
  override readonly [Runtime.errorExitCode] = this.exitCode
}

const toStderr = (text: string) => Effect.sync(() => process.stderr.write(`${text}\n`))

/** Joins the lines of a message. A schema's message has one for each issue, and a flag's one for suggestions. */
const inOneLine = (message: string): string => message.replaceAll(/\s*\n\s*/g, " ")

/** The message of an error, or of its cause, or its tag: some errors that wrap another error have no message. */
const toMessage = (error: { readonly message: string; readonly cause?: unknown; readonly _tag?: string }): string =>
  error.message || (Predicate.isError(error.cause) && error.cause.message) || error._tag || "Failed without a message"

/** Whether the command line or a variable is wrong. */
const isWrongCall = (error: unknown): boolean =>
  CliError.isCliError(error) || Predicate.isTagged(error, "MeshConfigError") || Predicate.isTagged(error, "ConfigError")

/** Reports a wrong command line without the page of help. */
const oneLine = CliOutput.layerPresenter({
  present: (event) =>
    event._tag === "InvalidInvocation"
      ? toStderr(`${event.errors.map(({ message }) => inOneLine(message)).join("; ")} (see --help)`)
      : CliOutput.defaultPresenter.present(event)
})

/**
 * Runs a command as the program of the process. Exit codes: 0, 1 for a failure, 2
 * for a wrong command line or a missing or wrong variable, 130 for an interruption.
 * An error with `Runtime.errorExitCode` has its own code.
 */
export const main = <Name extends string, Input, Context, E extends { readonly message: string }>(
  command: Command.Command<Name, Input, Context, E, Command.Environment>
): void => {
  // The reader of the output has closed it, as in `demo | head`. The program is interrupted, so that its scopes close.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error
    if (process.listenerCount("SIGTERM") > 0) process.kill(process.pid, "SIGTERM")
  })
  Command.runWith(command, { version: "0.1.0" })(process.argv.slice(2)).pipe(
    Effect.tapCause((cause) => {
      const error = Cause.findError(cause)
      if (Result.isFailure(error)) return Cause.hasInterruptsOnly(cause) ? Effect.void : toStderr(Cause.pretty(cause))
      return CliError.isCliError(error.success) ? Effect.void : toStderr(inOneLine(toMessage(error.success)))
    }),
    Effect.provide([oneLine, NodeServices.layer]),
    NodeRuntime.runMain({
      disableErrorReporting: true,
      teardown: (exit, onExit) => {
        const error = Exit.findError(exit)
        if (Result.isSuccess(error) && isWrongCall(error.success)) onExit(2)
        else Runtime.defaultTeardown(exit, onExit)
      }
    })
  )
}

/** Whether a module is the program that was started. (`import.meta.main` exists from Node 24 on.) */
export const isMain = ({ filename }: ImportMeta): boolean =>
  process.argv[1] !== undefined && realpathSync(process.argv[1]) === filename
