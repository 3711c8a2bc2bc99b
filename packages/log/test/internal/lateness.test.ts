import { assert, describe, it } from "@effect/vitest"
import { lateMillis, Lateness, tickMillis } from "../../src/internal/relay/lateness.ts"

describe("Lateness", () => {
  it("is current while the relay reads the feed as it arrives", () => {
    const lateness = new Lateness(0)
    for (let now = 0; now < 10_000; now += 10) {
      lateness.arrived(now)
      assert.isFalse(lateness.ready(now, now + 5))
      if (now % tickMillis === 0) assert.isFalse(lateness.tick(now))
    }
    assert.isFalse(lateness.isLate)
  })

  it("is late after elements that took long, until the relay has waited for more", () => {
    const lateness = new Lateness(0)
    lateness.arrived(100)
    assert.isTrue(lateness.ready(100, 101 + lateMillis))
    // What waited in the socket arrives without a wait.
    let now = 101 + lateMillis
    for (let batch = 0; batch < 1000; batch++) {
      lateness.arrived(now + 0.1)
      lateness.ready(now + 0.1, now + 0.2)
    }
    lateness.tick(now + 1)
    assert.isTrue(lateness.isLate)
    for (let waited = 0; waited <= lateMillis; waited += 50) {
      now += 50
      lateness.arrived(now)
      lateness.ready(now, now)
    }
    lateness.tick(now)
    assert.isTrue(lateness.isLate)
    lateness.prove(now, lateness.arrivals)
    lateness.tick(now)
    assert.isFalse(lateness.isLate)
  })

  it("is current again without an element, once the relay has waited long enough", () => {
    const lateness = new Lateness(0)
    lateness.arrived(0)
    lateness.ready(0, 1000)
    lateness.tick(1000)
    assert.isTrue(lateness.isLate)
    lateness.prove(1001, lateness.arrivals)
    lateness.tick(1000 + lateMillis)
    assert.isFalse(lateness.isLate)
  })

  it("is late after the process was stopped, and does not take the stop for a wait", () => {
    const lateness = new Lateness(0)
    lateness.tick(tickMillis)
    assert.isTrue(lateness.tick(10_000))
    lateness.arrived(10_000.5)
    lateness.ready(10_000.5, 10_001)
    assert.isFalse(lateness.tick(10_001))
    assert.isTrue(lateness.isLate)
  })

  it("is not current while elements arrive in each look, or are being handled, because more may wait in the socket", () => {
    const lateness = new Lateness(0)
    const { arrivals } = lateness
    lateness.arrived(20)
    lateness.ready(20, 25)
    lateness.prove(10, arrivals)
    assert.strictEqual(lateness.currentAt, 0)
    lateness.arrived(30)
    lateness.prove(35, lateness.arrivals)
    assert.strictEqual(lateness.currentAt, 0)
    lateness.ready(30, 40)
    lateness.prove(45, lateness.arrivals)
    assert.strictEqual(lateness.currentAt, 45)
  })
})
