/**
 * The command line: every command with its flags. What a command does is loaded
 * when it runs, so that the program starts fast.
 *
 * @since 0.2.0
 */
import * as Effect from "effect/Effect"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as TaskId from "@makima-stream/core/TaskId"
import * as Connection from "./internal/connection.ts"
import * as Flags from "./internal/flags.ts"
import { version } from "./internal/version.ts"
import * as Program from "./Program.ts"

const tasks = Argument.String("task").pipe(
  Argument.withDescription("The tasks to follow. Defaults to all"),
  Argument.withSchema(TaskId.TaskId),
  Argument.variadic()
)

const task = Argument.String("task").pipe(Argument.withDescription("The task"), Argument.withSchema(TaskId.TaskId))

/** Loads the module of a command, and runs it. */
const run = <I, A, E, R>(
  load: () => Promise<{ readonly run: (input: I) => Effect.Effect<A, E, R> }>
): ((input: I) => Effect.Effect<A, E, R>) => {
  return (input) => Effect.flatMap(Effect.promise(load), (module) => module.run(input))
}

/** The flags that choose events. */
const filterFlags = {
  include: Flags.patterns("include").pipe(
    Flag.withAlias("i"),
    Flag.withDescription("Print only what matches. May be repeated: one match is enough")
  ),
  exclude: Flags.patterns("exclude").pipe(
    Flag.withAlias("e"),
    Flag.withDescription("Do not print what matches. May be repeated")
  ),
  status: Flags.words("status").pipe(
    Flag.withDescription("Print updates to these statuses, and no output unless --type asks for it")
  ),
  type: Flags.words("type").pipe(
    Flag.withDescription("Print output of these message types, and no updates unless --status asks for them")
  )
}

/** The flags that say how events are printed. */
const formatFlags = {
  output: Flags.output,
  timestamps: Flag.Boolean("timestamps").pipe(
    Flag.withAlias("t"),
    Flag.withDescription("Start each line with the time of arrival"),
    Flag.withDefault(false)
  ),
  timezone: Flag.String("timezone").pipe(
    Flag.withDescription("The time zone of times, such as Asia/Tokyo. Defaults to the machine's"),
    Flag.optional
  ),
  template: Flag.String("template").pipe(
    Flag.withDescription("Print each event as this text; {member} stands for a member of the event, {at} for the time"),
    Flag.optional
  ),
  quiet: Flags.quiet
}

const count = Flags.count("count", 1).pipe(
  Flag.withAlias("n"),
  Flag.withDescription("End after this many events"),
  Flag.optional
)

const withColor = <I extends object>(input: I) => Effect.map(Flags.color, (color) => ({ ...input, color }))

const tail = Command.make(
  "tail",
  {
    tasks,
    ...Connection.flags,
    ...filterFlags,
    ...formatFlags,
    count,
    follow: Flag.Boolean("follow").pipe(
      Flag.withDescription("Whether to go on after the named tasks have ended (--no-follow ends with them)"),
      Flag.withDefault(true)
    )
  },
  (input) => Effect.flatMap(withColor(input), run(() => import("./commands/tail.ts")))
).pipe(
  Command.withDescription("Follow updates and output"),
  Command.withExamples([
    { command: "makima-stream tail", description: "Follow everything" },
    { command: "makima-stream tail --status failed -o json", description: "Failures, one JSON object a line" },
    { command: "makima-stream tail TASK --type assistant", description: "Read along with one agent" }
  ])
)

/**
 * The command `makima-stream`.
 *
 * @category commands
 * @since 0.2.0
 */
export const command = Command.make("makima-stream").pipe(
  Command.withDescription("The Makima task feed at a terminal"),
  Command.withSubcommands([tail]),
  Command.withGlobalFlags([Flags.color])
)

/**
 * Runs the command as the program of the process.
 *
 * @category running
 * @since 0.2.0
 */
export const main = (): void => Program.main(command, { version, refused: Program.exitCodes.refused })
