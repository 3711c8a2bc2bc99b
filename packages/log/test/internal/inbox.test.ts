import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { MeshEvent } from "@makima-stream/core/MeshEvent"
import { Inbox } from "../../src/internal/relay/inbox.ts"

const event = (at: number): MeshEvent => ({ _tag: "Connected", epoch: 1, at })

describe("Inbox", () => {
  it.effect("handles everything that was offered at once, in order", () =>
    Effect.gen(function* () {
      const inbox = new Inbox(10)
      yield* inbox.offer([event(1)])
      yield* inbox.offer([event(2), event(3)])
      assert.isFalse(inbox.isIdle)
      const seen: Array<MeshEvent> = []
      yield* inbox.handle((events) => Effect.sync(() => void seen.push(...events)))
      assert.deepStrictEqual(seen, [event(1), event(2), event(3)])
      assert.isTrue(inbox.isIdle)
    })
  )

  it.effect("is not idle while elements are being handled", () =>
    Effect.gen(function* () {
      const inbox = new Inbox(10)
      const done = yield* Deferred.make<void>()
      yield* inbox.offer([event(1)])
      const handling = yield* Effect.forkScoped(
        inbox.handle(() => Deferred.await(done)),
        { startImmediately: true }
      )
      assert.isFalse(inbox.isIdle)
      yield* Deferred.succeed(done, undefined)
      yield* Fiber.join(handling)
      assert.isTrue(inbox.isIdle)
    })
  )

  it.effect(
    "lets the feed wait at its capacity until elements are taken, and receives more while they are handled",
    () =>
      Effect.gen(function* () {
        const inbox = new Inbox(2)
        const done = yield* Deferred.make<void>()
        const offering = yield* Effect.forkScoped(inbox.offer([event(1), event(2)]), { startImmediately: true })
        assert.isUndefined(offering.pollUnsafe())
        const handling = yield* Effect.forkScoped(
          inbox.handle(() => Deferred.await(done)),
          { startImmediately: true }
        )
        yield* Fiber.join(offering)
        yield* inbox.offer([event(3)])
        yield* Deferred.succeed(done, undefined)
        yield* Fiber.join(handling)
        assert.isFalse(inbox.isIdle)
      })
  )
})
