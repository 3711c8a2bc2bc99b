import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Effect, Schema } from "effect"
import { Socket } from "effect/socket"
import * as MeshError from "../src/MeshError.ts"
import * as ReconnectPolicy from "../src/ReconnectPolicy.ts"

const open = (kind: "Unknown" | "Timeout", cause: unknown) =>
  new Socket.SocketError({ reason: new Socket.SocketOpenError({ kind, cause }) })

const read = (cause: unknown) => new Socket.SocketError({ reason: new Socket.SocketReadError({ cause }) })

describe("MeshError", () => {
  it("finds the reason behind a socket's error", () => {
    const cases: ReadonlyArray<readonly [Socket.SocketError, string]> = [
      [open("Timeout", new Error("x")), "DialTimeout"],
      [open("Unknown", new Error("x")), "DialFailed"],
      [open("Unknown", new MeshError.HandshakeRejected({ status: 503 })), "HandshakeRejected"],
      [read(new Error("reset")), "ConnectionLost"],
      [read(new MeshError.HeartbeatTimeout({ deadlineMillis: 1 })), "HeartbeatTimeout"],
      [new Socket.SocketError({ reason: new Socket.SocketWriteError({ cause: "x" }) }), "ConnectionLost"],
      [new Socket.SocketError({ reason: new Socket.SocketUpgradeError({}) }), "DialFailed"],
      [new Socket.SocketError({ reason: new Socket.SocketCloseError({ code: 1006 }) }), "ConnectionLost"],
      [new Socket.SocketError({ reason: new Socket.SocketCloseError({ code: 4401 }) }), "ConnectionClosed"]
    ]
    for (const [error, tag] of cases) assert.strictEqual(MeshError.fromSocketError(error)._tag, tag)
  })

  it("keeps the code and the reason of a close", () => {
    const error = new Socket.SocketError({
      reason: new Socket.SocketCloseError({ code: 1008, closeReason: "no" })
    })
    assert.deepStrictEqual(
      MeshError.fromSocketError(error),
      new MeshError.ConnectionClosed({ code: 1008, closeReason: "no" })
    )
  })

  it("says what happened in one line, for every reason", () => {
    const reasons: ReadonlyArray<MeshError.MeshErrorReason> = [
      new MeshError.DialFailed({ cause: new Error("connect ECONNREFUSED") }),
      new MeshError.DialTimeout({ timeoutMillis: 10_000 }),
      new MeshError.HandshakeRejected({ status: 401 }),
      new MeshError.TlsFailed({ code: "CERT_HAS_EXPIRED", cause: "x" }),
      new MeshError.CredentialsFailed({ cause: new Error("secret") }),
      new MeshError.ConnectionLost({}),
      new MeshError.ConnectionClosed({ code: 1001 }),
      new MeshError.HeartbeatTimeout({ deadlineMillis: 10_000 }),
      new MeshError.FrameTooLarge({ maxFrameBytes: 1024 }),
      new MeshError.ConsumerOverflow({ capacity: 16 }),
      new MeshError.RetriesExhausted({ attempts: 1, last: new MeshError.ConnectionLost({}) })
    ]
    for (const reason of reasons) {
      const { message } = new MeshError.MeshError({ reason })
      assert.match(message, /^[A-Z][^\n]+$/)
      assert.notInclude(message, "secret")
    }
    assert.include(new MeshError.DialFailed({ cause: new Error("connect ECONNREFUSED") }).message, "ECONNREFUSED")
  })

  it.effect("can be recovered from by reason", () =>
    Effect.gen(function* () {
      const status = yield* Effect.fail(
        new MeshError.MeshError({ reason: new MeshError.HandshakeRejected({ status: 401 }) })
      ).pipe(Effect.catchReason("MeshError", "HandshakeRejected", (reason) => Effect.succeed(reason.status)))
      assert.strictEqual(status, 401)
    })
  )
})

describe("ReconnectPolicy.classify", () => {
  it.prop("has a verdict for every reason", [Arbitrary.schema(MeshError.ConnectionReason)], ([reason]) => {
    assert.oneOf(ReconnectPolicy.classify(reason), ["retry", "fail"])
  })

  it.prop("always retries the loss of the network", [Arbitrary.schema(Schema.String)], ([message]) => {
    for (const reason of [
      new MeshError.DialFailed({ cause: new Error(message) }),
      new MeshError.DialTimeout({}),
      new MeshError.ConnectionLost({ cause: new Error(message) }),
      new MeshError.HeartbeatTimeout({ deadlineMillis: 1 })
    ]) {
      assert.strictEqual(ReconnectPolicy.classify(reason), "retry")
    }
  })

  it("fails at once for exactly what will not heal", () => {
    const closes = Array.from({ length: 4000 }, (_, n) => n + 1000).filter(
      (code) => ReconnectPolicy.classify(new MeshError.ConnectionClosed({ code })) === "fail"
    )
    const policy = Array.from({ length: 100 }, (_, n) => n + 4400).filter((code) => code !== 4408 && code !== 4429)
    assert.deepStrictEqual(closes, [1008, ...policy])
    const statuses = Array.from({ length: 500 }, (_, n) => n + 100).filter(
      (status) => ReconnectPolicy.classify(new MeshError.HandshakeRejected({ status })) === "fail"
    )
    assert.deepStrictEqual(statuses, [401, 403, 404])
    assert.strictEqual(ReconnectPolicy.classify(new MeshError.TlsFailed({ code: "X", cause: "x" })), "fail")
  })
})
