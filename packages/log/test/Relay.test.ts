import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as TaskId from "@makima-stream/core/TaskId"
import * as LogEngine from "@makima-stream/log/LogEngine"
import * as MemoryLog from "@makima-stream/log/MemoryLog"
import * as LogErrorReasons from "@makima-stream/log/LogError"
import * as MeshLog from "@makima-stream/log/MeshLog"
import * as Team from "./support/team.ts"

const a = TaskId.make("a")
const output = (content: string) => ({ _tag: "TaskOutput", taskId: a, messageType: "assistant", content }) as const

const tags = (entries: ReadonlyArray<MeshLog.Entry>) =>
  entries.map(({ event }) =>
    event._tag === "TaskOutput" ? event.content : event._tag === "Resync" ? event.reason._tag : event._tag
  )

const epochs = (entries: ReadonlyArray<MeshLog.Entry>) =>
  entries.flatMap(({ event }) => ("epoch" in event ? [event.epoch] : []))

describe("Relay", () => {
  describe("alone", () => {
    it.effect("appends the feed in its order, with its marks", () =>
      Effect.gen(function* () {
        const team = yield* Team.make()
        yield* team.start("one")
        yield* Team.settle
        for (const content of ["1", "2", "2", "2"]) yield* team.emit(output(content))
        yield* Team.settle
        assert.deepStrictEqual(tags(yield* team.entries), ["Connected", "Started", "1", "2", "2", "2"])
      })
    )

    it.effect("appends the end of a connection after a second, and the gap where the next one is confirmed", () =>
      Effect.gen(function* () {
        const team = yield* Team.make()
        const one = yield* team.start("one")
        yield* Team.settle
        yield* team.emit(output("1"))
        yield* one.disconnect
        yield* Team.pass(900)
        assert.deepStrictEqual(tags(yield* team.entries), ["Connected", "Started", "1"])
        yield* Team.pass(400)
        assert.deepStrictEqual(tags(yield* team.entries), ["Connected", "Started", "1", "Disconnected"])
        yield* one.connect
        yield* team.emit(output("2"))
        yield* Team.pass(500)
        const entries = yield* team.entries
        assert.deepStrictEqual(tags(entries).slice(4), ["Connected", "Reconnected", "2"])
        assert.deepStrictEqual(epochs(entries), [1, 1, 1, 2, 2])
      })
    )

    it.effect("gives up the lease while its feed is disconnected", () =>
      Effect.gen(function* () {
        const team = yield* Team.make()
        const one = yield* team.start("one")
        yield* Team.settle
        assert.strictEqual((yield* SubscriptionRef.get(one.status)).role, "holder")
        yield* one.disconnect
        yield* Team.settle
        assert.strictEqual((yield* SubscriptionRef.get(one.status)).role, "standby")
        const lease = yield* Effect.scoped(team.log.lease("relay"))
        assert.strictEqual(lease.term, 2)
      })
    )

    it.effect("marks the gap between a relay that was killed and the next one", () =>
      Effect.gen(function* () {
        const team = yield* Team.make()
        const one = yield* team.start("one")
        yield* Team.settle
        yield* team.emit(output("1"))
        yield* Team.settle
        yield* one.kill
        yield* team.emit(output("lost"))
        yield* team.start("two")
        yield* Team.settle
        yield* team.emit(output("2"))
        yield* Team.pass(4000)
        yield* team.emit(output("3"))
        yield* Team.settle
        assert.deepStrictEqual(tags(yield* team.entries), ["Connected", "Started", "1", "Unaligned", "2", "3"])
      })
    )

    it.effect("reads no more of the feed while the log cannot store it, and loses nothing", () =>
      Effect.gen(function* () {
        const team = yield* Team.make()
        const one = yield* team.start("one", { capacity: 10 })
        yield* Team.settle
        yield* team.emit(output("0"))
        yield* Team.settle
        yield* one.cutOff
        for (let n = 1; n <= 500; n++) {
          yield* team.emit(output(`${n}`))
          yield* Effect.yieldNow
        }
        yield* Team.pass(20_000, 500)
        const backlog = one.backlog()
        assert.isAtLeast(backlog, 450)
        yield* Team.pass(5000, 500)
        assert.strictEqual(one.backlog(), backlog)
        yield* one.restore
        yield* Team.pass(10_000)
        assert.strictEqual(one.backlog(), 0)
        const { disordered, doubled, lost, marks } = yield* team.judge
        assert.deepStrictEqual({ lost, doubled, disordered, marks }, { lost: 0, doubled: 0, disordered: 0, marks: [] })
      })
    )

    it.effect("fails with an error of the log that cannot heal", () =>
      Effect.gen(function* () {
        const failing = Effect.map(MemoryLog.makeEngine(), (engine): LogEngine.LogEngine => ({
          ...engine,
          append: () =>
            Effect.fail(new MeshLog.LogError({ reason: new LogErrorReasons.Damaged({ cause: new Error("bad page") }) }))
        }))
        const team = yield* Team.make({ engine: () => failing })
        const one = yield* team.start("one")
        const error = yield* Effect.flip(Fiber.join(one.fiber))
        assert.strictEqual(error.message, "The log is damaged: bad page")
      })
    )
  })

  describe("in a team", () => {
    /** Two relays, aligned. */
    const aligned = Effect.fnUntraced(function* (options?: Parameters<typeof Team.make>[0]) {
      const team = yield* Team.make(options)
      const one = yield* team.start("one")
      yield* Team.settle
      const two = yield* team.start("two")
      const next = Team.workload(Team.randomOf(1), 3)
      for (let n = 0; n < 160; n++) {
        yield* team.emit(next())
        yield* Team.pass(50)
      }
      assert.isTrue((yield* SubscriptionRef.get(two.status)).isAligned)
      return { team, one, two, next }
    })

    const flawless = { lost: 0, doubled: 0, disordered: 0, marks: [] }
    const verdictOf = (team: Team.Team) =>
      Effect.map(team.judge, ({ disordered, doubled, lost, marks }) => ({ lost, doubled, disordered, marks }))

    it.effect("writes each event once, although each relay receives it", () =>
      Effect.gen(function* () {
        const { team } = yield* aligned()
        assert.deepStrictEqual(yield* verdictOf(team), flawless)
      })
    )

    it.effect(
      "continues without a loss, a duplicate or a mark when the holder is killed, within its time to live and a second",
      () =>
        Effect.gen(function* () {
          const { next, one, team, two } = yield* aligned()
          yield* one.kill
          let millis = 0
          while ((yield* SubscriptionRef.get(two.status)).role !== "holder" && millis < 6000) {
            yield* team.emit(next())
            yield* Team.pass(50)
            millis += 50
          }
          assert.isAtMost(millis, 4000)
          yield* team.emit(next())
          yield* Team.settle
          assert.deepStrictEqual(yield* verdictOf(team), flawless)
        })
    )

    it.effect("continues without a mark when the holder's feed ends", () =>
      Effect.gen(function* () {
        const { next, one, team, two } = yield* aligned()
        yield* team.emit(next())
        yield* one.disconnect
        for (let n = 0; n < 40; n++) {
          yield* team.emit(next())
          yield* Team.pass(50)
        }
        assert.strictEqual((yield* SubscriptionRef.get(two.status)).role, "holder")
        assert.deepStrictEqual(yield* verdictOf(team), flawless)
      })
    )

    it.effect("refuses the append of a holder that was stopped in the middle of it", () =>
      Effect.gen(function* () {
        const { next, one, team, two } = yield* aligned()
        yield* one.stop
        for (let n = 0; n < 90; n++) {
          yield* team.emit(next())
          yield* Team.pass(50)
        }
        assert.strictEqual((yield* SubscriptionRef.get(two.status)).role, "holder")
        yield* one.resume
        for (let n = 0; n < 20; n++) {
          yield* team.emit(next())
          yield* Team.pass(50)
        }
        assert.strictEqual((yield* SubscriptionRef.get(one.status)).role, "standby")
        assert.deepStrictEqual(yield* verdictOf(team), flawless)
      })
    )

    it.effect("continues when the holder is cut off from the log", () =>
      Effect.gen(function* () {
        const { next, one, team, two } = yield* aligned()
        yield* one.cutOff
        for (let n = 0; n < 90; n++) {
          yield* team.emit(next())
          yield* Team.pass(50)
        }
        assert.strictEqual((yield* SubscriptionRef.get(two.status)).role, "holder")
        yield* one.restore
        for (let n = 0; n < 20; n++) {
          yield* team.emit(next())
          yield* Team.pass(50)
        }
        assert.deepStrictEqual(yield* verdictOf(team), flawless)
      })
    )

    it.effect(
      "writes what it had not written when it lost the lease, if the next holder ends before it writes that",
      () =>
        Effect.gen(function* () {
          let isStalled = false
          const { next, one, team, two } = yield* aligned({
            engine: (store) =>
              Effect.map(MemoryLog.makeEngine({ store }), (engine) => ({
                ...engine,
                append: (events, fence) =>
                  Effect.suspend(() => (isStalled ? Effect.never : engine.append(events, fence)))
              }))
          })
          const load = Effect.fnUntraced(function* (times: number) {
            for (let n = 0; n < times; n++) {
              yield* team.emit(next())
              yield* Team.pass(50)
            }
          })
          yield* one.cutOff
          isStalled = true
          yield* load(90)
          assert.strictEqual((yield* SubscriptionRef.get(two.status)).role, "holder")
          yield* two.kill
          isStalled = false
          yield* one.restore
          yield* load(120)
          assert.strictEqual((yield* SubscriptionRef.get(one.status)).role, "holder")
          const { disordered, doubled, lost } = yield* team.judge
          assert.deepStrictEqual({ lost, doubled, disordered }, { lost: 0, doubled: 0, disordered: 0 })
        })
    )

    for (const distinct of [1, 1000]) {
      it.effect(
        `loses and doubles nothing without a mark if the feed was faster than the log for longer than the time to live (${distinct} contents)`,
        () =>
          Effect.gen(function* () {
            let millis = 0
            const team = yield* Team.make({
              engine: (store) =>
                Effect.map(MemoryLog.makeEngine({ store }), (engine) => ({
                  ...engine,
                  append: (events, fence) =>
                    Effect.andThen(Effect.sleep(events.length * millis), engine.append(events, fence))
                }))
            })
            const one = yield* team.start("one", { skew: "500 millis" })
            yield* Team.settle
            const two = yield* team.start("two", { skew: "500 millis" })
            const next = Team.workload(Team.randomOf(3), distinct)
            const load = Effect.fnUntraced(function* (times: number) {
              for (let n = 0; n < times; n++) {
                for (let i = 0; i < 8; i++) yield* team.emit(next())
                yield* Team.pass(50)
              }
            })
            // The log stores 80 events a second, of 160.
            millis = 12.5
            yield* load(200)
            const { last } = yield* team.log.bounds
            assert.isBelow(last, 1000)
            yield* one.kill
            millis = 0
            yield* load(100)
            assert.strictEqual((yield* SubscriptionRef.get(two.status)).role, "holder")
            const { disordered, doubled, lost } = yield* team.judge
            assert.deepStrictEqual({ lost, doubled, disordered }, { lost: 0, doubled: 0, disordered: 0 })
          })
      )
    }

    it.effect("marks what may be double if the standby is not aligned yet", () =>
      Effect.gen(function* () {
        const team = yield* Team.make()
        const one = yield* team.start("one")
        yield* Team.settle
        const next = Team.workload(Team.randomOf(2), 1)
        for (let n = 0; n < 40; n++) {
          yield* team.emit(next())
          yield* Team.pass(20)
        }
        yield* team.start("two")
        yield* Team.settle
        for (let n = 0; n < 10; n++) {
          yield* team.emit(next())
          yield* Team.pass(20)
        }
        yield* one.kill
        for (let n = 0; n < 100; n++) {
          yield* team.emit(next())
          yield* Team.pass(50)
        }
        const { disordered, doubled, lost, marks } = yield* verdictOf(team)
        assert.deepStrictEqual({ lost, doubled, disordered }, { lost: 0, doubled: 0, disordered: 0 })
        assert.include(marks, "Unaligned")
      })
    )
  })
})
