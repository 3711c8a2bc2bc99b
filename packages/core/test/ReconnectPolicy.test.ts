import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as Duration from "effect/Duration"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as MeshError from "../src/MeshError.ts"
import * as ReconnectPolicy from "../src/ReconnectPolicy.ts"

const first: ReconnectPolicy.ClassifyContext = { wasOnline: false }
const later: ReconnectPolicy.ClassifyContext = { wasOnline: true }

const finalStatuses = (context: ReconnectPolicy.ClassifyContext) =>
  Array.from({ length: 500 }, (_, n) => n + 100).filter(
    (status) => ReconnectPolicy.classify(new MeshError.HandshakeRejected({ status }), context) === "fail"
  )

const finalCloses = (context: ReconnectPolicy.ClassifyContext) =>
  Array.from({ length: 4000 }, (_, n) => n + 1000).filter(
    (code) => ReconnectPolicy.classify(new MeshError.ConnectionClosed({ code }), context) === "fail"
  )

describe("ReconnectPolicy.classify", () => {
  it.prop(
    "has a verdict for every reason",
    [Arbitrary.schema(MeshError.ConnectionReason), Arbitrary.schema(Schema.Boolean)],
    ([reason, wasOnline]) => {
      assert.oneOf(ReconnectPolicy.classify(reason, { wasOnline }), ["retry", "fail"])
    }
  )

  it.prop(
    "never fails after the feed was online on a reason that it retries before",
    [Arbitrary.schema(MeshError.ConnectionReason)],
    ([reason]) => {
      if (ReconnectPolicy.classify(reason, first) === "retry") {
        assert.strictEqual(ReconnectPolicy.classify(reason, later), "retry")
      }
    }
  )

  it.prop("always retries the loss of the network", [Arbitrary.schema(Schema.String)], ([message]) => {
    for (const reason of [
      new MeshError.DialFailed({ cause: new Error(message) }),
      new MeshError.DialTimeout({}),
      new MeshError.ConnectionLost({ cause: new Error(message) }),
      new MeshError.HeartbeatTimeout({ deadlineMillis: 1 })
    ]) {
      assert.strictEqual(ReconnectPolicy.classify(reason, first), "retry")
      assert.strictEqual(ReconnectPolicy.classify(reason, later), "retry")
    }
  })

  it("fails at once on the statuses that cannot heal, and on 404 only before the feed was online", () => {
    assert.deepStrictEqual(finalStatuses(first), [301, 308, 401, 403, 404, 426, 505])
    assert.deepStrictEqual(finalStatuses(later), [301, 308, 401, 403, 426, 505])
  })

  it("fails at once on the close codes of a refusal, whether or not the feed was online", () => {
    const policy = Array.from({ length: 100 }, (_, n) => n + 4400).filter((code) => code !== 4408 && code !== 4429)
    const expected = [1008, 3000, 3003, ...policy]
    assert.deepStrictEqual(finalCloses(first), expected)
    assert.deepStrictEqual(finalCloses(later), expected)
  })

  it("retries a certificate error only after the feed was online", () => {
    const reason = new MeshError.TlsFailed({ code: "CERT_HAS_EXPIRED", cause: "x" })
    assert.strictEqual(ReconnectPolicy.classify(reason, first), "fail")
    assert.strictEqual(ReconnectPolicy.classify(reason, later), "retry")
  })
})

describe("ReconnectPolicy.mayNeedFreshCredentials", () => {
  it("is true for a refused key that the transport obtains in each attempt", () => {
    const statuses = Array.from({ length: 500 }, (_, n) => n + 100).filter((status) =>
      ReconnectPolicy.mayNeedFreshCredentials(new MeshError.HandshakeRejected({ status, credentialsMayChange: true }))
    )
    assert.deepStrictEqual(statuses, [401])
    const codes = Array.from({ length: 4000 }, (_, n) => n + 1000).filter((code) =>
      ReconnectPolicy.mayNeedFreshCredentials(new MeshError.ConnectionClosed({ code, credentialsMayChange: true }))
    )
    assert.deepStrictEqual(codes, [3000, 4401])
  })

  it("is false for a key that stays the same, and for a transport that does not say", () => {
    for (const reason of [
      new MeshError.HandshakeRejected({ status: 401 }),
      new MeshError.HandshakeRejected({ status: 401, credentialsMayChange: false }),
      new MeshError.ConnectionClosed({ code: 4401 }),
      new MeshError.ConnectionLost({})
    ]) {
      assert.isFalse(ReconnectPolicy.mayNeedFreshCredentials(reason))
    }
  })
})

describe("ReconnectPolicy.make", () => {
  const defaults = { minDelayMillis: 100, stableAfterMillis: 5000, maxRetryAfterMillis: 3_600_000 }
  const durations = (options: ReconnectPolicy.Options) => {
    const { minDelay, stableAfter, maxRetryAfter } = ReconnectPolicy.make(options)
    return {
      minDelayMillis: Duration.toMillis(minDelay),
      stableAfterMillis: Duration.toMillis(stableAfter),
      maxRetryAfterMillis: Duration.toMillis(maxRetryAfter)
    }
  }

  it("uses the default for undefined", () => {
    const policy = ReconnectPolicy.make({
      schedule: undefined,
      minDelay: undefined,
      stableAfter: undefined,
      maxRetryAfter: undefined,
      classify: undefined
    })
    assert.deepStrictEqual(policy, ReconnectPolicy.defaults)
    assert.deepStrictEqual(ReconnectPolicy.make(), ReconnectPolicy.defaults)
  })

  it("uses the default for NaN", () => {
    assert.deepStrictEqual(
      durations({ minDelay: Number.NaN, stableAfter: Number.NaN, maxRetryAfter: Number.NaN }),
      defaults
    )
  })

  it("never waits less than a millisecond", () => {
    for (const minDelay of [0, -1, "0 millis", Duration.zero, Duration.negativeInfinity] as const) {
      assert.strictEqual(durations({ minDelay }).minDelayMillis, 1)
    }
  })

  it("uses zero for a negative duration", () => {
    assert.deepStrictEqual(durations({ stableAfter: -5, maxRetryAfter: Duration.seconds(-1) }), {
      ...defaults,
      stableAfterMillis: 0,
      maxRetryAfterMillis: 0
    })
  })

  it("keeps what makes sense", () => {
    const schedule = Schedule.spaced("1 second")
    const policy = ReconnectPolicy.make({ schedule, minDelay: "2 seconds", maxRetryAfter: "Infinity" })
    assert.strictEqual(policy.schedule, schedule)
    assert.deepStrictEqual(durations(policy), {
      minDelayMillis: 2000,
      stableAfterMillis: 5000,
      maxRetryAfterMillis: Number.POSITIVE_INFINITY
    })
  })
})
