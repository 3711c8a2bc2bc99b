/** Runs an example as a process, as a user would. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Process from "../../../packages/test-kit/test/support/process.ts"
import * as Programs from "../../../packages/test-kit/test/support/programs.ts"
import type { Ended } from "../../../packages/test-kit/test/support/transcript.ts"

export interface Options {
  readonly args?: ReadonlyArray<string>
  readonly env?: Readonly<Record<string, string>>
}

type Example = Programs.Program extends infer P ? (P extends `examples/src/${infer Name}` ? Name : never) : never

/** Starts an example by its file's name without the ending. */
export const start = (
  example: Example,
  { args = [], env }: Options = {}
): Effect.Effect<Process.Running, never, Scope.Scope> =>
  Process.start(Programs.fileOf(`examples/src/${example}`), args, { env })

/** Runs an example to its end. */
export const run = (...args: Parameters<typeof start>): Effect.Effect<Ended> =>
  Effect.scoped(Effect.flatMap(start(...args), ({ ended }) => ended))
