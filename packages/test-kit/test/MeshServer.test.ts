import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Socket from "effect/socket/Socket"
import * as TestClock from "effect/testing/TestClock"
import * as ClientMessage from "@makima-stream/core/ClientMessage"
import * as MeshError from "@makima-stream/core/MeshError"
import * as TaskId from "@makima-stream/core/TaskId"
import * as NodeMeshSocket from "@makima-stream/node/NodeMeshSocket"
import type * as MeshServer from "../src/MeshServer.ts"
import * as MockMeshServer from "../src/MockMeshServer.ts"
import * as ScriptedMesh from "../src/ScriptedMesh.ts"

interface Harness {
  readonly server: MeshServer.MeshServer
  readonly socket: Socket.Socket
}

type Make = (options?: MeshServer.RequestOptions) => Effect.Effect<Harness, unknown, Scope.Scope>

const scripted: Make = (options) =>
  Effect.map(ScriptedMesh.make(options), (server) => ({ server, socket: server.socket }))

const mock: Make = (options) =>
  Effect.gen(function* () {
    const server = yield* MockMeshServer.make(options)
    const context = yield* Layer.build(NodeMeshSocket.layer({ url: server.url }))
    return { server, socket: Context.get(context, Socket.Socket) }
  })

const turn = Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))

/** Advances virtual time until a condition on the real network holds. */
const advanceUntil = (condition: Effect.Effect<boolean>) =>
  Effect.andThen(TestClock.adjust(50), turn).pipe(Effect.andThen(condition), Effect.repeat({ until: (done) => done }))

const update = (version: number) => ({ _tag: "TaskUpdated", taskId: TaskId.make("a"), version }) as const

const subscribeAll: ClientMessage.ClientMessage = { _tag: "SubscribeAll" }
const subscribe = (id: string): ClientMessage.ClientMessage => ({ _tag: "Subscribe", taskId: TaskId.make(id) })

const dial = ({ server, socket }: Harness) =>
  Effect.gen(function* () {
    const { pull } = yield* socket.reader
    const { write } = yield* socket.writer
    /** Takes `n` frames, each as the version of an update or else as its type. */
    const take = (n: number) =>
      Effect.gen(function* () {
        const frames: Array<unknown> = []
        while (frames.length < n) {
          for (const frame of yield* pull) {
            const { taskId, type, version } = JSON.parse(String(frame))
            frames.push(version ?? (taskId === undefined ? type : `${type} ${taskId}`))
          }
        }
        return frames
      })
    const request = (message: ClientMessage.ClientMessage) => write(ClientMessage.encodeFrame(message))
    /** Sends a request, and waits until it has taken effect. */
    const ask = (message: ClientMessage.ClientMessage) =>
      Effect.andThen(
        request(message),
        server
          .awaitReceived((received) => JSON.stringify(received.message) === JSON.stringify(message))
          .pipe(Effect.orDie)
      )
    return { ask, pull, request, take }
  })

for (const [name, make] of [
  ["ScriptedMesh", scripted],
  ["MockMeshServer", mock]
] as const) {
  describe(name, () => {
    it.effect(
      `${name} delays acknowledgements, keeps them in order with the data, and applies the subscription at once`,
      () =>
        Effect.gen(function* () {
          const harness = yield* make({ acknowledgementDelay: 100 })
          const { server } = harness
          const { ask, take } = yield* dial(harness)
          yield* ask(subscribeAll)
          assert.strictEqual(yield* server.emit(update(1)), 1)
          assert.isTrue((yield* server.subscriptions).all)
          yield* TestClock.adjust(99)
          assert.strictEqual(yield* server.emit(update(2)), 1)
          yield* TestClock.adjust(1)
          yield* server.emit(update(3))
          assert.deepStrictEqual(yield* take(4), [1, 2, "subscribedAll", 3])
        })
    )

    it.effect(`${name} delays requests, and acknowledges them when they are carried out`, () =>
      Effect.gen(function* () {
        const harness = yield* make()
        const { server } = harness
        yield* server.delayRequests(100)
        const { request, take } = yield* dial(harness)
        yield* request(subscribeAll)
        yield* request(subscribe("b"))
        yield* turn
        assert.strictEqual(yield* server.emit(update(1)), 0)
        yield* advanceUntil(Effect.map(server.received, (received) => received.length === 2))
        assert.strictEqual(yield* server.emit(update(2)), 1)
        assert.deepStrictEqual(yield* take(3), ["subscribedAll", "subscribed b", 2])
        assert.deepStrictEqual((yield* server.log).filter(({ _tag }) => _tag === "Unheard").length, 1)
      })
    )

    it.effect(`${name} keeps acknowledgements in order when their delay ends`, () =>
      Effect.gen(function* () {
        const harness = yield* make({ acknowledgementDelay: 60_000 })
        const { server } = harness
        const { ask, take } = yield* dial(harness)
        yield* ask(subscribe("a"))
        yield* server.delayAcknowledgements(0)
        yield* ask(subscribe("b"))
        yield* TestClock.adjust(60_000)
        assert.deepStrictEqual(yield* take(2), ["subscribed a", "subscribed b"])
      })
    )

    it.effect(`${name} acknowledges by hand, not at all, or without the task`, () =>
      Effect.gen(function* () {
        const harness = yield* make({ acknowledge: "manual" })
        const { server } = harness
        const { ask, take } = yield* dial(harness)
        yield* ask(subscribe("a"))
        yield* ask(subscribe("b"))
        yield* ask(subscribe("c"))
        yield* server.acknowledge(Number.NaN)
        yield* server.acknowledge(2)
        assert.deepStrictEqual(yield* take(2), ["subscribed a", "subscribed b"])
        yield* server.acknowledge()
        assert.deepStrictEqual(yield* take(1), ["subscribed c"])
        yield* server.setAcknowledge("never")
        yield* ask(subscribe("d"))
        yield* server.setAcknowledge("auto")
        yield* server.setNameTasks(false)
        yield* ask(subscribe("e"))
        assert.deepStrictEqual(yield* take(1), ["subscribed"])
      })
    )

    it.effect(`${name} drops, duplicates and reorders messages`, () =>
      Effect.gen(function* () {
        const harness = yield* make()
        const { server } = harness
        const { ask, take } = yield* dial(harness)
        yield* ask(subscribeAll)
        yield* server.dropNext(1)
        assert.strictEqual(yield* server.emit(update(1)), 0)
        yield* server.duplicateNext(1)
        assert.strictEqual(yield* server.emit(update(2)), 2)
        yield* server.reorder(2)
        yield* server.emit(update(3))
        assert.strictEqual(yield* server.emit(update(4)), 2)
        yield* server.dropNext(-1)
        yield* server.emit(update(5))
        assert.deepStrictEqual(yield* take(6), ["subscribedAll", 2, 2, 4, 3, 5])
      })
    )

    for (const code of [1008, 4429] as const) {
      it.effect(`${name} closes with ${code} a connection that sends more requests than it accepts`, () =>
        Effect.gen(function* () {
          const harness = yield* make({ requestLimit: { perSecond: 3, code } })
          const { server } = harness
          const { pull, ask, request } = yield* dial(harness)
          for (const id of ["a", "b", "c"]) yield* ask(subscribe(id))
          // The window of one second is over.
          yield* TestClock.adjust(1000)
          for (const id of ["d", "e", "f"]) yield* ask(subscribe(id))
          yield* request(subscribe("g"))
          const reason = MeshError.fromSocketError(yield* Effect.flip(Effect.forever(pull)))
          assert.strictEqual(reason._tag === "ConnectionClosed" ? reason.code : reason._tag, code)
          assert.strictEqual((yield* server.received).length, 6)
        })
      )
    }

    it.effect(`${name} delays dials`, () =>
      Effect.gen(function* () {
        const harness = yield* make()
        yield* harness.server.delayDial(200)
        const dialling = yield* Effect.forkScoped(harness.socket.reader)
        yield* advanceUntil(Effect.sync(() => dialling.pollUnsafe() !== undefined))
        yield* Fiber.join(dialling)
        assert.isAtLeast(yield* Clock.currentTimeMillis, 200)
      })
    )

    it.effect(`${name} refuses every dial with an infinite count, until it heals`, () =>
      Effect.gen(function* () {
        const harness = yield* make()
        const { server, socket } = harness
        const refused = Effect.map(Effect.flip(Effect.scoped(socket.reader)), MeshError.fromSocketError)
        yield* server.refuse(0, 500)
        yield* server.refuse(1, 429)
        yield* server.refuse(Number.POSITIVE_INFINITY, 503)
        yield* server.stallDial(Number.POSITIVE_INFINITY)
        const statuses: Array<unknown> = []
        for (let n = 0; n < 3; n++) {
          const reason = yield* refused
          statuses.push(reason._tag === "HandshakeRejected" ? reason.status : reason._tag)
        }
        assert.deepStrictEqual(statuses, [429, 503, 503])
        yield* server.heal
        const { ask } = yield* dial(harness)
        yield* ask(subscribeAll)
      })
    )

    it.effect(`${name} carries delayed requests out when it heals`, () =>
      Effect.gen(function* () {
        const harness = yield* make()
        const { server } = harness
        const { ask, request, take } = yield* dial(harness)
        yield* ask(subscribeAll)
        yield* server.delayRequests(60_000)
        yield* request(subscribe("a"))
        // Lets the request arrive over a real network. A later arrival has no delay after the heal.
        for (let n = 0; n < 20; n++) yield* turn
        assert.strictEqual((yield* server.received).length, 1)
        yield* server.heal
        assert.deepStrictEqual(yield* take(2), ["subscribedAll", "subscribed a"])
      })
    )

    it.effect(`${name} treats negative and NaN delays as 0`, () =>
      Effect.gen(function* () {
        const started = yield* Clock.currentTimeMillis
        for (const millis of [-1, Number.NEGATIVE_INFINITY, Number.NaN]) {
          const harness = yield* make({ acknowledgementDelay: millis, requestDelay: millis })
          const { server } = harness
          yield* server.delayDial(millis)
          const { ask, take } = yield* dial(harness)
          yield* ask(subscribe("a"))
          yield* server.delayAcknowledgements(60_000)
          yield* server.delayAcknowledgements(millis)
          yield* server.delayRequests(60_000)
          yield* server.delayRequests(millis)
          yield* ask(subscribe("b"))
          assert.deepStrictEqual(yield* take(2), ["subscribed a", "subscribed b"])
        }
        assert.strictEqual(yield* Clock.currentTimeMillis, started)
      })
    )

    it.effect(`${name} accepts one request per second with a limit below 1 or NaN`, () =>
      Effect.gen(function* () {
        for (const perSecond of [0, -1, 0.5, Number.NaN]) {
          const harness = yield* make({ requestLimit: { perSecond } })
          const { pull, ask, request } = yield* dial(harness)
          yield* ask(subscribe("a"))
          yield* request(subscribe("b"))
          const reason = MeshError.fromSocketError(yield* Effect.flip(Effect.forever(pull)))
          assert.strictEqual(reason._tag === "ConnectionClosed" ? reason.code : reason._tag, 1008)
          assert.strictEqual((yield* harness.server.received).length, 1)
        }
      })
    )

    it.effect(`${name} heals every fault`, () =>
      Effect.gen(function* () {
        const harness = yield* make()
        const { server } = harness
        const { ask, take } = yield* dial(harness)
        yield* ask(subscribeAll)
        yield* server.delayAcknowledgements(60_000)
        yield* ask(subscribe("a"))
        yield* server.setAcknowledge("manual")
        yield* ask(subscribe("b"))
        yield* server.freeze()
        yield* server.reorder(3)
        yield* server.emit(update(1))
        yield* server.refuse(9, 503)
        yield* server.stallDial(9)
        yield* server.delayDial(60_000)
        yield* server.limitRequests({ perSecond: 1 })
        yield* server.setNameTasks(false)
        yield* server.heal
        yield* server.emit(update(2))
        yield* ask(subscribe("c"))
        assert.deepStrictEqual(yield* take(6), ["subscribedAll", "subscribed a", 1, "subscribed b", 2, "subscribed c"])
        const again = yield* dial(harness)
        yield* again.ask(subscribe("d"))
        assert.deepStrictEqual(yield* again.take(1), ["subscribed d"])
      })
    )
  })
}
