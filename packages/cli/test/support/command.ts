/** Runs a command in the process of the test, by its command line. */
import * as ConfigProvider from "effect/ConfigProvider"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import type * as Command from "effect/cli/Command"
import { inspect } from "node:util"
import * as Transcript from "../../../test-kit/test/support/transcript.ts"
import * as Cli from "../../src/Cli.ts"
import { Environment } from "../../src/internal/environment.ts"
import { Write } from "../../src/internal/output.ts"
import { version } from "../../src/internal/version.ts"
import * as Program from "../../src/Program.ts"
import { noHome } from "./process.ts"

export interface Running extends Transcript.Transcript {
  /** Interrupts the command, as the first Ctrl-C does. */
  readonly interrupt: Effect.Effect<void>
}

/**
 * Starts a command. `env` is all of the environment that it sees.
 *
 * A process of its own does the same: `Program.main` only adds the handling of signals, and of an output that is closed.
 */
const startCommand = <Name extends string, Input, Context, E extends { readonly message: string }>(
  command: Command.Command<Name, Input, Context, E, Command.Environment>,
  args: ReadonlyArray<string>,
  env: Readonly<Record<string, string>> = {},
  options: Omit<Program.Options, "args"> = {}
): Effect.Effect<Running, never, Scope.Scope> =>
  Effect.gen(function* () {
    const { end, transcript, write } = Transcript.make()
    const print =
      (to: "stdout" | "stderr") =>
      (...values: ReadonlyArray<unknown>) =>
        write(to, `${values.map((value) => (typeof value === "string" ? value : inspect(value))).join(" ")}\n`)
    const log = print("stdout")
    const error = print("stderr")
    const fiber = yield* Program.run(command, { ...options, args }).pipe(
      Effect.provideService(Write, (to, text) => Effect.sync(() => write(to, text))),
      Effect.provideService(Environment, env),
      Effect.provideService(Console.Console, {
        ...globalThis.console,
        log,
        info: log,
        debug: log,
        error,
        warn: error
      }),
      Effect.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env }))),
      Effect.forkScoped
    )
    fiber.addObserver((exit) => Program.teardown(options)(exit, end))
    return { ...transcript, interrupt: Effect.asVoid(Effect.forkDetach(Fiber.interrupt(fiber))) }
  })

/** Runs a command to its end. */
export const runCommand = <Name extends string, Input, Context, E extends { readonly message: string }>(
  ...args: Parameters<typeof startCommand<Name, Input, Context, E>>
): Effect.Effect<Transcript.Ended> =>
  Effect.scoped(Effect.flatMap(startCommand<Name, Input, Context, E>(...args), ({ ended }) => ended))

/** Starts `makima-stream` with arguments. */
export const start = (
  args: ReadonlyArray<string>,
  options: { readonly env?: Readonly<Record<string, string>> } = {}
): Effect.Effect<Running, never, Scope.Scope> =>
  startCommand(
    Cli.command,
    args,
    { HOME: noHome, ...options.env },
    {
      version,
      refused: Program.exitCodes.refused,
      errorsOnly: true
    }
  )

/** Runs `makima-stream` to its end. */
export const run = (...args: Parameters<typeof start>): Effect.Effect<Transcript.Ended> =>
  Effect.scoped(Effect.flatMap(start(...args), ({ ended }) => ended))
