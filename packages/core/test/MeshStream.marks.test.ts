import { assert, describe } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as Socket from "effect/socket/Socket"
import * as TestClock from "effect/testing/TestClock"
import * as ScriptedMesh from "@makima-stream/test-kit/ScriptedMesh"
import * as Interest from "../src/Interest.ts"
import * as MeshError from "../src/MeshError.ts"
import type { MeshEvent } from "../src/MeshEvent.ts"
import type * as MeshSession from "../src/MeshSession.ts"
import * as MeshStream from "../src/MeshStream.ts"
import type { ServerMessage } from "../src/ServerMessage.ts"
import { TaskId } from "../src/TaskId.ts"
import { follow, settle } from "./support/follow.ts"
import { closesEverything, itLeavesNothing } from "./support/leaves.ts"
import * as WallClock from "./support/wallClock.ts"

const a = TaskId.make("a")
const b = TaskId.make("b")

const updated = (version: number, taskId: TaskId = a): ServerMessage => ({ _tag: "TaskUpdated", taskId, version })

const said = (content: string, taskId: TaskId = a): ServerMessage => ({
  _tag: "TaskOutput",
  taskId,
  messageType: "assistant",
  content
})

/** The default delays without jitter. */
const plain = {
  schedule: Schedule.exponential("2 seconds").pipe(
    Schedule.modifyDelay(({ duration }) => Effect.succeed(Duration.min(duration, Duration.seconds(30))))
  )
}

const setup = (options?: Partial<MeshStream.ConnectOptions> & { readonly mesh?: ScriptedMesh.Options }) =>
  Effect.gen(function* () {
    const mesh = yield* ScriptedMesh.make(options?.mesh)
    yield* closesEverything(mesh)
    const stream = MeshStream.connect({ interest: Interest.all, policy: plain, ...options }).pipe(
      Stream.provideService(Socket.Socket, mesh.socket)
    )
    return { mesh, stream }
  })

/** Summarises an event: a mark by its reason, data by its version or content. */
const word = (event: MeshEvent): string => {
  switch (event._tag) {
    case "Resync": {
      const kind = event.reason._tag === "Subscribed" ? ` ${event.reason.kind} ${event.taskId ?? "all"}` : ""
      return `${event.reason._tag}${kind}${event.unconfirmed === undefined ? "" : ` unconfirmed ${event.unconfirmed}`}`
    }
    case "TaskUpdated":
      return String(event.version)
    case "TaskOutput":
      return event.content
    default:
      return event._tag
  }
}

const requests = (mesh: ScriptedMesh.ScriptedMesh["Service"]) =>
  Effect.map(mesh.received, (received) => received.map(({ message }) => message._tag))

describe("MeshStream.connect", () => {
  describe("marks", () => {
    itLeavesNothing("Started follows the events that arrived before the last acknowledgement", () =>
      Effect.gen(function* () {
        const interest = Interest.union(Interest.all, Interest.output([a, b]))
        const { mesh, stream } = yield* setup({ interest, mesh: { acknowledge: "manual" } })
        const { events } = yield* follow(stream)
        yield* settle
        yield* mesh.emit(updated(1))
        yield* mesh.acknowledge(2)
        yield* mesh.emit(updated(2))
        yield* mesh.acknowledge(1)
        yield* mesh.emit(updated(3))
        yield* settle
        assert.deepStrictEqual(events.map(word), ["Connected", "1", "2", "Started", "3"])
      })
    )

    itLeavesNothing("Reconnected measures the time up to the confirmation", () =>
      Effect.gen(function* () {
        const { mesh, stream } = yield* setup({ mesh: { acknowledge: "manual" } })
        const { events } = yield* follow(stream)
        yield* settle
        yield* mesh.acknowledge()
        yield* mesh.kill()
        yield* TestClock.adjust("2 seconds")
        yield* TestClock.adjust("300 millis")
        yield* mesh.acknowledge()
        yield* settle
        assert.deepStrictEqual<unknown>(events.at(-1), {
          _tag: "Resync",
          epoch: 2,
          reason: { _tag: "Reconnected", downMillis: 2300 }
        })
      })
    )

    itLeavesNothing(
      "Reconnected counts from the end of the last complete stretch, past an unconfirmed connection",
      () =>
        Effect.gen(function* () {
          const { mesh, stream } = yield* setup({ mesh: { acknowledge: "manual" } })
          const { events } = yield* follow(stream)
          yield* settle
          yield* mesh.acknowledge()
          yield* mesh.kill()
          yield* TestClock.adjust("2 seconds")
          yield* mesh.kill()
          yield* TestClock.adjust("4 seconds")
          yield* mesh.acknowledge()
          yield* settle
          assert.deepStrictEqual<unknown>(events.at(-1), {
            _tag: "Resync",
            epoch: 3,
            reason: { _tag: "Reconnected", downMillis: 6000 }
          })
        })
    )

    itLeavesNothing("Subscribed is emitted where an added key is confirmed", () =>
      Effect.gen(function* () {
        const interest = yield* SubscriptionRef.make(Interest.all)
        const { mesh, stream } = yield* setup({ interest, mesh: { acknowledge: "manual" } })
        const { events } = yield* follow(stream)
        yield* settle
        yield* mesh.acknowledge()
        yield* SubscriptionRef.set(interest, Interest.union(Interest.all, Interest.output(a)))
        yield* settle
        yield* mesh.emit(said("not complete yet"))
        yield* mesh.acknowledge()
        yield* mesh.emit(said("complete"))
        yield* settle
        assert.deepStrictEqual(events.map(word), [
          "Connected",
          "Started",
          "not complete yet",
          "Subscribed output a",
          "complete"
        ])
      })
    )

    itLeavesNothing(
      "marks carry the number of unconfirmed keys after the timeout, and each key gets its own mark once confirmed",
      () =>
        Effect.gen(function* () {
          const { mesh, stream } = yield* setup({ interest: Interest.output([a, b]), mesh: { acknowledge: "manual" } })
          const { events } = yield* follow(stream)
          yield* settle
          yield* mesh.acknowledge(1)
          yield* TestClock.adjust(Duration.millis(4999))
          assert.deepStrictEqual(events.map(word), ["Connected"])
          yield* TestClock.adjust(Duration.millis(1))
          assert.deepStrictEqual(events.map(word), ["Connected", "Started unconfirmed 1"])
          // The request is repeated after five seconds more.
          yield* TestClock.adjust("5 seconds")
          assert.deepStrictEqual(yield* requests(mesh), ["SubscribeOutput", "SubscribeOutput", "SubscribeOutput"])
          yield* mesh.acknowledge()
          yield* settle
          assert.deepStrictEqual(events.slice(2).map(word), ["Subscribed output b"])
          yield* TestClock.adjust("1 hour")
          assert.strictEqual((yield* requests(mesh)).length, 3)
        })
    )

    itLeavesNothing("an added key that is never confirmed is marked once", () =>
      Effect.gen(function* () {
        const interest = yield* SubscriptionRef.make(Interest.all)
        const { mesh, stream } = yield* setup({ interest })
        const { events } = yield* follow(stream)
        yield* settle
        yield* mesh.setAcknowledge("never")
        yield* SubscriptionRef.set(interest, Interest.union(Interest.all, Interest.output(a)))
        yield* settle
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual(events.map(word), ["Connected", "Started", "Subscribed output a unconfirmed 1"])
        // After 5, then 10, then 20 seconds.
        assert.strictEqual((yield* requests(mesh)).filter((tag) => tag === "SubscribeOutput").length, 4)
      })
    )

    itLeavesNothing("an empty interest is marked at once", () =>
      Effect.gen(function* () {
        const { stream } = yield* setup({ interest: Interest.empty })
        const { events } = yield* follow(stream)
        yield* settle
        assert.deepStrictEqual(events.map(word), ["Connected", "Started"])
      })
    )
  })

  itLeavesNothing("writes requested, confirmed and unconfirmed keys with their epoch to the given reference", () =>
    Effect.gen(function* () {
      const subscriptions = yield* SubscriptionRef.make<MeshSession.SubscriptionState>({
        epoch: 0,
        requested: Interest.empty,
        confirmed: Interest.empty,
        unconfirmed: Interest.empty
      })
      const { mesh, stream } = yield* setup({
        interest: Interest.output([a, b]),
        subscriptions,
        mesh: { acknowledge: "manual" }
      })
      yield* follow(stream)
      yield* settle
      const state = { epoch: 1, requested: Interest.output([a, b]), confirmed: Interest.empty }
      assert.deepStrictEqual(yield* SubscriptionRef.get(subscriptions), { ...state, unconfirmed: Interest.empty })
      yield* mesh.acknowledge(1)
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(yield* SubscriptionRef.get(subscriptions), {
        ...state,
        confirmed: Interest.output(a),
        unconfirmed: Interest.output(b)
      })
      yield* mesh.kill()
      yield* settle
      assert.deepStrictEqual((yield* SubscriptionRef.get(subscriptions)).confirmed, Interest.empty)
      assert.deepStrictEqual((yield* SubscriptionRef.get(subscriptions)).requested, Interest.empty)
    })
  )

  describe("durations", () => {
    for (const [name, millis] of [
      ["back", -3_600_000],
      ["forward", 3_600_000]
    ] as const) {
      itLeavesNothing(`durations do not follow a wall clock that steps ${name} by an hour`, () =>
        Effect.gen(function* () {
          const wall = yield* WallClock.make
          const { mesh, stream } = yield* setup()
          const { events } = yield* follow(stream).pipe(Effect.provideService(Clock.Clock, wall.clock))
          yield* settle
          yield* mesh.refuse(1, 503, { "retry-after": "5" })
          yield* mesh.kill()
          yield* settle
          wall.step(millis)
          yield* TestClock.adjust("2 seconds")
          wall.step(-millis)
          yield* TestClock.adjust("9 seconds")
          yield* settle
          assert.deepStrictEqual(yield* mesh.dials, [0, 2000, 11_000])
          assert.deepStrictEqual<unknown>(events.at(-1), {
            _tag: "Resync",
            epoch: 2,
            reason: { _tag: "Reconnected", downMillis: 11_000 }
          })
        })
      )
    }
  })

  describe("a dial", () => {
    itLeavesNothing("an interrupted dial counts as a failed attempt, with a Disconnected and a backoff", () =>
      Effect.gen(function* () {
        const { mesh, stream } = yield* setup()
        yield* mesh.delayDial("3 seconds")
        const events: Array<MeshEvent> = []
        // A pull with a timeout against a handshake that takes longer.
        yield* Stream.toPull(stream).pipe(
          Effect.flatMap((pull) =>
            pull.pipe(
              Effect.map((batch) => events.push(...batch)),
              Effect.timeoutOption("2 seconds"),
              Effect.forever
            )
          ),
          Effect.scoped,
          Effect.forkScoped
        )
        yield* TestClock.adjust("1 minute")
        yield* settle
        // Without a backoff these were 31.
        assert.isAtMost((yield* mesh.dials).length, 6)
        assert.deepStrictEqual(
          events.slice(0, 2).map((event) => (event._tag === "Disconnected" ? [event.attempt, event.reason._tag] : [])),
          [
            [1, "DialTimeout"],
            [2, "DialTimeout"]
          ]
        )
      })
    )

    itLeavesNothing("logs one warning after three consecutive failures", () =>
      Effect.gen(function* () {
        const warnings: Array<unknown> = []
        const logger = Logger.make(({ logLevel, message }) => {
          if (logLevel === "Warn") warnings.push(message)
        })
        const { mesh, stream } = yield* setup()
        yield* mesh.refuse(1000, 503)
        yield* follow(stream).pipe(Effect.provide(Logger.layer([logger])))
        yield* TestClock.adjust("5 seconds")
        assert.strictEqual(warnings.length, 0)
        yield* TestClock.adjust("1 second")
        yield* settle
        assert.strictEqual(warnings.length, 1)
        yield* TestClock.adjust("10 minutes")
        assert.strictEqual(warnings.length, 1)
      })
    )

    itLeavesNothing("a dial with a refused key is repeated once if the credentials may change", () =>
      Effect.gen(function* () {
        const refused = new MeshError.HandshakeRejected({ status: 401, credentialsMayChange: true })
        let dials = 0
        const socket = Socket.make({
          reader: Effect.suspend(() => {
            dials++
            return Effect.fail(
              new Socket.SocketError({ reason: new Socket.SocketOpenError({ kind: "Unknown", cause: refused }) })
            )
          }),
          writer: Effect.succeed({ write: () => Effect.void, writeAll: () => Effect.void })
        })
        const { events, exit } = yield* follow(
          MeshStream.connect({ interest: Interest.all }).pipe(Stream.provideService(Socket.Socket, socket))
        )
        yield* TestClock.adjust("1 minute")
        assert.strictEqual((yield* exit)._tag, "Failure")
        assert.strictEqual(dials, 2)
        assert.deepStrictEqual(
          events.map((event) => event._tag === "Disconnected" && event.retryInMillis),
          [100, undefined]
        )
      })
    )
  })

  describe("pace", () => {
    itLeavesNothing("spreads the requests of a large interest over time, and marks it when all are confirmed", () =>
      Effect.gen(function* () {
        const tasks = Array.from({ length: 30 }, (_, n) => TaskId.make(`task ${n}`))
        const { mesh, stream } = yield* setup({
          interest: Interest.output(tasks),
          pace: { requestsPerSecond: 10, burst: 10 }
        })
        const { events } = yield* follow(stream)
        yield* settle
        assert.strictEqual((yield* requests(mesh)).length, 10)
        yield* TestClock.adjust("1 second")
        assert.strictEqual((yield* requests(mesh)).length, 20)
        assert.deepStrictEqual(events.map(word), ["Connected"])
        yield* TestClock.adjust("1 second")
        yield* settle
        assert.strictEqual((yield* requests(mesh)).length, 30)
        assert.deepStrictEqual(events.map(word), ["Connected", "Started"])
      })
    )

    itLeavesNothing("halves until a server that accepts 100 requests a second confirms 300 tasks", () =>
      Effect.gen(function* () {
        const tasks = Array.from({ length: 300 }, (_, n) => TaskId.make(`task ${n}`))
        const { mesh, stream } = yield* setup({
          interest: Interest.output(tasks),
          mesh: { requestLimit: { perSecond: 100, code: 1008 } }
        })
        const { events } = yield* follow(stream)
        yield* TestClock.adjust("1 minute")
        yield* settle
        assert.deepStrictEqual(
          events.map((event) => (event._tag === "Disconnected" ? event.reason._tag : word(event))),
          [...Array.from({ length: 3 }, () => ["Connected", "ConnectionClosed"]).flat(), "Connected", "Reconnected"]
        )
        // The bursts are 300, 150, 75 and 37.
        const [last] = (yield* mesh.connections).slice(-1)
        assert.strictEqual(last?.interest.output.size, 300)
      })
    )

    itLeavesNothing("is not what a close with 1008 is about where few requests were sent", () =>
      Effect.gen(function* () {
        const { mesh, stream } = yield* setup()
        const { exit } = yield* follow(stream)
        yield* settle
        yield* mesh.close(1008, "key revoked")
        assert.strictEqual((yield* exit)._tag, "Failure")
      })
    )
  })
})
