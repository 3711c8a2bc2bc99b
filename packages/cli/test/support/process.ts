/** Runs the built command as a process, in a pipe or on a pseudo-terminal, as a user would. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { fileURLToPath } from "node:url"
import * as Process from "../../../test-kit/test/support/process.ts"
import type { Ended } from "../../../test-kit/test/support/transcript.ts"

export { hasTerminals } from "../../../test-kit/test/support/process.ts"

/** The built file. */
const program = fileURLToPath(new URL("../../dist/bin/makima-stream.js", import.meta.url))

/** Does not exist, and cannot be created, even by root. */
export const noHome = "/proc/nonexistent"

/** Starts the command. The process is killed with the scope. */
export const start = (
  args: ReadonlyArray<string>,
  options: Process.Options = {}
): Effect.Effect<Process.Running, never, Scope.Scope> =>
  Process.start(program, args, { ...options, env: { HOME: noHome, ...options.env } })

/** Runs the command to its end. */
export const run = (...args: Parameters<typeof start>): Effect.Effect<Ended> =>
  Effect.scoped(Effect.flatMap(start(...args), ({ ended }) => ended))
