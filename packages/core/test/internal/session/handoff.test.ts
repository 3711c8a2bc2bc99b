import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Handoff from "../../../src/internal/session/handoff.ts"
import { settle } from "../../support/follow.ts"

const make = () => {
  const log: Array<string> = []
  const handoff = Handoff.make<number, string>({ start: () => log.push("wait"), stop: () => log.push("done") })
  return { log, handoff }
}

describe("Handoff", () => {
  it.effect("starts the reader when the consumer begins to wait, and stops it when there are elements", () =>
    Effect.gen(function* () {
      const { handoff, log } = make()
      const consumer = yield* Effect.forkChild(handoff.pull)
      yield* settle
      assert.deepStrictEqual(log, ["wait"])
      handoff.offer([1, 2])
      assert.deepStrictEqual(log, ["wait", "done"])
      assert.deepStrictEqual(yield* Fiber.join(consumer), [1, 2])
      assert.deepStrictEqual(log, ["wait", "done"])
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
      const { handoff, log } = make()
      const consumer = yield* Effect.forkChild(handoff.pull)
      yield* settle
      handoff.offer([])
      yield* settle
      assert.isUndefined(consumer.pollUnsafe())
      assert.deepStrictEqual(log, ["wait"])
      yield* Fiber.interrupt(consumer)
    })
  )
})
