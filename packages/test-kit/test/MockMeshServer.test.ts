import * as Http from "node:http"
import type { Duplex } from "node:stream"
import * as ClientMessage from "@makima-stream/core/ClientMessage"
import * as Interest from "@makima-stream/core/Interest"
import * as MeshStream from "@makima-stream/core/MeshStream"
import * as ServerMessage from "@makima-stream/core/ServerMessage"
import * as TaskId from "@makima-stream/core/TaskId"
import * as Audit from "@makima-stream/test-kit/Audit"
import * as MockMeshServer from "@makima-stream/test-kit/MockMeshServer"
import * as Workload from "@makima-stream/test-kit/Workload"
import type * as ServerLog from "@makima-stream/test-kit/ServerLog"
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Socket from "effect/socket/Socket"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { WebSocket, type ClientOptions } from "ws"

const a = TaskId.make("a")
const b = TaskId.make("b")

const update = (taskId: TaskId.TaskId, version = 1) => ({ _tag: "TaskUpdated", taskId, version }) as const
const output = (taskId: TaskId.TaskId, content = "x") =>
  ({ _tag: "TaskOutput", taskId, messageType: "assistant", content }) as const
const notice = (message: string) => ({ _tag: "ServerError", code: "NOTICE", message }) as const

interface Refusal {
  readonly status: number
  readonly headers: Http.IncomingHttpHeaders
}

/**
 * A plain `ws` client that queues its frames and reports how the connection ended. A refusal has `status` 0 when there was no
 * HTTP answer.
 */
const dial = (url: string, options?: ClientOptions) =>
  Effect.gen(function* () {
    const frames = yield* Queue.unbounded<{ readonly data: Buffer; readonly isBinary: boolean }>()
    const closed = yield* Deferred.make<{ readonly code: number; readonly reason: string }>()
    const pongs: Array<string> = []
    const socket = yield* Effect.acquireRelease(
      Effect.callback<WebSocket, Refusal>((resume) => {
        const socket = new WebSocket(url, options)
        socket.on("error", () => resume(Effect.fail({ status: 0, headers: {} })))
        socket.on("open", () => resume(Effect.succeed(socket)))
        socket.on("unexpected-response", (request, { statusCode, headers }) => {
          request.destroy()
          resume(Effect.fail({ status: statusCode ?? 0, headers }))
        })
        socket.on("message", (data, isBinary) => {
          if (Buffer.isBuffer(data)) Queue.offerUnsafe(frames, { data, isBinary })
        })
        socket.on("pong", (data) => pongs.push(data.toString()))
        socket.on("close", (code, reason) =>
          Deferred.doneUnsafe(closed, Effect.succeed({ code, reason: reason.toString() }))
        )
        return Effect.sync(() => socket.terminate())
      }),
      (socket) => Effect.sync(() => socket.terminate()),
      { interruptible: true }
    )
    const decode = ({ data, isBinary }: { readonly data: Buffer; readonly isBinary: boolean }) =>
      ServerMessage.decodeFrame(isBinary ? data : data.toString())
    return {
      socket,
      pongs,
      closed: Deferred.await(closed),
      frame: Queue.take(frames),
      /** The next message. */
      message: Effect.map(Queue.take(frames), (frame) => Result.getOrThrow(decode(frame))),
      /** The decoding problem of the next frame. */
      problem: Effect.map(Queue.take(frames), (frame) => Result.getOrThrow(Result.flip(decode(frame))).problem),
      unread: Queue.size(frames),
      /** Sends requests, and waits until the server has acknowledged each of them. */
      request: (...messages: ReadonlyArray<ClientMessage.ClientMessage>) =>
        Effect.forEach(messages, (message) => {
          socket.send(ClientMessage.encodeFrame(message))
          return Effect.map(Queue.take(frames), (frame) => Result.getOrThrow(decode(frame)))
        }),
      /** Sends a ping, and waits for its pong. */
      roundTrip: Effect.callback<void>((resume) => {
        socket.once("pong", () => resume(Effect.void))
        socket.ping("round trip")
      })
    }
  })

const start = (options?: MockMeshServer.Options, client?: ClientOptions) =>
  Effect.gen(function* () {
    const server = yield* MockMeshServer.make(options)
    return { server, client: yield* dial(server.wsUrl, client) }
  })

const tags = (log: ServerLog.ServerLog) => log.map(({ _tag }) => _tag)
const isKind =
  <Tag extends ServerLog.Entry["_tag"]>(tag: Tag) =>
  (entry: ServerLog.Entry): entry is Extract<ServerLog.Entry, { readonly _tag: Tag }> =>
    entry._tag === tag

/**
 * A client without a WebSocket library. It sees the frames as they are on the
 * wire, and answers neither pings nor close frames.
 */
const dialBare = (url: string, headers?: Readonly<Record<string, string>>) =>
  Effect.gen(function* () {
    const request = Http.request(url.replace("ws:", "http:"), {
      headers: {
        connection: "upgrade",
        upgrade: "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
        ...headers
      }
    })
    yield* Effect.addFinalizer(() => Effect.sync(() => request.destroy()))
    const firstBytes = yield* Queue.unbounded<number>()
    const socket = yield* Effect.callback<Duplex, Error>((resume) => {
      request.on("error", (error) => resume(Effect.fail(error)))
      request.on("upgrade", (_, socket, head: Buffer) => {
        let rest = head
        const read = () => {
          // A server does not mask its frames, and these are short: a header of two bytes, then the payload.
          while (rest.length > 1 && rest.length >= 2 + (rest[1] ?? 0)) {
            Queue.offerUnsafe(firstBytes, rest[0] ?? 0)
            rest = rest.subarray(2 + (rest[1] ?? 0))
          }
        }
        socket.on("error", () => {})
        socket.on("data", (chunk: Buffer) => {
          rest = Buffer.concat([rest, chunk])
          read()
        })
        read()
        resume(Effect.succeed(socket))
      })
      request.end()
    })
    yield* Effect.addFinalizer(() => Effect.sync(() => socket.destroy()))
    return {
      socket,
      /** The first byte of the next frame: FIN, RSV1 and the opcode. */
      firstByte: Queue.take(firstBytes)
    }
  })

describe("MockMeshServer", () => {
  describe("the feed", () => {
    it.live("sends an update once to each connection that subscribed to all updates or to its task", () =>
      Effect.gen(function* () {
        const { server, client } = yield* start()
        yield* server.emit(update(a, 1))
        yield* client.request({ _tag: "Subscribe", taskId: a })
        yield* server.emitAll([update(b, 2), update(a, 3)])
        assert.deepStrictEqual(yield* client.message, update(a, 3))
        yield* client.request({ _tag: "SubscribeAll" })
        yield* server.emitAll([update(a, 4), update(b, 5), notice("end")])
        assert.deepStrictEqual(yield* client.message, update(a, 4))
        assert.deepStrictEqual(yield* client.message, update(b, 5))
        assert.deepStrictEqual(yield* client.message, notice("end"))
      })
    )

    it.live("sends output only to connections that subscribed to the output of its task", () =>
      Effect.gen(function* () {
        const { server, client } = yield* start()
        yield* client.request({ _tag: "SubscribeAll" }, { _tag: "SubscribeOutput", taskId: b })
        yield* server.emitAll([output(a), output(b)])
        assert.deepStrictEqual(yield* client.message, output(b))
        yield* client.request({ _tag: "UnsubscribeOutput", taskId: b })
        yield* server.emitAll([output(b), notice("end")])
        assert.deepStrictEqual(yield* client.message, notice("end"))
      })
    )

    it.live("sends errors and messages of an unknown type to every connection", () =>
      Effect.gen(function* () {
        const { server, client } = yield* start()
        const unknown = { _tag: "UnknownMessage", raw: { type: "taskArchived", taskId: "a" } } as const
        yield* server.emitAll([notice("hello"), unknown])
        assert.deepStrictEqual(yield* client.message, notice("hello"))
        assert.deepStrictEqual(yield* client.message, unknown)
      })
    )

    it.live("emit returns the number of connections that a message was sent to", () =>
      Effect.gen(function* () {
        const { server, client } = yield* start()
        const other = yield* dial(server.wsUrl)
        yield* client.request({ _tag: "SubscribeAll" })
        yield* other.request({ _tag: "Subscribe", taskId: b })
        assert.strictEqual(yield* server.emit(update(b)), 2)
        assert.strictEqual(yield* server.emit(update(a)), 1)
        assert.strictEqual(yield* server.emit(output(a)), 0)
        assert.strictEqual(yield* server.emitAll([update(a), update(b)]), 3)
      })
    )

    it.live("acknowledges a request with the task that it names", () =>
      Effect.gen(function* () {
        const { client } = yield* start()
        assert.deepStrictEqual(
          yield* client.request({ _tag: "SubscribeAll" }, { _tag: "SubscribeOutput", taskId: a }),
          [{ _tag: "SubscribedAll" }, { _tag: "OutputSubscribed", taskId: a }]
        )
      })
    )

    it.live("leaves the task out of acknowledgements with nameTasks: false", () =>
      Effect.gen(function* () {
        const { client } = yield* start({ nameTasks: false })
        assert.deepStrictEqual(yield* client.request({ _tag: "Subscribe", taskId: a }), [{ _tag: "Subscribed" }])
      })
    )

    it.live("carries requests out without acknowledging them with acknowledge: never", () =>
      Effect.gen(function* () {
        const { server, client } = yield* start({ acknowledge: "never" })
        client.socket.send(ClientMessage.encodeFrame({ _tag: "SubscribeAll" }))
        yield* server.awaitReceived(({ message }) => message._tag === "SubscribeAll")
        yield* server.emit(update(a))
        assert.deepStrictEqual(yield* client.message, update(a))
      })
    )

    it.live("accepts a request in a binary frame", () =>
      Effect.gen(function* () {
        const { server, client } = yield* start()
        client.socket.send(Buffer.from(ClientMessage.encodeFrame({ _tag: "SubscribeAll" })))
        assert.deepStrictEqual(yield* client.message, { _tag: "SubscribedAll" })
        assert.isTrue((yield* server.connections)[0]?.interest.all)
      })
    )

    it.live("answers a frame that is not a request with an error, and keeps the connection open", () =>
      Effect.gen(function* () {
        const { server, client } = yield* start()
        client.socket.send(`{"type":"subscribe"}`)
        const answer = yield* client.message
        assert.strictEqual(answer._tag === "ServerError" && answer.code, "BAD_REQUEST")
        assert.deepStrictEqual(tags(yield* server.log), ["Opened", "Unreadable", "Sent"])
        yield* client.request({ _tag: "SubscribeAll" })
      })
    )
  })

  describe("handshakes", () => {
    it.live("refuses a handshake on another path with 404", () =>
      Effect.gen(function* () {
        const server = yield* MockMeshServer.make()
        const refusal = yield* Effect.flip(dial(server.wsUrl.replace("subscribe", "publish")))
        assert.strictEqual(refusal.status, 404)
        yield* dial(`${server.wsUrl}?client=test`)
        const { client } = yield* start({ path: "/feed" })
        yield* client.request({ _tag: "SubscribeAll" })
      })
    )

    it.live("refuses a missing or wrong key with 401, and accepts the right key", () =>
      Effect.gen(function* () {
        const server = yield* MockMeshServer.make({ apiKey: Redacted.make("right") })
        const headers = (key: string) => ({ headers: { "x-makima-api-key": key, "user-agent": "tester/1" } })
        assert.strictEqual((yield* Effect.flip(dial(server.wsUrl))).status, 401)
        assert.strictEqual((yield* Effect.flip(dial(server.wsUrl, headers("wrong")))).status, 401)
        yield* dial(server.wsUrl, headers("right"))
        assert.deepStrictEqual(tags(yield* server.log), ["Refused", "Refused", "Opened"])
      })
    )

    it.live("shows the headers of a connection, and keeps its key redacted", () =>
      Effect.gen(function* () {
        const { server } = yield* start(undefined, {
          headers: { "x-makima-api-key": "secret-key", "user-agent": "tester/1" }
        })
        const connection = yield* server.awaitConnection(1)
        assert.strictEqual(connection.id, 1)
        assert.strictEqual(connection.headers["user-agent"], "tester/1")
        assert.strictEqual(connection.apiKey && Redacted.value(connection.apiKey), "secret-key")
        assert.notInclude(JSON.stringify([connection, yield* server.log]), "secret-key")
      })
    )

    it.live("refuses the requested number of handshakes, in order, and accepts the next", () =>
      Effect.gen(function* () {
        const server = yield* MockMeshServer.make()
        yield* server.refuse(2, 503, { "retry-after": "7" })
        yield* server.refuse(1, 429)
        const refusals = yield* Effect.forEach([1, 2, 3], () => Effect.flip(dial(server.wsUrl)))
        assert.deepStrictEqual(
          refusals.map(({ status, headers }) => [status, headers["retry-after"]]),
          [
            [503, "7"],
            [503, "7"],
            [429, undefined]
          ]
        )
        yield* dial(server.wsUrl)
        const log = yield* server.log
        assert.deepStrictEqual(
          log.map((entry) => (entry._tag === "Refused" ? entry.status : entry._tag)),
          [503, 503, 429, "Opened"]
        )
      })
    )

    it.live("does not answer a stalled dial while it serves other clients", () =>
      Effect.gen(function* () {
        const server = yield* MockMeshServer.make()
        yield* server.stallDial(1)
        const stalled = yield* Effect.forkScoped(dial(server.wsUrl))
        yield* server.awaitEntry(isKind("Stalled"))
        const other = yield* dial(server.wsUrl)
        yield* other.roundTrip
        assert.isUndefined(stalled.pollUnsafe())
        assert.lengthOf(yield* server.connections, 1)
      })
    )

    it.live("does not compress by default, and compresses every frame with perMessageDeflate", () =>
      Effect.gen(function* () {
        const plain = yield* start(undefined, { perMessageDeflate: true })
        assert.strictEqual(plain.client.socket.extensions, "")
        const { server, client } = yield* start({ perMessageDeflate: true }, { perMessageDeflate: true })
        const bare = yield* dialBare(server.wsUrl, { "sec-websocket-extensions": "permessage-deflate" })
        yield* server.emit(notice("hi"))
        assert.deepStrictEqual(yield* client.message, notice("hi"))
        // Text with FIN and RSV1.
        assert.strictEqual(yield* bare.firstByte, 0xc1)
      })
    )
  })

  describe("frames", () => {
    it.live("sends the same message as a text frame, a binary frame or fragments", () =>
      Effect.gen(function* () {
        const { server, client } = yield* start()
        yield* client.request({ _tag: "SubscribeOutput", taskId: a })
        const message = output(a, "マキマ".repeat(20))
        for (const [as, binary] of [
          ["text", false],
          ["binary", true],
          ["fragmented", false]
        ] as const) {
          yield* server.emit(message, { as })
          const frame = yield* client.frame
          assert.strictEqual(frame.isBinary, binary)
          const text = frame.data.toString()
          assert.deepStrictEqual(Result.getOrThrow(ServerMessage.decodeFrame(text)), message)
        }
      })
    )

    it.live("sends a fragmented message as three frames", () =>
      Effect.gen(function* () {
        const server = yield* MockMeshServer.make()
        const client = yield* dialBare(server.wsUrl)
        yield* server.emit(notice("fragments"), { as: "fragmented" })
        yield* server.emit(notice("whole"))
        // Text without FIN, a continuation without, a continuation with; then text with FIN.
        for (const byte of [0x01, 0x00, 0x80, 0x81]) assert.strictEqual(yield* client.firstByte, byte)
      })
    )

    it.live("sends raw frames unchanged to every connection", () =>
      Effect.gen(function* () {
        const { server, client } = yield* start()
        const bytes = new Uint8Array([1, 2, 255])
        yield* server.emitRaw("not json")
        yield* server.emitRaw(bytes)
        yield* server.emitRaw(bytes, { as: "fragmented" })
        assert.deepStrictEqual(yield* client.frame, { data: Buffer.from("not json"), isBinary: false })
        assert.deepStrictEqual(yield* client.frame, { data: Buffer.from(bytes), isBinary: true })
        assert.deepStrictEqual(yield* client.frame, { data: Buffer.from(bytes), isBinary: true })
      })
    )

    for (const problem of ["InvalidJson", "InvalidMessage", "InvalidUtf8", "NotAnObject"] as const) {
      it.live(`sends garbage that decodes to ${problem}, and keeps the connection open`, () =>
        Effect.gen(function* () {
          const { server, client } = yield* start()
          yield* server.garbage(problem)
          assert.strictEqual(yield* client.problem, problem)
          yield* client.request({ _tag: "SubscribeAll" })
        })
      )
    }

    it.live("dies when a message cannot be encoded", () =>
      Effect.gen(function* () {
        const { server, client } = yield* start()
        yield* client.request({ _tag: "SubscribeOutput", taskId: a })
        const exit = yield* Effect.exit(server.emit({ ...output(a), costUsd: Number.NaN }))
        assert.isTrue(Exit.hasDies(exit))
      })
    )
  })

  describe("faults", () => {
    it.live("kill ends the connection without a close frame", () =>
      Effect.gen(function* () {
        const { server, client } = yield* start()
        yield* client.request({ _tag: "SubscribeAll" })
        yield* server.kill()
        assert.deepStrictEqual(yield* server.connections, [])
        assert.strictEqual(yield* server.emit(update(a)), 0)
        assert.strictEqual((yield* client.closed).code, 1006)
        assert.deepStrictEqual(tags(yield* server.log), ["Opened", "Received", "Sent", "Killed", "Unheard"])
      })
    )

    it.live("close sends its code and reason after the frames sent before", () =>
      Effect.gen(function* () {
        const { server, client } = yield* start()
        yield* client.request({ _tag: "SubscribeAll" })
        yield* server.emitAll([update(a, 1), update(a, 2)])
        yield* server.close(4408, "too slow")
        assert.strictEqual(yield* server.emit(update(a, 3)), 0)
        // The client has not seen the close yet: its next request comes too late.
        client.socket.send(ClientMessage.encodeFrame({ _tag: "UnsubscribeAll" }))
        assert.deepStrictEqual(yield* client.closed, { code: 4408, reason: "too slow" })
        assert.deepStrictEqual([yield* client.message, yield* client.message], [update(a, 1), update(a, 2)])
        assert.strictEqual(yield* client.unread, 0)
        const log = yield* server.log
        const closed = log.filter(isKind("Closed"))
        assert.deepStrictEqual(
          closed.map(({ by, code, reason }) => ({ by, code, reason })),
          [{ by: "server", code: 4408, reason: "too slow" }]
        )
        assert.lengthOf(log.filter(isKind("Received")), 1)
      })
    )

    it.live("logs a close by the client as `by: client`", () =>
      Effect.gen(function* () {
        const { server, client } = yield* start()
        client.socket.close(4000, "bye")
        const closed = yield* server.awaitEntry(isKind("Closed"))
        assert.deepStrictEqual([closed.by, closed.code, closed.reason], ["client", 4000, "bye"])
        assert.deepStrictEqual(yield* server.connections, [])
        yield* server.kill()
        assert.deepStrictEqual(tags(yield* server.log), ["Opened", "Closed"])
      })
    )

    it.live("sends nothing to a client that has started to close", () =>
      Effect.gen(function* () {
        const server = yield* MockMeshServer.make()
        const client = yield* dialBare(server.wsUrl)
        // A close frame with a mask of zeros; the TCP connection stays open.
        client.socket.write(new Uint8Array([0x88, 0x80, 0, 0, 0, 0]))
        assert.strictEqual(yield* client.firstByte, 0x88)
        assert.strictEqual(yield* server.emit(notice("late")), 0)
        assert.strictEqual(yield* server.emitRaw("late"), 0)
      })
    )

    it.live("dies on a close code that must not be sent, and keeps the connection open", () =>
      Effect.gen(function* () {
        const { server, client } = yield* start()
        assert.isTrue(Exit.hasDies(yield* Effect.exit(server.close(1006))))
        assert.lengthOf(yield* server.connections, 1)
        yield* client.roundTrip
      })
    )

    it.live("sends the messages and then the close of a frozen connection when it thaws", () =>
      Effect.gen(function* () {
        const { server, client } = yield* start()
        yield* client.request({ _tag: "SubscribeAll" })
        yield* server.freeze()
        yield* server.emit(update(a))
        yield* server.close(4000, "enough")
        assert.deepStrictEqual(yield* server.connections, [])
        yield* server.thaw()
        assert.deepStrictEqual(yield* client.message, update(a))
        assert.deepStrictEqual(yield* client.closed, { code: 4000, reason: "enough" })
        assert.deepStrictEqual(tags(yield* server.log).slice(-2), ["Closed", "Thawed"])
      })
    )

    it.live("kills a connection that was closed while frozen", () =>
      Effect.gen(function* () {
        const { server, client } = yield* start()
        yield* client.request({ _tag: "SubscribeAll" })
        yield* server.freeze()
        yield* server.close(4000, "never heard")
        yield* server.kill()
        assert.strictEqual((yield* client.closed).code, 1006)
        assert.strictEqual(tags(yield* server.log).at(-1), "Closed")
      })
    )

    it.live("resumes a frozen connection at the thaw after a hundred pings", () =>
      Effect.gen(function* () {
        const { server, client } = yield* start()
        yield* client.request({ _tag: "SubscribeAll" })
        yield* server.freeze()
        for (let n = 0; n < 100; n++) client.socket.ping()
        yield* server.thaw()
        yield* client.roundTrip
        yield* server.emit(update(a))
        assert.deepStrictEqual(yield* client.message, update(a))
      })
    )

    it.live("a frozen connection answers no ping and sends no frame, and can be killed", () =>
      Effect.gen(function* () {
        const { server, client } = yield* start()
        const other = yield* dial(server.wsUrl)
        yield* client.request({ _tag: "SubscribeAll" })
        yield* other.request({ _tag: "SubscribeAll" })
        yield* server.freeze(1)
        yield* server.emit(update(a))
        client.socket.ping("ping")
        client.socket.send(ClientMessage.encodeFrame({ _tag: "UnsubscribeAll" }))
        // The other connection answers: after its third pong a live connection would have answered too.
        assert.deepStrictEqual(yield* other.message, update(a))
        for (let i = 0; i < 3; i++) yield* other.roundTrip
        assert.deepStrictEqual(
          (yield* server.connections).map(({ id, frozen, interest }) => [id, frozen, interest.all]),
          [
            [1, true, true],
            [2, false, true]
          ]
        )
        yield* server.kill(1)
        assert.strictEqual((yield* client.closed).code, 1006)
        assert.deepStrictEqual(client.pongs, [])
        assert.strictEqual(yield* client.unread, 0)
        const sent = (yield* server.log).filter(isKind("Sent")).filter(({ message }) => message._tag === "TaskUpdated")
        assert.deepStrictEqual(
          sent.map(({ connection, delivered }) => [connection, delivered]),
          [
            [1, false],
            [2, true]
          ]
        )
      })
    )

    it.live("a thawed connection sends the delayed frames in order, and answers pings again", () =>
      Effect.gen(function* () {
        const { server, client } = yield* start()
        yield* client.request({ _tag: "SubscribeAll" })
        yield* server.freeze()
        yield* server.emitAll([update(a, 1), update(a, 2)])
        client.socket.send(ClientMessage.encodeFrame({ _tag: "SubscribeOutput", taskId: a }))
        const before = yield* server.log
        yield* server.thaw()
        yield* server.emit(update(a, 3))
        assert.deepStrictEqual(
          [yield* client.message, yield* client.message, yield* client.message],
          [update(a, 1), update(a, 2), update(a, 3)]
        )
        assert.deepStrictEqual(yield* client.message, { _tag: "OutputSubscribed", taskId: a })
        yield* client.roundTrip
        const delivered = (log: ServerLog.ServerLog) => log.filter(isKind("Sent")).map(({ delivered }) => delivered)
        assert.deepStrictEqual(delivered(before), [true, false, false])
        assert.deepStrictEqual(delivered(yield* server.log), [true, true, true, true, true])
        assert.deepStrictEqual(tags(yield* server.log).slice(-4), ["Thawed", "Sent", "Received", "Sent"])
      })
    )

    it.live("a fault for one connection does not change the others", () =>
      Effect.gen(function* () {
        const { server, client } = yield* start()
        const other = yield* dial(server.wsUrl)
        yield* server.kill(2)
        yield* other.closed
        yield* client.roundTrip
        assert.deepStrictEqual(
          (yield* server.connections).map(({ id }) => id),
          [1]
        )
      })
    )
  })

  describe("the log", () => {
    it.live("logs every event in one order, numbered without gaps", () =>
      Effect.gen(function* () {
        const { server, client } = yield* start()
        yield* server.emit(update(a, 1))
        yield* client.request({ _tag: "SubscribeAll" })
        yield* server.emit(update(a, 2), { as: "binary" })
        yield* server.garbage()
        yield* server.freeze()
        yield* server.emit(update(a, 3))
        yield* server.kill()
        yield* server.refuse(1, 500)
        yield* Effect.flip(dial(server.wsUrl))
        const log = yield* server.log
        assert.deepStrictEqual(
          log.map(({ seq: _seq, at: _at, ...entry }) => entry),
          [
            { _tag: "Opened", connection: 1 },
            { _tag: "Unheard", emission: 1, message: update(a, 1) },
            { _tag: "Received", connection: 1, message: { _tag: "SubscribeAll" } },
            {
              _tag: "Sent",
              connection: 1,
              emission: 2,
              message: { _tag: "SubscribedAll" },
              as: "text",
              delivered: true
            },
            { _tag: "Sent", connection: 1, emission: 3, message: update(a, 2), as: "binary", delivered: true },
            { _tag: "SentRaw", connection: 1, emission: 4, raw: `{"type":"taskUpdated",`, as: "text", delivered: true },
            { _tag: "Frozen", connection: 1 },
            { _tag: "Sent", connection: 1, emission: 5, message: update(a, 3), as: "text", delivered: false },
            { _tag: "Killed", connection: 1 },
            { _tag: "Refused", status: 500 }
          ]
        )
        assert.deepStrictEqual(
          log.map(({ seq }) => seq),
          log.map((_, index) => index + 1)
        )
      })
    )

    it.live("numbers one message to two connections as one emission", () =>
      Effect.gen(function* () {
        const { server, client } = yield* start({ acknowledge: "never" })
        const other = yield* dial(server.wsUrl)
        for (const { socket } of [client, other]) socket.send(ClientMessage.encodeFrame({ _tag: "SubscribeAll" }))
        yield* Effect.forEach([1, 2], (id) => server.awaitReceived(({ connection }) => connection === id))
        yield* server.emitAll([update(a, 1), update(a, 2)])
        assert.deepStrictEqual(
          (yield* server.log).filter(isKind("Sent")).map(({ connection, emission }) => [connection, emission]),
          [
            [1, 1],
            [2, 1],
            [1, 2],
            [2, 2]
          ]
        )
      })
    )

    it.live("leaves messages out of the log with keepMessages: false, and keeps the other entries", () =>
      Effect.gen(function* () {
        const { server, client } = yield* start({ keepMessages: false })
        yield* server.emit(update(a))
        yield* client.request({ _tag: "SubscribeAll" })
        yield* server.emit(update(a))
        yield* server.emitRaw("raw")
        assert.deepStrictEqual(yield* client.message, update(a))
        yield* server.freeze()
        yield* server.emit(update(b))
        yield* server.thaw()
        yield* client.frame
        assert.deepStrictEqual(yield* client.message, update(b))
        assert.deepStrictEqual(tags(yield* server.log), ["Opened", "Received", "Frozen", "Thawed"])
      })
    )

    it.live("received returns the requests of each connection", () =>
      Effect.gen(function* () {
        const { server, client } = yield* start()
        const other = yield* dial(server.wsUrl)
        yield* client.request({ _tag: "SubscribeAll" })
        yield* other.request({ _tag: "Subscribe", taskId: a })
        assert.deepStrictEqual(
          (yield* server.received).map(({ connection, message }) => [connection, message._tag]),
          [
            [1, "SubscribeAll"],
            [2, "Subscribe"]
          ]
        )
      })
    )

    it.live("awaitConnection and awaitReceived return past and later entries", () =>
      Effect.gen(function* () {
        const server = yield* MockMeshServer.make()
        const second = yield* Effect.forkScoped(server.awaitConnection(2))
        const unsubscribed = yield* Effect.forkScoped(
          server.awaitReceived(({ message }) => message._tag === "UnsubscribeAll")
        )
        const client = yield* dial(server.wsUrl)
        yield* client.request({ _tag: "SubscribeAll" })
        assert.strictEqual((yield* server.awaitConnection(1)).id, 1)
        yield* server.awaitReceived(({ message }) => message._tag === "SubscribeAll")
        assert.isUndefined(second.pollUnsafe())
        yield* dial(server.wsUrl)
        assert.strictEqual((yield* Fiber.join(second)).id, 2)
        assert.isUndefined(unsubscribed.pollUnsafe())
        yield* client.request({ _tag: "UnsubscribeAll" })
        assert.strictEqual((yield* Fiber.join(unsubscribed)).connection, 1)
      })
    )
  })

  describe("play", () => {
    const workload = Workload.make({ tasks: 3, outputsPerTask: 4, meanIntervalMillis: 1000 })
    const offsets = (log: ServerLog.ServerLog) => log.filter(isKind("Unheard")).map(({ at }) => at)

    it.effect("emits each message at its time", () =>
      Effect.gen(function* () {
        const server = yield* MockMeshServer.make()
        const playing = yield* Effect.forkScoped(server.play(workload))
        yield* TestClock.adjust(Workload.summary(workload).durationMillis)
        yield* Fiber.join(playing)
        const log = yield* server.log
        assert.deepStrictEqual(
          offsets(log),
          workload.map(({ at }) => at)
        )
        assert.deepStrictEqual(
          log.filter(isKind("Unheard")).map(({ message }) => message),
          workload.map(({ message }) => message)
        )
      })
    )

    it.effect("plays faster with a higher speed, and at once at infinite speed", () =>
      Effect.gen(function* () {
        const twice = yield* MockMeshServer.make()
        const playing = yield* Effect.forkScoped(twice.play(workload, { speed: 2 }))
        yield* TestClock.adjust(Workload.summary(workload).durationMillis)
        yield* Fiber.join(playing)
        assert.deepStrictEqual(
          offsets(yield* twice.log),
          workload.map(({ at }) => Math.ceil(at / 2))
        )
        const atOnce = yield* MockMeshServer.make()
        yield* atOnce.play(workload, { speed: Infinity })
        assert.lengthOf(new Set(offsets(yield* atOnce.log)), 1)
        assert.lengthOf(yield* atOnce.log, workload.length)
      })
    )

    it.live("play waits for a client that does not read, and buffers a bounded amount", () =>
      Effect.gen(function* () {
        const { server, client } = yield* start({ keepMessages: false })
        const other = yield* dial(server.wsUrl)
        // Far more than the network buffers hold for a client that does not read.
        const options = { tasks: 2, outputsPerTask: 150, toolUseRatio: 0, contentSize: 64_000 }
        const requests = Workload.taskIds(options).map((taskId) => ({ _tag: "SubscribeOutput", taskId }) as const)
        yield* client.request(...requests)
        let most = 0
        // This predicate never matches. It samples the buffer whenever a message is sent.
        const look = (entry: ServerLog.Entry): entry is never => {
          if (entry._tag === "Sent") {
            for (const { bufferedBytes } of Effect.runSync(server.connections)) most = Math.max(most, bufferedBytes)
          }
          return false
        }
        yield* Effect.forkScoped(server.awaitEntry(look), { startImmediately: true })
        client.socket.pause()
        const playing = yield* Effect.forkScoped(server.play(Workload.make(options), { speed: Infinity }))
        for (let i = 0; i < 100; i++) yield* other.roundTrip
        assert.isUndefined(playing.pollUnsafe())
        client.socket.resume()
        yield* Fiber.join(playing)
        // The server waits at 1 MiB. The sample may be taken before the message that reaches 1 MiB is buffered.
        assert.isAtLeast(most, (1 << 20) - 65_000)
        assert.isBelow(most, 1_300_000)
        for (let i = 0; i < 300; i++) yield* client.frame
      })
    )
  })

  describe("drain", () => {
    /** More than the network buffers hold for a client that does not read. */
    const flood = (server: MockMeshServer.Service) =>
      server.emitRawAll(Array.from({ length: 24 }, () => new Uint8Array(1 << 20)))

    const buffered = (server: MockMeshServer.Service) =>
      Effect.map(server.connections, (connections) => connections.map(({ bufferedBytes }) => bufferedBytes))

    it.live("drain waits until a slow client has read what was sent", () =>
      Effect.gen(function* () {
        const { server, client } = yield* start({ keepMessages: false })
        yield* server.drain()
        client.socket.pause()
        yield* flood(server)
        const [before = 0] = yield* buffered(server)
        assert.isAbove(before, 0)
        yield* server.drain(before)
        const draining = yield* Effect.forkScoped(server.drain())
        const other = yield* dial(server.wsUrl)
        yield* other.roundTrip
        assert.isUndefined(draining.pollUnsafe())
        client.socket.resume()
        yield* Fiber.join(draining)
        assert.deepStrictEqual(yield* buffered(server), [0, 0])
      })
    )

    for (const [verb, perMessageDeflate] of [
      ["freeze", false],
      ["kill", false],
      ["kill", true]
    ] as const) {
      const compressed = perMessageDeflate ? ", also during compression" : ""
      it.live(`drain does not wait for frames that cannot arrive after a ${verb}${compressed}`, () =>
        Effect.gen(function* () {
          const { server, client } = yield* start({ keepMessages: false, perMessageDeflate }, { perMessageDeflate })
          client.socket.pause()
          yield* flood(server)
          const draining = yield* Effect.forkScoped(server.drain())
          const other = yield* dial(server.wsUrl)
          yield* other.roundTrip
          assert.isUndefined(draining.pollUnsafe())
          yield* server[verb](1)
          yield* Fiber.join(draining)
          yield* server.drain()
        })
      )
    }
  })

  describe("a whole run", () => {
    it.live("a real consumer passes the audit after every kind of fault", () =>
      Effect.gen(function* () {
        const server = yield* MockMeshServer.make()
        const options = { tasks: 5, outputsPerTask: 30 }
        const ids = Workload.taskIds(options)
        const consumer = yield* MeshStream.connect({
          interest: Interest.union(Interest.all, Interest.output(ids)),
          policy: { schedule: Schedule.spaced("1 millis"), minDelay: "1 millis" }
        }).pipe(
          Stream.takeUntil((event) => event._tag === "ServerError"),
          Stream.runCollect,
          Effect.provide(Layer.provide(Socket.layerWebSocket(server.wsUrl), Socket.layerWebSocketConstructorGlobal)),
          Effect.forkScoped
        )
        const messages = Workload.make(options).map(({ message }) => message)
        const emitSome = Effect.suspend(() => server.emitAll(messages.splice(0, 30)))
        const subscribed = (connection: number) =>
          server.awaitReceived(
            (received) =>
              received.connection === connection &&
              received.message._tag === "SubscribeOutput" &&
              received.message.taskId === ids.at(-1)
          )

        yield* subscribed(1)
        yield* emitSome
        yield* server.kill()
        // No client is connected for these.
        yield* emitSome
        yield* server.refuse(1, 503)
        yield* subscribed(2)
        yield* server.garbage()
        yield* emitSome
        yield* server.close(1012)
        yield* subscribed(3)
        yield* server.emit(messages.shift() ?? notice("none left"), { as: "fragmented" })
        yield* server.freeze()
        yield* emitSome
        yield* server.kill()
        yield* subscribed(4)
        yield* server.emitAll(messages)
        yield* server.emit(notice("end"))

        const report = Audit.compare(yield* server.log, yield* Fiber.join(consumer))
        assert.isTrue(Audit.isClean(report), JSON.stringify(report))
        assert.strictEqual(report.epochs, 4)
        assert.isAtLeast(report.missedWhileAway, 60)
        assert.strictEqual(report.received + report.missedWhileAway, Workload.make(options).length + 1)
      })
    )
  })

  describe("the scope", () => {
    it.live("closing the scope ends every connection and stalled dial, and frees the port", () =>
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        const server = yield* Scope.provide(MockMeshServer.make(), scope)
        const [frozen, closing, plain] = [
          yield* dial(server.wsUrl),
          yield* dial(server.wsUrl),
          yield* dial(server.wsUrl)
        ]
        yield* server.freeze(1)
        yield* server.emit(notice("never arrives"))
        // A client that does not read does not answer the close frame.
        closing.socket.pause()
        yield* server.close(1001, "", 2)
        yield* server.stallDial(1)
        const stalled = yield* Effect.forkScoped(Effect.flip(dial(server.wsUrl)))
        yield* server.awaitEntry(isKind("Stalled"))

        yield* Scope.close(scope, Exit.void)
        closing.socket.resume()
        for (const client of [frozen, closing, plain]) yield* client.closed
        assert.strictEqual((yield* Fiber.join(stalled)).status, 0)
        assert.deepStrictEqual(
          (yield* server.log).flatMap((entry) =>
            entry._tag === "Killed" || entry._tag === "Closed" ? [[entry._tag, entry.connection]] : []
          ),
          [
            ["Closed", 2],
            ["Killed", 1],
            ["Killed", 3]
          ]
        )
        assert.deepStrictEqual(yield* server.connections, [])
        const again = yield* MockMeshServer.make({ port: server.port })
        assert.strictEqual(again.url, server.url)
      })
    )

    it.live("fails with the port in the error when the port is in use", () =>
      Effect.gen(function* () {
        const { port } = yield* MockMeshServer.make()
        const error = yield* Effect.flip(MockMeshServer.make({ port }))
        assert.strictEqual(error._tag, "ListenError")
        assert.strictEqual(error.port, port)
      })
    )

    it.live("the layer provides a running server", () =>
      Effect.gen(function* () {
        const server = yield* MockMeshServer.MockMeshServer
        const client = yield* dial(server.wsUrl)
        yield* client.roundTrip
        assert.strictEqual(server.wsUrl, `${server.url.replace("http", "ws")}/api/v1/mesh/tasks/subscribe`)
      }).pipe(Effect.provide(MockMeshServer.layer()))
    )
  })
})
