import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Interest from "../../../src/Interest.ts"
import type { Consumer, Options } from "../../../src/internal/client/consumer.ts"
import * as Subscriptions from "../../../src/internal/session/subscriptions.ts"
import * as Consumers from "../../../src/internal/client/consumers.ts"
import type { MeshEvent } from "../../../src/MeshEvent.ts"
import { TaskId } from "../../../src/TaskId.ts"
import { settle } from "../../support/follow.ts"

const a = TaskId.make("a")
const b = TaskId.make("b")

const update = (version: number): MeshEvent => ({ _tag: "TaskUpdated", taskId: a, version })

const updates = (count: number): NonEmptyReadonlyArray<MeshEvent> => [
  update(0),
  ...Array.from({ length: count - 1 }, (_, n) => update(n + 1))
]

const of = (taskId: TaskId, options?: Partial<Options>): Options => ({
  name: "test",
  overflow: "suspend",
  capacity: 256,
  interest: Interest.updates(taskId),
  ...options
})

const setup = Effect.map(Effect.context<never>(), (context) =>
  Consumers.make({
    context,
    subscriptions: Subscriptions.make(),
    now: () => 0,
    wakeAt: () => {},
    idleMillis: 0,
    stallMillis: Infinity
  })
)

/** Whether the router goes on without help. */
const goesOn = (routing: Effect.Effect<void>) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkChild(routing)
    yield* settle
    const isDone = fiber.pollUnsafe() !== undefined
    yield* Fiber.interrupt(fiber)
    return isDone
  })

/** A pull that is on its way until the test ends. */
const pull = (consumer: Consumer) => Effect.andThen(Effect.forkChild(Effect.exit(consumer)), settle)

describe("a pull that is about to wait", () => {
  // The scheduler can cut in between the look at the queue and the wait.
  it.effect("sees events that arrived meanwhile", () =>
    Effect.gen(function* () {
      const consumers = yield* setup
      const consumer = consumers.join(of(a))
      const waiting = consumer.asEffect()
      assert.isTrue(yield* goesOn(consumers.route(updates(2))))
      const fiber = yield* Effect.forkChild(waiting)
      yield* settle
      assert.strictEqual(fiber.pollUnsafe()?._tag, "Success")
      assert.strictEqual(consumer.size, 0)
    })
  )

  it.effect("sees that it has ended meanwhile", () =>
    Effect.gen(function* () {
      const consumers = yield* setup
      const waiting = consumers.join(of(a)).asEffect()
      consumers.removeAll()(Cause.done())
      const fiber = yield* Effect.forkChild(waiting)
      yield* settle
      assert.strictEqual(fiber.pollUnsafe()?._tag, "Failure")
    })
  )
})

describe("a router that reads ahead", () => {
  it.effect("waits for a lossless consumer that is 64 events behind while no other one waits", () =>
    Effect.gen(function* () {
      const consumers = yield* setup
      const consumer = consumers.join(of(a))
      assert.isTrue(yield* goesOn(consumers.route(updates(63))))
      assert.isFalse(yield* goesOn(consumers.route(updates(1))))
      assert.strictEqual((yield* consumer).length, 64)
      assert.isTrue(yield* goesOn(consumers.route(updates(63))))
    })
  )

  it.effect("does not wait for a consumer that may lose events", () =>
    Effect.gen(function* () {
      for (const overflow of ["conflate", "shed", "sliding", "dropping", "fail"] as const) {
        const consumers = yield* setup
        const consumer = consumers.join(of(a, { overflow }))
        assert.isTrue(yield* goesOn(consumers.route(updates(200))), overflow)
        assert.isAbove(consumer.size, 0)
      }
    })
  )

  // What a router is about to wait for may happen before it does: the scheduler can cut in between.
  const meanwhile: Record<string, (consumer: Consumer, consumers: Consumers.Consumers) => Effect.Effect<unknown>> = {
    "another consumer waits": (_, consumers) => pull(consumers.join(of(b))),
    "the consumer has taken its events": (consumer) => Effect.orDie(Effect.asVoid(consumer) as Effect.Effect<void>),
    "the consumer has taken its events and waits": (consumer) => Effect.andThen(pull(consumer), pull(consumer)),
    "the consumer has left": (consumer, consumers) => Effect.sync(() => consumers.leave(consumer)),
    "all consumers were ended": (_, consumers) => Effect.sync(() => consumers.removeAll()(Cause.done()))
  }
  for (const [what, happens] of Object.entries(meanwhile)) {
    it.effect(`does not begin to wait when ${what}`, () =>
      Effect.gen(function* () {
        const consumers = yield* setup
        const consumer = consumers.join(of(a))
        // The consumer has the events. Only the wait is left to run.
        const routing = consumers.route(updates(64))
        yield* happens(consumer, consumers)
        assert.isTrue(yield* goesOn(routing))
      })
    )

    it.effect(`goes on when ${what}`, () =>
      Effect.gen(function* () {
        const consumers = yield* setup
        const consumer = consumers.join(of(a))
        const fiber = yield* Effect.forkChild(consumers.route(updates(64)))
        yield* settle
        assert.isUndefined(fiber.pollUnsafe())
        yield* happens(consumer, consumers)
        yield* settle
        assert.isDefined(fiber.pollUnsafe())
      })
    )
  }

  it.effect("does not count a consumer that was interrupted and has left as waiting", () =>
    Effect.gen(function* () {
      const consumers = yield* setup
      const gone = consumers.join(of(b))
      const pulling = yield* Effect.forkChild(Effect.exit(gone))
      yield* settle
      yield* Fiber.interrupt(pulling)
      consumers.leave(gone)
      const consumer = consumers.join(of(a))
      assert.isFalse(yield* goesOn(consumers.route(updates(64))))
      assert.strictEqual(consumer.size, 64)
    })
  )
})
