import * as MeshError from "@makima-stream/core/MeshError"
import { assert, describe, it } from "@effect/vitest"
import * as Failure from "../../src/internal/failure.ts"

const scrub = Failure.scrubber([])

const dialReason = (error: unknown) => MeshError.fromSocketError(Failure.fromDialError(error, scrub))

describe("failure", () => {
  const tlsCodes = [
    "CERT_HAS_EXPIRED",
    "CERT_NOT_YET_VALID",
    "CERT_UNTRUSTED",
    "DEPTH_ZERO_SELF_SIGNED_CERT",
    "SELF_SIGNED_CERT_IN_CHAIN",
    "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
    "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
    "ERR_TLS_CERT_ALTNAME_INVALID",
    "ERR_OSSL_PEM_NO_START_LINE",
    "HOSTNAME_MISMATCH"
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

  const handshakes: ReadonlyArray<readonly [code: string, message: string, said: string]> = [
    [
      "ERR_SSL_SSL/TLS_ALERT_HANDSHAKE_FAILURE",
      "80AB:error:0A000410:SSL routines:ssl3_read_bytes:ssl/tls alert handshake failure:../rec_layer_s3.c:1600:SSL alert number 40\n",
      "the server ended the TLS handshake with alert 40 (ssl/tls alert handshake failure)"
    ],
    [
      "ERR_SSL_TLSV1_ALERT_INTERNAL_ERROR",
      "80AB:error:0A000438:SSL routines:ssl3_read_bytes:tlsv1 alert internal error:../rec_layer_s3.c:1600:SSL alert number 80\n",
      "the server ended the TLS handshake with alert 80 (tlsv1 alert internal error)"
    ],
    [
      "ERR_SSL_WRONG_VERSION_NUMBER",
      "80AB:error:0A00010B:SSL routines:tls_validate_record_header:wrong version number:../tlsany_meth.c:80:\n",
      "the server does not answer with TLS on this port (wrong version number)"
    ],
    ["EPROTO", "write EPROTO", "the TLS handshake failed (EPROTO)"]
  ]
  for (const [code, message, said] of handshakes) {
    it(`${code} is DialFailed with a description of the cause`, () => {
      const reason = dialReason(Object.assign(new Error(message), { code }))
      assert.strictEqual(reason._tag, "DialFailed")
      assert.strictEqual(reason.message, `The server could not be reached: ${said}`)
    })
  }

  it("removes a secret in each of its spellings", () => {
    const scrub = Failure.scrubber(['se"c ret', "t", "", "(.*)$"])
    assert.strictEqual(
      scrub('1 se"c ret 2 {"k":"se\\"c ret"} 3 se%22c%20ret (.*)$'),
      '1 <redacted> 2 {"k":"<redacted>"} 3 <redacted> <redacted>'
    )
  })

  for (const code of [3000, 4401]) {
    it(`a close with ${code} reports that the next attempt may have another key`, () => {
      const close = { code, reason: "who", error: undefined }
      const reason = (credentialsMayChange: boolean) =>
        MeshError.fromSocketError(Failure.fromClose({ ...close, credentialsMayChange }, scrub))
      assert.deepStrictEqual(
        reason(true),
        new MeshError.ConnectionClosed({ code, closeReason: "who", credentialsMayChange: true })
      )
      assert.deepStrictEqual(reason(false), new MeshError.ConnectionClosed({ code, closeReason: "who" }))
    })
  }

  it("a value that is not an error is DialFailed", () => {
    for (const error of [undefined, null, "x", 1, {}]) assert.strictEqual(dialReason(error)._tag, "DialFailed")
  })

  it("copies an error without its extra properties", () => {
    const error = Object.assign(new Error("Parse Error: hunter2", { cause: "hunter2" }), {
      code: "HPE_INVALID_CONSTANT",
      rawPacket: Buffer.from("hunter2")
    })
    const reason = MeshError.fromSocketError(Failure.fromDialError(error, Failure.scrubber(["hunter2"])))
    if (reason._tag !== "DialFailed" || !(reason.cause instanceof Error)) return assert.fail(reason._tag)
    assert.strictEqual(reason.cause.message, "Parse Error: <redacted>")
    assert.isUndefined(reason.cause.cause)
    assert.deepStrictEqual(Object.keys(reason.cause), ["code"])
  })
})
