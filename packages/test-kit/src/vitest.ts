/**
 * The part of the kit that needs Vitest, with `@effect/vitest`. The other modules
 * need no test runner.
 *
 * @since 0.1.0
 */
export * as LogLaws from "./vitest/LogLaws.ts"
export * as TransportLaws from "./vitest/TransportLaws.ts"
