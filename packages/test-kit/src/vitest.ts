/**
 * The part of the kit that runs under Vitest. Needs `@effect/vitest` beside it;
 * everything else of the kit depends on no test runner.
 *
 * @since 0.1.0
 */
export * as TransportLaws from "./vitest/TransportLaws.ts"
