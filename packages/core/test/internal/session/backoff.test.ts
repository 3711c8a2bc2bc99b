import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as Backoff from "../../../src/internal/session/backoff.ts"
import * as MeshError from "../../../src/MeshError.ts"
import type * as ReconnectPolicy from "../../../src/ReconnectPolicy.ts"

const lost = new MeshError.ConnectionLost({})
const expired = new MeshError.HandshakeRejected({ status: 401, credentialsMayChange: true })

/** Waits 1, 2, 4, … seconds. */
const make = (policy?: ReconnectPolicy.Options) =>
  Backoff.make({ schedule: Schedule.exponential("1 second"), stableAfter: "5 seconds", ...policy })

type Backoff = Effect.Success<ReturnType<typeof make>>

const next = (backoff: Backoff, reason: MeshError.ConnectionReason, isTooFast = false) =>
  backoff.next(reason, 0, isTooFast, 700)

describe("backoff", () => {
  it.effect("waits as long as the schedule says, and counts the failures", () =>
    Effect.gen(function* () {
      const backoff = yield* make()
      assert.deepStrictEqual([yield* next(backoff, lost), yield* next(backoff, lost)], [1000, 2000])
      assert.strictEqual(backoff.attempt(), 2)
    })
  )

  it.effect("starts again after a connection that has lasted, not after a short one", () =>
    Effect.gen(function* () {
      const backoff = yield* make()
      yield* next(backoff, lost)
      yield* backoff.received(4999)
      assert.strictEqual(yield* next(backoff, lost), 2000)
      yield* backoff.received(5000)
      assert.strictEqual(backoff.attempt(), 0)
      assert.strictEqual(yield* next(backoff, lost), 1000)
    })
  )

  it.effect("waits for Retry-After in addition to the schedule, but not longer than the policy allows", () =>
    Effect.gen(function* () {
      const backoff = yield* make({ maxRetryAfter: Duration.seconds(20) })
      const busy = (retryAfterMillis: number) => new MeshError.HandshakeRejected({ status: 503, retryAfterMillis })
      assert.strictEqual(yield* next(backoff, busy(10_000)), 11_000)
      assert.strictEqual(yield* next(backoff, busy(60_000)), 22_000)
      assert.deepStrictEqual([backoff.retryAfter(busy(-1)), backoff.retryAfter(lost)], [0, 0])
    })
  )

  it.effect("takes no step of the schedule for a connection that the program ended", () =>
    Effect.gen(function* () {
      const backoff = yield* make()
      assert.strictEqual(yield* next(backoff, new MeshError.ReconnectRequested()), 700)
      assert.strictEqual(backoff.attempt(), 1)
      assert.strictEqual(yield* next(backoff, lost), 1000)
    })
  )

  it.effect("gives up at once for a permanent reason, unless the requests were too fast", () =>
    Effect.gen(function* () {
      const backoff = yield* make()
      const closed = new MeshError.ConnectionClosed({ code: 1008 })
      assert.strictEqual(yield* next(backoff, closed, true), 1000)
      assert.deepStrictEqual(yield* next(backoff, closed), new MeshError.MeshError({ reason: closed }))
    })
  )

  it.effect("tries fresh credentials once, and again after the feed was online", () =>
    Effect.gen(function* () {
      const backoff = yield* make({ minDelay: "3 seconds" })
      const refused = new MeshError.MeshError({ reason: expired })
      assert.strictEqual(yield* next(backoff, expired), 3000)
      assert.deepStrictEqual(yield* next(backoff, expired), refused)
      yield* backoff.received(0)
      assert.strictEqual(yield* next(backoff, expired), 3000)
    })
  )

  it.effect("gives up with RetriesExhausted at the end of the schedule", () =>
    Effect.gen(function* () {
      const backoff = yield* make({ schedule: Schedule.recurs(1) })
      assert.strictEqual(yield* next(backoff, lost), 100)
      assert.deepStrictEqual(
        yield* next(backoff, lost),
        new MeshError.MeshError({ reason: new MeshError.RetriesExhausted({ attempts: 2, last: lost }) })
      )
    })
  )
})
