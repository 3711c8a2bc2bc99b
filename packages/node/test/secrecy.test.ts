/** The key is in one header of one request, and nowhere else, however a connection goes wrong. */
import * as Interest from "@makima-stream/core/Interest"
import * as MeshStream from "@makima-stream/core/MeshStream"
import * as ReconnectPolicy from "@makima-stream/core/ReconnectPolicy"
import { assert, describe, it } from "@effect/vitest"
import * as MockMeshServer from "@makima-stream/test-kit/MockMeshServer"
import * as Cause from "effect/Cause"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as References from "effect/References"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Tracer from "effect/Tracer"
import type * as Scope from "effect/Scope"
import * as Socket from "effect/socket/Socket"
import { execFileSync, spawn } from "node:child_process"
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { inspect } from "node:util"
import * as MeshConfig from "../src/MeshConfig.ts"
import * as NodeMeshSocket from "../src/NodeMeshSocket.ts"
import { fileOf } from "../../test-kit/test/support/programs.ts"
import * as Servers from "./support/servers.ts"

const key = "sk-Canary-7f1c"

/** Every way in which a value is likely to be shown. */
const show = (value: unknown): string => {
  const seen = new Set<unknown>()
  const parts: Array<string> = []
  const visit = (value: unknown, depth: number): void => {
    parts.push(inspect(value, { depth: 10, showHidden: true, maxStringLength: null, maxArrayLength: null }))
    parts.push(inspect(value, { depth: 10, customInspect: false, maxStringLength: null, maxArrayLength: null }))
    try {
      parts.push(String(value), JSON.stringify(value) ?? "")
    } catch {
      // A value that cannot be shown this way shows nothing.
    }
    if (typeof value !== "object" || value === null || seen.has(value) || depth > 10) return
    seen.add(value)
    if (value instanceof Uint8Array) parts.push(Buffer.from(value).toString("latin1"))
    if (value instanceof Error) parts.push(value.message, value.stack ?? "")
    for (const name of Reflect.ownKeys(value)) {
      const property = Reflect.getOwnPropertyDescriptor(value, name)
      if (property !== undefined && "value" in property) visit(property.value, depth + 1)
    }
  }
  visit(value, 0)
  return parts.join("\n")
}

/** Fails where the key is shown, plainly or in one of its usual guises. */
const assertSecret = (what: string, value: unknown) => {
  const shown = typeof value === "string" ? value : show(value)
  for (const guise of [
    key,
    Buffer.from(key).toString("base64"),
    Buffer.from(key).toString("hex"),
    [...Buffer.from(key)].join()
  ]) {
    assert.isFalse(shown.replaceAll(/\s/g, "").includes(guise), `${what} shows the key as ${guise}`)
  }
}

type Fault = {
  readonly name: string
  /** What the dial, or the connection, ends with. */
  readonly tag: string
  readonly options: Effect.Effect<NodeMeshSocket.Options, never, Scope.Scope>
}

const apiKey = Redacted.make(key)

const faults: ReadonlyArray<Fault> = [
  {
    name: "no server listens",
    tag: "DialFailed",
    options: Effect.map(Effect.scoped(Servers.netServer(() => {})), ({ url }) => ({ url, apiKey }))
  },
  {
    name: "the server sends the whole request back as an answer that cannot be parsed",
    tag: "DialFailed",
    options: Effect.map(
      Servers.netServer((socket) => socket.pipe(socket)),
      ({ url }) => ({ url, apiKey })
    )
  },
  {
    name: "the server refuses, and repeats the key in its answer",
    tag: "HandshakeRejected",
    options: Effect.map(
      Servers.httpServer((request, response) => {
        const sent = String(request.headers["x-makima-api-key"])
        response.writeHead(401, `Bad key ${sent}`, { "www-authenticate": sent, "retry-after": sent })
        response.end(sent)
      }),
      ({ url }) => ({ url, apiKey })
    )
  },
  {
    name: "the server never answers",
    tag: "DialTimeout",
    options: Effect.map(
      Servers.netServer(() => {}),
      ({ url }) => ({ url, apiKey, connectTimeout: "20 millis" })
    )
  },
  {
    name: "the certificate is not trusted",
    tag: "TlsFailed",
    options: Effect.map(Servers.webSocketServer({ tls: "server.pem" }), ({ url }) => ({ url, apiKey }))
  },
  {
    name: "the private key of the client is none, and so shown to OpenSSL",
    tag: "TlsFailed",
    options: Effect.map(Servers.webSocketServer({ tls: "server.pem" }), ({ url }) => ({
      url,
      apiKey,
      tls: { cert: Servers.ca, key: Redacted.make(`-----BEGIN PRIVATE KEY-----\n${key}\n`), passphrase: apiKey }
    }))
  },
  {
    name: "the credentials fail with the key in the error",
    tag: "CredentialsFailed",
    options: Effect.succeed({
      url: "ws://127.0.0.1:1",
      apiKey: Effect.fail(Object.assign(new Error(`cannot refresh ${key}`, { cause: key }), { token: key }))
    })
  },
  {
    name: "the credentials die with the key in the error",
    tag: "CredentialsFailed",
    options: Effect.succeed({ url: "ws://127.0.0.1:1", apiKey: Effect.die(key) })
  },
  {
    name: "the key cannot be sent",
    tag: "CredentialsFailed",
    options: Effect.succeed({ url: "ws://127.0.0.1:1", apiKey: Redacted.make(`${key}\n${key}`) })
  },
  {
    name: "the server closes, and repeats the key in the reason",
    tag: "ConnectionClosed",
    options: Effect.map(
      Effect.tap(Servers.webSocketServer(), ({ accept }) =>
        Effect.forkScoped(
          Effect.forever(
            Effect.map(accept, ({ ws, request }) =>
              ws.close(4401, `not ${String(request.headers["x-makima-api-key"])}`)
            )
          )
        )
      ),
      ({ url }) => ({ url, apiKey })
    )
  },
  {
    name: "the server resets the connection",
    tag: "ConnectionLost",
    options: Effect.map(
      Effect.tap(Servers.rawServer, ({ accept }) =>
        Effect.forkScoped(Effect.forever(Effect.map(accept, ({ socket }) => socket.resetAndDestroy())))
      ),
      ({ url }) => ({ url, apiKey })
    )
  },
  {
    name: "the server falls silent",
    tag: "HeartbeatTimeout",
    options: Effect.map(Servers.rawServer, ({ url }) => ({
      url,
      apiKey,
      heartbeat: { interval: "10 millis", deadline: "10 millis" }
    }))
  },
  {
    name: "a frame is too large",
    tag: "FrameTooLarge",
    options: Effect.map(
      Effect.tap(Servers.rawServer, ({ accept }) =>
        Effect.forkScoped(
          Effect.forever(Effect.map(accept, ({ socket }) => socket.write(Servers.frame(1, key.repeat(100)))))
        )
      ),
      ({ url }) => ({ url, apiKey, maxFrameBytes: 100 })
    )
  },
  {
    name: "a frame is damaged",
    tag: "ConnectionLost",
    options: Effect.map(
      Effect.tap(Servers.rawServer, ({ accept }) =>
        Effect.forkScoped(Effect.forever(Effect.map(accept, ({ socket }) => socket.write(Servers.frame(5, key)))))
      ),
      ({ url }) => ({ url, apiKey })
    )
  }
]

describe("secrecy", () => {
  for (const { name, tag, options } of faults) {
    it.live(`nothing shows the key when ${name}`, () =>
      Effect.gen(function* () {
        const logged: Array<unknown> = []
        const spans: Array<Tracer.Span> = []
        const logger = Logger.make((entry) => {
          logged.push(entry.message, entry.cause, entry.fiber.context)
          logged.push(Logger.formatLogFmt.log(entry), Logger.formatJson.log(entry))
        })
        const tracer = Tracer.make({
          span: (spanOptions) => {
            const span = new Tracer.NativeSpan(spanOptions)
            spans.push(span)
            return span
          }
        })
        const socketOptions = yield* options
        const program = MeshStream.connect({
          interest: Interest.all,
          policy: ReconnectPolicy.make({ classify: () => "fail" })
        }).pipe(
          Stream.tap((event) => Effect.logInfo(event)),
          Stream.runCollect,
          Effect.tapCause((cause) => Effect.logError("ended", cause)),
          Effect.withSpan("follow"),
          Effect.provide(Layer.merge(NodeMeshSocket.layer(socketOptions), Logger.layer([logger]))),
          Effect.provideService(References.MinimumLogLevel, "Trace"),
          Effect.withTracer(tracer)
        )
        const exit = yield* Effect.exit(program)
        const error = Exit.isFailure(exit) ? Cause.squash(exit.cause) : assert.fail("did not end")
        assert.propertyVal(Reflect.get(error as object, "reason"), "_tag", tag)
        assertSecret("the error", error)
        assertSecret("the exit", exit)
        assertSecret("the cause", Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "")
        assert.isNotEmpty(logged)
        assert.isNotEmpty(spans)
        for (const message of logged) assertSecret("a log line", message)
        for (const span of spans) {
          assertSecret("a span", [...span.attributes])
          assertSecret("a span", span)
        }

        // The same below core: the socket's own error, and every value that a program holds.
        const socket = yield* NodeMeshSocket.make(socketOptions)
        const socketExit = yield* Effect.exit(
          Effect.scoped(Effect.flatMap(socket.reader, ({ pull }) => Effect.forever(pull)))
        )
        assertSecret("the socket's error", socketExit)
      })
    )
  }

  it.live("nothing shows the key while a connection is open", () =>
    Effect.gen(function* () {
      const server = yield* Servers.webSocketServer()
      for (const credentials of [apiKey, Effect.succeed(apiKey)]) {
        const options: NodeMeshSocket.Options = { url: server.url, apiKey: credentials }
        const layer = NodeMeshSocket.layer(options)
        const context = yield* Layer.build(layer)
        const socket = yield* Socket.Socket.pipe(Effect.provide(context))
        const reader = yield* socket.reader
        const writer = yield* socket.writer
        const { request } = yield* server.accept
        assert.strictEqual(request.headers["x-makima-api-key"], key)
        assert.notInclude(String(request.url), key)
        for (const value of [options, layer, context, socket, socket.reader, reader, reader.pull, writer]) {
          assertSecret("an inspected value", value)
        }
        assertSecret("the scope", yield* Effect.scope)
      }
    })
  )

  it.live(
    "a process with the key in its environment shows it in no log, span, report, recording or process listing",
    () =>
      Effect.gen(function* () {
        const directory = yield* Effect.acquireRelease(
          Effect.sync(() => mkdtempSync(join(tmpdir(), "makima-secret-"))),
          (path) => Effect.sync(() => rmSync(path, { recursive: true }))
        )
        const recording = join(directory, "recording.jsonl")
        const server = yield* MockMeshServer.make({ apiKey })
        const ended = Deferred.makeUnsafe<number | null>()
        const child = yield* Effect.acquireRelease(
          Effect.sync(() =>
            spawn(process.execPath, [fileOf("packages/node/test/fixtures/secret"), recording], {
              env: {
                PATH: process.env["PATH"],
                NODE_COMPILE_CACHE: process.env["NODE_COMPILE_CACHE"],
                MAKIMA_API_URL: server.url,
                MAKIMA_API_KEY: key
              },
              stdio: ["ignore", "pipe", "pipe"]
            })
          ),
          (child) => Effect.sync(() => child.kill("SIGKILL"))
        )
        let printed = ""
        child.stdout.on("data", (data) => (printed += String(data)))
        child.stderr.on("data", (data) => (printed += String(data)))
        child.on("close", (code) => Deferred.doneUnsafe(ended, Effect.succeed(code)))

        // It is the right key, and so the connection is there while the listing is read.
        yield* server.awaitReceived(({ message }) => message._tag === "SubscribeAll")
        const listing = existsSync("/proc/self/cmdline")
          ? readFileSync(`/proc/${child.pid}/cmdline`, "latin1")
          : yield* Effect.sync(() => execFileSync("ps", ["-ww", "-p", String(child.pid), "-o", "args="]).toString())
        assert.include(listing, "fixtures/secret")
        yield* server.emitRaw(`{"type":"taskUpdated","taskId":"a"}`)
        yield* server.garbage()
        yield* server.kill()
        yield* server.awaitReceived(({ connection }) => connection === 2)
        // And then it is the wrong one.
        // Twice, since a key from the configuration is read again after the first refusal.
        yield* server.refuse(2, 401)
        yield* server.kill()
        assert.strictEqual(yield* Deferred.await(ended), 1)

        for (const word of ["Connected", "makima.dial", "HandshakeRejected", "TaskUpdated"])
          assert.include(printed, word)
        assertSecret("the output", printed)
        assertSecret("the process listing", listing)
        const recorded = readFileSync(recording, "utf8")
        assert.include(recorded, "taskUpdated")
        assertSecret("the recording", recorded)
      })
  )

  it.live("URLs with credentials are refused, and the refusal does not repeat them", () =>
    Effect.gen(function* () {
      for (const url of [`https://me:${key}@host`, `wss://${key}@host/api/v1`, `https://${key}:@host`]) {
        const error = yield* Effect.flip(NodeMeshSocket.make({ url }))
        assert.deepInclude(error, { _tag: "InvalidUrl", problem: "Credentials" })
        assertSecret("the error", error)
        const fromConfig = yield* Effect.flip(
          Effect.provideService(
            MeshConfig.load,
            ConfigProvider.ConfigProvider,
            ConfigProvider.fromUnknown({ MAKIMA_API_URL: url, MAKIMA_API_KEY: "another" })
          )
        )
        assert.deepInclude(fromConfig, { variable: "MAKIMA_API_URL", problem: "Invalid" })
        assertSecret("the error", fromConfig)
      }
    })
  )

  it("the search finds what is there", () => {
    const Shown = Schema.Struct({ key: Schema.String })
    const values = [
      new Error("x", { cause: new Error(key) }),
      Object.assign(new Error("x"), { rawPacket: Buffer.from(`GET /?${key}`) }),
      { deep: { down: [new Map([["x", { key }]])] } },
      Object.defineProperty({}, "hidden", { value: key, enumerable: false }),
      Shown.make({ key }),
      Cause.fail(new Error(key)),
      Buffer.from(key).toString("base64")
    ]
    for (const value of values) assert.throws(() => assertSecret("it", value))
  })
})
