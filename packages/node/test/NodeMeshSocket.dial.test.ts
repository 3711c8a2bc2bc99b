import * as Endpoint from "@makima-stream/core/Endpoint"
import * as MeshError from "@makima-stream/core/MeshError"
import * as ReconnectPolicy from "@makima-stream/core/ReconnectPolicy"
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Socket from "effect/socket/Socket"
import * as TestClock from "effect/testing/TestClock"
import { STATUS_CODES } from "node:http"
import * as NodeMeshSocket from "../src/NodeMeshSocket.ts"
import * as Servers from "./support/servers.ts"
import { key, open } from "./support/socket.ts"

/** The reason why a dial failed. */
const refusal = (options: NodeMeshSocket.Options) =>
  Effect.map(Effect.flip(Effect.flatMap(NodeMeshSocket.make(options), ({ reader }) => reader)), (error) => {
    assert.strictEqual(error._tag, "SocketError")
    return MeshError.fromSocketError(error as Socket.SocketError)
  })

const refuse = (status: number, headers?: { readonly [name: string]: string }) =>
  Servers.httpServer((_, response) => {
    response.writeHead(status, headers)
    response.write("an answer that goes on and on")
  })

describe("NodeMeshSocket", () => {
  describe("dialling", () => {
    it.effect("requests the feed's path, with the key and the default user agent", () =>
      Effect.gen(function* () {
        const server = yield* Servers.webSocketServer()
        yield* open({ url: server.url.replace("ws", "http"), apiKey: key })
        const { request } = yield* server.accept
        assert.strictEqual(request.url, "/api/v1/mesh/tasks/subscribe")
        assert.strictEqual(request.headers["x-makima-api-key"], "the-key")
        assert.strictEqual(request.headers["user-agent"], "makima-stream/0.1.0")
        assert.isUndefined(request.headers["sec-websocket-extensions"])
      })
    )

    it.effect("sends the user agent of the option", () =>
      Effect.gen(function* () {
        const server = yield* Servers.webSocketServer()
        yield* open({ url: server.url, userAgent: "cost-meter/2" })
        const { request } = yield* server.accept
        assert.strictEqual(request.headers["user-agent"], "cost-meter/2")
      })
    )

    it.effect("sends no key header without a key, or with an empty one", () =>
      Effect.gen(function* () {
        const server = yield* Servers.webSocketServer()
        for (const apiKey of [undefined, Redacted.make(""), Effect.undefined, Effect.succeed(Redacted.make(""))]) {
          yield* open({ url: server.url, apiKey })
          const { request } = yield* server.accept
          assert.isFalse("x-makima-api-key" in request.headers)
        }
      })
    )

    it.effect("reads the credentials anew for each dial", () =>
      Effect.gen(function* () {
        const server = yield* Servers.webSocketServer()
        let reads = 0
        const socket = yield* NodeMeshSocket.make({
          url: server.url,
          apiKey: Effect.sync(() => Redacted.make(`key-${++reads}`))
        })
        assert.strictEqual(reads, 0)
        for (const expected of ["key-1", "key-2"]) {
          yield* Effect.scoped(socket.reader)
          const { request } = yield* server.accept
          assert.strictEqual(request.headers["x-makima-api-key"], expected)
        }
      })
    )

    it.effect("adds parameters to the URL, anew for each dial if they are an effect", () =>
      Effect.gen(function* () {
        const server = yield* Servers.webSocketServer()
        let dials = 0
        const socket = yield* NodeMeshSocket.make({
          url: server.url,
          query: Effect.sync(() => ({ since: `${++dials}`, name: "a&b" }))
        })
        for (const expected of ["?since=1&name=a%26b", "?since=2&name=a%26b"]) {
          yield* Effect.scoped(socket.reader)
          const { request } = yield* server.accept
          assert.strictEqual(request.url, `/api/v1/mesh/tasks/subscribe${expected}`)
        }
        yield* open({ url: server.url, query: {} })
        assert.strictEqual((yield* server.accept).request.url, "/api/v1/mesh/tasks/subscribe")
      })
    )

    it.effect("fails with CredentialsFailed when the parameters fail or hang, without their error", () =>
      Effect.gen(function* () {
        const url = "ws://127.0.0.1:1"
        const failed = yield* refusal({ url, query: Effect.fail("a secret") })
        assert.strictEqual(failed._tag, "CredentialsFailed")
        assert.notInclude(failed.message, "a secret")
        const hanging = yield* Effect.forkChild(refusal({ url, query: Effect.never, connectTimeout: "3 seconds" }))
        yield* TestClock.adjust("3 seconds")
        assert.strictEqual((yield* Fiber.join(hanging))._tag, "CredentialsFailed")
      })
    )

    const badCredentials: ReadonlyArray<readonly [string, NodeMeshSocket.Options["apiKey"], string]> = [
      ["fail", Effect.fail(new Socket.CloseEvent(1000, "the-key")), "The credentials effect failed with an error"],
      ["fail with a tag", Effect.fail({ _tag: "VaultSealed" }), "The credentials effect failed with VaultSealed"],
      ["fail with a string", Effect.fail("the-key"), "The credentials effect failed with a string"],
      ["die", Effect.die(new TypeError("the-key")), "The credentials effect died with TypeError"],
      ["are interrupted by another fiber", Effect.interrupt, "The credentials effect was interrupted"],
      ["cannot be a header", Redacted.make("the\nkey"), "The key has characters that are not allowed in an HTTP header"]
    ]
    for (const [what, apiKey, text] of badCredentials) {
      it.effect(`fails with CredentialsFailed when the credentials ${what}`, () =>
        Effect.gen(function* () {
          const reason = yield* refusal({ url: "ws://127.0.0.1:1", apiKey })
          if (reason._tag !== "CredentialsFailed") return assert.fail(reason._tag)
          assert.strictEqual(reason.cause instanceof Error && reason.cause.message, text)
        })
      )
    }

    it.effect("fails with CredentialsFailed when the credentials hang, even where they cannot be interrupted", () =>
      Effect.gen(function* () {
        const asked = yield* Deferred.make<void>()
        const dial = yield* Effect.forkChild(
          refusal({
            url: "ws://127.0.0.1:1",
            apiKey: Effect.uninterruptible(Effect.andThen(Deferred.succeed(asked, undefined), Effect.never)),
            connectTimeout: "3 seconds"
          })
        )
        yield* Deferred.await(asked)
        yield* TestClock.adjust("2999 millis")
        assert.isUndefined(dial.pollUnsafe())
        yield* TestClock.adjust("1 millis")
        assert.strictEqual((yield* Fiber.join(dial))._tag, "CredentialsFailed")
      })
    )

    it.effect("an interrupted dial is an interruption, not a failure of the credentials", () =>
      Effect.gen(function* () {
        const asked = yield* Deferred.make<void>()
        const stopped = yield* Deferred.make<void>()
        const dial = yield* Effect.forkChild(
          refusal({
            url: "ws://127.0.0.1:1",
            apiKey: Effect.andThen(Deferred.succeed(asked, undefined), Effect.never).pipe(
              Effect.onInterrupt(() => Deferred.succeed(stopped, undefined))
            )
          })
        )
        yield* Deferred.await(asked)
        yield* Fiber.interrupt(dial)
        const exit = yield* Fiber.await(dial)
        assert.isTrue(Exit.hasInterrupts(exit))
        yield* Deferred.await(stopped)
      })
    )

    it.effect("refuses a bad URL before any dial", () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(NodeMeshSocket.make({ url: "https://me:secret@host" }))
        assert.deepStrictEqual(error, new Endpoint.InvalidUrl({ problem: "Credentials" }))
        const layerError = yield* Effect.flip(Layer.build(NodeMeshSocket.layer({ url: "host" })))
        assert.deepStrictEqual(layerError, new Endpoint.InvalidUrl({ problem: "Protocol" }))
      })
    )

    it.effect("refuses a key that is a plain string before any dial, without repeating it", () =>
      Effect.gen(function* () {
        // As a program in JavaScript may pass it.
        const apiKey = "secret" as unknown as Redacted.Redacted
        const error = yield* Effect.flip(NodeMeshSocket.make({ url: "https://host", apiKey }))
        assert.strictEqual(
          error.message,
          "The option apiKey is invalid: it must be a Redacted, or an effect that returns one"
        )
      })
    )

    it.effect("a server that refuses is HandshakeRejected with its status", () =>
      Effect.gen(function* () {
        for (const status of [200, 301, 401, 403, 404, 500]) {
          const { url } = yield* refuse(status)
          const reason = yield* refusal({ url })
          const statusText = STATUS_CODES[status]
          assert.deepStrictEqual(
            reason,
            new MeshError.HandshakeRejected({ status, ...(statusText === undefined ? {} : { statusText }) })
          )
        }
      })
    )

    it.effect("a refusal has Retry-After in milliseconds, from seconds or from a date", () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(Date.UTC(2026, 0, 1, 12, 0, 0))
        const cases: ReadonlyArray<readonly [string, number | undefined]> = [
          ["7", 7000],
          ["0", 0],
          ["Thu, 01 Jan 2026 12:01:30 GMT", 90_000],
          ["Thu, 01 Jan 2026 11:00:00 GMT", 0],
          ["soon", undefined]
        ]
        for (const [retryAfter, retryAfterMillis] of cases) {
          const { url } = yield* refuse(503, { "retry-after": retryAfter })
          const reason = yield* refusal({ url })
          assert.deepStrictEqual(
            reason,
            new MeshError.HandshakeRejected({
              status: 503,
              statusText: "Service Unavailable",
              ...(retryAfterMillis === undefined ? {} : { retryAfterMillis })
            })
          )
        }
      })
    )

    it.effect("a refusal keeps the redirect's target, the request id and the start of the body, without the key", () =>
      Effect.gen(function* () {
        const { url } = yield* Servers.httpServer((request, response) => {
          const sent = String(request.headers["x-makima-api-key"])
          response.writeHead(308, {
            "content-type": "application/json",
            location: `https://me:pass@other.example/feed?key=${sent}`,
            "x-request-id": "req-7"
          })
          response.end(JSON.stringify({ error: `no ${sent}` }))
        })
        const reason = yield* refusal({ url, apiKey: key })
        assert.deepStrictEqual(
          reason,
          new MeshError.HandshakeRejected({
            status: 308,
            statusText: "Permanent Redirect",
            location: "https://other.example/feed",
            requestId: "req-7",
            body: `{"error":"no <redacted>"}`
          })
        )
      })
    )

    it.effect("reports that the next attempt may have another key exactly if the key is an effect", () =>
      Effect.gen(function* () {
        const { url } = yield* refuse(401)
        for (const [apiKey, mayChange] of [
          [key, false],
          [Effect.succeed(key), true]
        ] as const) {
          assert.strictEqual(ReconnectPolicy.mayNeedFreshCredentials(yield* refusal({ url, apiKey })), mayChange)
        }
      })
    )

    for (const name of ["the-key\n", "\uFEFFthe-key", "\r\n\tthe-key "]) {
      it.effect(`sends the key ${JSON.stringify(name)} trimmed`, () =>
        Effect.gen(function* () {
          const server = yield* Servers.webSocketServer()
          yield* open({ url: server.url, apiKey: Redacted.make(name), userAgent: ` ${name}` })
          const { request } = yield* server.accept
          assert.strictEqual(request.headers["x-makima-api-key"], "the-key")
          assert.strictEqual(request.headers["user-agent"], "the-key")
        })
      )
    }

    it.effect("a fixed key that a header cannot hold fails at once, one from an effect is retried", () =>
      Effect.gen(function* () {
        for (const [apiKey, verdict] of [
          [Redacted.make("the\nkey"), "fail"],
          [Effect.succeed(Redacted.make("the\nkey")), "retry"]
        ] as const) {
          const reason = yield* refusal({ url: "ws://127.0.0.1:1", apiKey })
          assert.include(reason.message, "The key has characters that are not allowed in an HTTP header")
          assert.strictEqual(ReconnectPolicy.classify(reason, { wasOnline: false }), verdict)
        }
      })
    )

    it.effect("sends the program's own headers, and hides the secret ones in a reason", () =>
      Effect.gen(function* () {
        const { url } = yield* Servers.httpServer((request, response) => {
          response.writeHead(400, { "content-type": "text/plain" })
          response.end(`${request.headers["x-tenant"]} ${request.headers["x-token"]}`)
        })
        const reason = yield* refusal({ url, headers: { "X-Tenant": "blue", "x-token": Redacted.make("s3cret") } })
        assert.deepInclude(reason, { _tag: "HandshakeRejected", body: "blue <redacted>" })
      })
    )

    const badOptions: ReadonlyArray<readonly [what: string, NodeMeshSocket.ConnectionOptions, message: string]> = [
      ["a user agent with a line break", { userAgent: "a\nb" }, "The option userAgent is invalid"],
      ["a header with a line break", { headers: { "x-a": "s3cret\nb" } }, "The option headers.x-a is invalid"],
      ["a name that is not a header's", { headers: { "x a": "b" } }, "The option headers is invalid"],
      ["a header of the handshake", { headers: { Host: "b" } }, "The option headers.Host is invalid"],
      ["a header of the WebSocket protocol", { headers: { "sec-websocket-key": "b" } }, "headers.sec-websocket-key"],
      ["the key's header", { headers: { "X-Makima-Api-Key": "s3cret" } }, "headers.X-Makima-Api-Key is invalid"],
      ["a proxy that is not a URL", { proxy: "socks5://s3cret@host" }, "The option proxy is invalid"]
    ]
    for (const [what, options, message] of badOptions) {
      it.effect(`refuses ${what} before any dial, with the cause in the message`, () =>
        Effect.gen(function* () {
          const error = yield* Effect.flip(NodeMeshSocket.make({ url: "ws://127.0.0.1:1", ...options }))
          assert.strictEqual(error._tag, "InvalidOption")
          assert.include(error.message, message)
          assert.notInclude(JSON.stringify(error), "s3cret")
        })
      )
    }

    it.effect("closes the connection of a refused handshake, even if the answer never ends", () =>
      Effect.gen(function* () {
        const closed = yield* Deferred.make<void>()
        const { url } = yield* Servers.httpServer((request, response) => {
          request.socket.on("close", () => Deferred.doneUnsafe(closed, Effect.void))
          response.writeHead(503)
          response.write("an answer that goes on and on")
        })
        // One scope for all attempts, as a retry around the reader has it: the connection may not wait for its end.
        const socket = yield* NodeMeshSocket.make({ url })
        yield* Effect.flip(socket.reader)
        yield* Deferred.await(closed)
      })
    )

    it.effect("a port without a listener is DialFailed with the cause", () =>
      Effect.gen(function* () {
        const { port } = yield* Effect.scoped(Servers.netServer(() => {}))
        for (const host of ["127.0.0.1", "localhost"]) {
          const reason = yield* refusal({ url: `ws://${host}:${port}` })
          assert.strictEqual(reason._tag, "DialFailed")
          assert.include(reason.message, `ECONNREFUSED 127.0.0.1:${port}`)
        }
      })
    )

    const strangers: ReadonlyArray<readonly [string, string]> = [
      ["hangs up", ""],
      ["speaks another protocol", "SSH-2.0-OpenSSH_9.2\r\n"],
      [
        "cannot have read the request",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n"
      ]
    ]
    for (const [what, answer] of strangers) {
      it.effect(`a server that ${what} is DialFailed`, () =>
        Effect.gen(function* () {
          const { url } = yield* Servers.netServer((socket) => {
            socket.once("data", () => socket.end(answer))
          })
          const reason = yield* refusal({ url })
          assert.strictEqual(reason._tag, "DialFailed")
        })
      )
    }

    it.effect("gives up at the connect timeout, and drops the socket", () =>
      Effect.gen(function* () {
        const asked = yield* Deferred.make<void>()
        const closed = yield* Deferred.make<void>()
        const { url } = yield* Servers.netServer((socket) => {
          socket.on("data", () => Deferred.doneUnsafe(asked, Effect.void))
          socket.on("close", () => Deferred.doneUnsafe(closed, Effect.void))
        })
        const dial = yield* Effect.forkChild(refusal({ url }))
        yield* Deferred.await(asked)
        yield* TestClock.adjust("9999 millis")
        assert.isUndefined(dial.pollUnsafe())
        yield* TestClock.adjust("1 millis")
        assert.deepStrictEqual(yield* Fiber.join(dial), new MeshError.DialTimeout({ timeoutMillis: 10_000 }))
        yield* Deferred.await(closed)
      })
    )

    it.effect("an interrupted dial drops the socket", () =>
      Effect.gen(function* () {
        const asked = yield* Deferred.make<void>()
        const closed = yield* Deferred.make<void>()
        const { url } = yield* Servers.netServer((socket) => {
          socket.on("data", () => Deferred.doneUnsafe(asked, Effect.void))
          socket.on("close", () => Deferred.doneUnsafe(closed, Effect.void))
        })
        const dial = yield* Effect.forkChild(open({ url }))
        yield* Deferred.await(asked)
        yield* Fiber.interrupt(dial)
        yield* Deferred.await(closed)
      })
    )
  })

  describe("TLS", () => {
    it.effect("trusts a private CA of the options", () =>
      Effect.gen(function* () {
        const server = yield* Servers.webSocketServer({ tls: "server.pem" })
        for (const ca of [Servers.ca, Servers.ca.toString(), [Servers.ca]]) {
          const reader = yield* open({ url: server.url, tls: { ca } })
          const { ws } = yield* server.accept
          ws.send("over TLS")
          assert.deepStrictEqual(yield* reader.pull, ["over TLS"])
        }
      })
    )

    it.effect("a certificate that is not trusted is TlsFailed, which fails at once on the first dial", () =>
      Effect.gen(function* () {
        const server = yield* Servers.webSocketServer({ tls: "server.pem" })
        const reason = yield* refusal({ url: server.url })
        if (reason._tag !== "TlsFailed") return assert.fail(reason._tag)
        assert.strictEqual(reason.code, "UNABLE_TO_VERIFY_LEAF_SIGNATURE")
        assert.strictEqual(ReconnectPolicy.classify(reason, { wasOnline: false }), "fail")
      })
    )

    it.effect("a certificate for another host is TlsFailed, unless that name is expected", () =>
      Effect.gen(function* () {
        const server = yield* Servers.webSocketServer({ tls: "elsewhere.pem" })
        const reason = yield* refusal({ url: server.url, tls: { ca: Servers.ca } })
        if (reason._tag !== "TlsFailed") return assert.fail(reason._tag)
        assert.strictEqual(reason.code, "ERR_TLS_CERT_ALTNAME_INVALID")
        yield* open({ url: server.url, tls: { ca: Servers.ca, servername: "elsewhere.example" } })
      })
    )

    it.effect("a server without TLS is DialFailed, which is retried, with the cause in the message", () =>
      Effect.gen(function* () {
        const plain = yield* Servers.webSocketServer()
        const reason = yield* refusal({ url: plain.url.replace("ws", "wss") })
        assert.strictEqual(reason._tag, "DialFailed")
        assert.include(reason.message, "the server does not answer with TLS on this port")
        assert.strictEqual(ReconnectPolicy.classify(reason, { wasOnline: false }), "retry")
      })
    )

    it.effect("a CA that is not a certificate is TlsFailed, which fails at once", () =>
      Effect.gen(function* () {
        const server = yield* Servers.webSocketServer({ tls: "server.pem" })
        const reason = yield* refusal({ url: server.url, tls: { ca: "not a certificate" } })
        assert.strictEqual(reason._tag, "TlsFailed")
        assert.strictEqual(ReconnectPolicy.classify(reason, { wasOnline: false }), "fail")
      })
    )

    for (const [alert, name] of [
      [40, "handshake failure"],
      [80, "internal error"]
    ] as const) {
      it.effect(
        `a server that answers with TLS alert ${alert} is DialFailed, which is retried, with the cause in the message`,
        () =>
          Effect.gen(function* () {
            const { url } = yield* Servers.netServer((socket) => {
              // A record of type 21 (alert), TLS 1.2, two bytes: fatal, and which.
              socket.once("data", () => socket.end(Buffer.from([21, 3, 3, 0, 2, 2, alert])))
            })
            const reason = yield* refusal({ url: url.replace("ws", "wss") })
            assert.strictEqual(reason._tag, "DialFailed")
            assert.include(reason.message, `alert ${alert}`)
            assert.include(reason.message, name)
            assert.strictEqual(ReconnectPolicy.classify(reason, { wasOnline: false }), "retry")
          })
      )
    }

    it.effect("a reset during the TLS handshake is DialFailed, which is retried", () =>
      Effect.gen(function* () {
        const { url } = yield* Servers.netServer((socket) => {
          socket.once("data", () => socket.resetAndDestroy())
        })
        const reason = yield* refusal({ url: url.replace("ws", "wss") })
        assert.strictEqual(reason._tag, "DialFailed")
        assert.include(reason.message, "ECONNRESET")
        assert.strictEqual(ReconnectPolicy.classify(reason, { wasOnline: false }), "retry")
      })
    )

    it.effect("accepts any certificate with `rejectUnauthorized: false`", () =>
      Effect.gen(function* () {
        const server = yield* Servers.webSocketServer({ tls: "elsewhere.pem" })
        yield* open({ url: server.url, tls: { rejectUnauthorized: false } })
      })
    )
  })
})
