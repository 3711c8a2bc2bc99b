/** A deep comparison for tests that compare thousands of values. */
import { assert } from "@effect/vitest"
import { isDeepStrictEqual } from "node:util"

/**
 * Asserts the same as `assert.deepStrictEqual`, in a fraction of the time. Node compares the values first. The assertion
 * library judges and shows only values that differ.
 */
export const assertSame = <A>(actual: A, expected: A): void => {
  if (!isDeepStrictEqual(actual, expected)) assert.deepStrictEqual(actual, expected)
}
