import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import type * as Socket from "effect/socket/Socket"
import * as MeshError from "../src/MeshError.ts"
import * as MeshSocket from "../src/MeshSocket.ts"

/** A platform's WebSocket whose events the test sends. */
class FakeWebSocket implements Socket.WebSocketLike {
  readonly url: string
  readonly protocols: ReadonlyArray<string>
  readonly sent: Array<string | Uint8Array> = []
  readonly closes: Array<number | undefined> = []
  readonly readyState = 0
  binaryType = "blob"
  readonly #listeners = new Map<string, Set<(event: Socket.WebSocketEvent) => void>>()

  constructor(url: string, protocols: ReadonlyArray<string>) {
    this.url = url
    this.protocols = protocols
  }

  addEventListener(type: string, listener: (event: Socket.WebSocketEvent) => void): void {
    this.#listeners.set(type, (this.#listeners.get(type) ?? new Set()).add(listener))
  }
  removeEventListener(type: string, listener: (event: Socket.WebSocketEvent) => void): void {
    this.#listeners.get(type)?.delete(listener)
  }
  /** The number of listeners, without those of errors. */
  get listening(): number {
    return ["open", "message", "close"].reduce((sum, type) => sum + (this.#listeners.get(type)?.size ?? 0), 0)
  }
  emit(type: "open" | "message" | "error" | "close", event: Socket.WebSocketEvent = {}): void {
    for (const listener of this.#listeners.get(type) ?? []) listener(event)
  }
  close(code?: number): void {
    this.closes.push(code)
  }
  send(data: string | Uint8Array<ArrayBuffer>): void {
    this.sent.push(data)
  }
}

/** A socket, and the WebSockets that it made. */
const makeFake = (options: Omit<MeshSocket.Options, "url" | "webSocket"> = {}) =>
  Effect.gen(function* () {
    const made: Array<FakeWebSocket> = []
    const socket = yield* MeshSocket.make({
      url: "https://example.com",
      ...options,
      webSocket(url, protocols) {
        const ws = new FakeWebSocket(url, protocols)
        made.push(ws)
        return ws
      }
    })
    return { socket, made }
  })

/** Dials, and opens the WebSocket. */
const connect = (fake: {
  readonly socket: Socket.Socket
  readonly made: ReadonlyArray<FakeWebSocket>
}): Effect.Effect<{ readonly ws: FakeWebSocket; readonly reader: Socket.Reader }, Socket.SocketError, Scope.Scope> =>
  Effect.gen(function* () {
    const dialling = yield* Effect.forkScoped(fake.socket.reader, { startImmediately: true })
    const ws = fake.made.at(-1)
    assert(ws !== undefined)
    ws.emit("open")
    return { ws, reader: yield* Fiber.join(dialling) }
  })

const reasonOf = (error: Socket.SocketError): string => MeshError.fromSocketError(error)._tag

describe("MeshSocket", () => {
  it.effect("accepts a server's URL in every spelling, and refuses what cannot be one", () =>
    Effect.gen(function* () {
      const fake = yield* makeFake()
      yield* connect(fake)
      assert.strictEqual(fake.made[0]?.url, "wss://example.com/api/v1/mesh/tasks/subscribe")
      assert.strictEqual((yield* Effect.flip(MeshSocket.make({ url: "ftp://example.com" }))).problem, "Protocol")
    })
  )

  it.effect("adds the query to the URL, and reads it again in each attempt", () =>
    Effect.gen(function* () {
      let position = 0
      const fake = yield* makeFake({ query: Effect.sync(() => ({ since: String(++position) })), protocols: "mesh" })
      yield* connect(fake)
      yield* connect(fake)
      assert.deepStrictEqual(
        fake.made.map(({ url }) => new URL(url).search),
        ["?since=1", "?since=2"]
      )
      assert.deepStrictEqual(fake.made[0]?.protocols, ["mesh"])
    })
  )

  it.effect("fails an attempt with CredentialsFailed when the query fails", () =>
    Effect.gen(function* () {
      const fake = yield* makeFake({ query: Effect.fail("no token") })
      assert.strictEqual(reasonOf(yield* Effect.flip(fake.socket.reader)), "CredentialsFailed")
    })
  )

  it.effect("pulls frames that arrived together as one batch, text as strings and binary as bytes", () =>
    Effect.gen(function* () {
      const { reader, ws } = yield* connect(yield* makeFake())
      assert.strictEqual(ws.binaryType, "arraybuffer")
      const pulling = yield* Effect.forkScoped(reader.pull, { startImmediately: true })
      ws.emit("message", { data: "one" })
      ws.emit("message", { data: new Uint8Array([1, 2]).buffer })
      assert.deepStrictEqual(yield* Fiber.join(pulling), ["one", new Uint8Array([1, 2])])
    })
  )

  it.effect("ends a connection whose frames pile up, after the frames that wait", () =>
    Effect.gen(function* () {
      const { reader, ws } = yield* connect(yield* makeFake({ maxBufferedBytes: 5 }))
      ws.emit("message", { data: "123" })
      ws.emit("message", { data: "456" })
      ws.emit("message", { data: "789" })
      assert.deepStrictEqual(ws.closes, [undefined])
      assert.deepStrictEqual(yield* reader.pull, ["123", "456"])
      const reason = MeshError.fromSocketError(yield* Effect.flip(reader.pull))
      assert.strictEqual(
        reason.message,
        "The connection was lost: more than 5 bytes of frames waited for a slow consumer"
      )
    })
  )

  it.effect("does not end a connection for one frame above the bound that the reader waits for", () =>
    Effect.gen(function* () {
      const { reader, ws } = yield* connect(yield* makeFake({ maxBufferedBytes: 5 }))
      const pulling = yield* Effect.forkScoped(reader.pull, { startImmediately: true })
      ws.emit("message", { data: "123456789" })
      assert.deepStrictEqual(yield* Fiber.join(pulling), ["123456789"])
      assert.deepStrictEqual(ws.closes, [])
    })
  )

  it.effect("fails a dial that is not answered in time, and closes it", () =>
    Effect.gen(function* () {
      const fake = yield* makeFake({ connectTimeout: "3 seconds" })
      const dialling = yield* Effect.forkScoped(Effect.flip(fake.socket.reader), { startImmediately: true })
      yield* TestClock.adjust("3 seconds")
      assert.strictEqual(reasonOf(yield* Fiber.join(dialling)), "DialTimeout")
      assert.deepStrictEqual(fake.made[0]?.closes, [1000])
    })
  )

  it.effect("reports a dial that fails as DialFailed, with the platform's message", () =>
    Effect.gen(function* () {
      const fake = yield* makeFake()
      const dialling = yield* Effect.forkScoped(Effect.flip(fake.socket.reader), { startImmediately: true })
      fake.made[0]?.emit("error", Object.assign({ type: "error" }, { message: "refused" }))
      fake.made[0]?.emit("close", { code: 1006 })
      assert.strictEqual(
        MeshError.fromSocketError(yield* Fiber.join(dialling)).message,
        "The server could not be reached: refused"
      )
    })
  )

  it.effect("reports a WebSocket that the platform refuses to make as DialFailed", () =>
    Effect.gen(function* () {
      const socket = yield* MeshSocket.make({
        url: "ws://example.com",
        webSocket() {
          throw new Error("mixed content")
        }
      })
      assert.strictEqual(reasonOf(yield* Effect.flip(socket.reader)), "DialFailed")
    })
  )

  it.effect("closes the connection with its scope, fails a waiting pull, and leaves no listener", () =>
    Effect.gen(function* () {
      const fake = yield* makeFake()
      const { pulling, ws } = yield* Effect.scoped(
        Effect.gen(function* () {
          const { reader, ws } = yield* connect(fake)
          return { ws, pulling: yield* Effect.forkDetach(Effect.flip(reader.pull), { startImmediately: true }) }
        })
      )
      assert.strictEqual(reasonOf(yield* Fiber.join(pulling)), "ConnectionLost")
      assert.deepStrictEqual(ws.closes, [1000])
      assert.strictEqual(ws.listening, 0)
    })
  )

  it.effect("fails a write without a connection, and one after its end", () =>
    Effect.gen(function* () {
      const fake = yield* makeFake()
      const writer = yield* fake.socket.writer
      assert.strictEqual((yield* Effect.flip(writer.write("early"))).reason._tag, "SocketWriteError")
      const { ws } = yield* connect(fake)
      yield* writer.write("text")
      yield* writer.writeAll([new Uint8Array([7])])
      assert.deepStrictEqual(ws.sent, ["text", new Uint8Array([7])])
      ws.emit("close", { code: 1001 })
      assert.strictEqual((yield* Effect.flip(writer.write("late"))).reason._tag, "SocketWriteError")
    })
  )
})
