import * as Interest from "@makima-stream/core/Interest"
import * as MeshError from "@makima-stream/core/MeshError"
import * as MeshStream from "@makima-stream/core/MeshStream"
import * as MeshMetrics from "@makima-stream/core/MeshMetrics"
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Metric from "effect/Metric"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Socket from "effect/socket/Socket"
import * as TestClock from "effect/testing/TestClock"
import { spawn } from "node:child_process"
import * as NodeMeshSocket from "../src/NodeMeshSocket.ts"
import * as Ending from "./support/ending.ts"
import { fileOf } from "../../test-kit/test/support/programs.ts"
import * as Servers from "./support/servers.ts"
import { key, open, ending, pullFrames, seconds } from "./support/socket.ts"

/** The resources of connections that keep the process alive. */
const resources = (): ReadonlyArray<string> =>
  process.getActiveResourcesInfo().filter((resource) => /^(TCP|TLS|Timeout)/.test(resource))

/** The new resources, without the runner's own timers. */
const resourcesSince = (before: ReadonlyArray<string>): ReadonlyArray<string> => {
  const known = [...before]
  return resources().filter((resource) => {
    const index = known.indexOf(resource)
    if (index >= 0) known.splice(index, 1)
    return index < 0
  })
}

describe("NodeMeshSocket", () => {
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

    it.effect("a broken connection is ConnectionLost, after every frame before it", () =>
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

    it.effect("a reset connection is ConnectionLost with the cause", () =>
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

    it.effect("every later pull fails with the same end", () =>
      Effect.gen(function* () {
        const server = yield* Servers.webSocketServer()
        const reader = yield* open({ url: server.url })
        const { ws } = yield* server.accept
        ws.close(1001)
        const first = yield* ending(reader)
        assert.deepStrictEqual(yield* ending(reader), first)
      })
    )

    it.effect("a frame above the limit is FrameTooLarge, and closes with 1009", () =>
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

    it.effect("an attempt that failed leaves no finalizer in a scope that stays open", () =>
      Effect.gen(function* () {
        const server = yield* Servers.httpServer((_, response) => response.writeHead(503).end())
        const socket = yield* NodeMeshSocket.make({ url: server.url })
        const scope = yield* Effect.acquireRelease(Scope.make(), (scope) => Scope.close(scope, Exit.void))
        for (let n = 0; n < 20; n++) yield* Effect.ignore(Scope.provide(socket.reader, scope))
        const { state } = scope
        assert.isTrue(state._tag === "Empty" || (state._tag === "Open" && (state.finalizers?.size ?? 0) === 0))
      })
    )

    it.effect("a key with blanks around it is sent without them, and does not appear in a reason", () =>
      Effect.gen(function* () {
        const server = yield* Servers.webSocketServer()
        const reader = yield* open({ url: server.url, apiKey: Redacted.make(" s3cret-key ") })
        const { request, ws } = yield* server.accept
        assert.strictEqual(request.headers["x-makima-api-key"], "s3cret-key")
        ws.close(4000, `bad key ${request.headers["x-makima-api-key"]}`)
        assert.notInclude(JSON.stringify((yield* ending(reader)).reason), "s3cret-key")
      })
    )

    it.effect("a limit below 1, or NaN, counts as 1", () =>
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

    it.effect("a limit of more than 32 bits is still a limit", () =>
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

    it.effect("a frame in too many fragments is FrameTooLarge with the cause", () =>
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
        const { reason } = yield* ending(reader)
        assert.strictEqual(reason._tag, "FrameTooLarge")
        assert.include(reason.message, "more than 16384 fragments")
      })
    )

    it.effect("a limit with a fraction is cut to whole bytes, and a larger frame ends only its connection", () =>
      Effect.gen(function* () {
        const server = yield* Servers.webSocketServer()
        const reader = yield* open({ url: server.url, maxFrameBytes: 0.1 * 1024 * 1024 })
        const { ws } = yield* server.accept
        ws.send("x".repeat(200_000))
        assert.deepStrictEqual((yield* ending(reader)).reason, new MeshError.FrameTooLarge({ maxFrameBytes: 104_857 }))
      })
    )

    it.effect("a server that keeps sending after the client's close frame is paused or cut off", () =>
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

    it.effect("a frame that breaks the protocol is ConnectionLost with the cause", () =>
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

  describe("heartbeat", () => {
    it.effect("detects a silent server after interval plus deadline, and destroys its socket", () =>
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

    it.effect("a server that answers stays connected, and its round trips are reported", () =>
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

    it.effect("a consumer that pauses reads is not mistaken for a dead server", () =>
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
      it.effect(
        `everything is read from a server that sends much, closes and disappears, heartbeat ${heartbeat ?? "on"}`,
        () =>
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

    it.effect("answers only the last of hundreds of pings that waited behind a pause, and stays connected", () =>
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

    it.effect("a consumer that paused reads still notices a dead server, one deadline after it resumes", () =>
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

    it.live("a process that was stopped for longer than the deadline reads the answer before it times out", () =>
      Effect.gen(function* () {
        const server = yield* Servers.webSocketServer()
        const reader = yield* open({ url: server.url, heartbeat: { interval: "10 millis", deadline: "1 second" } })
        const { ws } = yield* server.accept
        yield* Effect.callback<void>((resume) => {
          ws.once("ping", () => {
            // The pong is in the kernel's buffer by now, and nothing runs while this waits.
            Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1100)
            resume(Effect.void)
          })
        })
        yield* Servers.settled(() => 0)
        ws.send("alive")
        assert.deepStrictEqual(yield* reader.pull, ["alive"])
      })
    )

    it.effect("the heartbeat can be turned off", () =>
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
    it.effect("closing the scope closes with code 1000, and fails a suspended pull", () =>
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

    it.effect("closing the scope closes with code 1000 while reads are paused", () =>
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

    it.live("closing the scope releases every resource", () =>
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

    it.live("closing the scope releases every resource when the server never answers", () =>
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

    for (const [signal, tls] of [
      ["SIGINT", false],
      ["SIGTERM", true]
    ] as const) {
      it.live(`${signal} ends a program within a second, with code 1000 on the wire${tls ? ", over TLS" : ""}`, () =>
        Effect.gen(function* () {
          const server = yield* Servers.webSocketServer(tls ? { tls: "server.pem" } : {})
          const ca = new URL("./fixtures/ca.pem", import.meta.url).pathname
          const stdio = ["ignore", "pipe", "inherit", "pipe"] as const
          const child = spawn(process.execPath, [fileOf("packages/node/test/fixtures/follow"), server.url, ca], {
            stdio: [...stdio]
          })
          yield* Effect.addFinalizer(() => Effect.sync(() => child.kill("SIGKILL")))
          const exited = Deferred.makeUnsafe<number | null>()
          child.on("close", (code) => Deferred.doneUnsafe(exited, Effect.succeed(code)))
          const peer = yield* server.accept
          assert.strictEqual(yield* peer.receive, `{"type":"subscribeAll"}`)
          // The feed is busy when the signal arrives.
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
      // The stream sleeps until its next attempt by now.
      yield* Servers.settled(() => 0)
      yield* TestClock.adjust("2 seconds")
      const second = yield* server.accept
      assert.strictEqual(yield* second.receive, `{"type":"subscribeAll"}`)
      second.ws.send(`{"type":"subscribedAll"}`)
      second.ws.send(`{"type":"taskUpdated","taskId":"a"}`)
      const tags = (yield* Fiber.join(events)).map((event) => event._tag)
      assert.deepStrictEqual(tags, ["Connected", "Disconnected", "Connected", "Resync", "TaskUpdated"])
    })
  )
})
