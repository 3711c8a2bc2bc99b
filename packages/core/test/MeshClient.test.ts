import { assert, describe } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as Fiber from "effect/Fiber"
import * as Socket from "effect/socket/Socket"
import * as TestClock from "effect/testing/TestClock"
import * as ScriptedMesh from "@makima-stream/test-kit/ScriptedMesh"
import * as Interest from "../src/Interest.ts"
import * as MeshClient from "../src/MeshClient.ts"
import type * as MeshError from "../src/MeshError.ts"
import { TaskId } from "../src/TaskId.ts"
import { a, b, updated, said, plain, setup, tags, data, requests } from "./support/client.ts"
import { follow, settle } from "./support/follow.ts"
import { closesEverything, itLeavesNothing } from "./support/leaves.ts"

describe("MeshClient", () => {
  describe("subscribing", () => {
    itLeavesNothing("requests a key that is added while the first requests are written", () =>
      Effect.gen(function* () {
        const mesh = yield* ScriptedMesh.make({ acknowledge: "never" })
        yield* closesEverything(mesh)
        const gate = yield* Deferred.make<void>()
        const slow = Socket.make({
          reader: mesh.socket.reader,
          writer: Effect.map(mesh.socket.writer, (writer) => ({
            write: writer.write,
            writeAll: (chunks) => Effect.andThen(Deferred.await(gate), writer.writeAll(chunks))
          }))
        })
        const client = yield* MeshClient.make({ policy: plain }).pipe(Effect.provideService(Socket.Socket, slow))
        yield* follow(client.updates(a))
        yield* mesh.awaitConnection()
        yield* settle
        yield* follow(client.updates(b))
        yield* settle
        yield* Deferred.succeed(gate, undefined)
        yield* settle
        assert.deepStrictEqual(yield* requests(mesh), ["Subscribe a", "Subscribe b"])
      })
    )

    itLeavesNothing("keeps a task covered while a consumer of all comes and goes, acknowledged or not", () =>
      Effect.gen(function* () {
        const { mesh, client } = yield* setup({ subscriptionIdleTimeToLive: 0, mesh: { acknowledge: "manual" } })
        const one = yield* follow(client.updates(a))
        yield* settle
        yield* mesh.acknowledge()
        yield* settle
        const all = yield* follow(client.updates())
        yield* settle
        // `SubscribeAll` is acknowledged, and `Unsubscribe` is not.
        yield* mesh.acknowledge(1)
        yield* settle
        yield* Fiber.interrupt(all.fiber)
        yield* settle
        yield* mesh.emit(updated(1))
        yield* TestClock.adjust("1 minute")
        yield* mesh.emit(updated(2))
        yield* settle
        assert.deepStrictEqual(data(one.events), ["a 1", "a 2"])
        const sent = yield* requests(mesh)
        assert.deepStrictEqual(sent.slice(0, 5), [
          "Subscribe a",
          "SubscribeAll",
          "Unsubscribe a",
          "Subscribe a",
          "UnsubscribeAll"
        ])
        // The request without an acknowledgement is repeated.
        assert.deepStrictEqual([...new Set(sent.slice(5))], ["Subscribe a"])
      })
    )

    itLeavesNothing("releases what was requested, also if the caller has changed the set since", () =>
      Effect.gen(function* () {
        const { mesh, client } = yield* setup({ subscriptionIdleTimeToLive: 0, connectionIdleTimeToLive: "1 hour" })
        const tasks = new Set([a])
        const first = yield* follow(client.events({ all: false, updates: tasks, output: new Set() }))
        yield* settle
        tasks.add(b)
        yield* Fiber.interrupt(first.fiber)
        const one = yield* follow(client.updates(b))
        const two = yield* follow(client.updates(b))
        yield* settle
        yield* Fiber.interrupt(one.fiber)
        yield* TestClock.adjust("1 minute")
        yield* mesh.emit(updated(1, b))
        yield* settle
        assert.deepStrictEqual(data(two.events), ["b 1"])
      })
    )

    itLeavesNothing(
      "ends the connection when the transport dies of a write, and the next one requests everything",
      () =>
        Effect.gen(function* () {
          const mesh = yield* ScriptedMesh.make()
          yield* closesEverything(mesh)
          let writes = 0
          const socket = Socket.make({
            reader: mesh.socket.reader,
            writer: Effect.map(mesh.socket.writer, (writer) => ({
              write: writer.write,
              writeAll: (chunks) => (++writes === 2 ? Effect.die("a bug") : writer.writeAll(chunks))
            }))
          })
          const client = yield* MeshClient.make({ policy: plain }).pipe(Effect.provideService(Socket.Socket, socket))
          yield* follow(client.updates(a))
          yield* settle
          yield* follow(client.updates(b))
          yield* settle
          // A second for the reader to report the end, two until the next dial.
          yield* TestClock.adjust("1 second")
          yield* settle
          yield* TestClock.adjust("2 seconds")
          yield* settle
          assert.deepStrictEqual((yield* mesh.subscriptions).updates, new Set([a, b]))
        })
    )

    itLeavesNothing("leaves other consumers alone when a task id is invalid, and shows the server's error", () =>
      Effect.gen(function* () {
        const { mesh, client } = yield* setup()
        const everything = yield* follow(client.events())
        // Around the types, as plain JavaScript can.
        yield* follow(client.task("" as TaskId))
        yield* settle
        yield* mesh.emit(updated(1))
        yield* settle
        assert.deepStrictEqual(tags(everything.events), ["Connected", "ServerError", "TaskUpdated"])
      })
    )

    itLeavesNothing("requests a task for its first consumer and releases it after the last", () =>
      Effect.gen(function* () {
        const { mesh, client } = yield* setup()
        const first = yield* follow(client.output(a))
        yield* mesh.awaitReceived(({ message }) => message._tag === "SubscribeOutput")
        const second = yield* follow(client.output(a))
        const third = yield* follow(client.output(a))
        yield* settle
        yield* mesh.emit(said("hello"))
        yield* settle
        for (const { events } of [first, second, third]) assert.deepStrictEqual(data(events), ["a: hello"])
        yield* Fiber.interrupt(first.fiber)
        yield* Fiber.interrupt(third.fiber)
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual(yield* requests(mesh), ["SubscribeOutput a"])
        yield* Fiber.interrupt(second.fiber)
        yield* TestClock.adjust(Duration.millis(4999))
        yield* settle
        assert.deepStrictEqual(yield* requests(mesh), ["SubscribeOutput a"])
        yield* TestClock.adjust(Duration.millis(1))
        yield* settle
        assert.deepStrictEqual(yield* requests(mesh), ["SubscribeOutput a", "UnsubscribeOutput a"])
      })
    )

    itLeavesNothing("sends nothing for a consumer that comes back within the idle time", () =>
      Effect.gen(function* () {
        const { mesh, client } = yield* setup()
        const first = yield* follow(client.output(a))
        yield* mesh.awaitReceived(({ message }) => message._tag === "SubscribeOutput")
        yield* Fiber.interrupt(first.fiber)
        yield* TestClock.adjust("4 seconds")
        yield* follow(client.output(a))
        yield* TestClock.adjust("1 minute")
        yield* settle
        assert.deepStrictEqual(yield* requests(mesh), ["SubscribeOutput a"])
      })
    )

    itLeavesNothing("opens one connection for all consumers", () =>
      Effect.gen(function* () {
        const { mesh, client } = yield* setup()
        yield* follow(client.updates())
        yield* follow(client.output(a))
        yield* follow(client.task(b))
        yield* settle
        assert.strictEqual((yield* mesh.connections).length, 1)
      })
    )

    itLeavesNothing("delivers to each consumer what it subscribed to, and nothing else", () =>
      Effect.gen(function* () {
        const { mesh, client } = yield* setup()
        const all = yield* follow(client.updates())
        const one = yield* follow(client.updates(a))
        const output = yield* follow(client.output(a))
        const task = yield* follow(client.task(b))
        const events = yield* follow(client.events(Interest.output(b)))
        yield* settle
        yield* mesh.emit(
          updated(1, a),
          updated(1, b),
          said("x", a),
          said("y", b),
          { _tag: "ServerError", code: "X", message: "" },
          { _tag: "UnknownMessage", raw: { type: "new" } }
        )
        yield* settle
        assert.deepStrictEqual(data(all.events), ["a 1", "b 1"])
        assert.deepStrictEqual(data(one.events), ["a 1"])
        assert.deepStrictEqual(data(output.events), ["a: x"])
        assert.deepStrictEqual(data(task.events), ["b 1", "b: y"])
        assert.deepStrictEqual(tags(events.events).slice(2), ["TaskOutput", "ServerError", "UnknownMessage"])
        assert.notInclude(tags(all.events), "ServerError")
      })
    )

    itLeavesNothing("delivers each update once to a consumer of all updates and of one task's", () =>
      Effect.gen(function* () {
        const { mesh, client } = yield* setup()
        const both = yield* follow(client.events(Interest.union(Interest.all, Interest.task(a))))
        yield* settle
        yield* mesh.emit(updated(1), said("x"))
        yield* settle
        assert.deepStrictEqual(data(both.events), ["a 1", "a: x"])
      })
    )

    itLeavesNothing("ends with what is wanted in every interleaving of two consumers that leave and join a task", () =>
      Effect.gen(function* () {
        // Four moves of two consumers, each order of them, with the server acknowledging after none, some or all.
        const moves = ["join 0", "leave 0", "join 1", "leave 1"]
        const orders = permutations(moves).filter(
          (order) =>
            order.indexOf("join 0") < order.indexOf("leave 0") && order.indexOf("join 1") < order.indexOf("leave 1")
        )
        assert.strictEqual(orders.length, 6)
        for (const order of orders) {
          for (const turns of [0, 1, 2, 3, 5, 50]) {
            for (const acknowledge of ["auto", "manual", "never"] as const) {
              yield* Effect.gen(function* () {
                const { mesh, client } = yield* setup({
                  subscriptionIdleTimeToLive: 0,
                  connectionIdleTimeToLive: "1 hour",
                  mesh: { acknowledge }
                })
                // Another consumer keeps the connection.
                yield* follow(client.updates(b))
                yield* mesh.awaitReceived(({ message }) => message._tag === "Subscribe")
                const consumers: Array<Fiber.Fiber<void, MeshError.MeshError>> = []
                for (const move of [...order, "join 0"]) {
                  const [verb, name] = move.split(" ")
                  const index = Number(name)
                  if (verb === "join") consumers[index] = (yield* follow(client.output(a))).fiber
                  else if (consumers[index] !== undefined) yield* Effect.forkChild(Fiber.interrupt(consumers[index]))
                  yield* Effect.yieldNow.pipe(Effect.repeat({ times: turns }))
                  if (acknowledge === "manual" && turns % 2 === 1) yield* mesh.acknowledge(1)
                }
                yield* mesh.acknowledge()
                yield* settle
                yield* mesh.acknowledge()
                yield* TestClock.adjust("1 minute")
                yield* settle
                assert.deepStrictEqual(
                  (yield* mesh.subscriptions).output,
                  new Set([a]),
                  `${order.join(", ")} with ${turns} turns and ${acknowledge} acknowledgements`
                )
                // On the wire, each request of the task is the opposite of the one before it, or repeats it.
                const own = (yield* requests(mesh))
                  .filter((request) => request.endsWith(" a"))
                  .filter((request, n, all) => request !== all[n - 1])
                own.forEach((request, n) =>
                  assert.strictEqual(request, n % 2 === 0 ? "SubscribeOutput a" : "UnsubscribeOutput a")
                )
              }).pipe(Effect.scoped)
            }
          }
        }
      })
    )

    itLeavesNothing("repeats a request once that a disconnect separated from its acknowledgement", () =>
      Effect.gen(function* () {
        const { mesh, client } = yield* setup({ mesh: { acknowledge: "manual" } })
        yield* follow(client.output(a))
        yield* mesh.awaitReceived(({ message }) => message._tag === "SubscribeOutput")
        yield* settle
        assert.deepStrictEqual(yield* SubscriptionRef.get(client.subscriptions), {
          epoch: 1,
          requested: Interest.output(a),
          confirmed: Interest.empty,
          unconfirmed: Interest.empty
        })
        yield* mesh.kill()
        yield* settle
        assert.deepStrictEqual((yield* SubscriptionRef.get(client.subscriptions)).requested, Interest.empty)
        yield* TestClock.adjust("2 seconds")
        yield* mesh.awaitReceived(({ connection }) => connection === 2)
        yield* mesh.acknowledge()
        yield* settle
        assert.deepStrictEqual(yield* requests(mesh, 2), ["SubscribeOutput a"])
        assert.deepStrictEqual((yield* SubscriptionRef.get(client.subscriptions)).confirmed, Interest.output(a))
      })
    )

    itLeavesNothing("shows what is requested and confirmed without waiting for the next element", () =>
      Effect.gen(function* () {
        const { mesh, client } = yield* setup({
          mesh: { acknowledge: "manual" },
          subscriptionIdleTimeToLive: 0,
          keepAlive: true
        })
        const shown = Effect.map(SubscriptionRef.get(client.subscriptions), ({ confirmed, requested }) => ({
          requested: [...requested.output],
          confirmed: [...confirmed.output]
        }))
        yield* follow(client.output(a))
        yield* settle
        yield* mesh.acknowledge()
        yield* settle
        const { fiber } = yield* follow(client.output(b))
        yield* settle
        assert.deepStrictEqual(yield* shown, { requested: [a, b], confirmed: [a] })
        yield* mesh.acknowledge()
        yield* settle
        assert.deepStrictEqual(yield* shown, { requested: [a, b], confirmed: [a, b] })
        yield* Fiber.interrupt(fiber)
        yield* settle
        // The request is visible, also while the server is silent.
        assert.deepStrictEqual(yield* shown, { requested: [a], confirmed: [a] })
        yield* mesh.acknowledge()
        yield* settle
        assert.deepStrictEqual(yield* shown, { requested: [a], confirmed: [a] })
      })
    )

    itLeavesNothing("requests everything again after a reconnect, in one flush", () =>
      Effect.gen(function* () {
        const mesh = yield* ScriptedMesh.make()
        yield* closesEverything(mesh)
        let flushes = 0
        const counted = Socket.make({
          reader: mesh.socket.reader,
          writer: Effect.map(mesh.socket.writer, (writer) => ({
            ...writer,
            writeAll: (chunks) =>
              Effect.andThen(
                Effect.sync(() => flushes++),
                writer.writeAll(chunks)
              )
          }))
        })
        const client = yield* MeshClient.make({ policy: plain }).pipe(Effect.provideService(Socket.Socket, counted))
        const ids = Array.from({ length: 100 }, (_, n) => TaskId.make(`task-${n}`))
        for (const id of ids) yield* follow(client.task(id))
        yield* settle
        yield* mesh.kill()
        yield* settle
        flushes = 0
        yield* TestClock.adjust("2 seconds")
        yield* mesh.awaitConnection(2)
        yield* settle
        assert.strictEqual(flushes, 1)
        assert.isTrue(Interest.equals(yield* mesh.subscriptions, Interest.task(ids)))
        assert.strictEqual((yield* requests(mesh, 2)).length, 200)
      })
    )
  })

  describe("everything", () => {
    itLeavesNothing("follows the output of each task from its first update until it has ended", () =>
      Effect.gen(function* () {
        const { mesh, client } = yield* setup({ subscriptionIdleTimeToLive: 0 })
        const { events } = yield* follow(client.everything({ endedTimeToLive: "30 seconds" }))
        yield* settle
        yield* mesh.emit(said("before"), updated(1, a))
        yield* mesh.awaitReceived(({ message }) => message._tag === "SubscribeOutput")
        yield* settle
        yield* mesh.emit(said("during"), updated(2, a, "done"), said("after"))
        yield* settle
        yield* TestClock.adjust(Duration.millis(29_999))
        yield* mesh.emit(said("trailing"))
        yield* settle
        yield* TestClock.adjust(Duration.millis(1))
        yield* settle
        assert.deepStrictEqual(data(events), ["a 1", "a: during", "a 2", "a: after", "a: trailing"])
        assert.deepStrictEqual(yield* requests(mesh), ["SubscribeAll", "SubscribeOutput a", "UnsubscribeOutput a"])
      })
    )

    itLeavesNothing("follows a task again that starts again", () =>
      Effect.gen(function* () {
        const { mesh, client } = yield* setup({ subscriptionIdleTimeToLive: 0 })
        yield* follow(client.everything({ endedTimeToLive: "30 seconds" }))
        yield* settle
        yield* mesh.emit(updated(1), updated(2, a, "done"))
        yield* settle
        yield* mesh.emit(updated(3, a, "running"))
        yield* TestClock.adjust("1 hour")
        yield* settle
        assert.deepStrictEqual(yield* requests(mesh), ["SubscribeAll", "SubscribeOutput a"])
      })
    )

    itLeavesNothing("does not follow a task that had ended when it was first seen", () =>
      Effect.gen(function* () {
        const { mesh, client } = yield* setup()
        yield* follow(client.everything())
        yield* settle
        yield* mesh.emit(updated(9, a, "merged"))
        yield* settle
        assert.deepStrictEqual(yield* requests(mesh), ["SubscribeAll"])
      })
    )

    itLeavesNothing("does not follow an ended task again because of an update without a status", () =>
      Effect.gen(function* () {
        const { mesh, client } = yield* setup({ subscriptionIdleTimeToLive: 0 })
        yield* follow(client.everything({ endedTimeToLive: "30 seconds" }))
        yield* settle
        yield* mesh.emit(updated(1), updated(2, a, "done"))
        yield* settle
        yield* TestClock.adjust("30 seconds")
        yield* settle
        yield* mesh.emit({ _tag: "TaskUpdated", taskId: a, version: 3, updatedFields: ["title"] })
        yield* mesh.emit({ _tag: "TaskUpdated", taskId: b, version: 1, updatedFields: ["title"] })
        yield* settle
        assert.deepStrictEqual(yield* requests(mesh), [
          "SubscribeAll",
          "SubscribeOutput a",
          "UnsubscribeOutput a",
          "SubscribeOutput b"
        ])
        yield* mesh.emit(updated(4, a, "running"))
        yield* settle
        assert.strictEqual((yield* requests(mesh)).at(-1), "SubscribeOutput a")
      })
    )

    itLeavesNothing("requests no output with output none", () =>
      Effect.gen(function* () {
        const { mesh, client } = yield* setup()
        yield* follow(client.everything({ output: "none" }))
        yield* settle
        yield* mesh.emit(updated(1))
        yield* settle
        assert.deepStrictEqual(yield* requests(mesh), ["SubscribeAll"])
      })
    )

    itLeavesNothing("releases what it discovered when it leaves", () =>
      Effect.gen(function* () {
        const { mesh, client } = yield* setup({ subscriptionIdleTimeToLive: 0, connectionIdleTimeToLive: "1 hour" })
        const { fiber } = yield* follow(client.everything())
        yield* settle
        yield* mesh.emit(updated(1, a), updated(1, b))
        yield* settle
        yield* Fiber.interrupt(fiber)
        yield* settle
        assert.isTrue(Interest.isEmpty(yield* mesh.subscriptions))
      })
    )
  })
})

const permutations = (items: ReadonlyArray<string>): ReadonlyArray<ReadonlyArray<string>> =>
  items.length === 0
    ? [[]]
    : items.flatMap((item, n) =>
        permutations([...items.slice(0, n), ...items.slice(n + 1)]).map((rest) => [item, ...rest])
      )
