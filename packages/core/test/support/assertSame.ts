/** A deep comparison for tests that compare thousands of values. */
import { assert } from "@effect/vitest"
import { isDeepStrictEqual } from "node:util"

/**
 * Asserts what `assert.deepStrictEqual` asserts, in a fraction of the time: Node compares first, and the assertion
 * library only judges and shows what differs.
 */
export const assertSame = <A>(actual: A, expected: A): void => {
  if (!isDeepStrictEqual(actual, expected)) assert.deepStrictEqual(actual, expected)
}
