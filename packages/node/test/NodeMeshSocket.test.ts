import * as Interest from "@makima-stream/core/Interest"
import * as MeshError from "@makima-stream/core/MeshError"
import * as MeshSession from "@makima-stream/core/MeshSession"
import type * as DecodeError from "@makima-stream/core/DecodeError"
import type * as MeshEvent from "@makima-stream/core/MeshEvent"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Socket from "effect/socket/Socket"
import { isUtf8 } from "node:buffer"
import { getHeapStatistics } from "node:v8"
import * as NodeMeshSocket from "../src/NodeMeshSocket.ts"
import * as Servers from "./support/servers.ts"
import { open, ending, pullFrames } from "./support/socket.ts"

/**
 * Bytes that V8 has allocated on its heap so far. Not yet in the types of Node. Some more are counted now and then, for
 * what V8 does by itself (it compiles, collects), so the least of several rounds counts.
 */
const allocatedBytes = () =>
  (getHeapStatistics() as ReturnType<typeof getHeapStatistics> & { readonly total_allocated_bytes: number })
    .total_allocated_bytes

/** The frame of an update with these bytes in it. */
const update = (status: Buffer) =>
  Buffer.concat([Buffer.from(`{"type":"taskUpdated","taskId":"a","status":"`), status, Buffer.from(`"}`)])

describe("NodeMeshSocket", () => {
  describe("reading", () => {
    it.effect("pulls frames that arrive together as one batch, in order, one element a frame", () =>
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

    it.effect("keeps frames that arrive before the first pull, and returns them at once", () =>
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

    it.effect("pauses reads if `highWaterBytes` is NaN", () =>
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

    it.effect("keeps frames as bytes until they are pulled, and makes no strings before", () =>
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
        // For a frame, in bytes: before any pull, after the first pull, and when all have been pulled.
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

    it.effect("keeps text and bytes of many chunks in order until they are pulled, in each of several rounds", () =>
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

    it.effect("returns text as strings, binary as bytes, and fragments as one frame", () =>
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

    it.effect("bytes that were pulled share no buffer with other frames", () =>
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

    it.effect("a text frame that is not UTF-8 becomes a DecodeError, and the connection stays open", () =>
      Effect.gen(function* () {
        const server = yield* Servers.rawServer
        const socket = yield* NodeMeshSocket.make({ url: server.url })
        const session = yield* Effect.provideService(MeshSession.make(Interest.empty), Socket.Socket, socket)
        const peer = yield* server.accept
        peer.socket.write(Servers.frame(1, update(Buffer.from([0xff, 0xfe]))))
        peer.socket.write(Servers.frame(1, update(Buffer.from("\uFFFD"))))
        const messages: Array<MeshEvent.Data | DecodeError.DecodeError> = []
        while (messages.length < 2) {
          messages.push(...(yield* session.pull).filter((element) => element._tag !== "Resync"))
        }
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

    it.effect("stops the server without a pull, and loses nothing", () =>
      Effect.gen(function* () {
        const server = yield* Servers.webSocketServer()
        const reader = yield* open({ url: server.url })
        const { ws } = yield* server.accept
        const count = 30_000
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

  describe("compression", () => {
    it.effect("is offered if the option asks for it, and changes nothing else", () =>
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
})
