import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import type * as Cause from "effect/Cause"
import * as TestClock from "effect/testing/TestClock"
import * as Projection from "../src/Projection.ts"
import { follow, settle } from "./support/follow.ts"
import { fromChunks } from "./support/histories.ts"
import { watched } from "./support/slow.ts"
import { demanding, type Same, type Setting } from "./support/types.ts"

const sum: Projection.Reducer<number, number> = {
  initial: 0,
  fold: (state, numbers) => numbers.reduce((a, b) => a + b, state)
}

const times: Projection.Reducer<ReadonlyArray<number>, string> = {
  initial: [],
  fold: (state, events, at) => [...state, ...events.map(() => at)]
}

const feed = Effect.gen(function* () {
  const queue = yield* Queue.unbounded<number, string | Cause.Done>()
  const give = (...numbers: ReadonlyArray<number>) => Effect.andThen(Queue.offerAll(queue, numbers), settle)
  return { queue, give, stream: Stream.fromQueue(queue) }
})

describe("Projection.scan", () => {
  it.effect("emits one state for each batch that changes something", () =>
    Effect.gen(function* () {
      const states = yield* fromChunks([[1, 2], [0], [3]]).pipe(Projection.scan(sum), Stream.runCollect)
      assert.deepStrictEqual(states, [3, 6])
    })
  )

  it.effect("reads the clock once for each batch", () =>
    Effect.gen(function* () {
      const states = yield* fromChunks([["a", "b"], ["c"]]).pipe(
        Stream.chunks,
        Stream.tap(() => TestClock.adjust(1000)),
        Stream.flatMap((chunk) => Stream.fromArray(chunk)),
        Projection.scan(times),
        Stream.runLast
      )
      assert.deepStrictEqual(states._tag === "Some" && states.value, [1000, 1000, 2000])
    })
  )

  it.effect("starts from the initial state in each run", () =>
    Effect.gen(function* () {
      const states = Projection.scan(Stream.make(1, 2), sum)
      assert.deepStrictEqual([yield* Stream.runCollect(states), yield* Stream.runCollect(states)], [[3], [3]])
    })
  )

  it("keeps the error and the requirements", () => {
    const numbers = demanding(() => 1)
    const states = numbers.pipe(Projection.scan(sum))
    const running = numbers.pipe(Projection.run(sum))
    const same: readonly [
      Same<typeof states, Stream.Stream<number, "broken", Setting>>,
      Same<typeof running, Effect.Effect<Projection.Projection<number, "broken">, never, Setting | Scope.Scope>>
    ] = [true, true]
    assert.notInclude(same, false)
  })
})

describe("Projection.run", () => {
  it.effect("keeps the reference up to date, and keeps the last state after the end", () =>
    Effect.gen(function* () {
      const { give, queue, stream } = yield* feed
      const running = yield* Projection.run(stream, sum)
      assert.strictEqual(yield* SubscriptionRef.get(running.ref), 0)
      yield* give(1)
      yield* give(2, 3)
      assert.strictEqual(yield* SubscriptionRef.get(running.ref), 6)
      yield* Queue.end(queue)
      yield* running.join
      assert.strictEqual(yield* SubscriptionRef.get(running.ref), 6)
    })
  )

  it.effect("fails join with the failure of the feed, and changes after the last state", () =>
    Effect.gen(function* () {
      const { give, queue, stream } = yield* feed
      const running = yield* Projection.run(stream, sum)
      const following = yield* follow(running.changes)
      yield* settle
      yield* give(1)
      yield* Queue.offer(queue, 2)
      yield* Queue.fail(queue, "broken")
      assert.strictEqual(yield* Effect.flip(running.join), "broken")
      assert.deepStrictEqual(yield* following.exit, Exit.fail("broken"))
      assert.deepStrictEqual(following.events, [0, 1, 3])
    })
  )

  it.effect("ends the changes with the feed, also for a late subscriber", () =>
    Effect.gen(function* () {
      const running = yield* Projection.run(Stream.make(1, 2), sum)
      yield* running.join
      assert.deepStrictEqual(yield* Stream.runCollect(running.changes), [3])
    })
  )

  it.effect("emits the newest state to a slow subscriber, and every state to a fast one", () =>
    Effect.gen(function* () {
      const { give, queue, stream } = yield* feed
      const running = yield* Projection.run(stream, sum)
      const gate = yield* Deferred.make<void>()
      const quick = yield* follow(running.changes)
      const slow = yield* follow(Stream.tap(running.changes, () => Deferred.await(gate)))
      yield* settle
      for (const number of [1, 2, 3]) yield* give(number)
      assert.deepStrictEqual(quick.events, [0, 1, 3, 6])
      assert.deepStrictEqual(slow.events, [])
      yield* Deferred.succeed(gate, undefined)
      yield* settle
      assert.deepStrictEqual(slow.events, [0, 6])
      yield* Queue.end(queue)
      assert.isTrue(Exit.isSuccess(yield* quick.exit))
      assert.isTrue(Exit.isSuccess(yield* slow.exit))
    })
  )

  it.effect("releases an interrupted subscriber", () =>
    Effect.gen(function* () {
      const { give, stream } = yield* feed
      const running = yield* Projection.run(stream, sum)
      const following = yield* follow(running.changes)
      yield* settle
      yield* Fiber.interrupt(following.fiber)
      yield* give(1)
      assert.deepStrictEqual(following.events, [0])
      assert.deepStrictEqual(yield* Stream.runCollect(Stream.take(running.changes, 1)), [1])
    })
  )

  it.effect("releases the feed when the scope closes, and ends every subscriber", () =>
    Effect.gen(function* () {
      const source = watched()
      const scope = yield* Scope.make()
      const running = yield* Projection.run(Stream.concat(Stream.make(1), source.stream), sum).pipe(
        Scope.provide(scope)
      )
      const following = yield* follow(running.changes)
      yield* settle
      assert.isTrue(source.isReading())
      yield* Scope.close(scope, Exit.void)
      assert.isFalse(source.isReading())
      assert.isTrue(source.isReleased())
      assert.isTrue(Exit.hasInterrupts(yield* following.exit))
      assert.isTrue(Exit.hasInterrupts(yield* Effect.exit(running.join)))
    })
  )
})
