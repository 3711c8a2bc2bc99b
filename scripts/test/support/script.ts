/** Runs the processes of a script from their bundles. */
import * as Effect from "effect/Effect"
import { directory } from "../../../packages/test-kit/test/support/programs.ts"
import * as Child from "../../src/child.ts"

/** Provides the bundles of the modules that a script runs as processes. `programs.ts` lists them. */
export const withBundles = Effect.provideService(Child.FileOf, (module) => `${directory}scripts/src/${module}.js`)
