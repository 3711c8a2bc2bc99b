import { assert, describe } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as Socket from "effect/socket/Socket"
import * as TestClock from "effect/testing/TestClock"
import * as ScriptedMesh from "@makima-stream/test-kit/ScriptedMesh"
import * as Interest from "../src/Interest.ts"
import * as MeshError from "../src/MeshError.ts"
import type { MeshEvent } from "../src/MeshEvent.ts"
import * as MeshStream from "../src/MeshStream.ts"
import type { ServerMessage } from "../src/ServerMessage.ts"
import { TaskId } from "../src/TaskId.ts"
import { follow, settle } from "./support/follow.ts"
import { closesEverything, itLeavesNothing } from "./support/leaves.ts"

const a = TaskId.make("a")
const b = TaskId.make("b")

const updated = (version: number, taskId: TaskId = a): ServerMessage => ({ _tag: "TaskUpdated", taskId, version })

/** The default delays without their jitter, so that times can be exact. */
const plain = {
  schedule: Schedule.exponential("2 seconds").pipe(
    Schedule.modifyDelay(({ duration }) => Effect.succeed(Duration.min(duration, Duration.seconds(30))))
  )
}

const tags = (events: ReadonlyArray<MeshEvent>) => events.map((event) => event._tag)

const disconnects = (events: ReadonlyArray<MeshEvent>) =>
  events.flatMap((event) => (event._tag === "Disconnected" ? [event] : []))

const setup = (options?: Partial<MeshStream.ConnectOptions> & { readonly mesh?: ScriptedMesh.Options }) =>
  Effect.gen(function* () {
    const mesh = yield* ScriptedMesh.make(options?.mesh)
    yield* closesEverything(mesh)
    const stream = MeshStream.connect({ interest: Interest.all, policy: plain, ...options }).pipe(
      Stream.provideService(Socket.Socket, mesh.socket)
    )
    return { mesh, stream }
  })

/** Waits until the n-th connection is open and its interest has arrived. */
const online = (mesh: ScriptedMesh.ScriptedMesh["Service"], n = 1) =>
  mesh.awaitReceived(({ connection }) => connection === n)

const reasonOf = (exit: Exit.Exit<void, MeshError.MeshError>): string => {
  const error = Exit.findError(exit)
  return Result.isSuccess(error) ? error.success.reason._tag : "none"
}

describe("MeshStream.connect", () => {
  describe("the interest", () => {
    itLeavesNothing("sends the whole interest once, before the first pull, on every connection", () =>
      Effect.gen(function* () {
        const { mesh, stream } = yield* setup({
          interest: Interest.union(Interest.all, Interest.output([a, b]))
        })
        // One element is taken, `Connected`: the session has not been pulled yet.
        yield* stream.pipe(Stream.take(1), Stream.runDrain)
        const wanted = [
          { _tag: "SubscribeAll" },
          { _tag: "SubscribeOutput", taskId: a },
          { _tag: "SubscribeOutput", taskId: b }
        ]
        assert.deepStrictEqual<unknown>(
          (yield* mesh.received).map(({ message }) => message),
          wanted
        )
        const following = yield* follow(stream)
        yield* online(mesh, 2)
        yield* mesh.kill()
        yield* TestClock.adjust("2 seconds")
        yield* online(mesh, 3)
        yield* settle
        assert.deepStrictEqual<unknown>(
          (yield* mesh.received).filter(({ connection }) => connection === 3).map(({ message }) => message),
          wanted
        )
        yield* Fiber.interrupt(following.fiber)
      })
    )

    itLeavesNothing("follows a reference of the interest, and replays its current value", () =>
      Effect.gen(function* () {
        const interest = yield* SubscriptionRef.make(Interest.output(a))
        const { mesh, stream } = yield* setup({ interest })
        yield* follow(stream)
        yield* online(mesh)
        yield* SubscriptionRef.set(interest, Interest.union(Interest.all, Interest.output(b)))
        yield* mesh.awaitReceived(({ message }) => message._tag === "UnsubscribeOutput")
        assert.deepStrictEqual(yield* mesh.subscriptions, Interest.union(Interest.all, Interest.output(b)))
        yield* mesh.kill()
        yield* TestClock.adjust("2 seconds")
        yield* online(mesh, 2)
        yield* settle
        assert.deepStrictEqual<unknown>(
          (yield* mesh.received).filter(({ connection }) => connection === 2).map(({ message }) => message),
          [{ _tag: "SubscribeAll" }, { _tag: "SubscribeOutput", taskId: b }]
        )
      })
    )

    itLeavesNothing("sends an interest that changed while offline once, with the replay", () =>
      Effect.gen(function* () {
        const interest = yield* SubscriptionRef.make(Interest.all)
        const { mesh, stream } = yield* setup({ interest })
        yield* follow(stream)
        yield* online(mesh)
        yield* mesh.kill()
        yield* settle
        yield* SubscriptionRef.set(interest, Interest.union(Interest.all, Interest.output(a)))
        yield* TestClock.adjust("2 seconds")
        yield* online(mesh, 2)
        yield* settle
        assert.deepStrictEqual<unknown>(
          (yield* mesh.received).filter(({ connection }) => connection === 2).map(({ message }) => message),
          [{ _tag: "SubscribeAll" }, { _tag: "SubscribeOutput", taskId: a }]
        )
      })
    )
  })

  describe("the elements", () => {
    itLeavesNothing("emits lifecycle events in order, with a Resync after each reconnect", () =>
      Effect.gen(function* () {
        const { mesh, stream } = yield* setup()
        const { events } = yield* follow(stream)
        yield* online(mesh)
        yield* mesh.emit(updated(1), updated(2))
        yield* mesh.kill()
        yield* settle
        yield* mesh.emit(updated(3))
        yield* TestClock.adjust("2 seconds")
        yield* online(mesh, 2)
        yield* mesh.emit(updated(4))
        yield* settle
        assert.deepStrictEqual<unknown>(events, [
          { _tag: "Connected", epoch: 1, at: 0 },
          { _tag: "Resync", epoch: 1, reason: { _tag: "Started" } },
          updated(1),
          updated(2),
          {
            _tag: "Disconnected",
            epoch: 1,
            opened: true,
            attempt: 1,
            reason: new MeshError.ConnectionLost({}),
            retryInMillis: 2000,
            at: 0
          },
          { _tag: "Connected", epoch: 2, at: 2000 },
          { _tag: "Resync", epoch: 2, reason: { _tag: "Reconnected", downMillis: 2000 } },
          updated(4)
        ])
      })
    )

    itLeavesNothing("measures downtime over failed attempts", () =>
      Effect.gen(function* () {
        const { mesh, stream } = yield* setup()
        const { events } = yield* follow(stream)
        yield* online(mesh)
        yield* mesh.refuse(2, 503)
        yield* mesh.kill()
        yield* TestClock.adjust("14 seconds")
        yield* online(mesh, 2)
        yield* settle
        assert.deepStrictEqual(tags(events), [
          "Connected",
          "Resync",
          "Disconnected",
          "Disconnected",
          "Disconnected",
          "Connected",
          "Resync"
        ])
        assert.deepStrictEqual(
          disconnects(events).map(({ attempt, epoch, opened, retryInMillis }) => [
            epoch,
            opened,
            attempt,
            retryInMillis
          ]),
          [
            [1, true, 1, 2000],
            [1, false, 2, 4000],
            [1, false, 3, 8000]
          ]
        )
        assert.deepStrictEqual<unknown>(events.at(-1), {
          _tag: "Resync",
          epoch: 2,
          reason: { _tag: "Reconnected", downMillis: 14_000 }
        })
      })
    )

    itLeavesNothing("emits Started on the first connection, even after failed dials", () =>
      Effect.gen(function* () {
        const { mesh, stream } = yield* setup()
        yield* mesh.refuse(1, 503)
        const { events } = yield* follow(stream)
        yield* TestClock.adjust("2 seconds")
        yield* online(mesh)
        yield* settle
        assert.deepStrictEqual(tags(events), ["Disconnected", "Connected", "Resync"])
        assert.deepStrictEqual<unknown>(events.at(-1), { _tag: "Resync", epoch: 1, reason: { _tag: "Started" } })
        assert.strictEqual(disconnects(events)[0]?.epoch, 0)
      })
    )

    itLeavesNothing("emits a Resync in place of a frame that cannot be decoded", () =>
      Effect.gen(function* () {
        const { mesh, stream } = yield* setup()
        const { events } = yield* follow(stream)
        yield* online(mesh)
        yield* mesh.emit(updated(1))
        yield* mesh.emitRaw("garbage")
        yield* mesh.emit(updated(2))
        yield* settle
        assert.deepStrictEqual(tags(events), ["Connected", "Resync", "TaskUpdated", "Resync", "TaskUpdated"])
        const resync = events[3]
        assert.isTrue(resync?._tag === "Resync" && resync.epoch === 1 && resync.reason._tag === "BadFrame")
      })
    )

    itLeavesNothing("emits server errors and messages of unknown types", () =>
      Effect.gen(function* () {
        const { mesh, stream } = yield* setup()
        const { events } = yield* follow(stream)
        yield* online(mesh)
        yield* mesh.emit(
          { _tag: "ServerError", code: "FORBIDDEN", message: "not yours" },
          { _tag: "UnknownMessage", raw: { type: "daemonJoined" } }
        )
        yield* settle
        assert.deepStrictEqual(tags(events), ["Connected", "Resync", "ServerError", "UnknownMessage"])
      })
    )

    itLeavesNothing("emits events before the end that followed them", () =>
      Effect.gen(function* () {
        const { mesh, stream } = yield* setup({ mesh: { maxBatch: 1 } })
        const { events } = yield* follow(stream)
        yield* online(mesh)
        yield* mesh.emit(updated(1), updated(2), updated(3))
        yield* mesh.close(1001, "going away")
        yield* settle
        assert.deepStrictEqual(tags(events), [
          "Connected",
          "Resync",
          "TaskUpdated",
          "TaskUpdated",
          "TaskUpdated",
          "Disconnected"
        ])
        assert.deepStrictEqual(
          disconnects(events)[0]?.reason,
          new MeshError.ConnectionClosed({ code: 1001, closeReason: "going away" })
        )
      })
    )
  })

  describe("the backoff", () => {
    itLeavesNothing("backs off for 2, 4, 8, 16, 30, 30 seconds, to the millisecond", () =>
      Effect.gen(function* () {
        const { mesh, stream } = yield* setup()
        yield* mesh.refuse(1000, 503)
        const { events } = yield* follow(stream)
        yield* TestClock.adjust("90 seconds")
        yield* settle
        assert.deepStrictEqual(yield* mesh.dials, [0, 2000, 6000, 14_000, 30_000, 60_000, 90_000])
        assert.deepStrictEqual(
          disconnects(events).map(({ retryInMillis }) => retryInMillis),
          [2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]
        )
        // One millisecond early there is no dial.
        yield* TestClock.adjust(Duration.millis(29_999))
        assert.strictEqual((yield* mesh.dials).length, 7)
        yield* TestClock.adjust(Duration.millis(1))
        yield* settle
        assert.strictEqual((yield* mesh.dials).length, 8)
      })
    )

    /** The `Disconnected` that ends the first connection after two refused dials. */
    const afterUptime = Effect.fnUntraced(function* (uptime: Duration.Input, mesh: ScriptedMesh.Options = {}) {
      const world = yield* setup({ mesh })
      yield* world.mesh.refuse(2, 503)
      const { events } = yield* follow(world.stream)
      yield* TestClock.adjust("6 seconds")
      yield* online(world.mesh)
      yield* TestClock.adjust(uptime)
      yield* world.mesh.kill()
      yield* settle
      const last = disconnects(events).at(-1)
      return [last?.attempt, last?.retryInMillis]
    })

    itLeavesNothing("resets the backoff after a message and five seconds of uptime", () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* afterUptime("5 seconds"), [1, 2000])
      })
    )

    itLeavesNothing("does not reset the backoff after a message and a millisecond less than five seconds", () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* afterUptime(Duration.millis(4999)), [3, 8000])
      })
    )

    itLeavesNothing("does not reset the backoff after uptime without a message", () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* afterUptime("1 hour", { acknowledge: "never" }), [3, 8000])
      })
    )

    itLeavesNothing("does not hammer a server that accepts and closes", () =>
      Effect.gen(function* () {
        const { mesh, stream } = yield* setup()
        yield* follow(stream)
        for (let n = 1; n <= 6; n++) {
          yield* online(mesh, n)
          yield* mesh.close(1011)
          yield* settle
          const opened = yield* Clock.currentTimeMillis
          assert.strictEqual(opened, [0, 2000, 6000, 14_000, 30_000, 60_000][n - 1])
          yield* TestClock.adjust(Duration.millis(Math.min(30_000, 2000 * 2 ** (n - 1))))
        }
      })
    )

    itLeavesNothing("keeps each delay between half and all of its value, and repeats under a seed", () =>
      Effect.gen(function* () {
        const delays = (seed: string) =>
          Effect.gen(function* () {
            const { mesh, stream } = yield* setup({ policy: {} })
            yield* mesh.refuse(1000, 503)
            const following = yield* follow(stream.pipe(Stream.take(40)))
            yield* TestClock.adjust("30 minutes")
            yield* following.exit
            return disconnects(following.events).map(({ retryInMillis }) => retryInMillis ?? 0)
          }).pipe(Random.withSeed(seed), Effect.scoped)
        const first = yield* delays("one")
        const caps = first.map((_, n) => Math.min(30_000, 2000 * 2 ** n))
        assert.strictEqual(first.length, 40)
        first.forEach((delay, n) => {
          const cap = caps[n] ?? 0
          assert.isTrue(delay >= cap / 2 && delay <= cap, `delay ${n} is ${delay}, of ${cap}`)
        })
        // The cap has jitter too: 36 different delays of up to 30 s, over most of the upper half.
        const capped = first.slice(4)
        assert.strictEqual(new Set(capped).size, capped.length)
        assert.isTrue(Math.max(...capped) - Math.min(...capped) > 10_000)
        assert.deepStrictEqual(yield* delays("one"), first)
        assert.notDeepEqual(yield* delays("two"), first)
      })
    )

    itLeavesNothing("never has a zero delay, whatever the schedule says", () =>
      Effect.gen(function* () {
        const { mesh, stream } = yield* setup({ policy: { schedule: Schedule.forever } })
        yield* mesh.refuse(1000, 503)
        yield* follow(stream)
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(
          yield* mesh.dials,
          Array.from({ length: 11 }, (_, n) => n * 100)
        )
      })
    )

    itLeavesNothing("waits out a Retry-After, and the scheduled delay after it", () =>
      Effect.gen(function* () {
        const { mesh, stream } = yield* setup()
        yield* mesh.refuse(1, 503, { "retry-after": "20" })
        yield* follow(stream)
        yield* TestClock.adjust(Duration.millis(21_999))
        assert.deepStrictEqual(yield* mesh.dials, [0])
        yield* TestClock.adjust(Duration.millis(1))
        assert.deepStrictEqual(yield* mesh.dials, [0, 22_000])
      })
    )

    itLeavesNothing("limits Retry-After to the policy's bound", () =>
      Effect.gen(function* () {
        const { mesh, stream } = yield* setup()
        yield* mesh.refuse(1, 503, { "retry-after": "31536000" })
        yield* follow(stream)
        yield* TestClock.adjust("1 hour")
        assert.deepStrictEqual(yield* mesh.dials, [0])
        yield* TestClock.adjust("2 seconds")
        assert.deepStrictEqual(yield* mesh.dials, [0, 3_602_000])
      })
    )
  })

  describe("the end", () => {
    itLeavesNothing("fails with a typed error when the schedule ends, after a Disconnected", () =>
      Effect.gen(function* () {
        const { mesh, stream } = yield* setup({
          policy: { schedule: Schedule.spaced("1 second").pipe(Schedule.upTo({ times: 2 })) }
        })
        yield* mesh.refuse(1000, 503)
        const following = yield* follow(stream)
        yield* TestClock.adjust("2 seconds")
        const exit = yield* following.exit
        assert.deepStrictEqual(yield* mesh.dials, [0, 1000, 2000])
        assert.strictEqual(reasonOf(exit), "RetriesExhausted")
        assert.deepStrictEqual(
          Exit.findError(exit),
          Result.succeed(
            new MeshError.MeshError({
              reason: new MeshError.RetriesExhausted({
                attempts: 3,
                last: new MeshError.HandshakeRejected({ status: 503 })
              })
            })
          )
        )
        assert.isFalse("retryInMillis" in (disconnects(following.events).at(-1) ?? {}))
      })
    )

    itLeavesNothing("fails at once for a refused key, a missing endpoint and a close for policy", () =>
      Effect.gen(function* () {
        for (const status of [401, 403, 404]) {
          const { mesh, stream } = yield* setup()
          yield* mesh.refuse(1, status)
          const following = yield* follow(stream)
          assert.strictEqual(reasonOf(yield* following.exit), "HandshakeRejected")
          assert.strictEqual((yield* mesh.dials).length, 1)
        }
        for (const code of [1008, 4400, 4403, 4499]) {
          const { mesh, stream } = yield* setup()
          const following = yield* follow(stream)
          yield* online(mesh)
          yield* mesh.close(code)
          assert.strictEqual(reasonOf(yield* following.exit), "ConnectionClosed", String(code))
        }
      })
    )

    itLeavesNothing("does not fail for errors that may heal", () =>
      Effect.gen(function* () {
        for (const code of [1000, 1001, 1006, 1011, 1012, 1013, 3501, 4000, 4408, 4429, 4500]) {
          const { mesh, stream } = yield* setup()
          const following = yield* follow(stream)
          yield* online(mesh)
          yield* mesh.close(code)
          yield* TestClock.adjust("2 seconds")
          yield* online(mesh, 2)
          yield* Fiber.interrupt(following.fiber)
        }
      })
    )

    itLeavesNothing("fails when the program's own classifier returns a fatal verdict", () =>
      Effect.gen(function* () {
        const { mesh, stream } = yield* setup({ policy: { ...plain, classify: () => "fail" } })
        const following = yield* follow(stream)
        yield* online(mesh)
        yield* mesh.kill()
        assert.strictEqual(reasonOf(yield* following.exit), "ConnectionLost")
      })
    )

    itLeavesNothing("fails with the bad frame, after the events before it, if the program requested it", () =>
      Effect.gen(function* () {
        const { mesh, stream } = yield* setup({ onBadFrame: "fail" })
        const following = yield* follow(stream)
        yield* online(mesh)
        yield* mesh.emit(updated(1))
        yield* mesh.emitRaw(`{"type":"taskUpdated"}`)
        yield* mesh.emit(updated(2))
        assert.strictEqual(reasonOf(yield* following.exit), "BadFrame")
        assert.deepStrictEqual(tags(following.events), ["Connected", "Resync", "TaskUpdated", "Disconnected"])
      })
    )
  })

  describe("bad frames in a row", () => {
    itLeavesNothing("consecutive bad frames end the connection and do not reset the backoff", () =>
      Effect.gen(function* () {
        const { mesh, stream } = yield* setup({ maxBadFrames: 3, mesh: { acknowledge: "never" } })
        const { events } = yield* follow(stream)
        yield* online(mesh)
        yield* TestClock.adjust("1 minute")
        for (const frame of ["x", "y", "z", "never read"]) yield* mesh.emitRaw(frame)
        yield* settle
        // The first is the Started of an interest that nothing has confirmed.
        assert.deepStrictEqual(tags(events), ["Connected", "Resync", "Resync", "Resync", "Resync", "Disconnected"])
        const last = disconnects(events).at(-1)
        assert.deepStrictEqual([last?.reason._tag, last?.attempt], ["TooManyBadFrames", 1])
        yield* TestClock.adjust("2 seconds")
        yield* online(mesh, 2)
        for (const frame of ["x", "y", "z"]) yield* mesh.emitRaw(frame)
        yield* settle
        assert.strictEqual(disconnects(events).at(-1)?.attempt, 2)
      })
    )

    itLeavesNothing("the first bad frame ends the connection when the limit is NaN", () =>
      Effect.gen(function* () {
        const { mesh, stream } = yield* setup({ maxBadFrames: Number.NaN })
        const { events } = yield* follow(stream)
        yield* online(mesh)
        yield* mesh.emitRaw("x")
        yield* settle
        assert.strictEqual(disconnects(events).at(-1)?.reason._tag, "TooManyBadFrames")
      })
    )

    itLeavesNothing("the count of consecutive bad frames starts again after a good frame", () =>
      Effect.gen(function* () {
        const { mesh, stream } = yield* setup({ maxBadFrames: 3 })
        const { events } = yield* follow(stream)
        yield* online(mesh)
        for (let n = 1; n <= 5; n++) {
          yield* mesh.emitRaw("x")
          yield* mesh.emitRaw("x")
          yield* mesh.emit(updated(n))
        }
        yield* settle
        assert.strictEqual(disconnects(events).length, 0)
        assert.strictEqual(events.filter((event) => event._tag === "TaskUpdated").length, 5)
      })
    )
  })

  describe("interruption", () => {
    const leavesNothing = (mesh: ScriptedMesh.ScriptedMesh["Service"]) =>
      Effect.gen(function* () {
        const dials = (yield* mesh.dials).length
        yield* TestClock.adjust("1 hour")
        assert.strictEqual((yield* mesh.dials).length, dials, "a dial after the end")
        assert.isTrue((yield* mesh.connections).every((connection) => !connection.open))
      })

    itLeavesNothing("an interruption during a backoff stops it", () =>
      Effect.gen(function* () {
        const { mesh, stream } = yield* setup()
        yield* mesh.refuse(1000, 503)
        const { fiber } = yield* follow(stream)
        yield* TestClock.adjust("3 seconds")
        assert.strictEqual((yield* mesh.dials).length, 2)
        yield* Fiber.interrupt(fiber)
        yield* leavesNothing(mesh)
      })
    )

    itLeavesNothing("an interruption during a dial aborts it", () =>
      Effect.gen(function* () {
        const { mesh, stream } = yield* setup()
        yield* mesh.delayDial("5 seconds")
        const { fiber } = yield* follow(stream)
        yield* TestClock.adjust("3 seconds")
        assert.strictEqual((yield* mesh.dials).length, 1)
        yield* Fiber.interrupt(fiber)
        yield* leavesNothing(mesh)
        assert.strictEqual((yield* mesh.connections).length, 0)
      })
    )

    itLeavesNothing("an interruption during a pull closes the connection with 1000", () =>
      Effect.gen(function* () {
        const { mesh, stream } = yield* setup()
        const { fiber } = yield* follow(stream)
        yield* online(mesh)
        yield* settle
        yield* Fiber.interrupt(fiber)
        yield* leavesNothing(mesh)
        const [connection] = yield* mesh.connections
        assert.deepStrictEqual([connection?.endedBy, connection?.closeCode], ["client", 1000])
      })
    )

    itLeavesNothing("an interruption ends every fiber of the stream", () =>
      Effect.gen(function* () {
        const interest = yield* SubscriptionRef.make(Interest.all)
        const { mesh, stream } = yield* setup({ interest })
        const { fiber } = yield* follow(stream)
        yield* online(mesh)
        yield* Fiber.interrupt(fiber)
        yield* SubscriptionRef.set(interest, Interest.output(a))
        yield* settle
        assert.strictEqual((yield* mesh.received).length, 1)
      })
    )
  })

  describe("a consumer that does not pull", () => {
    itLeavesNothing("a consumer that does not pull leaves the frames in the socket", () =>
      Effect.gen(function* () {
        const { mesh, stream } = yield* setup({ mesh: { maxBatch: 10 } })
        yield* stream.pipe(
          Stream.runForEach(() => Effect.never),
          Effect.forkScoped
        )
        yield* online(mesh)
        for (let n = 1; n <= 1000; n++) yield* mesh.emit(updated(n))
        yield* settle
        // The consumer has `Connected`. Nothing else was pulled from the socket.
        const [connection] = yield* mesh.connections
        assert.strictEqual(connection?.unread, 1001)
      })
    )
  })

  itLeavesNothing("opens a connection for each run, over one socket service", () =>
    Effect.gen(function* () {
      const mesh = yield* ScriptedMesh.make()
      yield* closesEverything(mesh)
      const run = (interest: Interest.Interest) =>
        follow(MeshStream.connect({ interest }).pipe(Stream.provideService(Socket.Socket, mesh.socket)))
      const first = yield* run(Interest.updates(a))
      yield* online(mesh, 1)
      const second = yield* run(Interest.updates(b))
      yield* online(mesh, 2)
      yield* settle
      yield* mesh.emit(updated(1, a), updated(1, b))
      yield* settle
      assert.deepStrictEqual<unknown>(first.events.slice(2), [updated(1, a)])
      assert.deepStrictEqual<unknown>(second.events.slice(2), [updated(1, b)])
    })
  )

  itLeavesNothing("detects a frozen peer after the interval and the deadline", () =>
    Effect.gen(function* () {
      const { mesh, stream } = yield* setup()
      const { events } = yield* follow(stream)
      yield* online(mesh)
      yield* settle
      yield* mesh.freeze()
      yield* TestClock.adjust(Duration.millis(24_999))
      assert.deepStrictEqual(tags(events), ["Connected", "Resync"])
      yield* TestClock.adjust(Duration.millis(1))
      yield* settle
      assert.strictEqual(disconnects(events)[0]?.reason._tag, "HeartbeatTimeout")
    })
  )
})
