/** Runs a program of this repository by its command line, in this process. */
import * as ConfigProvider from "effect/ConfigProvider"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import type * as Command from "effect/cli/Command"
import { inspect } from "node:util"
import * as Program from "@makima-stream/cli/Program"
import { Write } from "../../../packages/cli/src/internal/output.ts"
import type { Ended } from "./process.ts"

/**
 * Runs a command to its end. `env` is all of the environment that its configuration sees.
 *
 * A process of its own does the same: `Program.main` only adds the handling of signals, and of an output that is closed.
 */
export const runCommand = <Name extends string, Input, Context, E extends { readonly message: string }>(
  command: Command.Command<Name, Input, Context, E, Command.Environment>,
  args: ReadonlyArray<string>,
  env: Record<string, string> = {},
  options: Omit<Program.Options, "args"> = {}
): Effect.Effect<Ended> =>
  Effect.gen(function* () {
    const printed = { stdout: "", stderr: "" }
    const print =
      (to: keyof typeof printed) =>
      (...values: ReadonlyArray<unknown>) => {
        printed[to] += `${values.map((value) => (typeof value === "string" ? value : inspect(value))).join(" ")}\n`
      }
    const log = print("stdout")
    const error = print("stderr")
    const exit = yield* Effect.exit(
      Program.run(command, { ...options, args }).pipe(
        Effect.provideService(Write, (to, text) => Effect.sync(() => (printed[to] += text))),
        Effect.provideService(Console.Console, {
          ...globalThis.console,
          log,
          info: log,
          debug: log,
          error,
          warn: error
        }),
        Effect.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env })))
      )
    )
    const code = yield* Effect.callback<number>((resume) =>
      Program.teardown(options)(exit, (code) => resume(Effect.succeed(code)))
    )
    return { code, ...printed }
  })
