import * as ScriptedMesh from "@makima-stream/test-kit/ScriptedMesh"
import * as MockMeshServer from "@makima-stream/test-kit/MockMeshServer"
import * as NodeMeshSocket from "@makima-stream/node/NodeMeshSocket"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as References from "effect/References"
import * as Redacted from "effect/Redacted"
import * as Socket from "effect/socket/Socket"
import * as Stream from "effect/Stream"
import { readFileSync } from "node:fs"
import * as https from "node:https"
import { WebSocket } from "ws"
import * as Gateway from "../src/Gateway.ts"
import { get, upgrade } from "./support/http.ts"
import { key, rest, until } from "./support/world.ts"

const setup = (options?: Gateway.Options) =>
  Effect.gen(function* () {
    const mesh = yield* ScriptedMesh.make()
    const gateway = yield* Gateway.make({ port: 0, ...options }).pipe(Effect.provideService(Socket.Socket, mesh.socket))
    const { port } = gateway
    const bearer = { authorization: `Bearer ${Redacted.value(gateway.token)}` }
    const origin = `http://127.0.0.1:${port}`
    /** Signs in as a browser does, and returns the cookie. */
    const signIn = Effect.gen(function* () {
      const url = new URL(yield* gateway.loginUrl)
      const reply = yield* get(port, `${url.pathname}${url.search}`)
      return String(reply.headers["set-cookie"]?.[0]).split(";")[0] ?? ""
    })
    return { mesh, gateway, port, bearer, origin, signIn }
  })

const tasks = "/api/v1/mesh/tasks"

describe("access to a gateway", () => {
  it.effect("is refused with another Host, on every path, with any credentials", () =>
    Effect.gen(function* () {
      const { bearer, port, signIn } = yield* setup()
      const cookie = yield* signIn
      for (const host of ["evil.example", `evil.example:${port}`, "127.0.0.1.evil.example", "127.0.0.1:1"]) {
        for (const path of ["/", "/health", "/metrics", tasks]) {
          assert.strictEqual((yield* get(port, path, { ...bearer, cookie, host })).status, 403, `${host} ${path}`)
        }
        assert.strictEqual(yield* upgrade(port, { ...bearer, host }), 403, host)
      }
      assert.strictEqual((yield* get(port, tasks, { ...bearer, host: `localhost:${port}` })).status, 200)
    }).pipe(Effect.scoped)
  )

  it.effect("is refused to a page of another origin, with any credentials", () =>
    Effect.gen(function* () {
      const { bearer, origin, port, signIn } = yield* setup()
      const cookie = yield* signIn
      for (const other of [
        "http://evil.example",
        "null",
        `https://127.0.0.1:${port}`,
        "http://127.0.0.1:1",
        "http://127.0.0.1"
      ]) {
        assert.strictEqual(yield* upgrade(port, { cookie, origin: other }), 403, other)
        assert.strictEqual(yield* upgrade(port, { ...bearer, origin: other }), 403, other)
        assert.strictEqual((yield* get(port, tasks, { cookie, origin: other })).status, 403, other)
      }
      assert.strictEqual(yield* upgrade(port, { cookie, origin }), 101)
    }).pipe(Effect.scoped)
  )

  it.effect("is open to the origins and hosts of the options", () =>
    Effect.gen(function* () {
      const { bearer, port, signIn } = yield* setup({ hosts: ["board.example"], origins: ["https://board.example"] })
      const cookie = yield* signIn
      const host = "board.example"
      assert.strictEqual(yield* upgrade(port, { cookie, host, origin: "https://board.example" }), 101)
      assert.strictEqual((yield* get(port, tasks, { ...bearer, host: "board.example:443" })).status, 200)
      assert.strictEqual(yield* upgrade(port, { cookie, host, origin: "https://board.example.evil" }), 403)
    }).pipe(Effect.scoped)
  )

  it.effect("is open at its public URL, with a login URL and a secure cookie of that address", () =>
    Effect.gen(function* () {
      const publicUrl = "https://board.example"
      const { gateway, port } = yield* setup({ publicUrl })
      const host = "board.example"
      const url = new URL(yield* gateway.loginUrl)
      assert.strictEqual(url.origin, publicUrl)
      const reply = yield* get(port, `${url.pathname}${url.search}`, { host })
      assert.include(String(reply.headers["set-cookie"]), "; Secure")
      const cookie = String(reply.headers["set-cookie"]?.[0]).split(";")[0] ?? ""
      assert.strictEqual(yield* upgrade(port, { cookie, host, origin: publicUrl }), 101)
      assert.strictEqual(yield* upgrade(port, { cookie, host, origin: "http://evil.example" }), 403)
      // On the machine itself there is no TLS, so that the browser would not return a secure cookie.
      const local = new URL(yield* gateway.loginUrl)
      const localReply = yield* get(port, `${local.pathname}${local.search}`)
      assert.notInclude(String(localReply.headers["set-cookie"]), "Secure")
      for (const text of ["board.example", "ftp://board.example", "https://board.example/path", ""]) {
        const error = yield* Effect.flip(setup({ publicUrl: text }))
        assert.strictEqual(error._tag, "InvalidPublicUrl", text)
      }
    }).pipe(Effect.scoped)
  )

  it.effect("makes a new login URL when the last one was used", () =>
    Effect.gen(function* () {
      const { gateway, port } = yield* setup()
      const urls: Array<string> = []
      yield* gateway.loginUrls.pipe(
        Stream.runForEach((url) => Effect.sync(() => urls.push(url))),
        Effect.forkScoped
      )
      const use = (url = "") => get(port, url.slice(gateway.url.length))
      yield* until(() => urls.length === 1)
      assert.strictEqual((yield* use(yield* gateway.loginUrl)).status, 303)
      yield* rest
      assert.lengthOf(urls, 1)
      assert.strictEqual((yield* use(urls[0])).status, 303)
      yield* until(() => urls.length === 2)
      assert.strictEqual((yield* use(urls[0])).status, 403)
      yield* until(() => urls.length === 2)
      // So many login URLs are valid that the oldest one is removed.
      for (let n = 0; n < 1000; n++) yield* gateway.loginUrl
      yield* until(() => urls.length === 3)
      assert.strictEqual((yield* use(urls[1])).status, 403)
      assert.strictEqual((yield* use(urls[2])).status, 303)
    }).pipe(Effect.scoped)
  )

  it.effect("is refused without a cookie and without a bearer token", () =>
    Effect.gen(function* () {
      const { origin, port } = yield* setup()
      for (const path of ["/", "/metrics", tasks, `${tasks}/a`, `${tasks}/events`]) {
        const reply = yield* get(port, path)
        assert.strictEqual(reply.status, 401, path)
        assert.strictEqual(reply.headers["www-authenticate"], "Bearer")
      }
      assert.strictEqual(yield* upgrade(port, {}), 401)
      assert.strictEqual(yield* upgrade(port, { origin }), 401)
      assert.strictEqual(yield* upgrade(port, { "x-makima-api-key": "" }), 401)
      for (const authorization of ["Bearer", "Bearer x", "Basic x", ""]) {
        assert.strictEqual(yield* upgrade(port, { authorization }), 401)
      }
    }).pipe(Effect.scoped)
  )

  it.effect("is given to a program with the bearer token, also in the header of the server's clients", () =>
    Effect.gen(function* () {
      const { bearer, gateway, port } = yield* setup()
      assert.strictEqual(yield* upgrade(port, bearer), 101)
      assert.strictEqual(yield* upgrade(port, { "x-makima-api-key": Redacted.value(gateway.token) }), 101)
      assert.strictEqual((yield* get(port, tasks, bearer)).status, 200)
    }).pipe(Effect.scoped)
  )

  it.effect("exchanges the token of a login URL for a cookie, and redirects without the token", () =>
    Effect.gen(function* () {
      const { gateway, origin, port } = yield* setup()
      const token = new URL(yield* gateway.loginUrl).searchParams.get("token")
      const reply = yield* get(port, `/board?task=a&token=${token}`)
      assert.strictEqual(reply.status, 303)
      assert.strictEqual(reply.headers.location, "/board?task=a")
      const [cookie = ""] = reply.headers["set-cookie"] ?? []
      assert.match(cookie, /^makima-gateway-\d+=[\w-]{43}; HttpOnly; SameSite=Strict; Path=\/$/)
      assert.notInclude(cookie, String(token))
      const session = cookie.split(";")[0] ?? ""
      assert.strictEqual((yield* get(port, tasks, { cookie: `other=1; ${session}` })).status, 200)
      assert.strictEqual(yield* upgrade(port, { cookie: session, origin }), 101)
    }).pipe(Effect.scoped)
  )

  it.effect("is refused with a token that was used, or that was never made", () =>
    Effect.gen(function* () {
      const { gateway, port } = yield* setup()
      const { search } = new URL(yield* gateway.loginUrl)
      assert.strictEqual((yield* get(port, `/${search}`, {}, "HEAD")).status, 401)
      assert.strictEqual((yield* get(port, `/${search}`)).status, 303)
      for (const query of [search, "?token=", "?token=x", `?token=${Redacted.value(gateway.token)}`]) {
        const reply = yield* get(port, `/${query}`)
        assert.strictEqual(reply.status, 403)
        assert.isUndefined(reply.headers["set-cookie"])
      }
    }).pipe(Effect.scoped)
  )

  it.effect("is refused with the cookie of another gateway, or a changed cookie", () =>
    Effect.gen(function* () {
      const one = yield* setup()
      const two = yield* setup()
      const [, value = ""] = (yield* two.signIn).split("=")
      const cookie = `makima-gateway-${one.port}=${value}`
      assert.strictEqual((yield* get(one.port, tasks, { cookie })).status, 401)
      assert.strictEqual(yield* upgrade(one.port, { cookie, origin: one.origin }), 401)
      const own = yield* one.signIn
      const changed = own.slice(0, -1) + (own.endsWith("A") ? "B" : "A")
      assert.strictEqual((yield* get(one.port, tasks, { cookie: changed })).status, 401)
    }).pipe(Effect.scoped)
  )

  it.effect("is refused to a WebSocket with the cookie and without an Origin, which no browser sends", () =>
    Effect.gen(function* () {
      const { port, signIn } = yield* setup()
      assert.strictEqual(yield* upgrade(port, { cookie: yield* signIn }), 401)
    }).pipe(Effect.scoped)
  )

  it.effect("reads no file, whatever the path", () =>
    Effect.gen(function* () {
      const assets = new Map([["/", { type: "text/html; charset=utf-8", body: "<!doctype html>" }]])
      const { bearer, port } = yield* setup({ assets })
      assert.strictEqual((yield* get(port, "/", bearer)).body, "<!doctype html>")
      for (const path of [
        "/../../../../etc/passwd",
        "/..%2f..%2f..%2fetc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/assets/../../package.json",
        "//etc/passwd",
        "/\\..\\..\\etc\\passwd",
        "/package.json",
        `${tasks}/..%2f..%2fetc%2fpasswd`,
        `${tasks}/%`,
        "/%00"
      ]) {
        const reply = yield* get(port, path, bearer)
        assert.strictEqual(reply.status, 404, path)
        assert.notInclude(reply.body, "root:")
      }
    }).pipe(Effect.scoped)
  )

  it.effect("puts nothing of a request into the headers of the answer, and redirects only to itself", () =>
    Effect.gen(function* () {
      const { gateway, port } = yield* setup()
      const login = Effect.map(gateway.loginUrl, (url) => new URL(url).searchParams.get("token"))
      for (const [path, location] of [
        ["/%0d%0aset-cookie:%20x=1", "/%0d%0aset-cookie:%20x=1"],
        ["//evil.example/", "/evil.example/"],
        ["/\\evil.example/", "/evil.example/"],
        ["/%2f%2fevil.example/", "/%2f%2fevil.example/"],
        ["/.//evil.example/", "/evil.example/"]
      ] as const) {
        const reply = yield* get(port, `${path}?token=${yield* login}`)
        assert.strictEqual(reply.status, 303)
        assert.strictEqual(reply.headers.location, location)
        assert.lengthOf(reply.headers["set-cookie"] ?? [], 1)
      }
      const reply = yield* get(port, `/?x=%0d%0aset-cookie:%20y&token=${yield* login}`)
      assert.strictEqual(reply.headers.location, "/?x=%0D%0Aset-cookie%3A+y")
    }).pipe(Effect.scoped)
  )

  it.effect("sends a Content-Security-Policy without unsafe-inline with every answer", () =>
    Effect.gen(function* () {
      const { bearer, gateway, port } = yield* setup()
      const login = new URL(yield* gateway.loginUrl)
      for (const [path, headers] of [
        ["/", {}],
        ["/health", {}],
        [tasks, bearer],
        ["/nothing", bearer],
        [`/${login.search}`, {}],
        ["/", { host: "evil.example" }]
      ] as const) {
        const reply = yield* get(port, path, headers)
        const policy = String(reply.headers["content-security-policy"])
        assert.include(policy, "default-src 'none'", path)
        assert.include(policy, "frame-ancestors 'none'", path)
        assert.notInclude(policy, "unsafe", path)
        assert.strictEqual(reply.headers["x-content-type-options"], "nosniff", path)
      }
    }).pipe(Effect.scoped)
  )

  it.effect("accepts no method but GET and HEAD", () =>
    Effect.gen(function* () {
      const { bearer, port } = yield* setup()
      for (const method of ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"]) {
        assert.strictEqual((yield* get(port, tasks, bearer, method)).status, 405)
      }
      const reply = yield* get(port, tasks, bearer, "HEAD")
      assert.deepStrictEqual([reply.status, reply.body], [200, ""])
    }).pipe(Effect.scoped)
  )

  it.effect("is limited to one path for WebSockets, and to a number of clients", () =>
    Effect.gen(function* () {
      const { bearer, port } = yield* setup({ maxClients: 1 })
      assert.strictEqual(yield* upgrade(port, bearer, "/other"), 404)
      const ws = new WebSocket(`ws://127.0.0.1:${port}/api/v1/mesh/tasks/subscribe`, { headers: bearer })
      yield* Effect.callback<void>((resume) => void ws.on("open", () => resume(Effect.void)))
      assert.strictEqual(yield* upgrade(port, bearer), 503)
      ws.terminate()
    }).pipe(Effect.scoped)
  )

  it.effect("beyond this machine needs a token, and TLS or a flag that says what it does", () =>
    Effect.gen(function* () {
      const problem = (options: Gateway.Options) =>
        setup({ host: "0.0.0.0", ...options }).pipe(Effect.scoped, Effect.flip, Effect.map(String))
      const token = Redacted.make("a-token-of-the-operator")
      assert.include(yield* problem({}), "needs a token")
      assert.include(yield* problem({ allowPlaintextBeyondLoopback: true }), "needs a token")
      assert.include(yield* problem({ token }), "needs TLS")
      for (const short of ["", " ".repeat(20), "fifteen-letters"]) {
        assert.include(yield* problem({ host: "127.0.0.1", token: Redacted.make(short) }), "fewer than 16")
      }
      const { gateway, port } = yield* setup({ host: "0.0.0.0", token, allowPlaintextBeyondLoopback: true })
      assert.strictEqual(Redacted.value(gateway.token), "a-token-of-the-operator")
      assert.strictEqual((yield* get(port, tasks, { authorization: "Bearer a-token-of-the-operator" })).status, 200)
    }).pipe(Effect.scoped)
  )

  it.effect("is not served with a certificate that cannot be used", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(setup({ tls: { cert: "no certificate", key: "no key" } }))
      assert.strictEqual(error._tag, "InvalidTls")
      assert.notInclude(error.message, "no key")
    }).pipe(Effect.scoped)
  )

  it.effect("serves HTTPS and WSS with a certificate, and marks its cookie as secure", () =>
    Effect.gen(function* () {
      const fixture = (name: string) => readFileSync(new URL(`../../node/test/fixtures/${name}`, import.meta.url))
      const ca = fixture("ca.pem")
      const { gateway, port } = yield* setup({ tls: { cert: fixture("server.pem"), key: fixture("server.key") } })
      assert.strictEqual(gateway.url, `https://127.0.0.1:${port}`)
      const login = new URL(yield* gateway.loginUrl)
      const cookie = yield* Effect.callback<string>((resume) => {
        const request = https.get(
          { host: "127.0.0.1", port, path: `/${login.search}`, ca, agent: false },
          (response) => {
            response.resume()
            resume(Effect.succeed(String(response.headers["set-cookie"]?.[0])))
          }
        )
        request.on("error", (error) => resume(Effect.die(error)))
      })
      assert.match(cookie, /; Secure$/)
      const opened = yield* Effect.callback<boolean>((resume) => {
        const ws = new WebSocket(`wss://127.0.0.1:${port}/api/v1/mesh/tasks/subscribe`, {
          ca,
          headers: { cookie: cookie.split(";")[0] ?? "", origin: `https://127.0.0.1:${port}` }
        })
        ws.on("error", () => resume(Effect.succeed(false)))
        ws.on("open", () => {
          ws.terminate()
          resume(Effect.succeed(true))
        })
      })
      assert.isTrue(opened)
    }).pipe(Effect.scoped)
  )

  it.effect("shows the server's key in no answer, message, log or metric", () =>
    Effect.gen(function* () {
      const logged: Array<unknown> = []
      const logger = Logger.make((options) => void logged.push(options.message, options.cause, options.fiber.context))
      const server = yield* MockMeshServer.make({ apiKey: Redacted.make(key) })
      const upstream = NodeMeshSocket.layer({ url: server.url, apiKey: Redacted.make(key) })
      const frames: Array<string> = []
      yield* Effect.gen(function* () {
        const gateway = yield* Gateway.make({ port: 0 }).pipe(Effect.provide(upstream))
        const headers = { authorization: `Bearer ${Redacted.value(gateway.token)}` }
        const ws = new WebSocket(`ws://127.0.0.1:${gateway.port}/api/v1/mesh/tasks/subscribe?marks=1`, { headers })
        ws.on("message", (data) => frames.push(String(data)))
        yield* Effect.callback<void>((resume) => void ws.on("open", () => resume(Effect.void)))
        ws.send(`{"type":"subscribeAll"}`)
        yield* until(() => frames.length > 0)
        yield* server.refuse(1, 503, { "x-key": key })
        yield* server.kill()
        yield* until(() => frames.filter((frame) => frame.includes(`"disconnected"`)).length >= 2)
        yield* rest
        for (const path of ["/", "/health", "/metrics", tasks, `${tasks}/${key}x`]) {
          const reply = yield* get(gateway.port, path, headers)
          assert.notInclude(JSON.stringify(reply).replaceAll(`${key}x`, ""), key, path)
        }
        ws.terminate()
      }).pipe(
        Effect.scoped,
        Effect.provide(Logger.layer([logger])),
        Effect.provideService(References.MinimumLogLevel, "Trace")
      )
      assert.isAbove(logged.length, 0)
      assert.notInclude(frames.join(), key)
      assert.notInclude(logged.map((each) => `${String(each)} ${JSON.stringify(each)}`).join(), key)
    }).pipe(Effect.scoped)
  )
})
