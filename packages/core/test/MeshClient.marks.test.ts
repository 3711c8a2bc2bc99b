import { assert, describe } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as References from "effect/References"
import type * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as TestClock from "effect/testing/TestClock"
import * as Interest from "../src/Interest.ts"
import type * as MeshError from "../src/MeshError.ts"
import type { MeshEvent } from "../src/MeshEvent.ts"
import { a, b, data, requests, said, setup, stalled, updated } from "./support/client.ts"
import { follow, settle, turnsAfter, type Following } from "./support/follow.ts"
import { itLeavesNothing } from "./support/leaves.ts"

/** Everything in one line each: data, and marks with what they name. */
const shown = (events: ReadonlyArray<MeshEvent>): ReadonlyArray<string> =>
  events.map((event) => {
    if (event._tag !== "Resync") return data([event])[0] ?? event._tag
    const task = event.taskId === undefined ? "" : ` ${event.taskId}`
    const kind = event.reason._tag === "Subscribed" ? ` ${event.reason.kind}` : ""
    const unconfirmed = event.unconfirmed === undefined ? "" : ` (${event.unconfirmed} unconfirmed)`
    return `${event.reason._tag}${kind}${task}${unconfirmed}`
  })

describe("MeshClient", () => {
  describe("marks", () => {
    itLeavesNothing("stand where the server confirmed, after what came before", () =>
      Effect.gen(function* () {
        const { client, mesh } = yield* setup({ mesh: { acknowledge: "manual" } })
        const one = yield* follow(client.updates())
        yield* settle
        yield* mesh.emit(updated(1))
        yield* mesh.acknowledge()
        yield* mesh.emit(updated(2))
        yield* settle
        assert.deepStrictEqual(shown(one.events), ["Connected", "a 1", "Started", "a 2"])
      })
    )

    itLeavesNothing("put the JoinedLate of a late consumer at the confirmation of its last key", () =>
      Effect.gen(function* () {
        const { client, mesh } = yield* setup({ mesh: { acknowledge: "manual" } })
        const early = yield* follow(client.updates(b))
        yield* settle
        yield* mesh.acknowledge()
        yield* settle
        const late = yield* follow(client.task(a))
        const same = yield* follow(client.output(a))
        yield* settle
        yield* mesh.emit(updated(1))
        yield* mesh.acknowledge(1)
        yield* mesh.emit(updated(2))
        yield* mesh.acknowledge(1)
        yield* mesh.emit(updated(3), said("x"))
        yield* settle
        assert.deepStrictEqual(shown(late.events), ["a 1", "a 2", "JoinedLate", "a 3", "a: x"])
        assert.deepStrictEqual(shown(same.events), ["JoinedLate", "a: x"])
        assert.deepStrictEqual(shown(early.events), ["Connected", "Started"])
      })
    )

    itLeavesNothing("put the JoinedLate of a late consumer first if its keys are confirmed", () =>
      Effect.gen(function* () {
        const { client, mesh } = yield* setup()
        yield* follow(client.updates())
        yield* settle
        const late = yield* follow(client.updates(a))
        yield* settle
        yield* mesh.emit(updated(1))
        yield* settle
        assert.deepStrictEqual(shown(late.events), ["JoinedLate", "a 1"])
      })
    )

    itLeavesNothing("do not take a subscription that was given up and requested again for a confirmed one", () =>
      Effect.gen(function* () {
        const { client, mesh } = yield* setup({ subscriptionIdleTimeToLive: 0, mesh: { acknowledge: "manual" } })
        yield* follow(client.updates(b))
        const first = yield* follow(client.output(a))
        yield* settle
        yield* mesh.acknowledge()
        yield* settle
        yield* Fiber.interrupt(first.fiber)
        yield* TestClock.adjust(1)
        yield* settle
        const again = yield* follow(client.output(a))
        yield* settle
        assert.deepStrictEqual(shown(again.events), [])
        yield* mesh.acknowledge()
        yield* settle
        yield* mesh.acknowledge()
        yield* settle
        assert.deepStrictEqual(shown(again.events), ["JoinedLate"])
      })
    )

    itLeavesNothing("do not interrupt the stretch of a task when a consumer of all comes and goes", () =>
      Effect.gen(function* () {
        const { client, mesh } = yield* setup({ subscriptionIdleTimeToLive: 0 })
        const one = yield* follow(client.updates(a))
        yield* settle
        const all = yield* follow(client.updates())
        yield* settle
        yield* Fiber.interrupt(all.fiber)
        yield* TestClock.adjust(1)
        yield* settle
        const late = yield* follow(client.updates(a))
        yield* settle
        yield* mesh.emit(updated(1))
        yield* settle
        assert.deepStrictEqual(shown(one.events), ["Connected", "Started", "a 1"])
        assert.deepStrictEqual(shown(late.events), ["JoinedLate", "a 1"])
      })
    )

    itLeavesNothing("say how many of a consumer's own keys are unconfirmed, and name each once it is confirmed", () =>
      Effect.gen(function* () {
        const { client, mesh } = yield* setup({ mesh: { acknowledge: "manual" } })
        const both = yield* follow(client.task(a))
        const one = yield* follow(client.updates(a))
        yield* settle
        // The updates are confirmed, the output is not.
        yield* mesh.acknowledge(1)
        yield* TestClock.adjust("5 seconds")
        yield* settle
        assert.deepStrictEqual(shown(both.events), ["Connected", "Started (1 unconfirmed)"])
        assert.deepStrictEqual(shown(one.events), ["Connected", "Started"])
        const late = yield* follow(client.output(a))
        yield* settle
        assert.deepStrictEqual(shown(late.events), ["JoinedLate (1 unconfirmed)"])
        assert.deepStrictEqual((yield* SubscriptionRef.get(client.subscriptions)).unconfirmed, Interest.output(a))
        yield* mesh.acknowledge()
        yield* settle
        assert.deepStrictEqual(shown(both.events).slice(2), ["Subscribed output a"])
        assert.deepStrictEqual(shown(late.events).slice(1), ["Subscribed output a"])
        assert.strictEqual(one.events.length, 2)
      })
    )

    itLeavesNothing("put the JoinedLate of a late consumer after ackTimeout if the server does not confirm", () =>
      Effect.gen(function* () {
        const { client, mesh } = yield* setup({ mesh: { acknowledge: "manual" } })
        yield* follow(client.updates(b))
        yield* settle
        yield* mesh.acknowledge()
        yield* settle
        const late = yield* follow(client.output(a))
        yield* settle
        yield* TestClock.adjust("5 seconds")
        yield* settle
        assert.deepStrictEqual(shown(late.events), ["JoinedLate (1 unconfirmed)"])
        yield* mesh.acknowledge()
        yield* settle
        assert.deepStrictEqual(shown(late.events).slice(1), ["Subscribed output a"])
      })
    )

    itLeavesNothing("begin with the current Disconnected for a consumer that joins while the client is offline", () =>
      Effect.gen(function* () {
        const { client, mesh } = yield* setup()
        const early = yield* follow(client.updates())
        yield* settle
        yield* mesh.kill()
        yield* settle
        const late = yield* follow(client.updates(a))
        yield* settle
        assert.deepStrictEqual(shown(late.events), ["Disconnected"])
        assert.deepStrictEqual(late.events[0], early.events.at(-1))
        yield* TestClock.adjust("2 seconds")
        yield* settle
        assert.deepStrictEqual(shown(late.events), ["Disconnected", "Connected", "Reconnected"])
      })
    )

    itLeavesNothing("are one for each consumer and connection, wherever the scheduler cuts in", () =>
      Effect.gen(function* () {
        for (let ops = 5; ops <= 60; ops++) {
          yield* Effect.gen(function* () {
            const cut = Effect.provideService(References.MaxOpsBeforeYield, ops)
            const { client, mesh } = yield* cut(setup())
            const streams: ReadonlyArray<Stream.Stream<MeshEvent, MeshError.MeshError>> = [
              client.updates(),
              client.task(a),
              client.output(b),
              client.task(a),
              client.output(b),
              client.everything()
            ]
            const consumers: Array<Following<MeshEvent, MeshError.MeshError>> = []
            for (const stream of streams) {
              yield* Effect.yieldNow
              consumers.push(yield* cut(follow(stream)))
            }
            for (let rounds = 0; rounds < 5; rounds++) yield* settle
            yield* mesh.kill()
            for (let rounds = 0; rounds < 5; rounds++) yield* settle
            yield* TestClock.adjust("2 seconds")
            for (let rounds = 0; rounds < 5; rounds++) yield* settle
            for (const { events } of consumers) {
              const marks = shown(events).filter((line) => line !== "Connected" && line !== "Disconnected")
              const message = `a yield after every ${ops} operations: ${shown(events).join(", ")}`
              assert.strictEqual(marks.length, 2, message)
              assert.include(["Started", "JoinedLate"], marks[0], message)
              assert.strictEqual(marks[1], "Reconnected", message)
            }
          }).pipe(Effect.scoped)
        }
      })
    )
  })

  describe("everything", () => {
    itLeavesNothing("marks where the output of a discovered task begins to be complete", () =>
      Effect.gen(function* () {
        const { client, mesh } = yield* setup()
        const { events } = yield* follow(client.everything())
        yield* settle
        yield* mesh.emit(updated(1))
        yield* settle
        yield* mesh.emit(said("x"))
        yield* settle
        assert.deepStrictEqual(shown(events), ["Connected", "Started", "a 1", "Subscribed output a", "a: x"])
      })
    )

    itLeavesNothing("delivers the output of every known live task to a late consumer at once", () =>
      Effect.gen(function* () {
        const { client, mesh } = yield* setup()
        yield* follow(client.everything())
        yield* settle
        yield* mesh.emit(updated(1, a), updated(1, b), updated(2, b, "done"))
        yield* TestClock.adjust("1 hour")
        yield* settle
        const late = yield* follow(client.everything())
        const other = yield* follow(client.everything({ staleAfter: "1 hour" }))
        yield* settle
        yield* mesh.emit(said("x", a), said("y", b))
        yield* settle
        assert.deepStrictEqual(shown(late.events), ["JoinedLate", "a: x"])
        assert.deepStrictEqual(shown(other.events), ["JoinedLate", "a: x"])
      })
    )

    itLeavesNothing("delivers the output of live tasks that only a consumer of updates has seen", () =>
      Effect.gen(function* () {
        const { client, mesh } = yield* setup()
        yield* follow(client.updates())
        yield* settle
        // A later end, and a late older update of it, count as for a consumer of everything.
        yield* mesh.emit(updated(1, a), updated(4, b, "done"), updated(3, b))
        yield* settle
        const late = yield* follow(client.everything())
        yield* settle
        yield* mesh.emit(said("x", a), said("y", b))
        yield* settle
        assert.deepStrictEqual(shown(late.events), ["JoinedLate", "a: x"])
        assert.deepStrictEqual((yield* requests(mesh)).slice(1), ["SubscribeOutput a"])
      })
    )

    itLeavesNothing("counts the silence after a reconnect from before it joined", () =>
      Effect.gen(function* () {
        const { client, mesh } = yield* setup({ subscriptionIdleTimeToLive: 0 })
        yield* follow(client.updates())
        yield* follow(client.output(b))
        yield* settle
        yield* mesh.emit(updated(1, a), updated(1, b))
        yield* settle
        yield* mesh.kill()
        yield* TestClock.adjust("5 seconds")
        yield* settle
        yield* TestClock.adjust("10 minutes")
        // A sign of life.
        yield* mesh.emit(said("x", b))
        yield* settle
        yield* follow(client.everything())
        yield* settle
        assert.deepStrictEqual([...(yield* mesh.subscriptions).output].sort(), [a, b])
        yield* TestClock.adjust("5 minutes")
        yield* settle
        assert.deepStrictEqual([...(yield* mesh.subscriptions).output], [b])
        // With a longer silence behind it, a task is not followed at all.
        yield* follow(client.everything({ staleAfter: "14 minutes" }))
        yield* settle
        assert.deepStrictEqual([...(yield* mesh.subscriptions).output], [b])
      })
    )

    itLeavesNothing("suspects what it knew before a time in which it did not receive all updates", () =>
      Effect.gen(function* () {
        const { client, mesh } = yield* setup({ subscriptionIdleTimeToLive: 0, keepAlive: true })
        const { fiber } = yield* follow(client.updates())
        yield* settle
        yield* mesh.emit(updated(1, a))
        yield* settle
        yield* Fiber.interrupt(fiber)
        yield* TestClock.adjust("1 hour")
        yield* settle
        yield* follow(client.everything())
        yield* settle
        assert.deepStrictEqual([...(yield* mesh.subscriptions).output], [a])
        yield* TestClock.adjust("15 minutes")
        yield* settle
        assert.deepStrictEqual([...(yield* mesh.subscriptions).output], [])
      })
    )

    itLeavesNothing("marks a discovered task at once if its output was confirmed for another consumer", () =>
      Effect.gen(function* () {
        const { client, mesh } = yield* setup()
        yield* follow(client.output(a))
        const { events } = yield* follow(client.everything())
        yield* settle
        yield* mesh.emit(updated(1), said("x"))
        yield* settle
        assert.deepStrictEqual(shown(events), ["Connected", "Started", "a 1", "Subscribed output a", "a: x"])
      })
    )

    itLeavesNothing("releases a task by its highest version: a late older update does not revoke its end", () =>
      Effect.gen(function* () {
        const { client, mesh } = yield* setup({ subscriptionIdleTimeToLive: 0 })
        yield* follow(client.everything())
        yield* settle
        yield* mesh.emit(updated(2, a), updated(4, a, "done"), updated(3, a, "running"))
        yield* TestClock.adjust("30 seconds")
        yield* settle
        assert.isTrue(Interest.equals(yield* mesh.subscriptions, Interest.all))
      })
    )

    itLeavesNothing("reads what has arrived before it gives up an ended or a silent task", () =>
      Effect.gen(function* () {
        const { client, mesh } = yield* setup({ subscriptionIdleTimeToLive: 0 })
        const { events } = yield* follow(client.everything())
        yield* settle
        yield* mesh.emit(updated(1, a), updated(2, a, "done"), updated(1, b))
        yield* settle
        // The process stands still: its timers are due before its socket is read.
        yield* Effect.andThen(turnsAfter("30 seconds", 10), mesh.emit(said("last"))).pipe(Effect.forkScoped)
        yield* TestClock.adjust("30 seconds")
        yield* settle
        assert.deepStrictEqual(data(events).slice(-1), ["a: last"])
        yield* mesh.kill()
        yield* TestClock.adjust("2 seconds")
        yield* settle
        const due = Duration.seconds(32 + 15 * 60)
        yield* Effect.andThen(turnsAfter(due, 10), mesh.emit(said("alive", b))).pipe(Effect.forkScoped)
        yield* TestClock.adjust("15 minutes")
        yield* settle
        assert.deepStrictEqual(data(events).slice(-1), ["b: alive"])
        assert.deepStrictEqual([...(yield* mesh.subscriptions).output], [b])
      })
    )

    itLeavesNothing("does not count the time in which a slow consumer stops the reads as silence", () =>
      Effect.gen(function* () {
        const { client, mesh } = yield* setup({ subscriptionIdleTimeToLive: 0 })
        const { events } = yield* follow(client.everything())
        const slow = yield* stalled(client.updates(undefined, { capacity: 2 }))
        yield* slow.started
        yield* mesh.emit(updated(1, b))
        yield* settle
        yield* mesh.emit(updated(2, b, "done"), updated(1, a))
        yield* settle
        yield* mesh.emit(said("late", b))
        yield* TestClock.adjust("1 hour")
        yield* slow.release
        yield* settle
        assert.deepStrictEqual(data(events).slice(-1), ["b: late"])
        // Then the ended task is given up as usual.
        yield* TestClock.adjust("30 seconds")
        yield* settle
        assert.deepStrictEqual([...(yield* mesh.subscriptions).output], [a])
      })
    )

    itLeavesNothing("stays within its bound of subscriptions in twenty days with twenty lost ends each", () =>
      Effect.gen(function* () {
        const { client, mesh } = yield* setup()
        yield* follow(client.everything())
        yield* settle
        let most = 0
        for (let day = 0; day < 20; day++) {
          for (let n = 0; n < 20; n++) {
            const id = `day-${day}-${n}`
            yield* mesh.emit({ ...updated(1), taskId: id } as ReturnType<typeof updated>)
          }
          yield* settle
          most = Math.max(most, (yield* mesh.subscriptions).output.size)
          // Their ends are lost.
          yield* mesh.kill()
          yield* TestClock.adjust("5 seconds")
          yield* settle
          yield* TestClock.adjust("1 day")
          yield* settle
          most = Math.max(most, (yield* mesh.subscriptions).output.size)
        }
        assert.isAtMost(most, 20)
        assert.strictEqual((yield* mesh.subscriptions).output.size, 0)
      })
    )
  })
})
