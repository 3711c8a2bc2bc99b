/** Runs an example as a process, as a user would. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { fileURLToPath } from "node:url"
import * as Process from "../../../packages/test-kit/test/support/process.ts"
import type { Ended } from "../../../packages/test-kit/test/support/transcript.ts"

export interface Options {
  readonly args?: ReadonlyArray<string>
  readonly env?: Readonly<Record<string, string>>
}

/** Starts an example by its file's name without the ending. */
export const start = (
  example: string,
  { args = [], env }: Options = {}
): Effect.Effect<Process.Running, never, Scope.Scope> =>
  Process.start(fileURLToPath(new URL(`../../src/${example}.ts`, import.meta.url)), args, { env })

/** Runs an example to its end. */
export const run = (...args: Parameters<typeof start>): Effect.Effect<Ended> =>
  Effect.scoped(Effect.flatMap(start(...args), ({ ended }) => ended))
