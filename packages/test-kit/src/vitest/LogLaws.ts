/**
 * The laws of `LogLaws` as a suite of tests.
 *
 * @since 0.2.0
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as LogLaws from "../LogLaws.ts"
import * as Bounds from "../internal/bounds.ts"

export * from "../LogLaws.ts"

/**
 * Runs every law over an engine, each on a fresh log.
 *
 * **Details**
 *
 * No law is skipped. The test of a law in `cannot` fails if the engine keeps the law,
 * because the table in the documentation would then be wrong.
 *
 * **Example** (The log in memory)
 *
 * ```ts no-run
 * import { LogLaws } from "@makima-stream/test-kit/vitest"
 *
 * LogLaws.suite("the log in memory", LogLaws.layerMemory, {
 *   clock: "test",
 *   cannot: { crash: "It ends with its process.", damage: "It has no file." }
 * })
 * ```
 *
 * @category suites
 * @since 0.2.0
 */
export const suite = <E>(
  name: string,
  harness: Layer.Layer<LogLaws.Harness, E>,
  options?: {
    /** Which clock the harness uses: `"test"` for the `TestClock`, `"live"` for real time. Defaults to `"live"`. */
    readonly clock?: "test" | "live" | undefined
    /** The laws that the engine breaks, each with the reason. */
    readonly cannot?: { readonly [Name in LogLaws.Name]?: string } | undefined
  }
): void => {
  const test = Bounds.oneOf("clock", options?.clock, ["live", "test"]) === "test" ? it.effect : it.live
  describe(name, () => {
    for (const name of LogLaws.names) {
      const law = LogLaws.laws[name]
      const { promise } = law
      const run = LogLaws.checkIn(law, harness)
      const reason = options?.cannot?.[name]
      if (reason === undefined) {
        test(promise, () => run)
      } else {
        test(`CANNOT: ${promise} (${reason})`, () =>
          run.pipe(
            Effect.matchEffect({
              onSuccess: () => Effect.sync(() => assert.fail("the engine keeps this law: remove it from `cannot`")),
              onFailure: (error) => (error instanceof LogLaws.LawBroken ? Effect.void : Effect.fail(error))
            })
          ))
      }
    }
  })
}
