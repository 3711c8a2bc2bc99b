import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FileSystem from "effect/FileSystem"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Socket from "effect/socket/Socket"
import * as TestClock from "effect/testing/TestClock"
import * as ClientMessage from "@makima-stream/core/ClientMessage"
import * as Interest from "@makima-stream/core/Interest"
import * as MeshError from "@makima-stream/core/MeshError"
import * as MeshEvent from "@makima-stream/core/MeshEvent"
import * as MeshStream from "@makima-stream/core/MeshStream"
import * as TaskId from "@makima-stream/core/TaskId"
import * as NodeMeshSocket from "@makima-stream/node/NodeMeshSocket"
import * as MeshArbitrary from "../src/MeshArbitrary.ts"
import * as MockMeshServer from "../src/MockMeshServer.ts"
import * as Recording from "../src/Recording.ts"
import * as ScriptedMesh from "../src/ScriptedMesh.ts"
import * as TransportLaws from "../src/vitest/TransportLaws.ts"
import { turns } from "../src/internal/turns.ts"

const a = TaskId.make("a")

const settle = turns(50)

/** Keeps lines in memory. */
const memory = () => {
  const lines: Array<string> = []
  const write: Recording.Write = (batch) => Effect.sync(() => lines.push(...batch))
  return { lines, write }
}

/** Exact delays, so that a second run behaves the same. */
const policy = { schedule: Schedule.spaced("2 seconds") }

/** Consumes the feed of a socket, in a fiber of the scope. */
const follow = (socket: Socket.Socket) =>
  Effect.gen(function* () {
    const events: Array<MeshEvent.MeshEvent> = []
    const fiber = yield* MeshStream.connect({
      interest: Interest.union(Interest.all, Interest.output(a)),
      policy
    }).pipe(
      Stream.runForEach((event) => Effect.sync(() => events.push(event))),
      Effect.provideService(Socket.Socket, socket),
      Effect.forkScoped
    )
    return { events, fiber }
  })

/** A recorded session with every kind of entry, and the events that its program received. */
const session = Effect.gen(function* () {
  const { lines, write } = memory()
  const mesh = yield* ScriptedMesh.make()
  const seen = yield* Effect.gen(function* () {
    const socket = yield* Recording.record(mesh.socket, write)
    yield* mesh.refuse(1, 503, { "retry-after": "3" })
    const { events } = yield* follow(socket)
    yield* TestClock.adjust("10 seconds")
    for (let version = 1; version <= 3; version++) {
      yield* mesh.emit({ _tag: "TaskUpdated", taskId: a, version })
      yield* TestClock.adjust("1 second")
    }
    yield* mesh.emitRaw("no message")
    yield* mesh.emitRaw(new TextEncoder().encode(`{"type":"error","code":"BINARY"}`))
    yield* mesh.emitRaw(new Uint8Array([0xff]))
    yield* mesh.close(1012, "restart")
    yield* TestClock.adjust("5 seconds")
    yield* mesh.emit({ _tag: "TaskOutput", taskId: a, messageType: "raw", content: "ü" })
    yield* mesh.kill()
    yield* TestClock.adjust("5 seconds")
    yield* mesh.freeze()
    yield* TestClock.adjust("1 minute")
    yield* settle
    return events
  }).pipe(Effect.scoped)
  return { lines, seen }
})

const entriesOf = (lines: Iterable<string>) => Stream.runCollect(Recording.read(lines))

/** The entries, and the error that ended them, if any. */
const readAll = (lines: Iterable<string>) =>
  Effect.gen(function* () {
    const entries: Array<Recording.Played> = []
    const result = yield* Effect.result(
      Stream.runForEach(Recording.read(lines), (entry) => Effect.sync(() => entries.push(entry)))
    )
    return { entries, error: Result.isFailure(result) ? result.failure : undefined }
  })

const header = `{"_tag":"Recording","version":1,"startedAt":0}`
const opened = (epoch: number, at = 0) => JSON.stringify({ _tag: "Opened", at, epoch })
const received = (epoch: number, text: string, at = 0) =>
  JSON.stringify({ _tag: "Received", at, epoch, frame: { text } })
const ended = (epoch: number, at = 0) => JSON.stringify({ _tag: "Ended", at, epoch })
const refused = (epoch: number, at = 0) =>
  JSON.stringify({ _tag: "DialFailed", at, epoch, reason: { _tag: "HandshakeRejected", status: 503 } })
const finished = `{"_tag":"Finished","at":0}`

const dial = (socket: Socket.Socket) =>
  Effect.gen(function* () {
    const scope = yield* Scope.fork(yield* Effect.scope)
    const { pull } = yield* Scope.provide(socket.reader, scope)
    return { pull, hangUp: Scope.close(scope, Exit.void) }
  })

const reasonOf = <A, R>(effect: Effect.Effect<A, Socket.SocketError, R>) =>
  Effect.map(Effect.flip(effect), (error) => {
    const reason = MeshError.fromSocketError(error)
    return reason._tag === "ConnectionClosed" ? `${reason.code} ${reason.closeReason ?? ""}` : reason._tag
  })

describe("Recording", () => {
  describe("record", () => {
    it.effect("records every frame with its direction, time and connection", () =>
      Effect.gen(function* () {
        const { lines } = yield* session
        assert.strictEqual(lines[0], header)
        assert.strictEqual(lines.at(-1), `{"_tag":"Finished","at":83000}`)
        const entries = yield* entriesOf(lines)
        const isFrame = ({ _tag }: Recording.Played) => _tag === "Sent" || _tag === "Received"
        assert.deepStrictEqual(
          entries.filter((entry) => !isFrame(entry)).map(({ _tag, at, epoch }) => [_tag, at, epoch]),
          [
            ["DialFailed", 0, 0],
            ["Opened", 5000, 1],
            ["Ended", 13_000, 1],
            ["Opened", 15_000, 2],
            ["Ended", 18_000, 2],
            ["Opened", 20_000, 3],
            ["Ended", 48_000, 3],
            ["Opened", 50_000, 4],
            ["Ended", 83_000, 4]
          ]
        )
        assert.deepStrictEqual(
          entries.flatMap((entry) => ("reason" in entry ? [entry.reason?._tag] : [])),
          ["HandshakeRejected", "ConnectionClosed", "ConnectionLost", "HeartbeatTimeout"]
        )
        const subscribe = [`{"type":"subscribeAll"}`, `{"type":"subscribeOutput","taskId":"a"}`]
        assert.deepStrictEqual(
          entries.flatMap((entry) => (entry._tag === "Sent" ? [[entry.epoch, entry.at, entry.frame]] : [])),
          [
            [1, 5000],
            [2, 15_000],
            [3, 20_000],
            [4, 50_000]
          ].flatMap(([epoch, at]) => subscribe.map((text) => [epoch, at, { text }]))
        )
        assert.deepStrictEqual(
          entries.flatMap((entry) => (entry._tag === "Received" && entry.epoch === 1 ? [[entry.at, entry.frame]] : [])),
          [
            [5000, { text: `{"type":"subscribedAll"}` }],
            [5000, { text: `{"type":"outputSubscribed","taskId":"a"}` }],
            [10_000, { text: `{"type":"taskUpdated","taskId":"a","version":1}` }],
            [11_000, { text: `{"type":"taskUpdated","taskId":"a","version":2}` }],
            [12_000, { text: `{"type":"taskUpdated","taskId":"a","version":3}` }],
            [13_000, { text: "no message" }],
            [13_000, { base64: Buffer.from(`{"type":"error","code":"BINARY"}`).toString("base64") }],
            [13_000, { base64: "/w==" }]
          ]
        )
      })
    )

    it.effect("writes each line before the program continues, so that the recording can be read at any time", () =>
      Effect.gen(function* () {
        const { lines, write } = memory()
        const mesh = yield* ScriptedMesh.make()
        const socket = yield* Recording.record(mesh.socket, write)
        const { pull } = yield* dial(socket)
        yield* mesh.emitRaw("1")
        yield* pull
        assert.include(lines.at(-1) ?? "", `"text":"1"`)
        const { entries, error } = yield* readAll(lines)
        assert.deepStrictEqual(
          entries.map(({ _tag }) => _tag),
          ["Opened", "Received"]
        )
        assert.deepStrictEqual([error?.problem, error?.line], ["CutOff", 4])
      })
    )

    it.effect("slows the feed to the speed of the writer, and loses no frame of an interrupted pull", () =>
      Effect.gen(function* () {
        const gate = yield* Latch.make(true)
        const { lines, write } = memory()
        const mesh = yield* ScriptedMesh.make({ maxBatch: 1 })
        const socket = yield* Recording.record(mesh.socket, (batch) => Effect.andThen(gate.await, write(batch)))
        const { pull } = yield* dial(socket)
        for (const frame of ["1", "2", "3"]) yield* mesh.emitRaw(frame)
        yield* gate.close
        const pulling = yield* Effect.forkChild(pull)
        yield* settle
        assert.isUndefined(pulling.pollUnsafe())
        assert.strictEqual((yield* mesh.connections)[0]?.unread, 2)
        // The batch is written in spite of the interruption, and the next pull returns it.
        const interrupting = yield* Effect.forkChild(Fiber.interrupt(pulling))
        yield* settle
        yield* gate.open
        yield* Fiber.join(interrupting)
        assert.deepStrictEqual([yield* pull, yield* pull, yield* pull], [["1"], ["2"], ["3"]])
        const texts = (yield* readAll(lines)).entries.map((entry) => ("frame" in entry ? entry.frame : entry._tag))
        assert.deepStrictEqual<unknown>(texts, ["Opened", { text: "1" }, { text: "2" }, { text: "3" }])
      })
    )

    it.effect("records each connection with its own epoch, on the monotonic clock, until its scope closes", () =>
      Effect.gen(function* () {
        const { lines, write } = memory()
        const mesh = yield* ScriptedMesh.make()
        const scope = yield* Scope.make()
        const socket = yield* Scope.provide(Recording.record(mesh.socket, write), scope)
        yield* TestClock.adjust("1 second")
        const connect = Effect.gen(function* () {
          yield* socket.reader
          return yield* socket.writer
        })
        const first = yield* Scope.provide(connect, yield* Scope.fork(yield* Effect.scope))
        yield* Scope.provide(connect, yield* Scope.fork(yield* Effect.scope))
        yield* TestClock.setTime(500)
        yield* TestClock.adjust("1 second")
        const request = ClientMessage.encodeFrame({ _tag: "SubscribeAll" })
        yield* first.write(request)
        yield* Scope.close(scope, Exit.void)
        yield* first.write(request)
        assert.deepStrictEqual(lines.slice(1), [
          opened(1, 1000),
          opened(2, 1000),
          JSON.stringify({ _tag: "Sent", at: 2000, epoch: 1, frame: { text: request } }),
          `{"_tag":"Finished","at":2000}`
        ])
      })
    )

    it.live("never records a key, whether the server accepts it or not", () =>
      Effect.gen(function* () {
        const key = "mk_very_secret"
        const { lines, write } = memory()
        const server = yield* MockMeshServer.make({ apiKey: Redacted.make(key) })
        for (const apiKey of [key, `${key}_but_wrong`]) {
          const inner = yield* NodeMeshSocket.make({ url: server.url, apiKey: Redacted.make(apiKey) })
          const socket = yield* Recording.record(inner, write)
          yield* Effect.ignore(dial(socket))
        }
        const noServer = yield* NodeMeshSocket.make({ url: "http://127.0.0.1:1", apiKey: Redacted.make(key) })
        yield* Effect.ignore(dial(yield* Recording.record(noServer, write)))
        const all = lines.join("\n")
        assert.include(all, "Opened")
        assert.include(all, "HandshakeRejected")
        assert.include(all, "DialFailed")
        assert.notInclude(all, key)
      })
    )

    it.effect("leaves out the platform's own errors, which may contain secrets", () =>
      Effect.gen(function* () {
        const { lines, write } = memory()
        const secret = new Error("x-makima-api-key: secret")
        const causes = [
          new Socket.SocketOpenError({ kind: "Unknown", cause: secret }),
          new Socket.SocketOpenError({ kind: "Unknown", cause: new MeshError.TlsFailed({ code: "X", cause: secret }) }),
          new Socket.SocketOpenError({ kind: "Unknown", cause: new MeshError.CredentialsFailed({ cause: secret }) }),
          new Socket.SocketReadError({ cause: secret })
        ]
        for (const reason of causes) {
          const broken = Socket.make({
            reader: Effect.fail(new Socket.SocketError({ reason })),
            writer: Effect.succeed({ write: () => Effect.void, writeAll: () => Effect.void })
          })
          yield* Effect.ignore(dial(yield* Recording.record(broken, write)))
        }
        assert.strictEqual(lines.filter((line) => line.includes("DialFailed")).length, 4)
        assert.notInclude(lines.join(""), "secret")
      })
    )
  })

  TransportLaws.suite(
    "a recorded socket",
    Layer.effect(
      TransportLaws.Harness,
      Effect.gen(function* () {
        const harness = yield* TransportLaws.Harness
        return { ...harness, socket: yield* Recording.record(harness.socket, () => Effect.void) }
      })
    ).pipe(Layer.provide(TransportLaws.layerScripted)),
    { clock: "test" }
  )

  describe("read", () => {
    it.effect("reads everything before a cut at any place, and fails with its line", () =>
      Effect.gen(function* () {
        const { lines } = yield* session
        const whole = (yield* readAll(lines)).entries
        assert.strictEqual(whole.length, lines.length - 2)
        for (let length = 0; length < lines.length; length++) {
          const { entries, error } = yield* readAll(lines.slice(0, length))
          assert.deepStrictEqual(entries, whole.slice(0, Math.max(0, length - 1)))
          assert.deepStrictEqual([error?.problem, error?.line], ["CutOff", length + 1])
          const line = lines[length] ?? ""
          for (const at of [1, Math.floor(line.length / 2), line.length - 1]) {
            const torn = yield* readAll([...lines.slice(0, length), line.slice(0, at)])
            assert.deepStrictEqual(torn.entries, whole.slice(0, Math.max(0, length - 1)))
            assert.deepStrictEqual(
              [torn.error?.problem, torn.error?.line],
              [length === 0 ? "NotARecording" : "Damaged", length + 1]
            )
          }
        }
      })
    )

    it.effect("reads entries or fails with the line, for any damage", () =>
      Effect.gen(function* () {
        const { lines } = yield* session
        const whole = (yield* readAll(lines)).entries
        const damage = Arbitrary.all([
          Arbitrary.map(MeshArbitrary.damagedFrame, ({ frame }) =>
            typeof frame === "string" ? frame : new TextDecoder().decode(frame)
          ),
          Arbitrary.map(MeshArbitrary.fault, (fault) => JSON.stringify(fault))
        ])
        for (const [index, texts] of (yield* Arbitrary.sampleEffect(damage, { count: 200, seed: 1 })).entries()) {
          const place = 1 + (index % (lines.length - 1))
          for (const text of texts) {
            const { entries, error } = yield* readAll(lines.with(place, text))
            assert.deepStrictEqual(entries, whole.slice(0, place - 1))
            assert.deepStrictEqual([error?.problem, error?.line], ["Damaged", place + 1])
          }
        }
      })
    )

    it.effect("describes each problem of a recording in one line", () =>
      Effect.gen(function* () {
        const messageOf = (lines: ReadonlyArray<string>) => Effect.map(readAll(lines), ({ error }) => error?.message)
        assert.deepStrictEqual(
          yield* Effect.all(
            [
              [`{"_tag":"Recording","version":2,"startedAt":0}`],
              ["hello"],
              [],
              [header, "{"],
              [header, `{"_tag":"Opened","at":"now","epoch":1}`],
              [header, `{"_tag":"Received","at":0,"epoch":1,"frame":{"base64":"?"}}`],
              [header, opened(1)]
            ].map(messageOf)
          ),
          [
            "The version of this recording is not supported: 2",
            "This is not a recording: line 1 is not a header",
            "The recording is cut off: it ends before line 1",
            "Line 2 of the recording is damaged: it is not a JSON value",
            "Line 2 of the recording is damaged: Expected number at at",
            "Line 2 of the recording is damaged: it is not base64 at frame",
            "The recording is cut off: it ends before line 3"
          ]
        )
      })
    )
  })

  describe("replay", () => {
    it.effect("replays the recorded events at the same times", () =>
      Effect.gen(function* () {
        const { lines, seen } = yield* session
        const replayed = yield* Effect.gen(function* () {
          const start = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
          const { finished, socket } = yield* Recording.replay(lines)
          const { events, fiber } = yield* follow(socket)
          yield* TestClock.adjust("2 minutes")
          const exit = yield* Fiber.await(fiber)
          const error = Exit.findError(exit)
          assert.isTrue(Result.isSuccess(error) && Recording.isOver(error.success))
          yield* finished
          return events.map((event) => ("at" in event ? { ...event, at: event.at - start } : event))
        })
        const last = replayed.at(-1)
        assert.isTrue(last?._tag === "Disconnected" && last.at === 83_000 && !("retryInMillis" in last))
        assert.deepStrictEqual(replayed.slice(0, -1), seen)
        assert.strictEqual(seen.filter(({ _tag }) => _tag === "Resync").length, 6)
      }).pipe(Effect.provide(TestClock.layer()))
    )

    it.effect("replays without delays of its own with timing: asPulled", () =>
      Effect.gen(function* () {
        const { lines, seen } = yield* session
        const start = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
        const { socket } = yield* Recording.replay(lines, { timing: "asPulled" })
        const { events, fiber } = yield* follow(socket)
        // One refused dial, with its Retry-After, and three reconnects.
        yield* TestClock.adjust("11 seconds")
        yield* Fiber.await(fiber)
        assert.deepStrictEqual(
          events.slice(0, -1).map(({ _tag }) => _tag),
          seen.map(({ _tag }) => _tag)
        )
        const last = events.at(-1)
        assert.isTrue(last?._tag === "Disconnected" && last.at - start === 11_000)
      })
    )

    it.effect("replays each frame at its time on the monotonic clock", () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(3_600_000)
        const { socket } = yield* Recording.replay([header, opened(1, 0), received(1, "1", 30), finished])
        const { pull } = yield* dial(socket)
        yield* TestClock.setTime(0)
        yield* TestClock.adjust(Duration.millis(30))
        assert.deepStrictEqual(yield* pull, ["1"])
      })
    )

    it.effect("replays each frame at its time, to the millisecond", () =>
      Effect.gen(function* () {
        const lines = [
          header,
          opened(1, 10),
          received(1, "1", 30),
          received(1, "2", 30),
          received(1, "3", 31),
          finished
        ]
        const { socket } = yield* Recording.replay(lines)
        const dialling = yield* Effect.forkChild(dial(socket))
        yield* TestClock.adjust(Duration.millis(9))
        assert.isUndefined(dialling.pollUnsafe())
        yield* TestClock.adjust(Duration.millis(1))
        const { pull } = yield* Fiber.join(dialling)
        const pulling = yield* Effect.forkChild(pull)
        yield* TestClock.adjust(Duration.millis(19))
        assert.isUndefined(pulling.pollUnsafe())
        // The interrupted pull has lost nothing.
        yield* Fiber.interrupt(pulling)
        yield* TestClock.adjust(Duration.millis(1))
        assert.deepStrictEqual(yield* pull, ["1", "2"])
        yield* TestClock.adjust(Duration.millis(100))
        assert.deepStrictEqual(yield* pull, ["3"])
      })
    )

    it.effect("replays everything before a damaged line, and then fails without a retry", () =>
      Effect.gen(function* () {
        for (const [broken, line] of [
          [[`{"_tag":"Recei`], 4],
          [[], 4]
        ] as const) {
          const { finished, socket } = yield* Recording.replay([
            header,
            opened(1),
            received(1, `{"type":"error","code":"LAST"}`),
            ...broken
          ])
          const { events, fiber } = yield* follow(socket)
          const exit = yield* Fiber.await(fiber)
          assert.deepStrictEqual(
            events.map(({ _tag }) => _tag),
            ["Connected", "ServerError", "Disconnected"]
          )
          const error = Exit.findError(exit)
          assert.isTrue(Result.isSuccess(error) && error.success.reason._tag === "ConnectionClosed")
          assert.include(
            Result.isSuccess(error) ? error.success.message : "",
            `line ${line}`.replace("line", broken.length === 0 ? "line" : "Line")
          )
          const problem = yield* Effect.flip(finished)
          assert.strictEqual(problem.line, line)
        }
      })
    )

    it.effect("skips the rest of a connection that the program closes early", () =>
      Effect.gen(function* () {
        const { socket } = yield* Recording.replay([
          header,
          opened(1),
          received(1, "1"),
          received(1, "never seen"),
          ended(1),
          refused(1),
          opened(2),
          received(2, "2"),
          finished
        ])
        const first = yield* dial(socket)
        yield* first.hangUp
        assert.strictEqual(yield* reasonOf(first.pull), "1000 ")
        assert.strictEqual(yield* reasonOf(dial(socket)), "HandshakeRejected")
        const second = yield* dial(socket)
        assert.deepStrictEqual(yield* second.pull, ["2"])
        assert.strictEqual(yield* reasonOf(second.pull), "4499 The recording is over")
        assert.strictEqual(yield* reasonOf(dial(socket)), "4499 The recording is over")
      })
    )

    it.effect("closes a connection that the recorded program closed, when it dials again", () =>
      Effect.gen(function* () {
        const { socket } = yield* Recording.replay([header, opened(1), ended(1), opened(2), ended(2), finished])
        const first = yield* dial(socket)
        assert.strictEqual(yield* reasonOf(first.pull), "1000 ")
        const second = yield* dial(socket)
        assert.strictEqual(yield* reasonOf(second.pull), "4499 The recording is over")
      })
    )

    it.effect("replays two overlapping connections separately", () =>
      Effect.gen(function* () {
        const { socket } = yield* Recording.replay([
          header,
          opened(1),
          opened(2),
          received(2, "b1"),
          received(1, "a1"),
          received(2, "b2"),
          ended(2),
          received(1, "a2"),
          ended(1),
          finished
        ])
        const first = yield* dial(socket)
        const second = yield* dial(socket)
        assert.deepStrictEqual(yield* first.pull, ["a1", "a2"])
        assert.deepStrictEqual(yield* second.pull, ["b1", "b2"])
      })
    )

    it.effect("answers two concurrent dials with two connections, and replays every failed dial", () =>
      Effect.gen(function* () {
        const { socket } = yield* Recording.replay([
          header,
          opened(1, 10),
          refused(1, 20),
          opened(2, 30),
          received(2, "2", 30),
          finished
        ])
        const dialOnce = Effect.forkChild(Effect.result(dial(socket)))
        const fibers = [yield* dialOnce, yield* dialOnce, yield* dialOnce] as const
        yield* settle
        yield* TestClock.adjust(Duration.millis(10))
        const first = yield* Fiber.join(fibers[0])
        if (Result.isSuccess(first)) yield* first.success.hangUp
        yield* TestClock.adjust(Duration.millis(20))
        const second = yield* Fiber.join(fibers[1])
        const third = yield* Fiber.join(fibers[2])
        assert.deepStrictEqual([first, second, third].map(Result.isSuccess), [true, false, true])
      })
    )

    it.effect("fails a waiting pull when its scope closes, and accepts any write", () =>
      Effect.gen(function* () {
        const { socket } = yield* Recording.replay([header, opened(1), received(1, "late", 1000), finished])
        const scope = yield* Scope.make()
        const { pull } = yield* Scope.provide(socket.reader, scope)
        const writer = yield* Scope.provide(socket.writer, scope)
        yield* writer.write(ClientMessage.encodeFrame({ _tag: "SubscribeAll" }))
        const pulling = yield* Effect.forkChild(reasonOf(pull))
        yield* settle
        yield* Scope.close(scope, Exit.void)
        assert.strictEqual(yield* Fiber.join(pulling), "1000 ")
      })
    )
  })

  describe("a file", () => {
    it.effect("writes a recording to a file that can be replayed", () =>
      Effect.gen(function* () {
        const fs = yield* FileSystem.FileSystem
        const path = `${yield* fs.makeTempDirectoryScoped()}/session.jsonl`
        const mesh = yield* ScriptedMesh.make()
        const text = `{"type":"error","message":"ü\\r\\n\u2028 in one line"}`
        yield* Effect.gen(function* () {
          const socket = yield* Socket.Socket
          const { pull } = yield* dial(socket)
          yield* mesh.emitRaw(text)
          yield* pull
        }).pipe(
          Effect.scoped,
          Effect.provide(
            Layer.unwrap(Effect.map(Recording.toFile(path), Recording.layerRecord)).pipe(
              Layer.provide(Layer.succeed(Socket.Socket, mesh.socket))
            )
          )
        )
        assert.isTrue((yield* fs.readFileString(path)).endsWith("\n"))
        const frames = yield* Effect.gen(function* () {
          const { pull } = yield* dial(yield* Socket.Socket)
          return yield* pull
        }).pipe(Effect.provide(Recording.layerReplay(Recording.fromFile(path))))
        assert.deepStrictEqual(frames, [text])
      }).pipe(Effect.scoped, Effect.provide(NodeFileSystem.layer))
    )

    it.effect("logs a failed file write once, and lets the feed continue", () =>
      Effect.gen(function* () {
        const logged: Array<unknown> = []
        const logger = Logger.make(({ message }) => {
          logged.push(message)
        })
        const full = FileSystem.makeNoop({ open: () => Effect.succeed(fullFile) })
        const write = yield* Effect.provideService(Recording.toFile("x"), FileSystem.FileSystem, full)
        const mesh = yield* ScriptedMesh.make()
        yield* Effect.gen(function* () {
          const { pull } = yield* dial(yield* Recording.record(mesh.socket, write))
          yield* mesh.emitRaw("1")
          assert.deepStrictEqual(yield* pull, ["1"])
        }).pipe(Effect.provide(Logger.layer([logger])))
        assert.strictEqual(logged.length, 1)
      })
    )
  })
})

const unused = Effect.die("not used here")

/** A file on a full disk. */
const fullFile: FileSystem.File = {
  [FileSystem.FileTypeId]: FileSystem.FileTypeId,
  stat: unused,
  seek: () => unused,
  sync: unused,
  read: () => unused,
  readAlloc: () => unused,
  truncate: () => unused,
  write: () => unused,
  writeAll: () => Effect.die("no space left")
}
