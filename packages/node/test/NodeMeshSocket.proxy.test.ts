import * as MeshError from "@makima-stream/core/MeshError"
import { assert, describe, it } from "@effect/vitest"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import * as Socket from "effect/socket/Socket"
import * as TestClock from "effect/testing/TestClock"
import * as https from "node:https"
import * as NodeMeshSocket from "../src/NodeMeshSocket.ts"
import * as Servers from "./support/servers.ts"
import { key, open } from "./support/socket.ts"

const environment = (variables: { readonly [name: string]: string }) =>
  Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromUnknown(variables))

const failure = (options: NodeMeshSocket.Options) =>
  Effect.map(Effect.flip(Effect.flatMap(NodeMeshSocket.make(options), ({ reader }) => reader)), (error) =>
    error._tag === "SocketError" ? MeshError.fromSocketError(error) : assert.fail(error._tag)
  )

describe("NodeMeshSocket through a proxy", () => {
  for (const tls of [undefined, "server.pem"] as const) {
    const scheme = tls === undefined ? "ws" : "wss"
    const variable = tls === undefined ? "HTTP_PROXY" : "HTTPS_PROXY"
    it.effect(`reaches a ${scheme} server through ${variable}, in both directions`, () =>
      Effect.gen(function* () {
        const proxy = yield* Servers.forwardProxy()
        const server = yield* Servers.webSocketServer(tls === undefined ? {} : { tls })
        const socket = yield* NodeMeshSocket.make({ url: server.url, apiKey: key, tls: { ca: Servers.ca } })
        const reader = yield* environment({ [variable]: proxy.url })(socket.reader)
        const writer = yield* socket.writer
        const { request, ws, receive } = yield* server.accept
        assert.strictEqual(request.headers["x-makima-api-key"], "the-key")
        ws.send("down")
        assert.deepStrictEqual(yield* reader.pull, ["down"])
        yield* writer.write("up")
        assert.strictEqual(yield* receive, "up")
        assert.deepStrictEqual(proxy.requests, [{ target: `127.0.0.1:${server.port}`, authorization: undefined }])
      })
    )
  }

  it.effect("layerConfig reads the proxy from its configuration", () =>
    Effect.gen(function* () {
      const proxy = yield* Servers.forwardProxy()
      const server = yield* Servers.webSocketServer()
      const layer = NodeMeshSocket.layerConfig().pipe(
        Layer.provide(
          ConfigProvider.layer(
            ConfigProvider.fromUnknown({ MAKIMA_API_URL: server.url, MAKIMA_API_KEY: "k", HTTP_PROXY: proxy.url })
          )
        )
      )
      yield* Effect.flatMap(Socket.Socket, ({ reader }) => reader).pipe(Effect.provide(layer))
      yield* server.accept
      assert.lengthOf(proxy.requests, 1)
    })
  )

  it.effect("goes directly to a server that NO_PROXY excludes, and with `proxy: false`", () =>
    Effect.gen(function* () {
      const server = yield* Servers.webSocketServer()
      const dead = "http://127.0.0.1:1"
      yield* environment({ HTTP_PROXY: dead, NO_PROXY: "127.0.0.1" })(open({ url: server.url }))
      yield* environment({ HTTP_PROXY: dead })(open({ url: server.url, proxy: false }))
      yield* server.accept
      yield* server.accept
    })
  )

  it.effect("takes the proxy of the option over that of the environment, and sends its credentials", () =>
    Effect.gen(function* () {
      const { port, requests } = yield* Servers.forwardProxy()
      const server = yield* Servers.webSocketServer()
      const proxy = Redacted.make(`http://me:s3cret@127.0.0.1:${port}`)
      yield* environment({ HTTP_PROXY: "http://127.0.0.1:1" })(open({ url: server.url, proxy }))
      yield* server.accept
      assert.strictEqual(requests[0]?.authorization, `Basic ${Buffer.from("me:s3cret").toString("base64")}`)
    })
  )

  it.effect("checks the server's certificate behind the proxy", () =>
    Effect.gen(function* () {
      const proxy = yield* Servers.forwardProxy()
      const server = yield* Servers.webSocketServer({ tls: "elsewhere.pem" })
      const reason = yield* failure({ url: server.url, proxy: proxy.url, tls: { ca: Servers.ca } })
      if (reason._tag !== "TlsFailed") return assert.fail(reason.message)
      assert.strictEqual(reason.code, "ERR_TLS_CERT_ALTNAME_INVALID")
    })
  )

  for (const status of [403, 407, 502]) {
    it.effect(`a proxy that refuses with ${status} is DialFailed, and not HandshakeRejected`, () =>
      Effect.gen(function* () {
        const proxy = yield* Servers.forwardProxy(status)
        const reason = yield* failure({ url: "wss://server.invalid", proxy: proxy.url })
        assert.strictEqual(reason._tag, "DialFailed")
        assert.match(reason.message, new RegExp(`the proxy .*HTTP status ${status}`))
      })
    )
  }

  it.effect("an unreachable proxy is DialFailed, with the cause but without its password", () =>
    Effect.gen(function* () {
      const { port } = yield* Effect.scoped(Servers.netServer(() => {}))
      const reason = yield* failure({ url: "wss://server.invalid", proxy: `http://me:s3cret@127.0.0.1:${port}` })
      assert.strictEqual(reason._tag, "DialFailed")
      assert.include(reason.message, "the proxy could not be reached: connect ECONNREFUSED")
      assert.notInclude(reason.message, "s3cret")
    })
  )

  it.effect("a variable that is not a proxy's URL is DialFailed, and names the variable", () =>
    Effect.gen(function* () {
      const reason = yield* environment({ HTTPS_PROXY: "socks5://me:s3cret@host" })(
        failure({ url: "wss://server.invalid" })
      )
      assert.strictEqual(reason.message, "The server could not be reached: HTTPS_PROXY is not the URL of an HTTP proxy")
    })
  )

  it.effect("fails at the connect timeout of a silent proxy, and drops the connection to it", () =>
    Effect.gen(function* () {
      const asked = yield* Deferred.make<void>()
      const closed = yield* Deferred.make<void>()
      const silent = yield* Servers.netServer((socket) => {
        socket.on("data", () => Deferred.doneUnsafe(asked, Effect.void))
        socket.on("close", () => Deferred.doneUnsafe(closed, Effect.void))
      })
      const dial = yield* Effect.forkChild(
        failure({ url: "wss://server.invalid", proxy: silent.url.replace("ws", "http") })
      )
      yield* Deferred.await(asked)
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual((yield* Fiber.join(dial))._tag, "DialTimeout")
      yield* Deferred.await(closed)
    })
  )

  it.effect("closing the scope closes the tunnel", () =>
    Effect.gen(function* () {
      const proxy = yield* Servers.forwardProxy()
      const server = yield* Servers.webSocketServer()
      const socket = yield* NodeMeshSocket.make({ url: server.url, proxy: proxy.url })
      const scope = yield* Scope.make()
      yield* Scope.provide(socket.reader, scope)
      const { closed } = yield* server.accept
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual((yield* closed).code, 1000)
    })
  )

  it.effect("connects with the agent of the options, and then without a proxy", () =>
    Effect.gen(function* () {
      const server = yield* Servers.webSocketServer({ tls: "server.pem" })
      const agent = yield* Effect.acquireRelease(
        Effect.sync(() => new https.Agent({ ca: Servers.ca })),
        (agent) => Effect.sync(() => agent.destroy())
      )
      yield* environment({ HTTPS_PROXY: "http://127.0.0.1:1" })(open({ url: server.url, agent }))
      yield* server.accept
    })
  )
})
