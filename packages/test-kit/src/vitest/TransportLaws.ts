/**
 * The laws of `TransportLaws` as a suite of tests.
 *
 * @since 0.1.0
 */
import type * as Layer from "effect/Layer"
import * as TransportLaws from "../TransportLaws.ts"
import * as LawSuite from "../internal/lawSuite.ts"

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
): void =>
  LawSuite.define({
    name,
    subject: "transport",
    clock: options?.clock,
    laws: TransportLaws.names.map((law) => ({
      promise: TransportLaws.laws[law].promise,
      check: TransportLaws.checkIn(TransportLaws.laws[law], harness),
      cannot: options?.cannot?.[law]
    })),
    isBroken: (error) => error instanceof TransportLaws.LawBroken
  })
