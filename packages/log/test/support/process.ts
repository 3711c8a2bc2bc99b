/** Starts the programs of this directory as processes. */
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Process from "../../../test-kit/test/support/process.ts"
import { fileOf } from "../../../test-kit/test/support/programs.ts"

export type { Running } from "../../../test-kit/test/support/process.ts"

export const start = (
  program: "killed",
  args: ReadonlyArray<string>,
  options: Process.Options = {}
): Effect.Effect<Process.Running, never, Scope.Scope> =>
  Process.start(fileOf(`packages/log/test/support/${program}`), args, options)
