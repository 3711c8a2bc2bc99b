import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Handoff from "../../../src/internal/session/handoff.ts"
import { settle } from "../../support/follow.ts"

const make = () => {
  const log: Array<string> = []
  const handoff = Handoff.make<number, string>({ onWait: () => log.push("wait"), onDone: () => log.push("done") })
  return { log, handoff }
}

describe("Handoff", () => {
  it.effect("lets the reader pull only while the consumer waits", () =>
    Effect.gen(function* () {
      const { handoff, log } = make()
      let demands = 0
      const reader = yield* Effect.forkChild(Effect.map(handoff.demand, () => demands++))
      yield* settle
      assert.strictEqual(demands, 0)
      const consumer = yield* Effect.forkChild(handoff.pull)
      yield* settle
      assert.strictEqual(demands, 1)
      handoff.offer([1, 2])
      assert.deepStrictEqual(yield* Fiber.join(consumer), [1, 2])
      assert.deepStrictEqual(log, ["wait", "done"])
      assert.isFalse(handoff.isWaiting())
      yield* Fiber.join(reader)
    })
  )

  it.effect("keeps a batch whose pull was interrupted for the next pull", () =>
    Effect.gen(function* () {
      const { handoff, log } = make()
      const consumer = yield* Effect.forkChild(handoff.pull)
      yield* settle
      yield* Fiber.interrupt(consumer)
      assert.deepStrictEqual(log, ["wait", "done"])
      handoff.offer([1])
      handoff.offer([2])
      assert.deepStrictEqual(yield* handoff.pull, [1, 2])
    })
  )

  it.effect("ends after all offered elements, with the first cause", () =>
    Effect.gen(function* () {
      const { handoff } = make()
      handoff.offer([1])
      handoff.end(Cause.fail("first"))
      handoff.end(Cause.fail("second"))
      assert.deepStrictEqual(yield* handoff.pull, [1])
      assert.strictEqual(yield* Effect.flip(handoff.pull), "first")
    })
  )

  it.effect("does not wake a consumer without elements", () =>
    Effect.gen(function* () {
      const { handoff } = make()
      const consumer = yield* Effect.forkChild(handoff.pull)
      yield* settle
      handoff.offer([])
      yield* settle
      assert.isUndefined(consumer.pollUnsafe())
      assert.isTrue(handoff.isWaiting())
      yield* Fiber.interrupt(consumer)
    })
  )
})
