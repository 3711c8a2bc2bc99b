import { assert, describe } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as References from "effect/References"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as Tracer from "effect/Tracer"
import * as Socket from "effect/socket/Socket"
import * as TestClock from "effect/testing/TestClock"
import * as ScriptedMesh from "@makima-stream/test-kit/ScriptedMesh"
import * as Interest from "../src/Interest.ts"
import * as MeshClient from "../src/MeshClient.ts"
import { a, b, updated, plain, setup, tags, data, reasonOf } from "./support/client.ts"
import { follow, settle } from "./support/follow.ts"
import { closesEverything, itLeavesNothing } from "./support/leaves.ts"

describe("MeshClient", () => {
  describe("status", () => {
    itLeavesNothing("goes through every state, in order, with its times", () =>
      Effect.gen(function* () {
        const { mesh, client } = yield* setup({ connectionIdleTimeToLive: "30 seconds" })
        const states = yield* follow(SubscriptionRef.changes(client.status))
        yield* settle
        const { fiber } = yield* follow(client.updates())
        yield* mesh.awaitConnection()
        yield* settle
        yield* mesh.kill()
        yield* TestClock.adjust("2 seconds")
        yield* settle
        yield* Fiber.interrupt(fiber)
        yield* TestClock.adjust("30 seconds")
        yield* settle
        const seen = states.events
        assert.deepStrictEqual(
          seen.map(({ _tag }) => _tag),
          ["Idle", "Connecting", "Online", "Offline", "Connecting", "Online", "Idle"]
        )
        assert.deepStrictEqual(
          seen.filter(({ _tag }) => _tag === "Online"),
          [
            { _tag: "Online", epoch: 1, since: 0 },
            { _tag: "Online", epoch: 2, since: 2000 }
          ]
        )
        const offline = seen.find((state) => state._tag === "Offline")
        assert.isTrue(offline?._tag === "Offline" && offline.attempt === 1 && offline.retryAt === 2000)
      })
    )

    itLeavesNothing("awaitOnline dials, and returns once connected", () =>
      Effect.gen(function* () {
        const { mesh, client } = yield* setup()
        yield* mesh.refuse(1, 503)
        const waiting = yield* Effect.forkChild(client.awaitOnline)
        yield* TestClock.adjust("2 seconds")
        yield* Fiber.join(waiting)
        assert.strictEqual(SubscriptionRef.getUnsafe(client.status)._tag, "Online")
      })
    )

    itLeavesNothing("awaitOnline fails with the error of the client, and dials again the next time", () =>
      Effect.gen(function* () {
        const { mesh, client } = yield* setup()
        yield* mesh.refuse(1, 401)
        const error = yield* Effect.flip(client.awaitOnline)
        assert.strictEqual(error.reason._tag, "HandshakeRejected")
        yield* client.awaitOnline
      })
    )
  })

  describe("a defect in the program's policy", () => {
    const broken = {
      ...plain,
      classify: () => {
        throw new Error("a bug")
      }
    }

    itLeavesNothing("ends what waits for a connection", () =>
      Effect.gen(function* () {
        const { mesh, client } = yield* setup({ policy: broken })
        yield* mesh.refuse(1, 503)
        const waiting = yield* Effect.forkChild(client.awaitOnline)
        const exit = yield* Fiber.await(waiting)
        assert.isTrue(Exit.hasDies(exit))
        // The next call dials again.
        yield* client.awaitOnline
      })
    )

    itLeavesNothing("ends every stream, and does not leave the status where it was", () =>
      Effect.gen(function* () {
        const { mesh, client } = yield* setup({ policy: broken })
        const { exit } = yield* follow(client.updates())
        yield* mesh.awaitConnection()
        yield* settle
        yield* mesh.kill()
        assert.isTrue(Exit.hasDies(yield* exit))
        assert.strictEqual(SubscriptionRef.getUnsafe(client.status)._tag, "Idle")
      })
    )
  })

  describe("the connection", () => {
    itLeavesNothing("has neither the log annotations nor the span of the first consumer", () =>
      Effect.gen(function* () {
        const lines: Array<string> = []
        const spans: Array<string> = []
        const logger = Logger.make(({ fiber, message }) => {
          lines.push(JSON.stringify([message, fiber.getRef(References.CurrentLogAnnotations)]))
        })
        const tracer = Tracer.make({
          span: (options) => {
            const parent = Option.getOrUndefined(options.parent)
            spans.push(`${options.name} of ${parent?._tag === "Span" ? parent.name : "nothing"}`)
            return new Tracer.NativeSpan(options)
          }
        })
        yield* Effect.gen(function* () {
          const { mesh, client } = yield* setup()
          yield* follow(client.updates(a)).pipe(Effect.annotateLogs({ request: "r1" }), Effect.withSpan("request"))
          yield* mesh.awaitConnection()
          yield* settle
          yield* mesh.kill()
          yield* TestClock.adjust("2 seconds")
          yield* mesh.awaitConnection(2)
          yield* settle
        }).pipe(
          Effect.withSpan("program"),
          Effect.provide(Logger.layer([logger])),
          Effect.provideService(References.MinimumLogLevel, "All"),
          Effect.provideService(Tracer.Tracer, tracer)
        )
        assert.isAbove(lines.length, 1)
        assert.notInclude(lines.join("\n"), "r1")
        assert.include(spans, "makima.dial of program")
        assert.notInclude(spans.join("\n"), "of request")
      })
    )

    itLeavesNothing("is not closed as idle when a consumer joins, wherever the scheduler cuts in", () =>
      Effect.gen(function* () {
        for (let ops = 4; ops <= 24; ops++) {
          for (let turns = 0; turns <= 12; turns++) {
            yield* Effect.gen(function* () {
              const { mesh, client } = yield* setup({
                connectionIdleTimeToLive: "1 second",
                subscriptionIdleTimeToLive: 0
              })
              const first = yield* follow(client.updates(a))
              yield* mesh.awaitConnection()
              yield* Fiber.interrupt(first.fiber)
              yield* settle
              const passing = yield* Effect.forkChild(TestClock.adjust("1 second"))
              for (let n = 0; n < turns; n++) yield* Effect.yieldNow
              const second = yield* follow(client.updates(b))
              yield* Fiber.join(passing)
              for (let rounds = 0; rounds < 5; rounds++) yield* settle
              yield* mesh.emit(updated(7, b))
              for (let rounds = 0; rounds < 5 && !data(second.events).includes("b 7"); rounds++) yield* settle
              assert.include(data(second.events), "b 7", `a yield after every ${ops} operations, and ${turns} turns`)
            }).pipe(Effect.scoped, Effect.provideService(References.MaxOpsBeforeYield, ops))
          }
        }
      })
    )

    itLeavesNothing("opens with the first consumer and closes an idle time after the last", () =>
      Effect.gen(function* () {
        const { mesh, client } = yield* setup({ connectionIdleTimeToLive: "30 seconds" })
        yield* TestClock.adjust("1 hour")
        assert.strictEqual((yield* mesh.dials).length, 0)
        const { fiber } = yield* follow(client.updates())
        yield* mesh.awaitConnection()
        yield* Fiber.interrupt(fiber)
        yield* TestClock.adjust(Duration.millis(29_999))
        yield* settle
        assert.isTrue((yield* mesh.connections)[0]?.open)
        yield* TestClock.adjust(Duration.millis(1))
        yield* settle
        const [connection] = yield* mesh.connections
        assert.deepStrictEqual([connection?.open, connection?.closeCode], [false, 1000])
        yield* follow(client.updates())
        yield* mesh.awaitConnection(2)
      })
    )

    itLeavesNothing("closes without spinning when times are fractions of a millisecond", () =>
      Effect.gen(function* () {
        const { mesh, client } = yield* setup({
          subscriptionIdleTimeToLive: "5 seconds",
          connectionIdleTimeToLive: "30 seconds"
        })
        // From here, 5 seconds and then 25 are less than 30 seconds, by a rounding error.
        yield* TestClock.adjust(Duration.nanos(2100n))
        const { fiber } = yield* follow(client.updates())
        yield* mesh.awaitConnection()
        yield* Fiber.interrupt(fiber)
        yield* TestClock.adjust("31 seconds")
        yield* settle
        assert.isFalse((yield* mesh.connections)[0]?.open)
      }).pipe(
        // This clock waits for the fibers that it woke, however long that takes.
        Effect.provide(TestClock.layer({ warningDelay: "1 hour" }))
      )
    )

    itLeavesNothing("stays open without consumers with keepAlive", () =>
      Effect.gen(function* () {
        const { mesh, client } = yield* setup({ keepAlive: true })
        yield* mesh.awaitConnection()
        const { fiber } = yield* follow(client.updates())
        yield* settle
        yield* Fiber.interrupt(fiber)
        yield* TestClock.adjust("1 day")
        assert.isTrue((yield* mesh.connections)[0]?.open)
        assert.strictEqual((yield* mesh.connections).length, 1)
      })
    )

    itLeavesNothing("is one, however many consumers join at once and wherever the scheduler cuts in", () =>
      Effect.gen(function* () {
        for (let ops = 5; ops <= 60; ops++) {
          yield* Effect.gen(function* () {
            const cut = Effect.provideService(References.MaxOpsBeforeYield, ops)
            const { mesh, client } = yield* cut(setup())
            for (let n = 0; n < 5; n++) yield* cut(follow(client.updates()))
            yield* cut(Effect.forkScoped(client.awaitOnline))
            yield* mesh.awaitReceived(({ connection }) => connection === 1)
            for (let rounds = 0; rounds < 10; rounds++) yield* settle
            assert.strictEqual((yield* mesh.dials).length, 1, `with a yield after every ${ops} operations`)
          }).pipe(Effect.scoped)
        }
      })
    )

    itLeavesNothing("is dialled on request, in a backoff and while online", () =>
      Effect.gen(function* () {
        const { mesh, client } = yield* setup({ policy: { schedule: Schedule.spaced("1 hour") } })
        yield* mesh.refuse(1, 503)
        const { events } = yield* follow(client.updates())
        yield* settle
        assert.strictEqual((yield* mesh.dials).length, 1)
        yield* client.reconnect
        yield* TestClock.adjust("1 second")
        yield* mesh.awaitConnection()
        yield* settle
        yield* TestClock.adjust("1 second")
        yield* client.reconnect
        yield* mesh.awaitConnection(2)
        yield* settle
        yield* settle
        assert.deepStrictEqual(yield* mesh.dials, [0, 1000, 2000])
        assert.deepStrictEqual(tags(events), [
          "Disconnected",
          "Connected",
          "Resync",
          "Disconnected",
          "Connected",
          "Resync"
        ])
        assert.strictEqual((yield* mesh.connections).filter((connection) => connection.open).length, 1)
      })
    )

    itLeavesNothing("fails every stream with the same error when it fails for good; a later consumer dials again", () =>
      Effect.gen(function* () {
        const { mesh, client } = yield* setup()
        const consumers = [yield* follow(client.updates()), yield* follow(client.output(a))]
        yield* mesh.awaitConnection()
        yield* settle
        yield* mesh.close(1008, "key revoked")
        const exits = [yield* consumers[0].exit, yield* consumers[1].exit]
        const [first, second] = exits.map((exit) => Exit.findError(exit))
        assert.isTrue(Result.isSuccess(first) && Result.isSuccess(second) && first.success === second.success)
        assert.strictEqual(SubscriptionRef.getUnsafe(client.status)._tag, "Failed")
        const later = yield* follow(client.updates())
        yield* mesh.awaitConnection(2)
        yield* settle
        assert.deepStrictEqual<unknown>(later.events, [
          { _tag: "Connected", epoch: 2, at: 0 },
          { _tag: "Resync", epoch: 2, reason: { _tag: "Started" } }
        ])
      })
    )
  })

  describe("close", () => {
    itLeavesNothing("unsubscribes, waits for the acknowledgement, closes with 1000 and ends every stream", () =>
      Effect.gen(function* () {
        const { mesh, client } = yield* setup({ mesh: { acknowledge: "manual" } })
        const consumer = yield* follow(client.output(a))
        yield* mesh.awaitReceived(({ message }) => message._tag === "SubscribeOutput")
        yield* mesh.acknowledge()
        yield* settle
        const closing = yield* Effect.forkChild(client.close)
        yield* mesh.awaitReceived(({ message }) => message._tag === "UnsubscribeOutput")
        yield* settle
        assert.isTrue((yield* mesh.connections)[0]?.open)
        yield* mesh.acknowledge()
        yield* Fiber.join(closing)
        const [connection] = yield* mesh.connections
        assert.deepStrictEqual([connection?.open, connection?.closeCode], [false, 1000])
        assert.isTrue(Exit.isSuccess(yield* consumer.exit))
        const late = yield* follow(client.updates())
        assert.strictEqual(reasonOf(yield* late.exit), "ClientClosed")
      })
    )

    itLeavesNothing("delivers the events before the last acknowledgement, in one batch with it or not", () =>
      Effect.gen(function* () {
        const mesh = yield* ScriptedMesh.make()
        yield* closesEverything(mesh)
        // What arrives together is pulled together, as on a real socket.
        const batching = Socket.make({
          writer: mesh.socket.writer,
          reader: Effect.map(mesh.socket.reader, (reader) => ({
            ...reader,
            pull: Effect.andThen(Effect.yieldNow, reader.pull)
          }))
        })
        const client = yield* MeshClient.make().pipe(Effect.provideService(Socket.Socket, batching))
        const { events, exit } = yield* follow(client.updates())
        yield* settle
        yield* mesh.emit(updated(1), updated(2), updated(3))
        yield* client.close
        yield* exit
        assert.deepStrictEqual(data(events), ["a 1", "a 2", "a 3"])
      })
    )

    itLeavesNothing("waits for an acknowledgement that is already on its way", () =>
      Effect.gen(function* () {
        const { mesh, client } = yield* setup({ subscriptionIdleTimeToLive: 0, mesh: { acknowledge: "manual" } })
        const { fiber } = yield* follow(client.updates(a))
        yield* settle
        yield* mesh.acknowledge()
        yield* Fiber.interrupt(fiber)
        yield* mesh.awaitReceived(({ message }) => message._tag === "Unsubscribe")
        const closing = yield* Effect.forkChild(client.close)
        yield* settle
        assert.isTrue((yield* mesh.connections)[0]?.open)
        yield* mesh.acknowledge()
        yield* Fiber.join(closing)
      })
    )

    itLeavesNothing("returns when the connection breaks meanwhile, and does not dial", () =>
      Effect.gen(function* () {
        const { mesh, client } = yield* setup({ closeTimeout: "1 hour", mesh: { acknowledge: "never" } })
        yield* follow(client.output(a))
        yield* mesh.awaitReceived(({ message }) => message._tag === "SubscribeOutput")
        const closing = yield* Effect.forkChild(client.close)
        yield* settle
        yield* mesh.kill()
        yield* Fiber.join(closing)
        yield* TestClock.adjust("1 minute")
        assert.strictEqual((yield* mesh.dials).length, 1)
      })
    )

    itLeavesNothing("returns for every caller", () =>
      Effect.gen(function* () {
        const { mesh, client } = yield* setup({ closeTimeout: "1 hour", mesh: { acknowledge: "manual" } })
        yield* follow(client.output(a))
        yield* mesh.awaitReceived(({ message }) => message._tag === "SubscribeOutput")
        yield* mesh.acknowledge()
        yield* settle
        const closing = [yield* Effect.forkChild(client.close), yield* Effect.forkChild(client.close)]
        yield* mesh.awaitReceived(({ message }) => message._tag === "UnsubscribeOutput")
        yield* settle
        yield* mesh.acknowledge()
        yield* Fiber.joinAll(closing)
      })
    )

    itLeavesNothing("takes no longer than its deadline", () =>
      Effect.gen(function* () {
        const { mesh, client } = yield* setup({ closeTimeout: "5 seconds", mesh: { acknowledge: "never" } })
        yield* follow(client.output(a))
        yield* mesh.awaitReceived(({ message }) => message._tag === "SubscribeOutput")
        const closing = yield* Effect.forkChild(client.close)
        yield* TestClock.adjust("5 seconds")
        yield* Fiber.join(closing)
        assert.isFalse((yield* mesh.connections)[0]?.open)
      })
    )
  })

  describe("leaves nothing", () => {
    const states: ReadonlyArray<
      readonly [string, (mesh: ScriptedMesh.ScriptedMesh["Service"]) => Effect.Effect<void>]
    > = [
      ["connecting", (mesh) => mesh.delayDial("1 minute")],
      ["online", () => Effect.void],
      ["in a backoff", (mesh) => mesh.refuse(1000, 503)],
      ["failed", (mesh) => mesh.refuse(1, 401)],
      ["held up by a frozen server", (mesh) => mesh.freeze()]
    ]

    itLeavesNothing("when its scope is closed, or a consumer is interrupted, while it drains", () =>
      Effect.gen(function* () {
        const { mesh, client } = yield* setup({ mesh: { acknowledge: "never" } })
        const first = yield* follow(client.output(a))
        yield* follow(client.output(b))
        yield* mesh.awaitReceived(({ connection }) => connection === 1)
        yield* Effect.forkScoped(client.close)
        yield* TestClock.adjust("2 seconds")
        yield* Fiber.interrupt(first.fiber)
        // The other consumer, the draining and the client are closed with the test's scope, three seconds too early.
        assert.isTrue((yield* mesh.connections)[0]?.open)
      })
    )

    itLeavesNothing("when its scope is closed before the first consumer", () => Effect.asVoid(setup()))

    for (const [name, prepare] of states) {
      itLeavesNothing(`when its scope is closed while it is ${name}`, () =>
        Effect.gen(function* () {
          const mesh = yield* ScriptedMesh.make()
          yield* closesEverything(mesh)
          yield* prepare(mesh)
          const scope = yield* Scope.make()
          const client = yield* MeshClient.make({ policy: plain }).pipe(
            Effect.provideService(Socket.Socket, mesh.socket),
            Scope.provide(scope)
          )
          const consumers = [yield* follow(client.updates()), yield* follow(client.output(a))]
          yield* TestClock.adjust("3 seconds")
          yield* settle
          yield* Scope.close(scope, Exit.void)
          for (const { exit } of consumers) yield* exit
          const dials = (yield* mesh.dials).length
          yield* TestClock.adjust("1 hour")
          yield* settle
          assert.strictEqual((yield* mesh.dials).length, dials)
          assert.isTrue((yield* mesh.connections).every((connection) => !connection.open))
        })
      )

      itLeavesNothing(`of a consumer that is interrupted while the client is ${name}`, () =>
        Effect.gen(function* () {
          const { mesh, client } = yield* setup()
          yield* prepare(mesh)
          const { fiber } = yield* follow(client.everything())
          yield* TestClock.adjust("3 seconds")
          yield* settle
          yield* Fiber.interrupt(fiber)
          // The idle times pass, and with them everything that the consumer had wanted.
          yield* TestClock.adjust("1 hour")
          yield* settle
          assert.isTrue(Interest.isEmpty((yield* SubscriptionRef.get(client.subscriptions)).requested))
          assert.isTrue((yield* mesh.connections).every((connection) => !connection.open))
          const dials = (yield* mesh.dials).length
          yield* TestClock.adjust("1 hour")
          assert.strictEqual((yield* mesh.dials).length, dials)
        })
      )
    }
  })
})
