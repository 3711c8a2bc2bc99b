import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Socket from "effect/socket/Socket"
import * as DecodeError from "../src/DecodeError.ts"
import * as MeshError from "../src/MeshError.ts"

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

  it("describes every reason in one line", () => {
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

  it("puts the redirect's target and the request id of a refusal into its message, and not the body", () => {
    const reason = new MeshError.HandshakeRejected({
      status: 308,
      statusText: "Permanent Redirect",
      location: "https://example.com/feed",
      requestId: "req-1",
      body: "<html>moved</html>"
    })
    assert.strictEqual(
      reason.message,
      "The server refused the connection with HTTP status 308 (Permanent Redirect). It redirects to https://example.com/feed. Request id: req-1"
    )
  })

  it("keeps text from the network in one line", () => {
    for (const reason of [
      new MeshError.HandshakeRejected({ status: 400, statusText: "a\nb", requestId: "c\u2028d", location: "e\r\nf" }),
      new MeshError.ConnectionClosed({ code: 1011, closeReason: "a\u001b[31m\nb" }),
      new MeshError.DialFailed({ cause: new Error("a\nb") })
    ]) {
      // oxlint-disable-next-line no-control-regex
      assert.notMatch(reason.message, /[\u0000-\u001f\u2028]/)
    }
  })

  it("distinguishes a frame with too many fragments from one with too many bytes", () => {
    assert.include(new MeshError.FrameTooLarge({ maxFrameBytes: 1024 }).message, "more than 1024 bytes")
    assert.include(
      new MeshError.FrameTooLarge({ maxFrameBytes: 1024, maxFragments: 16384 }).message,
      "more than 16384 fragments"
    )
  })

  it("counts the frames that could not be decoded", () => {
    const last = new DecodeError.DecodeError({ problem: "InvalidJson", path: [], expected: "JSON", size: 1 })
    assert.include(
      new MeshError.TooManyBadFrames({ count: 100, last }).message,
      "100 consecutive frames could not be decoded. "
    )
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
