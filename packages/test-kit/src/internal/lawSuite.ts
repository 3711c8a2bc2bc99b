/**
 * Laws as tests of Vitest: what `TransportLaws.suite` and `LogLaws.suite` share.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Bounds from "./bounds.ts"

/** One law, ready to run. */
export interface Law<E> {
  readonly promise: string
  readonly check: Effect.Effect<void, E>
  /** Why the subject breaks the law. Then the test fails if the law holds. */
  readonly cannot: string | undefined
}

/** Defines one test for each law. `subject` is what the laws are about, such as `transport`. */
export const define = <E>(options: {
  readonly name: string
  readonly subject: string
  readonly clock: "test" | "live" | undefined
  readonly laws: ReadonlyArray<Law<E>>
  /** Whether a failure says that the law is broken, and not that it could not be checked. */
  readonly isBroken: (error: E) => boolean
}): void => {
  const test = Bounds.oneOf("clock", options.clock, ["live", "test"]) === "test" ? it.effect : it.live
  const onSuccess = () =>
    Effect.sync(() => assert.fail(`the ${options.subject} keeps this law: remove it from \`cannot\``))
  const onFailure = (error: E) => (options.isBroken(error) ? Effect.void : Effect.fail(error))
  describe(options.name, () => {
    for (const { cannot, check, promise } of options.laws) {
      if (cannot === undefined) test(promise, () => check)
      else test(`CANNOT: ${promise} (${cannot})`, () => Effect.matchEffect(check, { onSuccess, onFailure }))
    }
  })
}
