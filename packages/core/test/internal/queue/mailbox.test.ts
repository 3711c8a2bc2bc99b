import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Mailbox from "../../../src/internal/queue/mailbox.ts"
import { settle } from "../../support/follow.ts"

const make = (capacity: number) => Mailbox.make<number, number, string>(Mailbox.boundedQueue(capacity))

describe("mailbox", () => {
  it.effect("wakes a consumer that waits", () =>
    Effect.gen(function* () {
      const box = make(2)
      const fiber = yield* Effect.forkChild(box.pull)
      yield* settle
      assert.isTrue(box.offer(1))
      box.wake()
      assert.deepStrictEqual(yield* Fiber.join(fiber), [1])
    })
  )

  it.effect("loses nothing to a pull that is interrupted while it waits", () =>
    Effect.gen(function* () {
      const box = make(2)
      const fiber = yield* Effect.forkChild(box.pull)
      yield* settle
      yield* Fiber.interrupt(fiber)
      // It still counts as waiting: the interruption is not visible to the mailbox.
      assert.isTrue(box.isIdle())
      box.pass([1, 2])
      assert.isFalse(box.isIdle())
      assert.isTrue(box.offer(3))
      box.wake()
      assert.deepStrictEqual(yield* box.pull, [1, 2])
      assert.deepStrictEqual(yield* box.pull, [3])
    })
  )

  it.effect("is idle only while the consumer waits and nothing is queued", () =>
    Effect.gen(function* () {
      const box = make(2)
      assert.isFalse(box.isIdle())
      const fiber = yield* Effect.forkChild(box.pull)
      yield* settle
      assert.isTrue(box.isIdle())
      box.offer(1)
      assert.isFalse(box.isIdle())
      box.wake()
      yield* Fiber.join(fiber)
      assert.isFalse(box.isIdle())
    })
  )

  it.effect("has room once the consumer has pulled", () =>
    Effect.gen(function* () {
      const box = make(1)
      assert.isTrue(box.offer(1))
      assert.isFalse(box.offer(2))
      const fiber = yield* Effect.forkChild(box.room)
      yield* settle
      assert.strictEqual(fiber.pollUnsafe(), undefined)
      assert.deepStrictEqual(yield* box.pull, [1])
      yield* Fiber.join(fiber)
      assert.isTrue(box.offer(2))
    })
  )

  it.effect("is ready while there is room, and after the consumer did not use its chance", () =>
    Effect.gen(function* () {
      const box = make(1)
      yield* box.giveWay
      assert.isTrue(box.isReady())
      box.offer(1)
      assert.isFalse(box.isReady())
      yield* box.giveWay
      assert.isTrue(box.isReady())
      yield* box.pull
      box.offer(2)
      assert.isFalse(box.isReady())
    })
  )

  it.effect("returns what is queued, and then the end, again and again", () =>
    Effect.gen(function* () {
      const box = make(2)
      box.offer(1)
      box.end(Cause.fail("over"))
      box.end(Cause.fail("too late"))
      assert.isTrue(box.offer(2))
      assert.deepStrictEqual(yield* box.pull, [1])
      assert.strictEqual(yield* Effect.flip(box.pull), "over")
      assert.strictEqual(yield* Effect.flip(box.pull), "over")
    })
  )

  it.effect("frees who waits for room when it ends, and when its consumer leaves", () =>
    Effect.gen(function* () {
      for (const free of [
        (box: Mailbox.Mailbox<number, number, string>) => box.end(Cause.fail(Cause.Done())),
        (box: Mailbox.Mailbox<number, number, string>) => box.leave()
      ]) {
        const box = make(1)
        box.offer(1)
        const fiber = yield* Effect.forkChild(box.room)
        yield* settle
        free(box)
        yield* Fiber.join(fiber)
        assert.isTrue(box.offer(2))
        assert.isTrue(box.offer(3))
      }
    })
  )
})
