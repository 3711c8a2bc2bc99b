/**
 * The laws of `TransportLaws` as a suite of tests.
 *
 * @since 0.1.0
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as TransportLaws from "../TransportLaws.ts"
import * as Bounds from "../internal/bounds.ts"

export * from "../TransportLaws.ts"

/**
 * Runs every law over a transport, each on a fresh harness.
 *
 * **Details**
 *
 * No law is skipped. The test of a law in `cannot` fails if the transport keeps the
 * law, since the table in the documentation would be wrong.
 *
 * **Example** (Your own socket)
 *
 * ```ts no-run
 * import * as Layer from "effect/Layer"
 * import * as Socket from "effect/socket/Socket"
 * import { TransportLaws } from "@makima-stream/test-kit/vitest"
 *
 * TransportLaws.suite(
 *   "the global WebSocket",
 *   TransportLaws.layerMock(({ timings, wsUrl }) =>
 *     Socket.layerWebSocket(wsUrl, { openTimeout: timings.connectTimeout }).pipe(
 *       Layer.provide(Socket.layerWebSocketConstructorGlobal)
 *     )
 *   ),
 *   { cannot: { backpressure: "It cannot be paused." } } // and every other law that it breaks
 * )
 * ```
 *
 * @category suites
 * @since 0.1.0
 */
export const suite = <E>(
  name: string,
  harness: Layer.Layer<TransportLaws.Harness, E>,
  options?: Omit<TransportLaws.Transport<E>, "name" | "harness">
): void => {
  const test = Bounds.oneOf("clock", options?.clock, ["live", "test"]) === "test" ? it.effect : it.live
  describe(name, () => {
    for (const name of TransportLaws.names) {
      const law = TransportLaws.laws[name]
      const { promise } = law
      const run = TransportLaws.checkIn(law, harness)
      const reason = options?.cannot?.[name]
      if (reason === undefined) {
        test(promise, () => run)
      } else {
        test(`CANNOT: ${promise} (${reason})`, () =>
          run.pipe(
            Effect.matchEffect({
              onSuccess: () => Effect.sync(() => assert.fail("the transport keeps this law: remove it from `cannot`")),
              onFailure: (error) => (error instanceof TransportLaws.LawBroken ? Effect.void : Effect.fail(error))
            })
          ))
      }
    }
  })
}
