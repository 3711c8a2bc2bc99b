/**
 * The laws of `LogLaws` as a suite of tests.
 *
 * @since 0.2.0
 */
import type * as Layer from "effect/Layer"
import * as LogLaws from "../LogLaws.ts"
import * as LawSuite from "../internal/lawSuite.ts"

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
): void =>
  LawSuite.define({
    name,
    subject: "engine",
    clock: options?.clock,
    laws: LogLaws.names.map((law) => ({
      promise: LogLaws.laws[law].promise,
      check: LogLaws.checkIn(LogLaws.laws[law], harness),
      cannot: options?.cannot?.[law]
    })),
    isBroken: (error) => error instanceof LogLaws.LawBroken
  })
