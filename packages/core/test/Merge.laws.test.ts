/**
 * The law of the merge, over generated pairs of histories: for each task and kind
 * the output is the union of what both inputs received, in order, once, or a mark
 * stands at the position.
 *
 * The model judges by the server's own numbers, which the machine does not see.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Merge from "../src/Merge.ts"
import { calm } from "./support/calmWorld.ts"
import { run, type Verdict, type World } from "./support/mergeWorld.ts"

interface Total {
  readonly violations: ReadonlyArray<string>
  readonly single: number
  readonly unaligned: number
  readonly disagreements: number
  /** The losses that were marked although both connections were aligned. */
  readonly alignedMarks: number
  readonly overruns: number
  readonly maxHeld: number
}

const runs = (world: Partial<World>, seeds = 2): Total => {
  const verdicts: Array<Verdict> = []
  for (let seed = 1; seed <= seeds; seed++) verdicts.push(run({ ...calm, ...world, seed }, Merge))
  const sum = (count: (verdict: Verdict) => number) => verdicts.reduce((total, verdict) => total + count(verdict), 0)
  return {
    violations: verdicts.flatMap(({ violations }) => violations),
    single: sum(({ single }) => single),
    unaligned: sum(({ unaligned }) => Object.values(unaligned).reduce((total, count) => total + count, 0)),
    disagreements: sum(({ stats }) => stats.disagreements),
    alignedMarks: sum(({ alignedMarks }) => alignedMarks),
    overruns: sum(({ stats }) => stats.overruns),
    maxHeld: Math.max(...verdicts.map(({ maxHeld }) => maxHeld))
  }
}

const allContents = [Infinity, 50, 3, 1]

describe.each(allContents)("with contents drawn from %s values", (contents) => {
  it("loses and repeats nothing when connections break one at a time", () => {
    const total = runs({ contents }, 4)
    assert.deepStrictEqual(total.violations, [])
    assert.isAbove(total.single, 50)
    // Almost no cut needs a mark: acknowledged boundaries align also where the contents say nothing.
    assert.isBelow(total.unaligned, total.single / 10)
    assert.strictEqual(total.alignedMarks, 0)
    assert.strictEqual(total.disagreements, 0)
  })

  it("keeps the law when connections break together and half-open", () => {
    const total = runs({ contents, common: 0.3, halfOpen: 0.5, silence: 8000 })
    assert.deepStrictEqual(total.violations, [])
    assert.strictEqual(total.disagreements, 0)
  })

  it("keeps the law when one connection is later than any skew", () => {
    for (const delays of [
      [20, 7000],
      [3000, 20]
    ] as const) {
      const total = runs({ contents, delays, jitter: 500, halfOpen: 0.3, silence: 5000 })
      assert.deepStrictEqual(total.violations, [])
      assert.strictEqual(total.disagreements, 0)
    }
  })

  it("keeps the law when connections join in the middle of a flood without pauses", () => {
    const total = runs({ contents, rate: 300, pause: 1, seconds: 15, uptime: 4000, downtime: 500 })
    assert.deepStrictEqual(total.violations, [])
  })

  it("marks no loss of an aligned connection because the server has sent frames that cannot be decoded", () => {
    for (const delays of [
      [60, 60],
      [20, 400]
    ] as const) {
      const total = runs({ contents, garbage: 0.1, delays })
      assert.deepStrictEqual(total.violations, [])
      assert.strictEqual(total.disagreements, 0)
      assert.strictEqual(total.alignedMarks, 0)
    }
  })

  it("keeps the law when updates have no versions, and when some have", () => {
    for (const versions of [0, 0.5]) {
      const total = runs({ contents, versions, uptime: 5000, downtime: 1000 })
      assert.deepStrictEqual(total.violations, [])
      assert.strictEqual(total.disagreements, 0)
    }
  })

  it("keeps the law without boundaries when no connection is later than the skew", () => {
    const total = runs({ contents, versions: 0.5, asks: false, delays: [20, 600], jitter: 100 })
    assert.deepStrictEqual(total.violations, [])
    assert.isBelow(total.unaligned, total.single * 2)
  })

  it("keeps the law without boundaries however late a connection is, if nothing is assumed", () => {
    const total = runs({ contents, versions: 0.5, asks: false, delays: [20, 7000], options: { skew: Infinity } })
    assert.deepStrictEqual(total.violations, [])
  })

  it("keeps the law with bounds that are too small", () => {
    const flood: Partial<World> = { contents, rate: 300, tasks: 20, pause: 100, seconds: 10, uptime: 4000 }
    for (const options of [{ window: 2 }, { capacity: 20 }, { capacityBytes: 3000 }, { maxTasks: 5 }]) {
      const total = runs({ ...flood, options })
      assert.deepStrictEqual(total.violations, [])
      assert.isAbove(total.overruns, 0)
      if ("capacity" in options) assert.isAtMost(total.maxHeld, 20)
    }
  })
})

it("marks what a server skips for one of two connections", () => {
  for (const versions of [1, 0]) {
    const total = runs({ skips: 0.01, versions }, 5)
    assert.deepStrictEqual(total.violations, [])
    assert.isAbove(total.disagreements, 50)
  }
})

it("marks what arrives on one of two connections as a frame that cannot be decoded", () => {
  for (const delays of [
    [20, 20],
    [20, 400]
  ] as const) {
    const total = runs({ damages: 0.01, versions: 0, delays }, 5)
    assert.deepStrictEqual(total.violations, [])
    assert.isAbove(total.disagreements, 50)
  }
})

it("notices a skipped message also where all contents are the same", () => {
  assert.isAbove(runs({ contents: 1, skips: 0.01 }).disagreements, 20)
})
