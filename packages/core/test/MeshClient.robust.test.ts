import { assert, describe } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as Metric from "effect/Metric"
import * as References from "effect/References"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as TestClock from "effect/testing/TestClock"
import * as Socket from "effect/socket/Socket"
import * as ScriptedMesh from "@makima-stream/test-kit/ScriptedMesh"
import * as MeshClient from "../src/MeshClient.ts"
import * as MeshMetrics from "../src/MeshMetrics.ts"
import { a, b, data, dropped, plain, reasonOf, said, setup, stalled, tags, updated } from "./support/client.ts"
import { follow, settle } from "./support/follow.ts"
import { closesEverything, itLeavesNothing } from "./support/leaves.ts"

/** Runs a test with a scheduler yield after every so many operations. */
const atEveryYield = <A, E, R>(from: number, to: number, body: (ops: number) => Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    for (let ops = from; ops <= to; ops++) {
      yield* body(ops).pipe(Effect.scoped, Effect.provideService(References.MaxOpsBeforeYield, ops))
    }
  })

const settleLong = Effect.repeat(settle, { times: 5 })

/** Settles for as long as `settleLong`, or until a condition holds. */
const settleUntil = (condition: Effect.Effect<boolean>) =>
  Effect.gen(function* () {
    for (let rounds = 0; rounds < 6 && !(yield* condition); rounds++) yield* settle
  })

describe("MeshClient", () => {
  describe("a consumer that subscribes again after a fatal error", () => {
    itLeavesNothing("dials again instead of receiving the old error, wherever the scheduler cuts in", () =>
      atEveryYield(4, 60, (ops) =>
        Effect.gen(function* () {
          const { client, mesh } = yield* setup()
          yield* mesh.refuse(1, 403)
          let errors = 0
          const exits = []
          for (let n = 0; n < 3; n++) {
            const { exit } = yield* follow(
              client.updates().pipe(
                Stream.catch(() => {
                  errors++
                  return client.updates()
                }),
                Stream.takeUntil(({ _tag }) => _tag === "Resync")
              )
            )
            exits.push(exit)
          }
          yield* settleLong
          yield* TestClock.adjust("10 seconds")
          yield* settleLong
          assert.strictEqual(errors, 3, `a yield after every ${ops} operations`)
          for (const exit of exits) assert.isTrue(Exit.isSuccess(yield* exit), `a yield after every ${ops} operations`)
          assert.strictEqual(SubscriptionRef.getUnsafe(client.status)._tag, "Online")
        })
      )
    )

    itLeavesNothing("may do so because of the status, before the streams have ended", () =>
      Effect.gen(function* () {
        const { client, mesh } = yield* setup()
        const first = yield* follow(client.updates())
        yield* settle
        const late = yield* Effect.forkScoped(
          SubscriptionRef.changes(client.status).pipe(
            Stream.filter(({ _tag }) => _tag === "Failed"),
            Stream.runHead,
            Effect.andThen(Stream.runForEach(Stream.take(client.updates(), 2), () => Effect.void))
          )
        )
        yield* settle
        yield* mesh.close(4404, "gone")
        yield* settleLong
        if (SubscriptionRef.getUnsafe(client.status)._tag === "Online") {
          assert.strictEqual(reasonOf(yield* first.exit), "ConnectionClosed")
          assert.isTrue(Exit.isSuccess(yield* Fiber.await(late)))
        }
      })
    )
  })

  describe("consumers that wait for each other", () => {
    itLeavesNothing("receive what is in their queues before the router waits, wherever the scheduler cuts in", () =>
      atEveryYield(3, 80, (ops) =>
        Effect.gen(function* () {
          const { client, mesh } = yield* setup()
          const third = yield* Deferred.make<void>()
          const seen: Array<string> = []
          const consumer = (name: string, atFirst: Effect.Effect<void>) =>
            client.updates(a, { capacity: 1 }).pipe(
              Stream.runForEach((event) => {
                if (event._tag !== "TaskUpdated") return Effect.void
                seen.push(`${name} ${event.version}`)
                if (name === "first" && event.version === 3) return Deferred.succeed(third, undefined)
                return event.version === 1 ? atFirst : Effect.void
              }),
              Effect.forkScoped
            )
          yield* consumer("first", Effect.void)
          yield* consumer("second", Effect.void)
          // The third one waits until the first has seen event 3.
          yield* consumer("third", Deferred.await(third))
          yield* settleLong
          yield* mesh.emit(updated(1), updated(2), updated(3), updated(4), updated(5))
          yield* settleLong
          yield* settleLong
          assert.strictEqual(seen.length, 15, `a yield after every ${ops} operations: ${seen}`)
        })
      )
    )

    itLeavesNothing("receive an event as soon as they have room, also while another consumer has none", () =>
      Effect.gen(function* () {
        const { client, mesh } = yield* setup()
        const seenByLast = yield* Deferred.make<void>()
        const gate = yield* Deferred.make<void>()
        const one = yield* client.updates(a, { capacity: 1 }).pipe(
          Stream.runForEach((event) =>
            event._tag === "TaskUpdated" && event.version === 1 ? Deferred.await(seenByLast) : Effect.void
          ),
          Effect.forkScoped
        )
        yield* client.updates(a, { capacity: 1 }).pipe(
          Stream.runForEach((event) => {
            if (event._tag !== "TaskUpdated") return Effect.void
            if (event.version === 1) return Deferred.await(gate)
            return event.version === 3 ? Deferred.succeed(seenByLast, undefined) : Effect.void
          }),
          Effect.forkScoped
        )
        yield* settle
        yield* mesh.emit(updated(1), updated(2), updated(3))
        yield* settle
        // Both are full now. The second one makes room while the router waits for either.
        yield* Deferred.succeed(gate, undefined)
        yield* settleLong
        assert.isTrue(yield* Deferred.isDone(seenByLast))
        yield* Fiber.interrupt(one)
      })
    )

    itLeavesNothing("are named in a warning, and counted, once one has blocked the others for stallWarning", () =>
      Effect.gen(function* () {
        const lines: Array<string> = []
        const logger = Logger.make(({ fiber, message }) => {
          lines.push(JSON.stringify([message, fiber.getRef(References.CurrentLogAnnotations)]))
        })
        yield* Effect.gen(function* () {
          const { client, mesh } = yield* setup({ stallWarning: "10 seconds" })
          const slow = yield* stalled(client.updates(a, { capacity: 1, name: "meter" }))
          yield* slow.started
          yield* mesh.emit(updated(1), updated(2), updated(3))
          yield* TestClock.adjust("20 seconds")
          // A single consumer blocks only itself.
          assert.deepStrictEqual(lines, [])
          yield* slow.release
          yield* settle
          const again = yield* stalled(client.updates(a, { capacity: 1, name: "meter" }))
          yield* again.started
          yield* mesh.emit(updated(4), updated(5), updated(6))
          yield* TestClock.adjust("9 seconds")
          assert.deepStrictEqual(lines, [])
          yield* TestClock.adjust("1 second")
          yield* settle
          assert.strictEqual(lines.length, 1)
          assert.include(lines[0], "meter")
          yield* TestClock.adjust("1 hour")
          yield* settle
          assert.strictEqual(lines.length, 1)
          assert.strictEqual((yield* Metric.value(MeshMetrics.consumerStalls)).count, 1)
        }).pipe(
          Effect.scoped,
          Effect.provide(Logger.layer([logger])),
          Effect.provideService(Metric.MetricRegistry, new Map())
        )
      })
    )
  })

  describe("a consumer that sheds", () => {
    itLeavesNothing("never blocks another one, whatever is in its queue", () =>
      Effect.gen(function* () {
        const { client, mesh } = yield* setup()
        const slow = yield* stalled(client.task(a, { overflow: "shed", capacity: 16 }))
        const fast = yield* follow(client.task(a))
        yield* slow.started
        for (let n = 0; n < 2000; n++) yield* mesh.emit(said(`${n}`))
        yield* mesh.kill()
        yield* settle
        assert.strictEqual(data(fast.events).length, 2000)
        for (let n = 0; n < 20; n++) {
          yield* TestClock.adjust("5 seconds")
          yield* settle
          yield* mesh.kill()
          yield* settle
        }
        assert.isAbove(tags(fast.events).filter((tag) => tag === "Disconnected").length, 18)
        yield* slow.release
        yield* settle
        assert.isAtLeast(dropped(slow.events), 1984)
      })
    )
  })

  describe("starting and closing", () => {
    itLeavesNothing("leave no connection open and no consumer waiting, wherever the scheduler cuts in", () =>
      Effect.gen(function* () {
        for (let turns = 0; turns <= 12; turns++) {
          yield* atEveryYield(3, 30, (ops) =>
            Effect.gen(function* () {
              const mesh = yield* ScriptedMesh.make()
              yield* closesEverything(mesh)
              const client = yield* MeshClient.make({ policy: plain, closeTimeout: 0 }).pipe(
                Effect.provideService(Socket.Socket, mesh.socket)
              )
              const consumer = yield* follow(client.updates(a))
              for (let n = 0; n < turns; n++) yield* Effect.yieldNow
              const closing = yield* Effect.forkChild(client.close)
              const late = yield* follow(client.updates(b))
              yield* TestClock.adjust(1)
              const fibers = [closing, consumer.fiber, late.fiber]
              yield* settleUntil(
                Effect.map(
                  mesh.connections,
                  (connections) =>
                    fibers.every((fiber) => fiber.pollUnsafe() !== undefined) && connections.every(({ open }) => !open)
                )
              )
              const message = `a yield after every ${ops} operations, ${turns} turns`
              assert.isDefined(closing.pollUnsafe(), message)
              assert.isDefined(consumer.fiber.pollUnsafe(), message)
              assert.isDefined(late.fiber.pollUnsafe(), message)
              assert.isTrue(
                (yield* mesh.connections).every(({ open }) => !open),
                message
              )
              assert.strictEqual(SubscriptionRef.getUnsafe(client.status)._tag, "Idle", message)
              const dials = (yield* mesh.dials).length
              yield* TestClock.adjust("1 hour")
              assert.strictEqual((yield* mesh.dials).length, dials, message)
            })
          )
        }
      })
    )

    itLeavesNothing("serve a consumer that comes while the idle connection is being closed", () =>
      atEveryYield(3, 30, (ops) =>
        Effect.gen(function* () {
          const { client, mesh } = yield* setup({ connectionIdleTimeToLive: "1 second" })
          const first = yield* follow(client.updates(a))
          yield* settleLong
          yield* Fiber.interrupt(first.fiber)
          const passing = yield* Effect.forkChild(TestClock.adjust("1 second"))
          const second = yield* follow(client.updates(b))
          yield* Fiber.join(passing)
          yield* settleLong
          yield* mesh.emit(updated(1, b))
          yield* settleLong
          assert.include(data(second.events), "b 1", `a yield after every ${ops} operations`)
        })
      )
    )
  })

  describe("time", () => {
    itLeavesNothing("steps of the wall clock neither delay nor hasten the end of an idle connection", () =>
      Effect.gen(function* () {
        for (const step of [-3_600_000, 3_600_000]) {
          yield* Effect.gen(function* () {
            yield* TestClock.adjust("2 hours")
            const { client, mesh } = yield* setup({ connectionIdleTimeToLive: "30 seconds" })
            const { fiber } = yield* follow(client.updates())
            yield* settle
            yield* Fiber.interrupt(fiber)
            yield* settle
            if (step < 0) {
              // The timer sleeps until the old time; the next change of the client measures anew.
              const again = yield* follow(client.updates())
              yield* settle
              yield* TestClock.setTime(step + 7_200_000)
              yield* Fiber.interrupt(again.fiber)
              yield* settle
              yield* TestClock.adjust("29 seconds")
              yield* settle
              assert.isTrue((yield* mesh.connections)[0]?.open)
              yield* TestClock.adjust("1 second")
              yield* settle
            } else {
              yield* TestClock.adjust("30 seconds")
              yield* settle
            }
            assert.isFalse((yield* mesh.connections)[0]?.open)
          }).pipe(Effect.scoped)
        }
      })
    )
  })

  describe("drainOnInterrupt", () => {
    const consume = (options?: MeshClient.DrainOptions) =>
      Effect.gen(function* () {
        const { client, mesh } = yield* setup()
        const seen: Array<string> = []
        const eleven = yield* Deferred.make<void>()
        const goOn = yield* Deferred.make<void>()
        const fiber = yield* client.updates().pipe(
          Stream.runForEach((event) => {
            seen.push(...data([event]))
            return seen.length === 11
              ? Effect.andThen(Deferred.succeed(eleven, undefined), Deferred.await(goOn))
              : Effect.void
          }),
          MeshClient.drainOnInterrupt(options),
          Effect.forkScoped
        )
        yield* settle
        for (let n = 1; n <= 200; n++) yield* mesh.emit(updated(n))
        yield* Deferred.await(eleven)
        yield* settle
        const interrupting = yield* Effect.forkScoped(Fiber.interrupt(fiber))
        yield* settle
        return { seen, fiber, goOn, interrupting, mesh }
      })

    itLeavesNothing("delivers what the client has received before the effect ends", () =>
      Effect.gen(function* () {
        const { fiber, goOn, interrupting, mesh, seen } = yield* consume()
        assert.strictEqual(seen.length, 11)
        yield* mesh.emit(updated(201))
        yield* Deferred.succeed(goOn, undefined)
        yield* Fiber.join(interrupting)
        assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(fiber)))
        // Beside what the effect works on, 64 events are in the queue. The others are in the socket.
        assert.deepStrictEqual(
          seen,
          Array.from({ length: 11 + 64 }, (_, n) => `a ${n + 1}`)
        )
      })
    )

    itLeavesNothing("interrupts an effect that does not finish within the timeout", () =>
      Effect.gen(function* () {
        const { interrupting, seen } = yield* consume({ timeout: "2 seconds" })
        yield* TestClock.adjust("1 second")
        assert.isUndefined(interrupting.pollUnsafe())
        yield* TestClock.adjust("1 second")
        yield* Fiber.join(interrupting)
        assert.strictEqual(seen.length, 11)
      })
    )

    itLeavesNothing("returns what the effect returns when nothing interrupts it", () =>
      Effect.gen(function* () {
        assert.strictEqual(yield* MeshClient.drainOnInterrupt(Effect.succeed(1)), 1)
        assert.strictEqual(yield* Effect.flip(MeshClient.drainOnInterrupt(Effect.fail("no"))), "no")
      })
    )
  })
})
