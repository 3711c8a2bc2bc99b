import { assert, describe, it } from "@effect/vitest"
import * as Format from "../../dashboard/src/model/format.ts"

describe("format", () => {
  it("writes dollars with cents, and smaller amounts with four digits", () => {
    assert.deepStrictEqual([0, 0.5, 1234.5, 0.0042, 0.00001, -2, 0.01].map(Format.usd), [
      "$0.00",
      "$0.50",
      "$1,234.50",
      "$0.0042",
      "<$0.0001",
      "−$2.00",
      "$0.01"
    ])
    assert.strictEqual(Format.usd(Number.MAX_VALUE), "$1.80e+308")
  })

  it("writes durations in one unit or in two", () => {
    assert.deepStrictEqual([-5, 59_999, 60_000, 3_600_000, 90_000_000].map(Format.short), [
      "0 s",
      "59 s",
      "1 min",
      "1 h",
      "1 d"
    ])
    assert.deepStrictEqual([840, 12_000, 245_000, 11_520_000, 187_200_000].map(Format.long), [
      "0.8 s",
      "12 s",
      "4 min 05 s",
      "3 h 12 min",
      "2 d 4 h"
    ])
  })

  it("writes how long ago something was, and never a negative time", () => {
    assert.deepStrictEqual(
      [10_000, 9000, 7000, 20_000].map((at) => Format.ago(at, 10_000)),
      ["now", "now", "3 s ago", "now"]
    )
  })

  it("writes a time of another day with its date", () => {
    const now = new Date(2026, 10, 27, 12, 3, 10).getTime()
    assert.strictEqual(Format.clock(now - 6000, now), "12:03:04")
    assert.strictEqual(Format.clock(now - 86_400_000, now), "Nov 26, 12:03:10")
    assert.strictEqual(Format.span(now - 6000, now, now), "12:03:04 to 12:03:10")
    assert.strictEqual(Format.span(now - 100, now, now), "12:03:09 to 12:03:10")
    assert.strictEqual(Format.span(now, now + 100, now), "12:03:10")
  })

  it("shortens a UUID to its two ends, and keeps another id", () => {
    assert.strictEqual(Format.shortId("88278203-bf04-43c1-bc2e-000000000008"), "88278203…0008")
    assert.strictEqual(Format.shortId("my-task"), "my-task")
  })

  it("counts with a plural", () => {
    assert.deepStrictEqual([Format.counted(1, "gap"), Format.counted(1234, "gap")], ["1 gap", "1,234 gaps"])
  })
})
