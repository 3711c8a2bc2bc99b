import * as MeshError from "@makima-stream/core/MeshError"
import { assert, describe, it } from "@effect/vitest"
import * as Failure from "../../src/internal/failure.ts"

const now = Date.UTC(2026, 0, 1, 12, 0, 0)

const retryAfter: ReadonlyArray<readonly [string | undefined, number | undefined]> = [
  [undefined, undefined],
  ["", undefined],
  ["0", 0],
  ["120", 120_000],
  [" 3 ", 3000],
  ["-1", undefined],
  ["1.5", undefined],
  ["1e3", undefined],
  ["9".repeat(400), undefined],
  ["Thu, 01 Jan 2026 12:00:10 GMT", 10_000],
  ["Thursday, 01-Jan-26 12:00:10 GMT", 10_000],
  ["Thu Jan  1 12:00:10 2026", 10_000],
  ["Thu, 01 Jan 2026 11:00:00 GMT", 0],
  ["Thu, 99 Jan 2026 11:00:00 GMT", undefined],
  ["2026", 2_026_000],
  ["2026-01-01", undefined],
  ["tomorrow", undefined]
]

const scrub = Failure.scrubber(undefined)

const dialReason = (error: unknown) => MeshError.fromSocketError(Failure.fromDialError(error, scrub))

describe("failure", () => {
  for (const [header, millis] of retryAfter) {
    it(`Retry-After ${header?.slice(0, 40)} is ${millis}`, () => {
      assert.strictEqual(Failure.retryAfterMillis(header, now), millis)
    })
  }

  const tlsCodes = [
    "CERT_HAS_EXPIRED",
    "CERT_NOT_YET_VALID",
    "CERT_UNTRUSTED",
    "DEPTH_ZERO_SELF_SIGNED_CERT",
    "SELF_SIGNED_CERT_IN_CHAIN",
    "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
    "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
    "ERR_TLS_CERT_ALTNAME_INVALID",
    "ERR_SSL_WRONG_VERSION_NUMBER",
    "HOSTNAME_MISMATCH",
    "EPROTO"
  ]
  for (const code of tlsCodes) {
    it(`${code} is TlsFailed`, () => {
      const reason = dialReason(Object.assign(new Error("x"), { code }))
      if (reason._tag !== "TlsFailed") return assert.fail(reason._tag)
      assert.strictEqual(reason.code, code)
    })
  }

  for (const code of ["ECONNREFUSED", "ECONNRESET", "ENOTFOUND", "EAI_AGAIN", "ETIMEDOUT", "EHOSTUNREACH", undefined]) {
    it(`${code} is DialFailed`, () => {
      assert.strictEqual(dialReason(Object.assign(new Error("x"), { code }))._tag, "DialFailed")
    })
  }

  it("a value that is no error is DialFailed", () => {
    for (const error of [undefined, null, "x", 1, {}]) assert.strictEqual(dialReason(error)._tag, "DialFailed")
  })

  it("an error is copied without what hangs on it", () => {
    const error = Object.assign(new Error("Parse Error: hunter2", { cause: "hunter2" }), {
      code: "HPE_INVALID_CONSTANT",
      rawPacket: Buffer.from("hunter2")
    })
    const reason = MeshError.fromSocketError(Failure.fromDialError(error, Failure.scrubber("hunter2")))
    if (reason._tag !== "DialFailed" || !(reason.cause instanceof Error)) return assert.fail(reason._tag)
    assert.strictEqual(reason.cause.message, "Parse Error: <redacted>")
    assert.isUndefined(reason.cause.cause)
    assert.deepStrictEqual(Object.keys(reason.cause), ["code"])
  })
})
