/** `doctor` against ten broken set-ups, each with its step, its cause and its remedy. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as MockMeshServer from "@makima-stream/test-kit/MockMeshServer"
import { readFileSync } from "node:fs"
import * as http from "node:http"
import * as https from "node:https"
import * as net from "node:net"
import { fileURLToPath } from "node:url"
import { WebSocketServer } from "ws"
import * as InProcess from "./support/command.ts"
import * as Process from "./support/process.ts"

const fixture = (name: string): string => fileURLToPath(new URL(`./fixtures/${name}`, import.meta.url))

/** Listens on a free port, and returns it. Ends with the scope. */
const listen = (server: net.Server): Effect.Effect<number, never, Scope.Scope> => {
  const sockets = new Set<net.Socket>()
  server.on("connection", (socket: net.Socket) => {
    sockets.add(socket)
    socket.on("error", () => {})
  })
  return Effect.acquireRelease(
    Effect.callback<number>((resume) => {
      server.listen(0, "127.0.0.1", () => {
        const address = server.address()
        resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0))
      })
    }),
    () =>
      Effect.sync(() => {
        server.close()
        for (const socket of sockets) socket.destroy()
      })
  )
}

const tls = (name: string) => {
  const pem = readFileSync(fixture(name))
  return https.createServer({ key: pem, cert: pem })
}

/** A WebSocket server that never says anything. */
const silent = (): net.Server => {
  const server = http.createServer()
  const webSockets = new WebSocketServer({ server })
  webSockets.on("connection", (socket) => socket.on("error", () => {}))
  return server
}

/** Completes the handshake, and lets nothing through from then on. */
const halfOpen = (): net.Server => {
  const server = http.createServer()
  new WebSocketServer({ server }).on("connection", (_, { socket }) => socket.pause())
  return server
}

interface Case {
  readonly name: string
  readonly args: ReadonlyArray<string>
  readonly env?: Readonly<Record<string, string>>
  readonly step: string
  readonly cause: string
  readonly remedy: string
  readonly code: number
}

describe("doctor", () => {
  it.live("names the step, the cause and the remedy of ten broken set-ups in at most three lines each", () =>
    Effect.gen(function* () {
      const server = yield* MockMeshServer.make({ apiKey: Redacted.make("right") })
      const expired = yield* listen(tls("expired.pem"))
      const elsewhere = yield* listen(tls("elsewhere.pem"))
      const quiet = yield* listen(silent())
      const frozen = yield* listen(halfOpen())
      const mute = yield* listen(net.createServer())
      const page = yield* listen(http.createServer((_, response) => response.end("hello")))
      const nothing = yield* listen(http.createServer((_, response) => response.writeHead(404).end()))
      const env = { NODE_EXTRA_CA_CERTS: fixture("ca.pem"), MAKIMA_API_KEY: "right" }
      const local = (port: number) => ["--url", `http://127.0.0.1:${port}`]
      const cases: ReadonlyArray<Case> = [
        {
          name: "name",
          args: ["--url", "https://no-such-host.invalid"],
          step: "dns",
          cause: "does not resolve",
          remedy: "--url|name server",
          code: 1
        },
        { name: "port", args: local(1), step: "tcp", cause: "Nothing listens on port 1", remedy: "port", code: 1 },
        {
          name: "TLS name",
          args: ["--url", `https://127.0.0.1:${elsewhere}`],
          step: "tls",
          cause: "not for the name",
          remedy: "host",
          code: 1
        },
        {
          name: "expired certificate",
          args: ["--url", `https://127.0.0.1:${expired}`],
          step: "tls",
          cause: "has expired",
          remedy: "Renew",
          code: 1
        },
        {
          name: "proxy",
          args: ["--url", "http://example.com"],
          env: { HTTP_PROXY: "http://127.0.0.1:1" },
          step: "tcp",
          cause: "The proxy: Nothing listens",
          remedy: "HTTP_PROXY",
          code: 1
        },
        {
          name: "401",
          args: ["--url", server.url],
          env: { MAKIMA_API_KEY: "wrong" },
          step: "handshake",
          cause: "401.*MAKIMA_API_KEY",
          remedy: "new key",
          code: 3
        },
        { name: "404", args: local(nothing), step: "handshake", cause: "404", remedy: "path", code: 3 },
        {
          name: "not a WebSocket",
          args: local(page),
          step: "handshake",
          cause: "HTTP instead of a WebSocket",
          remedy: "Upgrade",
          code: 3
        },
        {
          name: "no acknowledgement",
          args: local(quiet),
          step: "acknowledgement",
          cause: "did not acknowledge",
          remedy: "task feed",
          code: 1
        },
        {
          name: "half-open before the handshake",
          args: local(mute),
          step: "handshake",
          cause: "nothing arrives",
          remedy: "proxy in front of the server",
          code: 1
        },
        {
          name: "half-open after the handshake",
          args: local(frozen),
          step: "acknowledgement",
          cause: "half-open",
          remedy: "network",
          code: 1
        },
        { name: "no URL", args: ["--url", "nonsense"], step: "url", cause: "URL", remedy: "https://host", code: 2 },
        {
          name: "no key there",
          args: ["--url", server.url, "--key-file", "/nonexistent"],
          step: "key",
          cause: "/nonexistent",
          remedy: "--key-file",
          code: 2
        }
      ]
      yield* Effect.forEach(
        cases,
        (it) =>
          Effect.gen(function* () {
            // Node reads `NODE_EXTRA_CA_CERTS` only when it starts.
            const { run } = it.step === "tls" ? Process : InProcess
            // The time for each step: long for a step that works, on any machine.
            const { code, stderr, stdout } = yield* run(["doctor", "--timeout", "10s", ...it.args], {
              env: { ...env, ...it.env }
            })
            const lines = stdout.split("\n")
            const from = lines.findIndex((line) => line.startsWith("fails"))
            const failure = lines.slice(from).filter((line) => line !== "")
            assert.strictEqual(failure.length, 2, `${it.name}: ${stdout}`)
            assert.match(failure[0] ?? "", new RegExp(`^fails ${it.step} .*${it.cause}`), it.name)
            assert.match(failure[1] ?? "", new RegExp(`^ +remedy .*(${it.remedy})`), it.name)
            assert.strictEqual(stderr, `The step "${it.step}" fails\n`, it.name)
            assert.strictEqual(code, it.code, it.name)
            assert.notInclude(stdout, "wrong")
          }),
        { concurrency: 8 }
      )
      const well = yield* Process.run(["doctor", "--url", server.url, "-o", "json"], { env })
      assert.strictEqual(well.code, 0)
      assert.deepStrictEqual(
        well.stdout
          .trimEnd()
          .split("\n")
          .map((line) => JSON.parse(line).step),
        ["url", "tcp", "key", "handshake", "acknowledgement"]
      )
    })
  )
})
