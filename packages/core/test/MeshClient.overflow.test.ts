import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as References from "effect/References"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { a, b, updated, said, partial, setup, tags, data, reasonOf, stalled, dropped } from "./support/client.ts"
import { follow, settle } from "./support/follow.ts"
import { itLeavesNothing } from "./support/leaves.ts"

describe("MeshClient", () => {
  describe("each consumer's own marks", () => {
    itLeavesNothing("are a JoinedLate first for a consumer that joins late", () =>
      Effect.gen(function* () {
        const { mesh, client } = yield* setup()
        const early = yield* follow(client.updates())
        yield* mesh.awaitConnection()
        yield* settle
        const late = yield* follow(client.updates())
        yield* settle
        assert.deepStrictEqual(tags(early.events), ["Connected", "Resync"])
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
          assert.deepStrictEqual(tags(events), ["Connected", "Resync", "Disconnected", "Connected", "Resync"])
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

    itLeavesNothing("is woken, wherever the scheduler cuts in between the router and the consumer", () =>
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

    itLeavesNothing("reads ahead 64 events while no other consumer waits, and up to its capacity while one does", () =>
      Effect.gen(function* () {
        const { mesh, client } = yield* setup({ mesh: { maxBatch: 16 } })
        const unread = Effect.map(mesh.connections, ([connection]) => connection?.unread ?? 0)
        const slow = yield* stalled(client.updates(a))
        yield* slow.started
        // A consumer that waited and has left no longer counts.
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
      itLeavesNothing(`is woken by a router that reads ahead, ${company}, wherever the scheduler cuts in`, () =>
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

    itLeavesNothing("delays neither requests nor another consumer's interruption with suspend", () =>
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

    itLeavesNothing("does not hide a frozen peer with suspend", () =>
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

    itLeavesNothing("loses partial outputs with shed, marks them, and blocks no other consumer", () =>
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

    itLeavesNothing("loses the oldest events with sliding, with the mark before what is left", () =>
      Effect.gen(function* () {
        const { mesh, client } = yield* setup()
        const slow = yield* stalled(client.updates(a, { overflow: "sliding", capacity: 3 }))
        yield* slow.started
        for (let n = 1; n <= 10; n++) yield* mesh.emit(updated(n))
        yield* settle
        yield* slow.release
        yield* settle
        assert.deepStrictEqual(data(slow.events), ["a 8", "a 9", "a 10"])
        assert.deepStrictEqual(tags(slow.events), [
          "Connected",
          "Resync",
          "Resync",
          "TaskUpdated",
          "TaskUpdated",
          "TaskUpdated"
        ])
        assert.strictEqual(dropped(slow.events), 7)
      })
    )

    itLeavesNothing("marks losses across a reconnect with the epoch of their place", () =>
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
          "Resync 1",
          "TaskUpdated",
          "TaskUpdated",
          "Disconnected 1",
          "Connected 2",
          "Resync 2"
        ])
      })
    )

    itLeavesNothing("loses the newest events with dropping, with the mark after what was kept", () =>
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

    itLeavesNothing("counts a capacity that is not at least 1 as 1", () =>
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

    itLeavesNothing("fails with a typed error after its queued events with fail, and no other consumer does", () =>
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
})
