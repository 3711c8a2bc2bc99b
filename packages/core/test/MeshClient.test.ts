import { assert, describe } from "@effect/vitest"
import {
  Deferred,
  Duration,
  Effect,
  Exit,
  Fiber,
  Logger,
  Option,
  References,
  Result,
  Schedule,
  Scope,
  Stream,
  SubscriptionRef,
  Tracer
} from "effect"
import { Socket } from "effect/socket"
import { TestClock } from "effect/testing"
import { ScriptedMesh } from "@makima-stream/test-kit"
import * as Interest from "../src/Interest.ts"
import * as MeshClient from "../src/MeshClient.ts"
import type * as MeshError from "../src/MeshError.ts"
import type { MeshEvent } from "../src/MeshEvent.ts"
import type { ServerMessage } from "../src/ServerMessage.ts"
import { TaskId } from "../src/TaskId.ts"
import { follow, settle } from "./support/follow.ts"
import { closesEverything, itLeavesNothing } from "./support/leaves.ts"

const a = TaskId.make("a")
const b = TaskId.make("b")

const updated = (version: number, taskId: TaskId = a, status = "running"): ServerMessage => ({
  _tag: "TaskUpdated",
  taskId,
  version,
  status
})

const said = (content: string, taskId: TaskId = a): ServerMessage => ({
  _tag: "TaskOutput",
  taskId,
  messageType: "assistant",
  content
})

const partial = (content: string, taskId: TaskId = a): ServerMessage => ({
  _tag: "TaskOutput",
  taskId,
  messageType: "assistant",
  content,
  isPartial: true
})

/** The default delays without their jitter, so that times can be exact. */
const plain = { schedule: Schedule.spaced("2 seconds") }

const setup = (options?: MeshClient.Options & { readonly mesh?: ScriptedMesh.Options }) =>
  Effect.gen(function* () {
    const mesh = yield* ScriptedMesh.make(options?.mesh)
    yield* closesEverything(mesh)
    const client = yield* MeshClient.make({ policy: plain, ...options }).pipe(
      Effect.provideService(Socket.Socket, mesh.socket)
    )
    return { mesh, client }
  })

const tags = (events: ReadonlyArray<MeshEvent>) => events.map((event) => event._tag)

const data = (events: ReadonlyArray<MeshEvent>) =>
  events.flatMap((event) =>
    event._tag === "TaskUpdated"
      ? [`${event.taskId} ${event.version}`]
      : event._tag === "TaskOutput"
        ? [`${event.taskId}: ${event.content}`]
        : []
  )

const requests = (mesh: ScriptedMesh.ScriptedMesh["Service"], connection?: number) =>
  Effect.map(mesh.received, (received) =>
    received
      .filter((request) => connection === undefined || request.connection === connection)
      .map(({ message }) => ("taskId" in message ? `${message._tag} ${message.taskId}` : message._tag))
  )

const reasonOf = (exit: Exit.Exit<void, MeshError.MeshError>): string => {
  const error = Exit.findError(exit)
  return Result.isSuccess(error) ? error.success.reason._tag : "none"
}

/** A consumer that takes one batch, tells so, and then waits until it is let go. */
const stalled = <A extends MeshEvent>(stream: Stream.Stream<A, MeshError.MeshError>) =>
  Effect.gen(function* () {
    const events: Array<MeshEvent> = []
    const started = yield* Deferred.make<void>()
    const gate = yield* Deferred.make<void>()
    const fiber = yield* stream.pipe(
      Stream.runForEachArray((batch) => {
        events.push(...batch)
        return Effect.andThen(Deferred.succeed(started, undefined), Deferred.await(gate))
      }),
      Effect.forkScoped
    )
    return { events, fiber, started: Deferred.await(started), release: Deferred.succeed(gate, undefined) }
  })

describe("MeshClient", () => {
  describe("subscribing", () => {
    itLeavesNothing("while the first requests are being written is not forgotten", () =>
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
        const { mesh, client } = yield* setup({ subscriptionIdle: 0, mesh: { acknowledge: "manual" } })
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
        assert.deepStrictEqual(yield* requests(mesh), [
          "Subscribe a",
          "SubscribeAll",
          "Unsubscribe a",
          "Subscribe a",
          "UnsubscribeAll"
        ])
      })
    )

    itLeavesNothing("gives up what was asked for, also where the owner of the set has changed it since", () =>
      Effect.gen(function* () {
        const { mesh, client } = yield* setup({ subscriptionIdle: 0, connectionIdle: "1 hour" })
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

    itLeavesNothing("that the transport dies of ends the connection, and the next one asks for everything", () =>
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
        yield* TestClock.adjust("2 seconds")
        yield* settle
        assert.deepStrictEqual((yield* mesh.subscriptions).updates, new Set([a, b]))
      })
    )

    itLeavesNothing(
      "for a task id that is none leaves the other consumers alone, and the server says what is wrong",
      () =>
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

    itLeavesNothing(
      "is acquiring: the first consumer asks, the last one out gives up, those between cost nothing",
      () =>
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

    itLeavesNothing("again within the idle time costs nothing on the wire", () =>
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

    itLeavesNothing("opens one connection for all", () =>
      Effect.gen(function* () {
        const { mesh, client } = yield* setup()
        yield* follow(client.updates())
        yield* follow(client.output(a))
        yield* follow(client.task(b))
        yield* settle
        assert.strictEqual((yield* mesh.connections).length, 1)
      })
    )

    itLeavesNothing("gives each consumer what it asked for, and nothing else", () =>
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
        assert.deepStrictEqual(tags(events.events).slice(1), ["TaskOutput", "ServerError", "UnknownMessage"])
        assert.notInclude(tags(all.events), "ServerError")
      })
    )

    itLeavesNothing("to all updates and to one task's gives each update once", () =>
      Effect.gen(function* () {
        const { mesh, client } = yield* setup()
        const both = yield* follow(client.events(Interest.union(Interest.all, Interest.task(a))))
        yield* settle
        yield* mesh.emit(updated(1), said("x"))
        yield* settle
        assert.deepStrictEqual(data(both.events), ["a 1", "a: x"])
      })
    )

    itLeavesNothing(
      "in every interleaving of two consumers that leave and join the same task ends with what is wanted",
      () =>
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
                    subscriptionIdle: 0,
                    connectionIdle: "1 hour",
                    mesh: { acknowledge }
                  })
                  // Somebody else keeps the connection.
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
                  // On the wire, each request of the task is the opposite of the one before it.
                  const own = (yield* requests(mesh)).filter((request) => request.endsWith(" a"))
                  own.forEach((request, n) =>
                    assert.strictEqual(request, n % 2 === 0 ? "SubscribeOutput a" : "UnsubscribeOutput a")
                  )
                }).pipe(Effect.scoped)
              }
            }
          }
        })
    )

    itLeavesNothing("that a disconnect cut between request and acknowledgement is asked for again, once", () =>
      Effect.gen(function* () {
        const { mesh, client } = yield* setup({ mesh: { acknowledge: "manual" } })
        yield* follow(client.output(a))
        yield* mesh.awaitReceived(({ message }) => message._tag === "SubscribeOutput")
        assert.deepStrictEqual(yield* client.subscriptions, {
          requested: Interest.output(a),
          confirmed: Interest.empty
        })
        yield* mesh.kill()
        yield* settle
        assert.deepStrictEqual((yield* client.subscriptions).requested, Interest.empty)
        yield* TestClock.adjust("2 seconds")
        yield* mesh.awaitReceived(({ connection }) => connection === 2)
        yield* mesh.acknowledge()
        yield* settle
        assert.deepStrictEqual(yield* requests(mesh, 2), ["SubscribeOutput a"])
        assert.deepStrictEqual((yield* client.subscriptions).confirmed, Interest.output(a))
      })
    )

    itLeavesNothing("comes back as a whole after a reconnect, in one flush", () =>
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
    itLeavesNothing("follows the output of each task from the moment it is first seen until it has ended", () =>
      Effect.gen(function* () {
        const { mesh, client } = yield* setup({ subscriptionIdle: 0 })
        const { events } = yield* follow(client.everything({ linger: "30 seconds" }))
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

    itLeavesNothing("takes a task up again that starts again", () =>
      Effect.gen(function* () {
        const { mesh, client } = yield* setup({ subscriptionIdle: 0 })
        yield* follow(client.everything({ linger: "30 seconds" }))
        yield* settle
        yield* mesh.emit(updated(1), updated(2, a, "done"))
        yield* settle
        yield* mesh.emit(updated(3, a, "running"))
        yield* TestClock.adjust("1 hour")
        yield* settle
        assert.deepStrictEqual(yield* requests(mesh), ["SubscribeAll", "SubscribeOutput a"])
      })
    )

    itLeavesNothing("leaves a task alone that had ended when it was first seen", () =>
      Effect.gen(function* () {
        const { mesh, client } = yield* setup()
        yield* follow(client.everything())
        yield* settle
        yield* mesh.emit(updated(9, a, "merged"))
        yield* settle
        assert.deepStrictEqual(yield* requests(mesh), ["SubscribeAll"])
      })
    )

    itLeavesNothing("does not take a task that has ended for a new one where an update has no status", () =>
      Effect.gen(function* () {
        const { mesh, client } = yield* setup({ subscriptionIdle: 0 })
        yield* follow(client.everything({ linger: "30 seconds" }))
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

    itLeavesNothing("without output asks for none", () =>
      Effect.gen(function* () {
        const { mesh, client } = yield* setup()
        yield* follow(client.everything({ output: "none" }))
        yield* settle
        yield* mesh.emit(updated(1))
        yield* settle
        assert.deepStrictEqual(yield* requests(mesh), ["SubscribeAll"])
      })
    )

    itLeavesNothing("gives up what it discovered when it leaves", () =>
      Effect.gen(function* () {
        const { mesh, client } = yield* setup({ subscriptionIdle: 0, connectionIdle: "1 hour" })
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

  describe("each consumer's own marks", () => {
    itLeavesNothing("tell one that joins late so with its first element", () =>
      Effect.gen(function* () {
        const { mesh, client } = yield* setup()
        const early = yield* follow(client.updates())
        yield* mesh.awaitConnection()
        yield* settle
        const late = yield* follow(client.updates())
        yield* settle
        assert.deepStrictEqual(tags(early.events), ["Connected"])
        assert.deepStrictEqual<unknown>(late.events, [{ _tag: "Resync", epoch: 1, reason: { _tag: "JoinedLate" } }])
      })
    )

    itLeavesNothing("show a reconnect to all of them", () =>
      Effect.gen(function* () {
        const { mesh, client } = yield* setup()
        const consumers = [yield* follow(client.updates()), yield* follow(client.output(b))]
        yield* settle
        yield* mesh.kill()
        yield* TestClock.adjust("2 seconds")
        yield* mesh.awaitConnection(2)
        yield* settle
        for (const { events } of consumers) {
          assert.deepStrictEqual(tags(events), ["Connected", "Disconnected", "Connected", "Resync"])
        }
      })
    )
  })

  describe("a consumer whose queue is full", () => {
    itLeavesNothing("suspends the connection by default, and loses nothing", () =>
      Effect.gen(function* () {
        const { mesh, client } = yield* setup({ mesh: { maxBatch: 4 } })
        const slow = yield* stalled(client.updates(undefined, { capacity: 8 }))
        yield* slow.started
        for (let n = 1; n <= 100; n++) yield* mesh.emit(updated(n))
        yield* settle
        // Eight in the queue, one batch in the router's hand: the rest is where backpressure keeps it.
        const [connection] = yield* mesh.connections
        assert.isAtLeast(connection?.unread ?? 0, 100 - 8 - 4)
        yield* slow.release
        yield* settle
        assert.deepStrictEqual(
          data(slow.events),
          Array.from({ length: 100 }, (_, n) => `a ${n + 1}`)
        )
      })
    )

    itLeavesNothing("is never forgotten, wherever the scheduler cuts in between the router and the consumer", () =>
      Effect.gen(function* () {
        for (let ops = 5; ops <= 80; ops++) {
          const cut = Effect.provideService(References.MaxOpsBeforeYield, ops)
          yield* Effect.gen(function* () {
            const { mesh, client } = yield* cut(setup())
            const consumer = yield* cut(follow(client.updates(undefined, { capacity: 1 })))
            yield* mesh.awaitReceived(({ message }) => message._tag === "SubscribeAll")
            yield* mesh.emit(...Array.from({ length: 20 }, (_, n) => updated(n + 1)))
            for (let rounds = 0; rounds < 100 && data(consumer.events).length < 20; rounds++) yield* settle
            assert.strictEqual(data(consumer.events).length, 20, `with a yield after every ${ops} operations`)
          }).pipe(Effect.scoped)
        }
      })
    )

    itLeavesNothing(
      "is read ahead for by 64 events while nobody waits, and by all it has room for while somebody does",
      () =>
        Effect.gen(function* () {
          const { mesh, client } = yield* setup({ mesh: { maxBatch: 16 } })
          const unread = Effect.map(mesh.connections, ([connection]) => connection?.unread ?? 0)
          const slow = yield* stalled(client.updates(a))
          yield* slow.started
          // Somebody who waited and has gone waits no more.
          const gone = yield* follow(client.updates(b))
          yield* settle
          yield* Fiber.interrupt(gone.fiber)
          for (let n = 1; n <= 400; n++) yield* mesh.emit(updated(n))
          yield* settle
          const alone = yield* unread
          assert.isAtLeast(alone, 400 - 64 - 2 * 16)
          assert.isAtMost(alone, 400 - 64)
          const other = yield* follow(client.updates(b))
          yield* settle
          const together = yield* unread
          assert.isAtLeast(together, 400 - 256 - 2 * 16)
          assert.isAtMost(together, 400 - 256)
          yield* slow.release
          yield* mesh.emit(updated(1, b))
          yield* settle
          assert.deepStrictEqual(
            data(slow.events),
            Array.from({ length: 400 }, (_, n) => `a ${n + 1}`)
          )
          assert.deepStrictEqual(data(other.events), ["b 1"])
        })
    )

    for (const [company, others] of [
      ["alone", 0],
      ["beside one that waits", 1]
    ] as const) {
      itLeavesNothing(
        `is never forgotten by a router that reads ahead, ${company}, wherever the scheduler cuts in`,
        () =>
          Effect.gen(function* () {
            for (let ops = 5; ops <= 80; ops++) {
              const cut = Effect.provideService(References.MaxOpsBeforeYield, ops)
              yield* Effect.gen(function* () {
                const { mesh, client } = yield* cut(setup({ mesh: { maxBatch: 40 } }))
                const slow = yield* cut(follow(Stream.tap(client.updates(a), () => Effect.yieldNow)))
                yield* mesh.awaitReceived(({ message }) => message._tag === "Subscribe")
                for (let n = 0; n < others; n++) {
                  yield* cut(follow(client.updates(b)))
                  yield* mesh.awaitReceived(({ message }) => message._tag === "Subscribe" && message.taskId === b)
                }
                yield* mesh.emit(...Array.from({ length: 300 }, (_, n) => updated(n + 1)))
                for (let rounds = 0; rounds < 100 && data(slow.events).length < 300; rounds++) yield* settle
                assert.strictEqual(data(slow.events).length, 300, `with a yield after every ${ops} operations`)
              }).pipe(Effect.scoped)
            }
          })
      )
    }

    itLeavesNothing("that suspends keeps neither the reconciler nor another's interruption from their work", () =>
      Effect.gen(function* () {
        const { mesh, client } = yield* setup({ mesh: { maxBatch: 4 } })
        const slow = yield* stalled(client.updates(undefined, { capacity: 1 }))
        const other = yield* follow(client.updates(b))
        yield* slow.started
        for (let n = 1; n <= 100; n++) yield* mesh.emit(updated(n))
        yield* settle
        yield* follow(client.output(b))
        yield* mesh.awaitReceived(({ message }) => message._tag === "SubscribeOutput")
        yield* Fiber.interrupt(other.fiber)
        // And its own interruption frees the others.
        yield* Fiber.interrupt(slow.fiber)
        const after = yield* follow(client.updates())
        yield* settle
        yield* mesh.emit(updated(101))
        yield* settle
        assert.deepStrictEqual(data(after.events).at(-1), "a 101")
      })
    )

    itLeavesNothing("that suspends does not hide a peer that has frozen", () =>
      Effect.gen(function* () {
        const { mesh, client } = yield* setup()
        const slow = yield* stalled(client.updates(undefined, { capacity: 1 }))
        yield* slow.started
        yield* mesh.emit(updated(1), updated(2), updated(3))
        yield* settle
        yield* mesh.freeze()
        yield* TestClock.adjust("25 seconds")
        yield* slow.release
        yield* settle
        assert.include(tags(slow.events), "Disconnected")
      })
    )

    itLeavesNothing("sheds what it can do without, marks it, and slows nobody", () =>
      Effect.gen(function* () {
        const { mesh, client } = yield* setup()
        const slow = yield* stalled(client.output(a, { overflow: "shed", capacity: 4 }))
        const fast = yield* follow(client.output(a))
        yield* slow.started
        for (let n = 1; n <= 20; n++) yield* mesh.emit(partial(`p${n}`))
        yield* mesh.emit(said("whole"))
        yield* settle
        assert.strictEqual(data(fast.events).length, 21)
        yield* slow.release
        yield* settle
        assert.deepStrictEqual(data(slow.events), ["a: p18", "a: p19", "a: p20", "a: whole"])
        assert.strictEqual(dropped(slow.events), 17)
      })
    )

    itLeavesNothing("slides: the oldest go, and the mark stands before what is left", () =>
      Effect.gen(function* () {
        const { mesh, client } = yield* setup()
        const slow = yield* stalled(client.updates(a, { overflow: "sliding", capacity: 3 }))
        yield* slow.started
        for (let n = 1; n <= 10; n++) yield* mesh.emit(updated(n))
        yield* settle
        yield* slow.release
        yield* settle
        assert.deepStrictEqual(data(slow.events), ["a 8", "a 9", "a 10"])
        assert.deepStrictEqual(tags(slow.events), ["Connected", "Resync", "TaskUpdated", "TaskUpdated", "TaskUpdated"])
        assert.strictEqual(dropped(slow.events), 7)
      })
    )

    itLeavesNothing("slides across a reconnect: the mark is of the epoch in which it stands", () =>
      Effect.gen(function* () {
        const { mesh, client } = yield* setup()
        const slow = yield* stalled(client.updates(a, { overflow: "sliding", capacity: 5 }))
        yield* slow.started
        for (let n = 1; n <= 10; n++) yield* mesh.emit(updated(n))
        yield* settle
        yield* mesh.kill()
        yield* TestClock.adjust("2 seconds")
        yield* mesh.awaitConnection(2)
        yield* settle
        yield* slow.release
        yield* settle
        const epochs = slow.events.map((event) => ("epoch" in event ? `${event._tag} ${event.epoch}` : event._tag))
        assert.deepStrictEqual(epochs, [
          "Connected 1",
          "Resync 1",
          "TaskUpdated",
          "TaskUpdated",
          "Disconnected 1",
          "Connected 2",
          "Resync 2"
        ])
      })
    )

    itLeavesNothing("drops: the newest go, and the mark stands after what was kept", () =>
      Effect.gen(function* () {
        const { mesh, client } = yield* setup()
        const slow = yield* stalled(client.updates(a, { overflow: "dropping", capacity: 3 }))
        yield* slow.started
        for (let n = 1; n <= 10; n++) yield* mesh.emit(updated(n))
        yield* settle
        yield* slow.release
        yield* settle
        yield* mesh.emit(updated(11))
        yield* settle
        assert.deepStrictEqual(data(slow.events), ["a 1", "a 2", "a 3", "a 11"])
        assert.deepStrictEqual(tags(slow.events).at(-2), "Resync")
        assert.strictEqual(dropped(slow.events), 7)
      })
    )

    itLeavesNothing("takes a capacity that is no count for the least, and never for none", () =>
      Effect.gen(function* () {
        const { mesh, client } = yield* setup()
        for (const capacity of [0, -1, 0.5, Number.NaN]) {
          const slow = yield* stalled(client.updates(a, { overflow: "dropping", capacity }))
          yield* settle
          for (let n = 1; n <= 3; n++) yield* mesh.emit(updated(n))
          yield* settle
          yield* slow.release
          yield* settle
          assert.deepStrictEqual(data(slow.events), ["a 1"], String(capacity))
          assert.strictEqual(dropped(slow.events), 2, String(capacity))
          yield* Fiber.interrupt(slow.fiber)
        }
      })
    )

    itLeavesNothing("fails with a typed error, after what it had, and nobody else does", () =>
      Effect.gen(function* () {
        const { mesh, client } = yield* setup()
        const slow = yield* stalled(client.updates(a, { overflow: "fail", capacity: 3 }))
        const other = yield* follow(client.updates(a))
        yield* slow.started
        for (let n = 1; n <= 10; n++) yield* mesh.emit(updated(n))
        yield* settle
        yield* slow.release
        assert.strictEqual(reasonOf(yield* Fiber.await(slow.fiber)), "ConsumerOverflow")
        assert.deepStrictEqual(data(slow.events), ["a 1", "a 2", "a 3"])
        yield* settle
        assert.strictEqual(data(other.events).length, 10)
      })
    )
  })

  describe("status", () => {
    itLeavesNothing("goes through every state, in order, with its times", () =>
      Effect.gen(function* () {
        const { mesh, client } = yield* setup({ connectionIdle: "30 seconds" })
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

    itLeavesNothing("awaitOnline fails with the error that the client gave up with, and tries anew the next time", () =>
      Effect.gen(function* () {
        const { mesh, client } = yield* setup()
        yield* mesh.refuse(1, 401)
        const error = yield* Effect.flip(client.awaitOnline)
        assert.strictEqual(error.reason._tag, "HandshakeRejected")
        yield* client.awaitOnline
      })
    )
  })

  describe("a defect of the program's own, in its policy", () => {
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
        // The next one tries anew.
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
    itLeavesNothing("is nobody's own: it has neither the log annotations nor the span of who came first", () =>
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

    itLeavesNothing("does not go for want of consumers when one comes, wherever the scheduler cuts in", () =>
      Effect.gen(function* () {
        for (let ops = 4; ops <= 24; ops++) {
          for (let turns = 0; turns <= 12; turns++) {
            yield* Effect.gen(function* () {
              const { mesh, client } = yield* setup({ connectionIdle: "1 second", subscriptionIdle: 0 })
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
              for (let rounds = 0; rounds < 5; rounds++) yield* settle
              assert.include(data(second.events), "b 7", `a yield after every ${ops} operations, and ${turns} turns`)
            }).pipe(Effect.scoped, Effect.provideService(References.MaxOpsBeforeYield, ops))
          }
        }
      })
    )

    itLeavesNothing("is not there before the first consumer, and goes an idle time after the last", () =>
      Effect.gen(function* () {
        const { mesh, client } = yield* setup({ connectionIdle: "30 seconds" })
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

    itLeavesNothing("goes, and nothing spins, where times are fractions of a millisecond", () =>
      Effect.gen(function* () {
        const { mesh, client } = yield* setup({ subscriptionIdle: "5 seconds", connectionIdle: "30 seconds" })
        // From here, 5 seconds and then 25 are less than 30 seconds, by a rounding error.
        yield* TestClock.adjust(Duration.nanos(2100n))
        const { fiber } = yield* follow(client.updates())
        yield* mesh.awaitConnection()
        yield* Fiber.interrupt(fiber)
        yield* TestClock.adjust("31 seconds")
        yield* settle
        assert.isFalse((yield* mesh.connections)[0]?.open)
      }).pipe(
        // This clock waits for whoever it woke, however long that takes.
        Effect.provide(TestClock.layer({ warningDelay: "1 hour" }))
      )
    )

    itLeavesNothing("stays without consumers where it is kept alive", () =>
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

    itLeavesNothing("is dialled anew at once on request, in a backoff and while online", () =>
      Effect.gen(function* () {
        const { mesh, client } = yield* setup({ policy: { schedule: Schedule.spaced("1 hour") } })
        yield* mesh.refuse(1, 503)
        const { events } = yield* follow(client.updates())
        yield* settle
        assert.strictEqual((yield* mesh.dials).length, 1)
        yield* client.reconnect
        yield* mesh.awaitConnection()
        yield* settle
        yield* client.reconnect
        yield* mesh.awaitConnection(2)
        yield* settle
        assert.deepStrictEqual(yield* mesh.dials, [0, 0, 0])
        assert.deepStrictEqual(tags(events), ["Disconnected", "Connected", "Disconnected", "Connected", "Resync"])
        assert.strictEqual((yield* mesh.connections).filter((connection) => connection.open).length, 1)
      })
    )

    itLeavesNothing("that fails for good fails every stream with the same error; a later consumer dials anew", () =>
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
        assert.deepStrictEqual<unknown>(later.events, [{ _tag: "Connected", epoch: 2, at: 0 }])
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

    itLeavesNothing("gives what came before the last acknowledgement, in one batch with it or not", () =>
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

    itLeavesNothing("waits for an acknowledgement that is under way already", () =>
      Effect.gen(function* () {
        const { mesh, client } = yield* setup({ subscriptionIdle: 0, mesh: { acknowledge: "manual" } })
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

    itLeavesNothing("is over when the connection breaks off meanwhile, and dials no other", () =>
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

    itLeavesNothing("ends for everybody who calls it", () =>
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

    itLeavesNothing("when its scope is closed before anybody has come", () => Effect.asVoid(setup()))

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
          assert.isTrue(Interest.isEmpty((yield* client.subscriptions).requested))
          assert.isTrue((yield* mesh.connections).every((connection) => !connection.open))
          const dials = (yield* mesh.dials).length
          yield* TestClock.adjust("1 hour")
          assert.strictEqual((yield* mesh.dials).length, dials)
        })
      )
    }
  })
})

const dropped = (events: ReadonlyArray<MeshEvent>): number =>
  events.reduce(
    (sum, event) => (event._tag === "Resync" && event.reason._tag === "Overflow" ? sum + event.reason.dropped : sum),
    0
  )

const permutations = (items: ReadonlyArray<string>): ReadonlyArray<ReadonlyArray<string>> =>
  items.length === 0
    ? [[]]
    : items.flatMap((item, n) =>
        permutations([...items.slice(0, n), ...items.slice(n + 1)]).map((rest) => [item, ...rest])
      )
