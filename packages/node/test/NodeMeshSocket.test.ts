import {
  Endpoint,
  Interest,
  MeshError,
  MeshSession,
  MeshStream,
  ReconnectPolicy,
  type DecodeError,
  type MeshEvent,
  MeshMetrics
} from "@makima-stream/core"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Exit, Fiber, Layer, Metric, Redacted, Schema, Scope, Stream } from "effect"
import { Socket } from "effect/socket"
import { TestClock } from "effect/testing"
import { isUtf8 } from "node:buffer"
import { spawn } from "node:child_process"
import { getHeapStatistics } from "node:v8"
import * as NodeMeshSocket from "../src/NodeMeshSocket.ts"
import * as Ending from "./support/ending.ts"
import * as Servers from "./support/servers.ts"

const key = Redacted.make("the-key")

/** A reader on a connection that lasts as long as the test. */
const open = (options: NodeMeshSocket.Options) => Effect.flatMap(NodeMeshSocket.make(options), ({ reader }) => reader)

/** The reason why a dial failed. */
const refusal = (options: NodeMeshSocket.Options) =>
  Effect.map(Effect.flip(Effect.flatMap(NodeMeshSocket.make(options), ({ reader }) => reader)), (error) => {
    assert.strictEqual(error._tag, "SocketError")
    return MeshError.fromSocketError(error as Socket.SocketError)
  })

/** The reason why a connection ended, after the frames before it. */
const ending = (reader: Socket.Reader) =>
  Effect.gen(function* () {
    const frames: Array<string | Uint8Array> = []
    while (true) {
      const result = yield* Effect.result(reader.pull)
      if (result._tag === "Failure") return { frames, reason: MeshError.fromSocketError(result.failure) }
      frames.push(...result.success)
    }
  })

/** Pulls this many frames. */
const pullFrames = (reader: Socket.Reader, count: number) =>
  Effect.gen(function* () {
    const frames: Array<string | Uint8Array> = []
    while (frames.length < count) frames.push(...(yield* reader.pull))
    return frames
  })

const refuse = (status: number, headers?: { readonly [name: string]: string }) =>
  Servers.httpServer((_, response) => {
    response.writeHead(status, headers)
    response.write("an answer that goes on and on")
  })

/**
 * Bytes that V8 has allocated on its heap so far. Not yet in the types of Node. Some more are counted now and then, for
 * what V8 does by itself (it compiles, collects), so the least of several rounds counts.
 */
const allocatedBytes = () =>
  (getHeapStatistics() as ReturnType<typeof getHeapStatistics> & { readonly total_allocated_bytes: number })
    .total_allocated_bytes

/** What keeps the process alive, of what a connection can have. */
const resources = (): ReadonlyArray<string> =>
  process.getActiveResourcesInfo().filter((resource) => /^(TCP|TLS|Timeout)/.test(resource))

/** What of it was not there before. The runner's own timers come and go. */
const resourcesSince = (before: ReadonlyArray<string>): ReadonlyArray<string> => {
  const known = [...before]
  return resources().filter((resource) => {
    const index = known.indexOf(resource)
    if (index >= 0) known.splice(index, 1)
    return index < 0
  })
}

/** Lets time pass second by second, with a look at the sockets after each. */
const seconds = (count: number) =>
  Effect.gen(function* () {
    for (let i = 0; i < count; i++) {
      yield* TestClock.adjust("1 second")
      yield* Servers.settled(() => 0)
    }
  })

/** The frame of an update with these bytes in it. */
const update = (status: Buffer) =>
  Buffer.concat([Buffer.from(`{"type":"taskUpdated","taskId":"a","status":"`), status, Buffer.from(`"}`)])

describe("NodeMeshSocket", () => {
  describe("dialling", () => {
    it.effect("asks for the feed of the server, with the key and the client's name", () =>
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

    it.effect("says the name that it is given", () =>
      Effect.gen(function* () {
        const server = yield* Servers.webSocketServer()
        yield* open({ url: server.url, userAgent: "cost-meter/2" })
        const { request } = yield* server.accept
        assert.strictEqual(request.headers["user-agent"], "cost-meter/2")
      })
    )

    it.effect("sends no key where there is none, or an empty one", () =>
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

    const badCredentials: ReadonlyArray<readonly [string, NodeMeshSocket.Options["apiKey"], string]> = [
      ["fail", Effect.fail(new Socket.CloseEvent(1000, "the-key")), "The credentials effect failed with an error"],
      ["fail with a tag", Effect.fail({ _tag: "VaultSealed" }), "The credentials effect failed with VaultSealed"],
      ["fail with a string", Effect.fail("the-key"), "The credentials effect failed with a string"],
      ["die", Effect.die(new TypeError("the-key")), "The credentials effect died with TypeError"],
      ["are interrupted by somebody else", Effect.interrupt, "The credentials effect was interrupted"],
      ["cannot be a header", Redacted.make("the\nkey"), "The key holds characters that an HTTP header cannot"]
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

    it.effect("refuses a bad URL before anything is dialled", () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(NodeMeshSocket.make({ url: "https://me:secret@host" }))
        assert.deepStrictEqual(error, new Endpoint.InvalidUrl({ problem: "Credentials" }))
        const layerError = yield* Effect.flip(Layer.build(NodeMeshSocket.layer({ url: "host" })))
        assert.deepStrictEqual(layerError, new Endpoint.InvalidUrl({ problem: "Protocol" }))
      })
    )

    it.effect("a server that refuses is HandshakeRejected with its status", () =>
      Effect.gen(function* () {
        for (const status of [200, 301, 401, 403, 404, 500]) {
          const { url } = yield* refuse(status)
          const reason = yield* refusal({ url })
          assert.deepStrictEqual(reason, new MeshError.HandshakeRejected({ status }))
        }
      })
    )

    it.effect("a refusal takes over Retry-After in seconds, and as a date seen from the clock", () =>
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
              ...(retryAfterMillis === undefined ? {} : { retryAfterMillis })
            })
          )
        }
      })
    )

    it.effect("drops the connection of a refused handshake, whose answer may never end", () =>
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

    it.effect("a port that nobody listens on is DialFailed, and says why", () =>
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
    it.effect("trusts a private CA that it is given", () =>
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

    it.effect("a certificate that is not trusted is TlsFailed, which no policy retries", () =>
      Effect.gen(function* () {
        const server = yield* Servers.webSocketServer({ tls: "server.pem" })
        const reason = yield* refusal({ url: server.url })
        if (reason._tag !== "TlsFailed") return assert.fail(reason._tag)
        assert.strictEqual(reason.code, "UNABLE_TO_VERIFY_LEAF_SIGNATURE")
        assert.strictEqual(ReconnectPolicy.classify(reason), "fail")
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

    it.effect("a server without TLS, and a CA that is none, are TlsFailed", () =>
      Effect.gen(function* () {
        const plain = yield* Servers.webSocketServer()
        assert.strictEqual((yield* refusal({ url: plain.url.replace("ws", "wss") }))._tag, "TlsFailed")
        const server = yield* Servers.webSocketServer({ tls: "server.pem" })
        assert.strictEqual((yield* refusal({ url: server.url, tls: { ca: "not a certificate" } }))._tag, "TlsFailed")
      })
    )

    it.effect("accepts any certificate where it is told to", () =>
      Effect.gen(function* () {
        const server = yield* Servers.webSocketServer({ tls: "elsewhere.pem" })
        yield* open({ url: server.url, tls: { rejectUnauthorized: false } })
      })
    )
  })

  describe("reading", () => {
    it.effect("pulls frames that arrive together as one batch, in order, each for itself", () =>
      Effect.gen(function* () {
        const server = yield* Servers.rawServer
        const reader = yield* open({ url: server.url })
        const { socket } = yield* server.accept
        const texts = Array.from({ length: 200 }, (_, i) => `frame ${i}`)
        const pulled = yield* Effect.forkChild(reader.pull, { startImmediately: true })
        // One write, which arrives as one chunk.
        socket.write(Buffer.concat(texts.map((text) => Servers.frame(1, text))))
        assert.deepStrictEqual([...(yield* Fiber.join(pulled))], texts)
      })
    )

    it.effect("keeps what comes before anybody pulls, and gives it at once", () =>
      Effect.gen(function* () {
        const server = yield* Servers.rawServer
        const reader = yield* open({ url: server.url })
        const { socket } = yield* server.accept
        socket.write(Servers.frame(1, "a"))
        socket.write(Servers.frame(1, "b"))
        yield* Servers.settled(() => 0)
        assert.deepStrictEqual(yield* reader.pull, ["a", "b"])
      })
    )

    it.effect("holds reads back where the bound is no number", () =>
      Effect.gen(function* () {
        const server = yield* Servers.rawServer
        const reader = yield* open({ url: server.url, highWaterBytes: Number.NaN })
        const { socket } = yield* server.accept
        const count = 20_000
        const sent = Buffer.concat(Array.from({ length: count }, () => Servers.frame(1, "x".repeat(1000))))
        socket.write(sent)
        yield* Servers.settled(() => socket.writableLength)
        // More than the kernel holds for both ends.
        assert.isAbove(socket.writableLength, 0)
        yield* pullFrames(reader, count)
      })
    )

    it.effect("keeps what nobody has pulled as the bytes that came, and makes no strings of it before", () =>
      Effect.gen(function* () {
        const server = yield* Servers.rawServer
        const reader = yield* open({ url: server.url, highWaterBytes: 1 << 30 })
        const { socket } = yield* server.accept
        const count = 10_000
        const text = "x".repeat(1000)
        const frames = Buffer.concat(Array.from({ length: count }, () => Servers.frame(1, text)))
        const send = Effect.callback<void>((resume) => {
          // The answer to a ping comes after all that was sent before it has been read.
          socket.once("data", () => resume(Effect.void))
          socket.write(frames)
          socket.write(Servers.frame(9, ""))
        })
        // For a frame, in bytes: while nobody pulls, after the first pull, and when all have been pulled.
        const least = [Infinity, Infinity, Infinity]
        for (let round = 0; round < 8; round++) {
          const before = allocatedBytes()
          const note = (n: number) => {
            least[n] = Math.min(least[n] ?? 0, (allocatedBytes() - before) / count)
          }
          yield* send
          note(0)
          const first = yield* reader.pull
          note(1)
          const rest = yield* pullFrames(reader, count - first.length)
          note(2)
          assert.isAtMost(first.length, 64)
          assert.strictEqual(first.length + rest.length, count)
        }
        const [waiting = 0, begun = 0, pulled = 0] = least
        assert.isBelow(waiting, text.length / 2)
        assert.isBelow(begun, text.length / 2)
        assert.isAbove(pulled, text.length)
      })
    )

    it.effect("keeps text and bytes of many chunks in their order until somebody pulls, again and again", () =>
      Effect.gen(function* () {
        const server = yield* Servers.rawServer
        const reader = yield* open({ url: server.url })
        const { socket } = yield* server.accept
        for (const round of ["first", "second", "third"]) {
          for (const chunk of ["a", "b", "c"]) {
            socket.write(
              Buffer.concat([
                Servers.frame(1, `${round} ${chunk} 1`),
                Servers.frame(2, `${round} ${chunk} 2`),
                Servers.frame(1, `${round} ${chunk} 3`),
                Servers.frame(1, `${round} ${chunk} 4`)
              ])
            )
            yield* Servers.settled(() => 0)
          }
          assert.deepStrictEqual(
            (yield* reader.pull).map((frame) => Buffer.from(frame as string).toString()),
            ["a", "b", "c"].flatMap((chunk) => [1, 2, 3, 4].map((n) => `${round} ${chunk} ${n}`))
          )
        }
      })
    )

    it.effect("gives text as strings, binary as bytes, and fragments as one frame", () =>
      Effect.gen(function* () {
        const server = yield* Servers.rawServer
        const reader = yield* open({ url: server.url })
        const { socket } = yield* server.accept
        const check = "✓"
        socket.write(Servers.frame(1, `text ${check}`))
        socket.write(Servers.frame(2, `binary ${check}`))
        socket.write(Servers.frame(1, ""))
        socket.write(Servers.frame(2, ""))
        // A fragment may end within a character, and a ping may come between two.
        socket.write(Servers.frame(1, Buffer.from(check).subarray(0, 1), { fin: false }))
        socket.write(Servers.frame(9, ""))
        socket.write(Servers.frame(0, Buffer.from(check).subarray(1)))
        // What stands for bytes that are no UTF-8 may stand in a text that is.
        socket.write(Servers.frame(1, "\uFFFD"))
        const [text, binary, empty, emptyBinary, fragmented, replacement] = yield* pullFrames(reader, 6)
        assert.strictEqual(text, `text ${check}`)
        assert.deepStrictEqual(binary, new TextEncoder().encode(`binary ${check}`))
        assert.strictEqual(empty, "")
        assert.deepStrictEqual(emptyBinary, new Uint8Array())
        assert.strictEqual(fragmented, check)
        assert.strictEqual(replacement, "\uFFFD")
      })
    )

    it.effect("bytes that were pulled are the puller's own", () =>
      Effect.gen(function* () {
        const server = yield* Servers.webSocketServer()
        const reader = yield* open({ url: server.url })
        const { ws } = yield* server.accept
        ws.send(Buffer.from("small"))
        ws.send(Buffer.alloc(300_000, 1))
        const [small, large] = yield* pullFrames(reader, 2)
        if (!(small instanceof Uint8Array && large instanceof Uint8Array)) return assert.fail("not bytes")
        for (const bytes of [small, large]) {
          assert.isFalse(Buffer.isBuffer(bytes))
          assert.strictEqual(bytes.byteLength, bytes.buffer.byteLength)
        }
        assert.strictEqual(large.byteLength, 300_000)
      })
    )

    it.effect("a text frame that is not UTF-8 is a value, and the connection goes on", () =>
      Effect.gen(function* () {
        const server = yield* Servers.rawServer
        const socket = yield* NodeMeshSocket.make({ url: server.url })
        const session = yield* Effect.provideService(MeshSession.make(Interest.empty), Socket.Socket, socket)
        const peer = yield* server.accept
        peer.socket.write(Servers.frame(1, update(Buffer.from([0xff, 0xfe]))))
        peer.socket.write(Servers.frame(1, update(Buffer.from("\uFFFD"))))
        const messages: Array<MeshEvent.Data | DecodeError.DecodeError> = []
        while (messages.length < 2) messages.push(...(yield* session.pull))
        const [bad, good] = messages
        if (bad?._tag !== "DecodeError") return assert.fail(bad?._tag)
        assert.strictEqual(bad.problem, "InvalidUtf8")
        if (good?._tag !== "TaskUpdated") return assert.fail(good?._tag)
        assert.strictEqual(good.status, "\uFFFD")
      })
    )

    const Bytes = Schema.Array(
      Schema.Literals([0x00, 0x22, 0x41, 0x7f, 0x80, 0xbf, 0xc0, 0xc2, 0xe0, 0xed, 0xef, 0xbd, 0xf0, 0xf4, 0xf5, 0xff])
    )
    it.effect.prop("a text frame is a string exactly if it is UTF-8", [Bytes], ([bytes]) =>
      Effect.gen(function* () {
        const payload = Buffer.from(bytes)
        const server = yield* Servers.rawServer
        const reader = yield* open({ url: server.url })
        const { socket } = yield* server.accept
        socket.write(Servers.frame(1, payload))
        const [frame] = yield* reader.pull
        assert.strictEqual(typeof frame === "string", isUtf8(payload))
        assert.isTrue(Buffer.from(frame).equals(payload))
      })
    )

    it.effect("takes a frame of 4 MiB, text or binary", () =>
      Effect.gen(function* () {
        const server = yield* Servers.webSocketServer()
        const reader = yield* open({ url: server.url })
        const { ws } = yield* server.accept
        const text = "é".repeat(2 * 1024 * 1024)
        ws.send(text)
        ws.send(Buffer.from(text))
        const [first, second] = yield* pullFrames(reader, 2)
        assert.isTrue(first === text)
        assert.isTrue(second !== undefined && Buffer.from(second).equals(Buffer.from(text)))
      })
    )

    it.effect("a consumer that does not pull stops the server, and loses nothing", () =>
      Effect.gen(function* () {
        const server = yield* Servers.webSocketServer()
        const reader = yield* open({ url: server.url })
        const { ws } = yield* server.accept
        const count = 50_000
        const total = count * 1000
        for (let i = 0; i < count; i++) ws.send(String(i).padEnd(1000, "."))
        const unsent = yield* Servers.settled(() => ws.bufferedAmount)
        // What left the server is in the buffers of the kernel, which are a few megabytes.
        assert.isAbove(unsent, total * 0.6)
        const frames = yield* pullFrames(reader, count)
        assert.strictEqual(frames.length, count)
        assert.isTrue(frames.every((frame, i) => frame === String(i).padEnd(1000, ".")))
      })
    )

    it.effect("a flood of empty frames stops the server too", () =>
      Effect.gen(function* () {
        const server = yield* Servers.rawServer
        const reader = yield* open({ url: server.url })
        const { socket } = yield* server.accept
        const count = 10_000_000
        socket.write(Buffer.alloc(2 * count, Servers.frame(1, "")))
        const unsent = yield* Servers.settled(() => socket.writableLength)
        assert.isAbove(unsent, 0)
        assert.isBelow((yield* reader.pull).length, 100_000)
      })
    )

    it.effect("an interrupted pull loses nothing", () =>
      Effect.gen(function* () {
        const server = yield* Servers.rawServer
        const reader = yield* open({ url: server.url })
        const { socket } = yield* server.accept
        const seen: Array<string | Uint8Array> = []
        for (let i = 0; i < 100; i++) {
          const pull = yield* Effect.forkChild(reader.pull, { startImmediately: true })
          socket.write(Servers.frame(1, String(i)))
          // Now before the frame comes, now after.
          if (i % 2 === 0) yield* Servers.turn
          yield* Fiber.interrupt(pull)
          const exit = yield* Fiber.await(pull)
          if (Exit.isSuccess(exit)) seen.push(...exit.value)
        }
        seen.push(...(yield* pullFrames(reader, 100 - seen.length)))
        assert.deepStrictEqual(
          seen,
          Array.from({ length: 100 }, (_, i) => String(i))
        )
      })
    )
  })

  describe("ends", () => {
    const closes: ReadonlyArray<readonly [code: number, reason: string]> = [
      [1000, ""],
      [1001, "going away"],
      [1008, "policy"],
      [1011, ""],
      [4401, "who are you"],
      [4999, "é"]
    ]
    it.effect("a close frame is ConnectionClosed with its code and reason, after every frame before it", () =>
      Effect.gen(function* () {
        const server = yield* Servers.webSocketServer()
        for (const [code, closeReason] of closes) {
          const reader = yield* open({ url: server.url })
          const { ws } = yield* server.accept
          ws.send("first")
          ws.send("last")
          ws.close(code, closeReason)
          const { frames, reason } = yield* ending(reader)
          assert.deepStrictEqual(frames, ["first", "last"])
          assert.deepStrictEqual(
            reason,
            new MeshError.ConnectionClosed({ code, ...(closeReason === "" ? {} : { closeReason }) })
          )
        }
      })
    )

    it.effect("a close frame without a code is ConnectionClosed with 1005", () =>
      Effect.gen(function* () {
        const server = yield* Servers.webSocketServer()
        const reader = yield* open({ url: server.url })
        const { ws } = yield* server.accept
        ws.close()
        const { reason } = yield* ending(reader)
        assert.deepStrictEqual(reason, new MeshError.ConnectionClosed({ code: 1005 }))
      })
    )

    it.effect("a connection that breaks off is ConnectionLost, after every frame before it", () =>
      Effect.gen(function* () {
        const server = yield* Servers.rawServer
        const reader = yield* open({ url: server.url })
        const { socket } = yield* server.accept
        socket.end(Servers.frame(1, "last"))
        const { frames, reason } = yield* ending(reader)
        assert.deepStrictEqual(frames, ["last"])
        assert.deepStrictEqual(reason, new MeshError.ConnectionLost({}))
      })
    )

    it.effect("a connection that is reset is ConnectionLost, and says so", () =>
      Effect.gen(function* () {
        const server = yield* Servers.rawServer
        const reader = yield* open({ url: server.url })
        const { socket } = yield* server.accept
        socket.resetAndDestroy()
        const { reason } = yield* ending(reader)
        assert.strictEqual(reason._tag, "ConnectionLost")
        assert.include(reason.message, "ECONNRESET")
      })
    )

    it.effect("the end is reported as often as it is asked for", () =>
      Effect.gen(function* () {
        const server = yield* Servers.webSocketServer()
        const reader = yield* open({ url: server.url })
        const { ws } = yield* server.accept
        ws.close(1001)
        const first = yield* ending(reader)
        assert.deepStrictEqual(yield* ending(reader), first)
      })
    )

    it.effect("a frame above the limit is FrameTooLarge, and the server is told", () =>
      Effect.gen(function* () {
        const server = yield* Servers.webSocketServer()
        const reader = yield* open({ url: server.url, maxFrameBytes: 1000 })
        const { ws, closed } = yield* server.accept
        ws.send("x".repeat(1000))
        ws.send("x".repeat(1001))
        const { frames, reason } = yield* ending(reader)
        assert.strictEqual(frames.length, 1)
        assert.deepStrictEqual(reason, new MeshError.FrameTooLarge({ maxFrameBytes: 1000 }))
        assert.strictEqual((yield* closed).code, 1009)
      })
    )

    it.effect("an attempt that failed leaves nothing in a scope that goes on", () =>
      Effect.gen(function* () {
        const server = yield* Servers.httpServer((_, response) => response.writeHead(503).end())
        const socket = yield* NodeMeshSocket.make({ url: server.url })
        const scope = yield* Effect.acquireRelease(Scope.make(), (scope) => Scope.close(scope, Exit.void))
        for (let n = 0; n < 20; n++) yield* Effect.ignore(Scope.provide(socket.reader, scope))
        const { state } = scope
        assert.isTrue(state._tag === "Empty" || (state._tag === "Open" && (state.finalizers?.size ?? 0) === 0))
      })
    )

    it.effect("a key with blanks around it is sent without, and does not come back in a reason", () =>
      Effect.gen(function* () {
        const server = yield* Servers.webSocketServer()
        const reader = yield* open({ url: server.url, apiKey: Redacted.make(" s3cret-key ") })
        const { request, ws } = yield* server.accept
        assert.strictEqual(request.headers["x-makima-api-key"], "s3cret-key")
        ws.close(4000, `bad key ${request.headers["x-makima-api-key"]}`)
        assert.notInclude(JSON.stringify((yield* ending(reader)).reason), "s3cret-key")
      })
    )

    it.effect("a limit that is none is the least there can be", () =>
      Effect.gen(function* () {
        const server = yield* Servers.webSocketServer()
        for (const maxFrameBytes of [0, -1, Number.NaN]) {
          const reader = yield* open({ url: server.url, maxFrameBytes })
          const { ws } = yield* server.accept
          ws.send("xx")
          const { reason } = yield* ending(reader)
          assert.deepStrictEqual(reason, new MeshError.FrameTooLarge({ maxFrameBytes: 1 }), String(maxFrameBytes))
        }
      })
    )

    it.effect("a limit of more than 32 bits is one", () =>
      Effect.gen(function* () {
        const server = yield* Servers.rawServer
        for (const maxFrameBytes of [3e9, 2 ** 32 + 1]) {
          const reader = yield* open({ url: server.url, maxFrameBytes })
          const { socket } = yield* server.accept
          socket.write(Servers.frame(2, "{}"))
          assert.strictEqual((yield* reader.pull).length, 1)
          socket.write(Buffer.from([0x81, 127, 0, 0, 0, 2, 0, 0, 0, 0]))
          assert.strictEqual((yield* ending(reader)).reason._tag, "FrameTooLarge")
        }
      })
    )

    it.effect("a frame in more fragments than are put together is FrameTooLarge", () =>
      Effect.gen(function* () {
        const server = yield* Servers.rawServer
        const reader = yield* open({ url: server.url })
        const { socket } = yield* server.accept
        socket.on("data", () => {})
        socket.write(
          Buffer.concat(
            Array.from({ length: 20_000 }, (_, n) => Servers.frame(n === 0 ? 1 : 0, "x", { fin: n === 19_999 }))
          )
        )
        assert.strictEqual((yield* ending(reader)).reason._tag, "FrameTooLarge")
      })
    )

    it.effect("a server that goes on after a close frame from here is held back, or heard no further", () =>
      Effect.gen(function* () {
        const server = yield* Servers.rawServer
        const scope = yield* Effect.scope
        const socket = yield* NodeMeshSocket.make({ url: server.url, heartbeat: false, highWaterBytes: 1024 })
        const reader = yield* Scope.provide(socket.reader, scope)
        const writer = yield* Scope.provide(socket.writer, scope)
        const peer = yield* server.accept
        const block = Buffer.concat(Array.from({ length: 1000 }, () => Servers.frame(1, "x".repeat(1000))))
        const more = () => {
          while (peer.socket.writable && peer.socket.write(block)) {}
        }
        peer.socket.on("error", () => {})
        peer.socket.on("drain", more)
        peer.socket.on("data", () => {})
        yield* writer.write(new Socket.CloseEvent(1000, "bye"))
        more()
        yield* peer.closed
        yield* Servers.settled(() => 0)
        const { frames } = yield* ending(reader)
        assert.isBelow(
          frames.reduce((sum, { length }) => sum + length, 0),
          1 << 20
        )
      })
    )

    it.effect("a frame that only claims to be giant is FrameTooLarge at once", () =>
      Effect.gen(function* () {
        const server = yield* Servers.rawServer
        for (const length of [
          [0, 0, 0, 0, 0x40, 0, 0, 0],
          [0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]
        ]) {
          const reader = yield* open({ url: server.url })
          const { socket } = yield* server.accept
          socket.write(Buffer.from([0x81, 127, ...length]))
          const { reason } = yield* ending(reader)
          assert.deepStrictEqual(reason, new MeshError.FrameTooLarge({ maxFrameBytes: 16 * 1024 * 1024 }))
        }
      })
    )

    it.effect("a frame that breaks the protocol is ConnectionLost, and says why", () =>
      Effect.gen(function* () {
        const server = yield* Servers.rawServer
        const reader = yield* open({ url: server.url })
        const { socket } = yield* server.accept
        socket.write(Servers.frame(5, ""))
        const { reason } = yield* ending(reader)
        assert.strictEqual(reason._tag, "ConnectionLost")
        assert.include(reason.message, "invalid opcode 5")
      })
    )
  })

  describe("compression", () => {
    it.effect("is offered where it is asked for, and changes nothing else", () =>
      Effect.gen(function* () {
        const server = yield* Servers.webSocketServer({ perMessageDeflate: { threshold: 0 } })
        const socket = yield* NodeMeshSocket.make({ url: server.url, compression: true })
        const reader = yield* socket.reader
        const writer = yield* socket.writer
        const { ws, receive } = yield* server.accept
        assert.strictEqual(ws.extensions, "permessage-deflate")
        yield* writer.write("a frame that is worth compressing ".repeat(100))
        const text = yield* receive
        const texts = Array.from({ length: 500 }, (_, i) => `frame ${i} `.repeat(20))
        for (const text of texts) ws.send(text)
        ws.close(1001)
        const { frames, reason } = yield* ending(reader)
        assert.deepStrictEqual(frames, texts)
        assert.strictEqual(reason._tag, "ConnectionClosed")
        assert.strictEqual(text, "a frame that is worth compressing ".repeat(100))
      })
    )

    it.effect("a compressed bomb is FrameTooLarge", () =>
      Effect.gen(function* () {
        const server = yield* Servers.webSocketServer({ perMessageDeflate: { threshold: 0 } })
        const reader = yield* open({ url: server.url, compression: true, maxFrameBytes: 100_000 })
        const { ws } = yield* server.accept
        // Of about a hundredth of the limit on the wire.
        ws.send(Buffer.alloc(1_000_000))
        const { reason } = yield* ending(reader)
        assert.deepStrictEqual(reason, new MeshError.FrameTooLarge({ maxFrameBytes: 100_000 }))
      })
    )
  })

  describe("writing", () => {
    it.effect("sends text, bytes and batches, in order", () =>
      Effect.gen(function* () {
        const server = yield* Servers.webSocketServer()
        const socket = yield* NodeMeshSocket.make({ url: server.url })
        yield* socket.reader
        const writer = yield* socket.writer
        const { receive } = yield* server.accept
        yield* writer.write("a")
        yield* writer.write(new TextEncoder().encode("b"))
        yield* writer.writeAll(["c", new TextEncoder().encode("d"), ""])
        assert.deepStrictEqual(
          [yield* receive, yield* receive, yield* receive, yield* receive, yield* receive],
          ["a", Buffer.from("b"), "c", Buffer.from("d"), ""]
        )
      })
    )

    it.effect("a writer writes to the connection of the reader in its scope, whichever opened last", () =>
      Effect.gen(function* () {
        const server = yield* Servers.webSocketServer()
        const socket = yield* NodeMeshSocket.make({ url: server.url })
        const connect = Effect.gen(function* () {
          const scope = yield* Scope.make()
          // A writer that is there first is bound as well.
          const early = yield* Scope.provide(socket.writer, scope)
          const reader = yield* Scope.provide(socket.reader, scope)
          const writer = yield* Scope.provide(socket.writer, scope)
          return { reader, early, writer, peer: yield* server.accept, close: Scope.close(scope, Exit.void) }
        })
        const one = yield* connect
        const two = yield* connect
        yield* one.writer.write("one")
        yield* one.early.write("one, early")
        yield* two.writer.write("two")
        assert.deepStrictEqual([yield* one.peer.receive, yield* one.peer.receive], ["one", "one, early"])
        assert.strictEqual(yield* two.peer.receive, "two")

        // Two readers of one socket are two connections.
        one.peer.ws.send("for one")
        two.peer.ws.send("for two")
        assert.deepStrictEqual(yield* one.reader.pull, ["for one"])
        assert.deepStrictEqual(yield* two.reader.pull, ["for two"])
        yield* two.close
        yield* one.writer.write("one goes on")
        assert.strictEqual(yield* one.peer.receive, "one goes on")
        yield* one.close
      })
    )

    it.effect("a writer in a scope without a reader waits for the next connection", () =>
      Effect.gen(function* () {
        const server = yield* Servers.webSocketServer()
        const socket = yield* NodeMeshSocket.make({ url: server.url })
        const writer = yield* socket.writer
        for (const text of ["first", "second"]) {
          const write = yield* Effect.forkChild(writer.write(text), { startImmediately: true })
          assert.isUndefined(write.pollUnsafe())
          const scope = yield* Scope.make()
          const reader = yield* Scope.provide(socket.reader, scope)
          const { receive, ws } = yield* server.accept
          yield* Fiber.join(write)
          assert.strictEqual(yield* receive, text)
          // Once by the server, once by the client: it waits after either.
          if (text === "first") {
            ws.close()
            yield* ending(reader)
          } else {
            yield* Scope.close(scope, Exit.void)
          }
        }
        const write = yield* Effect.forkChild(writer.write("third"), { startImmediately: true })
        assert.isUndefined(write.pollUnsafe())
      })
    )

    it.effect("a write on a connection that has ended fails with the reason of the end", () =>
      Effect.gen(function* () {
        const server = yield* Servers.webSocketServer()
        const socket = yield* NodeMeshSocket.make({ url: server.url })
        const reader = yield* socket.reader
        const writer = yield* socket.writer
        const { ws } = yield* server.accept
        ws.close(4401, "who are you")
        yield* ending(reader)
        for (const write of [writer.write("x"), writer.writeAll(["x"]), writer.write(new Socket.CloseEvent())]) {
          const error = yield* Effect.flip(write)
          assert.strictEqual(error.reason._tag, "SocketWriteError")
          assert.deepStrictEqual(
            MeshError.fromSocketError(error),
            new MeshError.ConnectionClosed({ code: 4401, closeReason: "who are you" })
          )
        }
      })
    )

    it.effect("a write during the close waits for its reason", () =>
      Effect.gen(function* () {
        const server = yield* Servers.rawServer
        const socket = yield* NodeMeshSocket.make({ url: server.url })
        const reader = yield* socket.reader
        const writer = yield* socket.writer
        const peer = yield* server.accept
        // The frame after the close frame is never read, so that the last pull is surely after the close frame.
        peer.socket.write(Buffer.concat([Servers.frame(1, "last"), Servers.frame(8, Buffer.from([0x11, 0x31]))]))
        assert.deepStrictEqual(yield* reader.pull, ["last"])
        const write = yield* Effect.forkChild(Effect.flip(writer.write("x")), { startImmediately: true })
        assert.isUndefined(write.pollUnsafe())
        peer.socket.end()
        assert.deepStrictEqual(
          MeshError.fromSocketError(yield* Fiber.join(write)),
          new MeshError.ConnectionClosed({ code: 4401 })
        )
      })
    )

    it.effect("a CloseEvent closes with its code, and the end is the server's answer", () =>
      Effect.gen(function* () {
        const server = yield* Servers.webSocketServer()
        const socket = yield* NodeMeshSocket.make({ url: server.url })
        const reader = yield* socket.reader
        const writer = yield* socket.writer
        const { closed } = yield* server.accept
        yield* writer.write(new Socket.CloseEvent(4000, "enough"))
        assert.deepStrictEqual(yield* closed, { code: 4000, reason: "enough" })
        const { reason } = yield* ending(reader)
        assert.deepStrictEqual(reason, new MeshError.ConnectionClosed({ code: 4000, closeReason: "enough" }))
      })
    )

    it.effect("a CloseEvent that no WebSocket can send fails the write, and leaves the connection as it was", () =>
      Effect.gen(function* () {
        const server = yield* Servers.webSocketServer()
        const socket = yield* NodeMeshSocket.make({ url: server.url })
        yield* socket.reader
        const writer = yield* socket.writer
        const { receive } = yield* server.accept
        const error = yield* Effect.flip(writer.write(new Socket.CloseEvent(1006)))
        assert.strictEqual(error.reason._tag, "SocketWriteError")
        yield* writer.write("still here")
        assert.strictEqual(yield* receive, "still here")
      })
    )
  })

  describe("heartbeat", () => {
    it.effect("a server that falls silent is noticed at interval plus deadline, and its socket abandoned", () =>
      Effect.gen(function* () {
        const server = yield* Servers.rawServer
        const reader = yield* open({ url: server.url })
        const peer = yield* server.accept
        peer.socket.write(Servers.frame(1, "last"))
        assert.deepStrictEqual(yield* reader.pull, ["last"])
        const pull = yield* Effect.forkChild(Effect.flip(reader.pull), { startImmediately: true })
        yield* TestClock.adjust("24999 millis")
        yield* Servers.settled(() => pull.pollUnsafe())
        assert.isUndefined(pull.pollUnsafe())
        yield* TestClock.adjust("1 millis")
        assert.deepStrictEqual(
          MeshError.fromSocketError(yield* Fiber.join(pull)),
          new MeshError.HeartbeatTimeout({ deadlineMillis: 10_000 })
        )
        yield* peer.closed
      })
    )

    it.effect("a server that answers is left in peace, and its round trips are told", () =>
      Effect.gen(function* () {
        const server = yield* Servers.webSocketServer()
        const trips: Array<number> = []
        const reader = yield* open({
          url: server.url,
          heartbeat: {
            interval: "3 seconds",
            deadline: "2 seconds",
            onRoundTrip: (trip) => Effect.sync(() => void trips.push(Duration.toMillis(trip)))
          }
        })
        const { ws, pinged } = yield* server.accept
        for (let i = 0; i < 5; i++) {
          yield* TestClock.adjust("3 seconds")
          yield* pinged
          ws.send("after the pong")
          yield* reader.pull
        }
        assert.deepStrictEqual(trips, [0, 0, 0, 0])
        assert.strictEqual((yield* Metric.value(MeshMetrics.heartbeatRoundTrip)).count, 4)
      }).pipe(Effect.provideService(Metric.MetricRegistry, new Map()))
    )

    it.effect("a consumer that holds reads back is not taken for a dead server", () =>
      Effect.gen(function* () {
        const server = yield* Servers.webSocketServer()
        const reader = yield* open({ url: server.url })
        const { ws } = yield* server.accept
        const count = 20_000
        for (let i = 0; i < count; i++) ws.send(String(i).padEnd(1000, "."))
        yield* Servers.settled(() => ws.bufferedAmount)
        for (let minute = 0; minute < 10; minute++) {
          yield* TestClock.adjust("1 minute")
          yield* Servers.settled(() => 0)
        }
        assert.strictEqual((yield* pullFrames(reader, count)).length, count)
        ws.send("alive")
        assert.deepStrictEqual(yield* reader.pull, ["alive"])
      })
    )

    for (const heartbeat of [false, undefined] as const) {
      it.effect(`a server that says much, closes and goes is heard to the end, heartbeat ${heartbeat ?? "on"}`, () =>
        Effect.gen(function* () {
          const server = yield* Servers.rawServer
          const reader = yield* open({
            url: server.url,
            highWaterBytes: 1,
            ...(heartbeat === undefined ? {} : { heartbeat })
          })
          const { socket, closed } = yield* server.accept
          socket.on("error", () => {})
          const count = 2000
          for (let n = 0; n < count; n++) socket.write(Servers.frame(1, `${n}`.padEnd(200, ".")))
          socket.end(Servers.frame(8, Buffer.from([0x11, 0x31])))
          yield* Servers.settled(() => socket.writableLength)
          assert.strictEqual(socket.writableLength, 0)
          socket.destroy()
          yield* closed
          // Pings would be due, and each would draw a reset.
          yield* seconds(60)
          const { frames, reason } = yield* ending(reader)
          assert.strictEqual(frames.length, count)
          assert.deepStrictEqual(reason, new MeshError.ConnectionClosed({ code: 4401 }))
        })
      )
    }

    it.effect("hundreds of pings that waited behind a pause end nothing, and the last is answered", () =>
      Effect.gen(function* () {
        const server = yield* Servers.rawServer
        const reader = yield* open({ url: server.url, heartbeat: false, highWaterBytes: 1 })
        const { socket } = yield* server.accept
        let answers = Buffer.alloc(0)
        socket.on("data", (chunk: Buffer) => (answers = Buffer.concat([answers, chunk])))
        socket.write(Servers.frame(1, "first"))
        yield* Servers.settled(() => socket.writableLength)
        const count = 600
        for (let n = 0; n < count; n++) {
          socket.write(Servers.frame(1, `${n}`.padEnd(200, ".")))
          socket.write(Servers.frame(9, "p"))
        }
        yield* Servers.settled(() => socket.writableLength)
        assert.strictEqual((yield* pullFrames(reader, count + 1)).length, count + 1)
        yield* Servers.settled(() => answers.length)
        // A pong of one byte, masked: 7 bytes. One for each read, and not for each ping.
        assert.isAbove(answers.length, 0)
        assert.isBelow(answers.length, 7 * 60)
      })
    )

    it.effect("a consumer that held reads back still notices a dead server, a whole deadline later", () =>
      Effect.gen(function* () {
        const server = yield* Servers.rawServer
        const reader = yield* open({ url: server.url, highWaterBytes: 1 })
        const { socket } = yield* server.accept
        socket.write(Servers.frame(1, "last"))
        yield* Servers.settled(() => 0)
        yield* seconds(57)
        assert.deepStrictEqual(yield* reader.pull, ["last"])
        const pull = yield* Effect.forkChild(Effect.flip(reader.pull), { startImmediately: true })
        // The ping leaves within a second of the pull.
        yield* seconds(10)
        assert.isUndefined(pull.pollUnsafe())
        yield* seconds(1)
        assert.strictEqual(MeshError.fromSocketError(yield* Fiber.join(pull))._tag, "HeartbeatTimeout")
      })
    )

    it.live(
      "a process that was stopped for longer than the deadline finds the answer before it gives its verdict",
      () =>
        Effect.gen(function* () {
          const server = yield* Servers.webSocketServer()
          const reader = yield* open({ url: server.url, heartbeat: { interval: "10 millis", deadline: "1 second" } })
          const { ws } = yield* server.accept
          yield* Effect.callback<void>((resume) => {
            ws.once("ping", () => {
              // The pong is with the kernel by now, and nothing runs while this waits.
              Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1100)
              resume(Effect.void)
            })
          })
          yield* Servers.settled(() => 0)
          ws.send("alive")
          assert.deepStrictEqual(yield* reader.pull, ["alive"])
        })
    )

    it.effect("can be turned off", () =>
      Effect.gen(function* () {
        const server = yield* Servers.rawServer
        const reader = yield* open({ url: server.url, heartbeat: false })
        const { socket } = yield* server.accept
        yield* TestClock.adjust("1 hour")
        yield* Servers.settled(() => 0)
        socket.write(Servers.frame(1, "an hour later"))
        assert.deepStrictEqual(yield* reader.pull, ["an hour later"])
      })
    )
  })

  describe("the scope", () => {
    it.effect("its end closes with code 1000, and fails a pull that is suspended", () =>
      Effect.gen(function* () {
        const server = yield* Servers.webSocketServer()
        const socket = yield* NodeMeshSocket.make({ url: server.url })
        const scope = yield* Scope.make()
        const reader = yield* Scope.provide(socket.reader, scope)
        const { closed } = yield* server.accept
        const pull = yield* Effect.forkChild(Effect.flip(reader.pull), { startImmediately: true })
        yield* Scope.close(scope, Exit.void)
        assert.strictEqual((yield* Fiber.join(pull)).reason._tag, "SocketCloseError")
        assert.strictEqual((yield* closed).code, 1000)
      })
    )

    it.effect("its end closes with code 1000 while reads are held back", () =>
      Effect.gen(function* () {
        const server = yield* Servers.webSocketServer()
        const socket = yield* NodeMeshSocket.make({ url: server.url })
        const scope = yield* Scope.make()
        yield* Scope.provide(socket.reader, scope)
        const { ws, closed } = yield* server.accept
        for (let i = 0; i < 1000; i++) ws.send("x".repeat(1000))
        yield* Servers.settled(() => ws.bufferedAmount)
        yield* Scope.close(scope, Exit.void)
        assert.strictEqual((yield* closed).code, 1000)
      })
    )

    it.live("its end leaves nothing behind", () =>
      Effect.gen(function* () {
        const server = yield* Servers.webSocketServer()
        yield* Servers.settled(() => resources().join())
        const before = resources()
        const socket = yield* NodeMeshSocket.make({ url: server.url })
        const scope = yield* Scope.make()
        yield* Scope.provide(socket.reader, scope)
        const { closed } = yield* server.accept
        assert.isNotEmpty(resourcesSince(before))
        yield* Scope.close(scope, Exit.void)
        assert.strictEqual((yield* closed).code, 1000)
        yield* Servers.until(() => resourcesSince(before).length === 0)
      })
    )

    it.live("its end leaves nothing behind where the server never answers", () =>
      Effect.gen(function* () {
        const server = yield* Servers.rawServer
        yield* Servers.settled(() => resources().join())
        const before = resources()
        const socket = yield* NodeMeshSocket.make({ url: server.url })
        const scope = yield* Scope.make()
        yield* Scope.provide(socket.reader, scope)
        const { closed } = yield* server.accept
        assert.isNotEmpty(resourcesSince(before))
        yield* Scope.close(scope, Exit.void)
        yield* closed
        yield* Servers.until(() => resourcesSince(before).length === 0)
      })
    )

    for (const tls of [false, true]) {
      for (const signal of ["SIGINT", "SIGTERM"] as const) {
        it.live(`${signal} ends a program within a second, with code 1000 on the wire${tls ? ", over TLS" : ""}`, () =>
          Effect.gen(function* () {
            const server = yield* Servers.webSocketServer(tls ? { tls: "server.pem" } : {})
            const program = new URL("./fixtures/follow.ts", import.meta.url).pathname
            const stdio = ["ignore", "pipe", "inherit", "pipe"] as const
            const child = spawn(process.execPath, [program, server.url], { stdio: [...stdio] })
            yield* Effect.addFinalizer(() => Effect.sync(() => child.kill("SIGKILL")))
            const exited = Deferred.makeUnsafe<number | null>()
            child.on("close", (code) => Deferred.doneUnsafe(exited, Effect.succeed(code)))
            const peer = yield* server.accept
            assert.strictEqual(yield* peer.receive, `{"type":"subscribeAll"}`)
            // The feed is busy when the signal comes.
            for (let i = 0; i < 10_000; i++) peer.ws.send(`{"type":"taskUpdated","taskId":"a","version":${i}}`)
            yield* Effect.callback<void>((resume) => {
              child.stdout?.once("data", () => resume(Effect.void))
            })
            const took = Ending.kill(child, signal)
            assert.strictEqual((yield* peer.closed).code, 1000)
            assert.strictEqual(yield* Deferred.await(exited), 130)
            assert.isBelow(took(), 1000)
          })
        )
      }
    }
  })

  it.effect("carries a resilient stream over a reconnect", () =>
    Effect.gen(function* () {
      const server = yield* Servers.webSocketServer()
      const events = yield* MeshStream.connect({ interest: Interest.all }).pipe(
        Stream.take(5),
        Stream.runCollect,
        Effect.provide(NodeMeshSocket.layer({ url: server.url, apiKey: key })),
        Effect.forkChild
      )
      const first = yield* server.accept
      assert.strictEqual(yield* first.receive, `{"type":"subscribeAll"}`)
      first.ws.terminate()
      // The stream has set its delay when it has nothing else to do.
      yield* Servers.settled(() => 0)
      yield* TestClock.adjust("2 seconds")
      const second = yield* server.accept
      assert.strictEqual(yield* second.receive, `{"type":"subscribeAll"}`)
      second.ws.send(`{"type":"taskUpdated","taskId":"a"}`)
      const tags = (yield* Fiber.join(events)).map((event) => event._tag)
      assert.deepStrictEqual(tags, ["Connected", "Disconnected", "Connected", "Resync", "TaskUpdated"])
    })
  )
})
