import { assert, describe, it } from "@effect/vitest"
import * as Series from "../../dashboard/src/model/series.ts"

describe("series", () => {
  it("adds events that are close together, and has 0 where nothing happened", () => {
    const series = Series.make("sum", { width: 1000, maxPoints: 10 })
    series.add(10_100, 1)
    series.add(10_900, 2)
    series.add(12_000, 5)
    assert.deepStrictEqual(series.points(13_500), { times: [10_000, 11_000, 12_000, 13_000], values: [3, 0, 5, 0] })
  })

  it("keeps the last total where it did not change", () => {
    const series = Series.make("last", { width: 1000, maxPoints: 10 })
    series.add(0, 1)
    series.add(3000, 4)
    assert.deepStrictEqual(series.points(4000).values, [1, 1, 1, 4, 4])
  })

  it("makes points wider instead of forgetting the start, and loses no event", () => {
    const series = Series.make("sum", { width: 1000, maxPoints: 8 })
    for (let second = 0; second < 100; second++) series.add(second * 1000, 1)
    const { times, values } = series.points(99_000)
    assert.isAtMost(values.length, 8)
    assert.strictEqual(times[0], 0)
    assert.strictEqual(series.width(), 16_000)
    assert.strictEqual(
      values.reduce((sum, value) => sum + value, 0),
      100
    )
  })

  it("a total keeps its last value when points become wider", () => {
    const series = Series.make("last", { width: 1000, maxPoints: 4 })
    for (let second = 0; second < 9; second++) series.add(second * 1000, second)
    assert.strictEqual(series.points(8000).values.at(-1), 8)
  })

  it("a clock that goes back adds to the newest point", () => {
    const series = Series.make("sum", { width: 1000, maxPoints: 10 })
    series.add(5000, 1)
    series.add(7000, 1)
    series.add(5500, 1)
    series.add(1000, 1)
    assert.deepStrictEqual(series.points(7000).values, [1, 0, 3])
  })

  it("has no points before the first value", () => {
    assert.deepStrictEqual(Series.make("sum", { width: 1000, maxPoints: 10 }).points(5000), { times: [], values: [] })
  })
})

describe("meter", () => {
  it("measures whole seconds, so the rate does not fall at the start of a second", () => {
    const meter = Series.meter(5)
    for (let second = 0; second < 6; second++) meter.add(second * 1000 + 500, 10)
    assert.strictEqual(meter.rate(5999), 10)
    assert.strictEqual(meter.rate(6000), 10)
    assert.strictEqual(meter.rate(8000), 6)
    assert.strictEqual(meter.rate(60_000), 0)
  })
})
