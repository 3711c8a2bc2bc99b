import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Socket from "effect/socket/Socket"
import * as TestClock from "effect/testing/TestClock"
import * as ClientMessage from "@makima-stream/core/ClientMessage"
import * as Interest from "@makima-stream/core/Interest"
import * as MeshError from "@makima-stream/core/MeshError"
import * as MeshEvent from "@makima-stream/core/MeshEvent"
import * as MeshStream from "@makima-stream/core/MeshStream"
import * as ServerMessage from "@makima-stream/core/ServerMessage"
import * as TaskId from "@makima-stream/core/TaskId"
import * as Audit from "../src/Audit.ts"
import * as ScriptedMesh from "../src/ScriptedMesh.ts"
import { turns } from "../src/internal/turns.ts"

const a = TaskId.make("a")
const b = TaskId.make("b")

const update = (version: number, taskId = a): ServerMessage.ServerMessage => ({ _tag: "TaskUpdated", taskId, version })

const output = (content: string, taskId = a): ServerMessage.ServerMessage => ({
  _tag: "TaskOutput",
  taskId,
  messageType: "raw",
  content
})

/** A minimal client: opens a connection, sends requests, pulls frames. */
const dial = (mesh: ScriptedMesh.ScriptedMesh["Service"]) =>
  Effect.gen(function* () {
    const scope = yield* Scope.fork(yield* Effect.scope)
    const reader = yield* Scope.provide(mesh.socket.reader, scope)
    const writer = yield* Scope.provide(mesh.socket.writer, scope)
    const say = (...messages: ReadonlyArray<ClientMessage.ClientMessage>) =>
      Effect.forEach(messages, (message) => writer.write(ClientMessage.encodeFrame(message)), { discard: true })
    return {
      pull: Effect.map(reader.pull, (frames) => frames.map(String)),
      writer,
      say,
      hangUp: Scope.close(scope, Exit.void)
    }
  })

const frames = (...messages: ReadonlyArray<ServerMessage.ServerMessage>) =>
  Effect.forEach(messages, (message) => Effect.fromResult(ServerMessage.encodeFrame(message)))

/** The reason why a connection or a dial failed. */
const reasonOf = <A>(effect: Effect.Effect<A, Socket.SocketError, Scope.Scope>) =>
  Effect.map(Effect.flip(effect), MeshError.fromSocketError)

const settle = turns(20)

describe("ScriptedMesh", () => {
  describe("like the real server", () => {
    it.effect("sends each message once to each connection that subscribed to it", () =>
      Effect.gen(function* () {
        const mesh = yield* ScriptedMesh.make({ acknowledge: "never" })
        const first = yield* dial(mesh)
        const second = yield* dial(mesh)
        yield* first.say({ _tag: "SubscribeAll" }, { _tag: "Subscribe", taskId: a })
        yield* second.say({ _tag: "SubscribeOutput", taskId: b })
        yield* mesh.emit(update(1), output("x"), output("y", b), { _tag: "ServerError", code: "E", message: "" })
        assert.deepStrictEqual(
          yield* first.pull,
          yield* frames(update(1), { _tag: "ServerError", code: "E", message: "" })
        )
        assert.deepStrictEqual(
          yield* second.pull,
          yield* frames(output("y", b), { _tag: "ServerError", code: "E", message: "" })
        )
      })
    )

    it.effect("acknowledges each request, with or without its task", () =>
      Effect.gen(function* () {
        for (const nameTasks of [true, false]) {
          const mesh = yield* ScriptedMesh.make({ nameTasks })
          const { pull, say } = yield* dial(mesh)
          yield* say(
            { _tag: "SubscribeAll" },
            { _tag: "Subscribe", taskId: a },
            { _tag: "UnsubscribeOutput", taskId: b }
          )
          assert.deepStrictEqual(
            yield* pull,
            yield* frames(
              { _tag: "SubscribedAll" },
              { _tag: "Subscribed", ...(nameTasks ? { taskId: a } : {}) },
              { _tag: "OutputUnsubscribed", ...(nameTasks ? { taskId: b } : {}) }
            )
          )
        }
      })
    )

    it.effect("does not replay messages to later connections", () =>
      Effect.gen(function* () {
        const mesh = yield* ScriptedMesh.make({ acknowledge: "never" })
        yield* mesh.emit(update(1))
        const { pull, say } = yield* dial(mesh)
        yield* mesh.emit(update(2))
        yield* say({ _tag: "SubscribeAll" })
        yield* mesh.emit(update(3))
        assert.deepStrictEqual(yield* pull, yield* frames(update(3)))
      })
    )

    it.effect("answers a frame that is not a request with an error, and keeps the connection open", () =>
      Effect.gen(function* () {
        const mesh = yield* ScriptedMesh.make()
        const { pull, say, writer } = yield* dial(mesh)
        yield* writer.write("hello")
        yield* say({ _tag: "SubscribeAll" })
        const [answer = "", acknowledgement] = yield* pull
        assert.include(answer, "BAD_REQUEST")
        assert.strictEqual(acknowledgement, '{"type":"subscribedAll"}')
        assert.strictEqual((yield* mesh.received).length, 1)
      })
    )
  })

  describe("emitting", () => {
    it.effect("drops, repeats and reorders only the next messages", () =>
      Effect.gen(function* () {
        const mesh = yield* ScriptedMesh.make({ acknowledge: "never" })
        const { pull, say } = yield* dial(mesh)
        yield* say({ _tag: "SubscribeAll" })
        yield* mesh.dropNext(2)
        yield* mesh.emit(update(1), update(2), update(3))
        assert.deepStrictEqual(yield* pull, yield* frames(update(3)))
        yield* mesh.duplicateNext(1)
        yield* mesh.emit(update(4), update(5))
        assert.deepStrictEqual(yield* pull, yield* frames(update(4), update(4), update(5)))
        yield* mesh.reorder(3)
        yield* mesh.emit(update(6), update(7), update(8), update(9))
        assert.deepStrictEqual(yield* pull, yield* frames(update(8), update(7), update(6), update(9)))
      })
    )

    it.effect("sends raw frames unchanged to every connection", () =>
      Effect.gen(function* () {
        const mesh = yield* ScriptedMesh.make()
        const { pull } = yield* dial(mesh)
        yield* mesh.emitRaw("}{")
        assert.deepStrictEqual(yield* pull, ["}{"])
        assert.deepStrictEqual(yield* mesh.sent, [{ connection: 1, message: undefined, frame: "}{" }])
      })
    )

    it.effect("sends garbage of every decoding problem", () =>
      Effect.gen(function* () {
        const mesh = yield* ScriptedMesh.make()
        yield* dial(mesh)
        for (const problem of ["InvalidJson", "NotAnObject", "InvalidMessage", "InvalidUtf8"] as const) {
          yield* mesh.garbage(problem)
          const frame = (yield* mesh.sent).at(-1)?.frame ?? ""
          const result = ServerMessage.decodeFrame(frame)
          assert.strictEqual(Result.isFailure(result) ? result.failure.problem : "none", problem)
        }
      })
    )

    it.effect("returns at most maxBatch frames from a pull", () =>
      Effect.gen(function* () {
        const mesh = yield* ScriptedMesh.make({ maxBatch: 2 })
        const { pull } = yield* dial(mesh)
        for (const frame of ["1", "2", "3"]) yield* mesh.emitRaw(frame)
        assert.deepStrictEqual([yield* pull, yield* pull], [["1", "2"], ["3"]])
      })
    )
  })

  describe("acknowledging", () => {
    it.effect("acknowledges by hand in the order of the requests, as many as requested", () =>
      Effect.gen(function* () {
        const mesh = yield* ScriptedMesh.make({ acknowledge: "manual" })
        const { pull, say } = yield* dial(mesh)
        yield* say({ _tag: "Subscribe", taskId: a }, { _tag: "Subscribe", taskId: b })
        yield* mesh.acknowledge(1)
        assert.deepStrictEqual(yield* pull, yield* frames({ _tag: "Subscribed", taskId: a }))
        yield* mesh.acknowledge()
        assert.deepStrictEqual(yield* pull, yield* frames({ _tag: "Subscribed", taskId: b }))
      })
    )

    it.effect("starts to acknowledge again after setAcknowledge(auto)", () =>
      Effect.gen(function* () {
        const mesh = yield* ScriptedMesh.make({ acknowledge: "never" })
        const { pull, say } = yield* dial(mesh)
        yield* say({ _tag: "Subscribe", taskId: a })
        yield* mesh.setAcknowledge("auto")
        yield* say({ _tag: "Subscribe", taskId: b })
        assert.deepStrictEqual(yield* pull, yield* frames({ _tag: "Subscribed", taskId: b }))
      })
    )
  })

  describe("ending", () => {
    it.effect("closes with its code and reason after the frames sent before", () =>
      Effect.gen(function* () {
        const mesh = yield* ScriptedMesh.make()
        const { pull } = yield* dial(mesh)
        yield* mesh.emitRaw("1")
        yield* mesh.close(1012, "restart")
        assert.deepStrictEqual(yield* pull, ["1"])
        assert.deepStrictEqual(
          yield* reasonOf(pull),
          new MeshError.ConnectionClosed({ code: 1012, closeReason: "restart" })
        )
        assert.deepStrictEqual((yield* mesh.connections)[0]?.endedBy, "close")
      })
    )

    it.effect("loses unread frames in a kill only with drop: true", () =>
      Effect.gen(function* () {
        for (const drop of [false, true]) {
          const mesh = yield* ScriptedMesh.make()
          const { pull } = yield* dial(mesh)
          yield* mesh.emitRaw("1")
          yield* mesh.kill(undefined, { drop })
          if (!drop) assert.deepStrictEqual(yield* pull, ["1"])
          assert.strictEqual((yield* reasonOf(pull))._tag, "ConnectionLost")
        }
      })
    )

    it.effect("records the code of a close by the client, and fails its later writes", () =>
      Effect.gen(function* () {
        const mesh = yield* ScriptedMesh.make()
        const { say, writer } = yield* dial(mesh)
        yield* writer.write(new Socket.CloseEvent(4001, "done"))
        const [connection] = yield* mesh.connections
        assert.deepStrictEqual([connection?.open, connection?.endedBy, connection?.closeCode], [false, "client", 4001])
        assert.strictEqual((yield* Effect.flip(say({ _tag: "SubscribeAll" }))).reason._tag, "SocketWriteError")
        const second = yield* dial(mesh)
        yield* second.hangUp
        assert.strictEqual((yield* mesh.connections)[1]?.closeCode, 1000)
      })
    )

    it.effect("fails a waiting pull in another fiber when its scope closes", () =>
      Effect.gen(function* () {
        const mesh = yield* ScriptedMesh.make()
        const { hangUp, pull } = yield* dial(mesh)
        const pulling = yield* Effect.forkChild(reasonOf(pull))
        yield* settle
        yield* hangUp
        assert.strictEqual((yield* Fiber.join(pulling))._tag, "ConnectionClosed")
      })
    )
  })

  describe("frozen", () => {
    it.effect("a frozen connection sends and reads nothing until it thaws, and then everything in order", () =>
      Effect.gen(function* () {
        const mesh = yield* ScriptedMesh.make()
        const { pull, say } = yield* dial(mesh)
        yield* say({ _tag: "SubscribeAll" })
        assert.strictEqual((yield* pull).length, 1)
        yield* mesh.freeze()
        yield* mesh.emit(update(1))
        yield* say({ _tag: "SubscribeOutput", taskId: a })
        yield* mesh.emit(output("the server has not read the request yet"))
        assert.strictEqual((yield* mesh.connections)[0]?.unread, 0)
        assert.strictEqual((yield* mesh.received).length, 1)
        assert.deepStrictEqual(yield* mesh.subscriptions, Interest.all)
        yield* mesh.thaw()
        assert.deepStrictEqual(yield* mesh.subscriptions, Interest.union(Interest.all, Interest.output(a)))
        assert.deepStrictEqual(yield* pull, yield* frames(update(1), { _tag: "OutputSubscribed", taskId: a }))
      })
    )

    it.effect("a frozen connection delays a close until it thaws, and is killed at once", () =>
      Effect.gen(function* () {
        const mesh = yield* ScriptedMesh.make()
        const first = yield* dial(mesh)
        yield* mesh.freeze()
        yield* mesh.emitRaw("1")
        yield* mesh.close(1001)
        assert.isTrue((yield* mesh.connections)[0]?.open)
        yield* mesh.thaw()
        assert.deepStrictEqual(yield* first.pull, ["1"])
        assert.strictEqual((yield* reasonOf(first.pull))._tag, "ConnectionClosed")
        const second = yield* dial(mesh)
        yield* mesh.freeze()
        yield* mesh.emitRaw("2")
        yield* mesh.kill()
        assert.strictEqual((yield* reasonOf(second.pull))._tag, "ConnectionLost")
        yield* mesh.thaw()
        assert.strictEqual((yield* reasonOf(second.pull))._tag, "ConnectionLost")
      })
    )

    it.effect("the heartbeat fails a frozen connection after the interval and the deadline, to the millisecond", () =>
      Effect.gen(function* () {
        const mesh = yield* ScriptedMesh.make({ heartbeat: { interval: "3 seconds", deadline: "1 second" } })
        const { pull } = yield* dial(mesh)
        const pulling = yield* Effect.forkChild(reasonOf(pull))
        // The time of a short freeze does not count towards the next one.
        yield* mesh.freeze()
        yield* TestClock.adjust("3 seconds")
        yield* mesh.thaw()
        yield* settle
        yield* mesh.freeze()
        yield* TestClock.adjust(Duration.millis(3999))
        assert.isTrue((yield* mesh.connections)[0]?.open)
        yield* TestClock.adjust(Duration.millis(1))
        assert.deepStrictEqual(yield* Fiber.join(pulling), new MeshError.HeartbeatTimeout({ deadlineMillis: 1000 }))
      })
    )

    it.effect("a frozen connection stays open without a heartbeat", () =>
      Effect.gen(function* () {
        const mesh = yield* ScriptedMesh.make({ heartbeat: false })
        yield* dial(mesh)
        yield* mesh.freeze()
        yield* TestClock.adjust("1 hour")
        assert.isTrue((yield* mesh.connections)[0]?.open)
      })
    )

    it.effect("freezes the open connections or one of them, and no later connection", () =>
      Effect.gen(function* () {
        const mesh = yield* ScriptedMesh.make()
        const first = yield* dial(mesh)
        const second = yield* dial(mesh)
        yield* mesh.freeze(1)
        yield* mesh.emitRaw("x")
        assert.deepStrictEqual(
          (yield* mesh.connections).map(({ frozen, unread }) => [frozen, unread]),
          [
            [true, 0],
            [false, 1]
          ]
        )
        yield* mesh.freeze()
        const third = yield* dial(mesh)
        yield* mesh.emitRaw("y")
        assert.deepStrictEqual(yield* third.pull, ["y"])
        yield* mesh.thaw(2)
        assert.deepStrictEqual(yield* second.pull, ["x", "y"])
        yield* mesh.kill(1)
        assert.strictEqual((yield* reasonOf(first.pull))._tag, "ConnectionLost")
        yield* mesh.close(1001, "", 2)
        assert.deepStrictEqual(
          (yield* mesh.connections).map(({ open }) => open),
          [false, false, true]
        )
      })
    )
  })

  describe("dialling", () => {
    it.effect("refuses the requested number of dials, with status and Retry-After", () =>
      Effect.gen(function* () {
        const mesh = yield* ScriptedMesh.make()
        yield* TestClock.setTime(1_000_000_000_000)
        yield* mesh.refuse(1, 401)
        yield* mesh.refuse(1, 503, { "Retry-After": "7" })
        yield* mesh.refuse(1, 503, { "retry-after": new Date(1_000_000_060_000).toUTCString() })
        // As a transport reads the header: it trims blanks, and ignores a value that is neither seconds nor a date.
        yield* mesh.refuse(1, 503, { "retry-after": " 7 " })
        for (const header of ["soon", "soon 1", "1.5", "-1"]) yield* mesh.refuse(1, 503, { "retry-after": header })
        const refused = Effect.map(reasonOf(mesh.socket.reader), (reason) =>
          reason._tag === "HandshakeRejected" ? [reason.status, reason.retryAfterMillis] : [reason._tag]
        )
        assert.deepStrictEqual(yield* Effect.all(Array.from({ length: 8 }, () => refused)), [
          [401, undefined],
          [503, 7000],
          [503, 60_000],
          [503, 7000],
          [503, undefined],
          [503, undefined],
          [503, undefined],
          [503, undefined]
        ])
        yield* dial(mesh)
        assert.strictEqual((yield* mesh.dials).length, 9)
      })
    )

    it.effect("stalls the requested number of dials, in the order of the faults", () =>
      Effect.gen(function* () {
        const mesh = yield* ScriptedMesh.make({ connectTimeout: "5 seconds" })
        yield* mesh.refuse(1, 503)
        yield* mesh.stallDial(1)
        yield* mesh.refuse(1, 401)
        assert.strictEqual((yield* reasonOf(mesh.socket.reader))._tag, "HandshakeRejected")
        const stalled = yield* Effect.forkChild(reasonOf(mesh.socket.reader))
        yield* TestClock.adjust(Duration.millis(4999))
        assert.isUndefined(stalled.pollUnsafe())
        yield* TestClock.adjust(Duration.millis(1))
        assert.strictEqual((yield* Fiber.join(stalled))._tag, "DialTimeout")
        const refused = yield* reasonOf(mesh.socket.reader)
        assert.isTrue(refused._tag === "HandshakeRejected" && refused.status === 401)
      })
    )

    it.effect("delays a dial, and fails it after the connect timeout", () =>
      Effect.gen(function* () {
        const mesh = yield* ScriptedMesh.make({ connectTimeout: "5 seconds" })
        yield* mesh.delayDial("4 seconds")
        const slow = yield* Effect.forkChild(dial(mesh))
        yield* TestClock.adjust(Duration.millis(3999))
        assert.strictEqual((yield* mesh.connections).length, 0)
        yield* TestClock.adjust(Duration.millis(1))
        yield* Fiber.join(slow)
        yield* mesh.delayDial("5 seconds")
        const tooSlow = yield* Effect.forkChild(reasonOf(mesh.socket.reader))
        yield* TestClock.adjust("5 seconds")
        assert.strictEqual((yield* Fiber.join(tooSlow))._tag, "DialTimeout")
      })
    )
  })

  describe("two connections of one socket", () => {
    it.effect("keeps two connections of one socket apart, and sends no old frame to a new connection", () =>
      Effect.gen(function* () {
        const mesh = yield* ScriptedMesh.make()
        const first = yield* dial(mesh)
        const second = yield* dial(mesh)
        yield* first.say({ _tag: "Subscribe", taskId: a })
        yield* second.say({ _tag: "Subscribe", taskId: b })
        assert.deepStrictEqual(
          (yield* mesh.received).map(({ connection, message }) => [connection, message]),
          [
            [1, { _tag: "Subscribe", taskId: a }],
            [2, { _tag: "Subscribe", taskId: b }]
          ]
        )
        yield* mesh.emitRaw("before")
        yield* mesh.kill()
        const third = yield* dial(mesh)
        yield* mesh.emitRaw("after")
        assert.deepStrictEqual(yield* third.pull, ["after"])
        assert.strictEqual((yield* Effect.flip(first.say({ _tag: "SubscribeAll" }))).reason._tag, "SocketWriteError")
      })
    )
  })

  describe("the log", () => {
    it.effect("logs what happened and when, in order", () =>
      Effect.gen(function* () {
        const mesh = yield* ScriptedMesh.make({ connectTimeout: "1 second" })
        yield* mesh.emit(update(1))
        yield* mesh.refuse(1, 503)
        yield* reasonOf(mesh.socket.reader)
        yield* mesh.stallDial(1)
        const stalled = yield* Effect.forkChild(reasonOf(mesh.socket.reader))
        yield* TestClock.adjust("1 second")
        yield* Fiber.join(stalled)
        const first = yield* dial(mesh)
        yield* first.say({ _tag: "SubscribeAll" })
        yield* first.writer.write("?")
        yield* mesh.freeze()
        yield* mesh.emit(update(2))
        yield* mesh.thaw()
        yield* mesh.garbage()
        yield* first.hangUp
        yield* dial(mesh)
        yield* mesh.kill()
        yield* dial(mesh)
        yield* mesh.close(1001, "bye")
        const log = yield* mesh.log
        assert.deepStrictEqual(
          log.map(({ seq }) => seq),
          log.map((_, index) => index + 1)
        )
        assert.deepStrictEqual(
          log.map(({ _tag, at }) => [_tag, at]),
          [
            ["Unheard", 0],
            ["Refused", 0],
            ["Stalled", 0],
            ...[
              "Opened",
              "Received",
              "Sent",
              "Unreadable",
              "Sent",
              "Frozen",
              "Sent",
              "Thawed",
              "SentRaw",
              "Closed",
              "Opened",
              "Killed",
              "Opened",
              "Closed"
            ].map((tag) => [tag, 1000])
          ]
        )
        assert.isTrue(log.every((entry) => entry._tag !== "Sent" || entry.delivered))
        assert.deepStrictEqual(
          log.flatMap((entry) => (entry._tag === "Closed" ? [[entry.by, entry.code, entry.reason]] : [])),
          [
            ["client", 1000, ""],
            ["server", 1001, "bye"]
          ]
        )
      })
    )

    it.effect("keeps a log that an audit accepts, and in which it finds a lost event", () =>
      Effect.gen(function* () {
        const mesh = yield* ScriptedMesh.make()
        const events: Array<MeshEvent.MeshEvent> = []
        yield* MeshStream.connect({ interest: Interest.all }).pipe(
          Stream.runForEach((event) => Effect.sync(() => events.push(event))),
          Effect.provideService(Socket.Socket, mesh.socket),
          Effect.forkScoped
        )
        yield* mesh.awaitReceived(() => true)
        yield* mesh.emit(update(1), update(2))
        yield* mesh.freeze()
        yield* mesh.emit(update(3))
        yield* TestClock.adjust("1 minute")
        yield* mesh.emit(update(4), update(5))
        yield* settle
        const report = Audit.compare(yield* mesh.log, events)
        assert.isTrue(Audit.isClean(report))
        assert.deepStrictEqual([report.received, report.missedWhileAway, report.epochs], [4, 1, 2])
        const lossy = events.filter((event) => event._tag !== "TaskUpdated" || event.version !== 1)
        assert.isFalse(Audit.isClean(Audit.compare(yield* mesh.log, lossy)))
      })
    )

    it.effect("pulled returns only the frames that the program has pulled", () =>
      Effect.gen(function* () {
        const mesh = yield* ScriptedMesh.make({ maxBatch: 1 })
        const { hangUp, pull } = yield* dial(mesh)
        for (const frame of ["1", "2", "3"]) yield* mesh.emitRaw(frame)
        yield* pull
        yield* hangUp
        assert.strictEqual((yield* reasonOf(pull))._tag, "ConnectionClosed")
        assert.deepStrictEqual(yield* mesh.pulled, (yield* mesh.sent).slice(0, 1))
        assert.strictEqual((yield* mesh.connections)[0]?.unread, 2)
      })
    )
  })

  describe("healing", () => {
    it.effect("heal ends every fault", () =>
      Effect.gen(function* () {
        const mesh = yield* ScriptedMesh.make({ acknowledge: "manual" })
        yield* mesh.refuse(1, 503)
        yield* mesh.stallDial(1)
        yield* mesh.delayDial("1 second")
        yield* mesh.heal
        const { pull, say } = yield* dial(mesh)
        yield* mesh.setAcknowledge("manual")
        yield* say({ _tag: "SubscribeAll" })
        yield* mesh.reorder(3)
        yield* mesh.emit(update(1), update(2))
        yield* mesh.freeze()
        yield* mesh.heal
        assert.deepStrictEqual(yield* pull, yield* frames(update(2), update(1), { _tag: "SubscribedAll" }))
        yield* mesh.dropNext(1)
        yield* mesh.duplicateNext(1)
        yield* mesh.heal
        yield* mesh.emit(update(3))
        yield* say({ _tag: "Subscribe", taskId: a })
        assert.deepStrictEqual(yield* pull, yield* frames(update(3), { _tag: "Subscribed", taskId: a }))
      })
    )
  })

  describe("waiting", () => {
    it.effect("awaitReceived returns the request when it arrives", () =>
      Effect.gen(function* () {
        const mesh = yield* ScriptedMesh.make()
        const waiting = yield* Effect.forkChild(mesh.awaitReceived(({ message }) => message._tag === "SubscribeAll"))
        const { say } = yield* dial(mesh)
        yield* say({ _tag: "Subscribe", taskId: a }, { _tag: "SubscribeAll" })
        assert.deepStrictEqual(yield* Fiber.join(waiting), { connection: 1, message: { _tag: "SubscribeAll" } })
      })
    )

    it.effect("awaitReceived and awaitConnection fail with the requests received so far", () =>
      Effect.gen(function* () {
        const mesh = yield* ScriptedMesh.make()
        const noConnection = yield* Effect.flip(mesh.awaitConnection())
        assert.strictEqual(noConnection.message, "Connection 1 did not come. Nothing was received.")
        const { say } = yield* dial(mesh)
        yield* say({ _tag: "Subscribe", taskId: a })
        const error = yield* Effect.flip(mesh.awaitReceived(({ message }) => message._tag === "SubscribeAll"))
        assert.strictEqual(
          error.message,
          'The request did not come. Received:\n  connection 1: {"type":"subscribe","taskId":"a"}'
        )
      })
    )
  })
})
