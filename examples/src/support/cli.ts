/**
 * What the programs here have in common at the terminal: a command line that is
 * wrong, or a program that cannot go on, says so in one line on stderr.
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

/** A failure that is for the person at the terminal: its message is all that is printed. */
export class Failure extends Data.TaggedError("Failure")<{
  readonly message: string
  /** 1 for a program that failed, 2 for one that was called wrongly. */
  readonly exitCode: 1 | 2
}> {
  override readonly [Runtime.errorExitCode] = this.exitCode
}

const toStderr = (text: string) => Effect.sync(() => process.stderr.write(`${text}\n`))

/** A schema's message has a line for each place that is wrong, and that of a flag one for what may have been meant. */
const inOneLine = (message: string): string => message.replaceAll(/\s*\n\s*/g, " ")

/** What an error says; where it says nothing, as some that wrap another do, what its cause says, or at least its name. */
const toMessage = (error: { readonly message: string; readonly cause?: unknown; readonly _tag?: string }): string =>
  error.message || (Predicate.isError(error.cause) && error.cause.message) || error._tag || "Failed without a word"

/** Whether whoever started the program has to change how: a flag, an argument, a variable. */
const isWrongCall = (error: unknown): boolean =>
  CliError.isCliError(error) || Predicate.isTagged(error, "MeshConfigError") || Predicate.isTagged(error, "ConfigError")

/** Says what is wrong with the command line without the page of help that nobody asked for. */
const oneLine = CliOutput.layerPresenter({
  present: (event) =>
    event._tag === "InvalidInvocation"
      ? toStderr(`${event.errors.map(({ message }) => inOneLine(message)).join("; ")} (see --help)`)
      : CliOutput.defaultPresenter.present(event)
})

/**
 * Runs a command as the process's program. Exit codes: 0, 1 for a failure, 2 for
 * a wrong command line or a variable that is missing or wrong, 130 for an
 * interruption; an error with a code of its own has that.
 */
export const main = <Name extends string, Input, Context, E extends { readonly message: string }>(
  command: Command.Command<Name, Input, Context, E, Command.Environment>
): void => {
  // Whoever reads the output has seen enough, as in `demo | head`: an interruption, so that scopes close as they should.
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

/** Whether a module is the program that was started; `import.meta.main` says so from Node 24 on. */
export const isMain = ({ filename }: ImportMeta): boolean =>
  process.argv[1] !== undefined && realpathSync(process.argv[1]) === filename
