import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import * as ExactSum from "../../../src/internal/projection/exactSum.ts"

const numbers = Schema.Array(Schema.Finite)

const sum = (values: ReadonlyArray<number>) => values.reduce((total, value) => total + ExactSum.fromNumber(value), 0n)

describe("ExactSum", () => {
  it.prop("returns every single number as it is", [Schema.Finite], ([value]) => {
    assert.strictEqual(ExactSum.toNumber(ExactSum.fromNumber(value)), value === 0 ? 0 : value)
  })

  it("returns the smallest and the largest numbers as they are", () => {
    for (const value of [5e-324, 2.2250738585072014e-308, 2.225073858507201e-308, 1, Number.MAX_VALUE]) {
      assert.strictEqual(ExactSum.toNumber(ExactSum.fromNumber(value)), value)
      assert.strictEqual(ExactSum.toNumber(ExactSum.fromNumber(-value)), -value)
    }
  })

  it.prop("does not depend on the order, and takes back what was added", [numbers, numbers], ([kept, corrected]) => {
    const minus = corrected.map((value) => -value)
    assert.strictEqual(sum([...corrected, ...kept, ...minus]), sum(kept.toReversed()))
  })

  it.prop("rounds a sum of two as the addition of numbers does", [Schema.Finite, Schema.Finite], ([x, y]) => {
    const rounded = x + y
    if (Number.isFinite(rounded)) assert.strictEqual(ExactSum.toNumber(sum([x, y])), rounded === 0 ? 0 : rounded)
  })

  it("counts what is not finite as 0, and returns the largest number for a larger sum", () => {
    assert.strictEqual(ExactSum.toNumber(sum([1, Number.NaN, Infinity, -Infinity])), 1)
    assert.strictEqual(ExactSum.toNumber(sum([1e308, 1e308])), Number.MAX_VALUE)
    assert.strictEqual(ExactSum.toNumber(sum([-1e308, -1e308])), -Number.MAX_VALUE)
  })
})
