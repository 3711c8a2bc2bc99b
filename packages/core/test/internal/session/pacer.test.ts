import { assert, describe, it } from "@effect/vitest"
import { halvePace, settings } from "../../../src/internal/session/options.ts"
import * as Pacer from "../../../src/internal/session/pacer.ts"

describe("Pacer", () => {
  it("lets a burst leave at once, and then one request each interval", () => {
    const pacer = Pacer.make({ requestsPerSecond: 10, burst: 3 }, 0)
    assert.strictEqual(pacer.available(0), 3)
    pacer.spend(3)
    assert.strictEqual(pacer.available(99), 0)
    assert.approximately(pacer.wait(99), 1, 1e-6)
    assert.strictEqual(pacer.available(100), 1)
    assert.strictEqual(pacer.wait(100), 0)
  })

  it("saves up no more than a burst", () => {
    const pacer = Pacer.make({ requestsPerSecond: 10, burst: 3 }, 0)
    pacer.spend(3)
    assert.strictEqual(pacer.available(1_000_000), 3)
  })
})

describe("the session's options", () => {
  it("take what makes no sense as the documented bound", () => {
    assert.deepStrictEqual(settings({ maxBadFrames: Number.NaN, ackTimeout: -5, pace: { requestsPerSecond: 0 } }), {
      failOnBadFrame: false,
      maxBadFrames: 1,
      ackTimeout: 1,
      pace: { requestsPerSecond: 1, burst: 1 }
    })
    const undefinedOptions = { onBadFrame: undefined, maxBadFrames: undefined, ackTimeout: undefined, pace: undefined }
    assert.deepStrictEqual(settings(undefinedOptions), settings(undefined))
  })

  it("halve a pace down to a burst that cannot be what a server refuses", () => {
    assert.deepStrictEqual(halvePace(undefined, 300), { requestsPerSecond: 150, burst: 150 })
    assert.deepStrictEqual(halvePace({ requestsPerSecond: 50, burst: 21 }, 300), { requestsPerSecond: 25, burst: 10 })
    assert.isUndefined(halvePace({ requestsPerSecond: 50, burst: 9 }, 300))
    assert.isUndefined(halvePace(undefined, 2))
  })
})
