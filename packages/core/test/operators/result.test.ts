import { assert, describe, it } from "@effect/vitest"
import * as MeshError from "@makima-stream/core/MeshError"
import * as MeshStream from "@makima-stream/core/MeshStream"
import type * as MeshEvent from "@makima-stream/core/MeshEvent"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import * as Ref from "effect/Ref"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { settle, turnsAfter } from "../support/follow.ts"
import * as WallClock from "../support/wallClock.ts"
import {
  a,
  at,
  b,
  connected,
  disconnected,
  events,
  inArrays,
  output,
  place,
  resync,
  sizes,
  updated
} from "../support/events.ts"

const s = (taskId: typeof a, status: string) => updated(taskId, { status })

const result = (members: Parameters<typeof output>[2] = {}) =>
  output(a, "42", { messageType: "result", costUsd: 0.25, durationMs: 1_200, ...members })

const answer: MeshStream.TaskResult = { _tag: "TaskResult", taskId: a, content: "42", costUsd: 0.25, durationMs: 1_200 }

const feedOf = (...events: ReadonlyArray<MeshEvent.MeshEvent>) => Stream.fromArray(events)

/** A feed that a test writes to, and that does not end by itself. */
const openFeed = Effect.gen(function* () {
  const queue = yield* Queue.unbounded<MeshEvent.MeshEvent>()
  const closed = yield* Deferred.make<void>()
  return {
    feed: Stream.fromQueue(queue).pipe(Stream.ensuring(Deferred.succeed(closed, undefined))),
    send: (...events: ReadonlyArray<MeshEvent.MeshEvent>) => Queue.offerAll(queue, events),
    closed: Deferred.await(closed)
  }
})

describe("takeResult", () => {
  it.effect("emits content, cost and duration of the task's result, which comes before its terminal status", () =>
    Effect.gen(function* () {
      const feed = feedOf(
        connected(),
        s(a, "running"),
        output(a, "thinking"),
        output(b, "7", { messageType: "result" }),
        result(),
        s(a, "done")
      )
      assert.deepStrictEqual(yield* MeshStream.takeResult(feed, a), answer)
      assert.deepStrictEqual(yield* feed.pipe(MeshStream.takeResult(a)), answer)
    })
  )

  it.effect("a result without cost and duration is a result", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* MeshStream.takeResult(feedOf(output(a, "", { messageType: "result" })), a), {
        _tag: "TaskResult",
        taskId: a,
        content: ""
      })
    })
  )

  it.effect("passes over the pieces of a result", () =>
    Effect.gen(function* () {
      const feed = feedOf(result({ isPartial: true, costUsd: 9 }), result({ isPartial: false }))
      assert.deepStrictEqual(yield* MeshStream.takeResult(feed, a), answer)
    })
  )

  it.effect("fails with the status when the task fails first", () =>
    Effect.gen(function* () {
      for (const status of ["failed", "interrupted", "cancelled"]) {
        const error = yield* Effect.flip(MeshStream.takeResult(feedOf(s(b, "failed"), s(a, status), result()), a))
        assert.deepStrictEqual(error, new MeshStream.TaskFailed({ taskId: a, status }))
        assert.strictEqual(error.message, `Task a is ${status}`)
      }
    })
  )

  it.effect("fails with the result where the agent marked it as an error", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(MeshStream.takeResult(feedOf(result({ isError: true }), s(a, "done")), a))
      assert.deepStrictEqual(error, new MeshStream.TaskFailed({ taskId: a, result: answer }))
      assert.strictEqual(error.message, "Task a ended with an error as its result")
      assert.deepStrictEqual(yield* MeshStream.takeResult(feedOf(result({ isError: false })), a), answer)
    })
  )

  it.effect("fails with NoResult when the stream ends first", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(MeshStream.takeResult(feedOf(s(a, "running"), output(a, "x")), a))
      assert.deepStrictEqual(error, new MeshStream.NoResult({ taskId: a }))
      assert.deepStrictEqual(
        yield* Effect.flip(MeshStream.takeResult(feedOf(s(a, "done")), a)),
        new MeshStream.NoResult({ taskId: a, status: "done" })
      )
    })
  )

  it.effect("fails with what the stream fails with", () =>
    Effect.gen(function* () {
      const failure = new MeshError.MeshError({ reason: new MeshError.ConnectionLost({}) })
      const feed = Stream.concat(feedOf(s(a, "running")), Stream.fail(failure))
      assert.strictEqual(yield* Effect.flip(MeshStream.takeResult(feed, a)), failure)
    })
  )

  it.effect("accepts other sets of terminal and of failing statuses", () =>
    Effect.gen(function* () {
      const feed = feedOf(s(a, "failed"), s(a, "rejected"), result())
      assert.deepStrictEqual(yield* MeshStream.takeResult(feed, a, { failed: [] }), answer)
      assert.deepStrictEqual(
        yield* Effect.flip(MeshStream.takeResult(feed, a, { failed: "rejected" })),
        new MeshStream.TaskFailed({ taskId: a, status: "rejected" })
      )
      assert.deepStrictEqual(
        yield* Effect.flip(MeshStream.takeResult(feedOf(s(a, "archived")), a, { terminal: "archived" })),
        new MeshStream.NoResult({ taskId: a, status: "archived" })
      )
    })
  )

  it.effect("a result may come up to five seconds after the terminal status", () =>
    Effect.gen(function* () {
      const { feed, send } = yield* openFeed
      const fiber = yield* Effect.forkChild(MeshStream.takeResult(feed, a))
      yield* send(s(a, "done"))
      yield* TestClock.adjust("4999 millis")
      yield* send(result())
      assert.deepStrictEqual(yield* Fiber.join(fiber), answer)
    })
  )

  it.effect("five seconds after the terminal status it fails with NoResult, and closes the stream", () =>
    Effect.gen(function* () {
      const { closed, feed, send } = yield* openFeed
      const fiber = yield* Effect.forkChild(Effect.exit(MeshStream.takeResult(feed, a)))
      yield* send(s(a, "done"))
      yield* TestClock.adjust("3 seconds")
      // Neither other events nor the same status again prolong the wait.
      yield* send(s(a, "done"), output(a, "x"), s(b, "running"))
      yield* TestClock.adjust("1999 millis")
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(
        yield* Fiber.join(fiber),
        Exit.fail(new MeshStream.NoResult({ taskId: a, status: "done" }))
      )
      yield* closed
    })
  )

  it.effect("endless events of other tasks do not prolong the wait", () =>
    Effect.gen(function* () {
      const busy = Stream.fromEffectRepeat(Effect.as(TestClock.adjust("1 second"), s(b, "running")))
      const seen = yield* Ref.make(0)
      const feed = Stream.concat(
        feedOf(s(a, "done")),
        Stream.tap(busy, () => Ref.update(seen, (n) => n + 1))
      )
      assert.deepStrictEqual(
        yield* Effect.flip(MeshStream.takeResult(feed, a)),
        new MeshStream.NoResult({ taskId: a, status: "done" })
      )
      assert.isAtMost(yield* Ref.get(seen), 5)
    })
  )

  it.effect("a task that is started again calls the wait off", () =>
    Effect.gen(function* () {
      const { feed, send } = yield* openFeed
      const fiber = yield* Effect.forkChild(MeshStream.takeResult(feed, a))
      yield* send(s(a, "done"), s(a, "running"))
      yield* TestClock.adjust("1 hour")
      assert.isUndefined(fiber.pollUnsafe())
      yield* send(result())
      assert.deepStrictEqual(yield* Fiber.join(fiber), answer)
    })
  )

  it.effect("an older update that arrives late does not call the wait off, and does not fail the task", () =>
    Effect.gen(function* () {
      const { feed, send } = yield* openFeed
      const fiber = yield* Effect.forkChild(Effect.exit(MeshStream.takeResult(feed, a)))
      yield* send(
        updated(a, { version: 2, status: "done" }),
        updated(a, { version: 1, status: "running" }),
        updated(a, { version: 0, status: "failed" })
      )
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(
        yield* Fiber.join(fiber),
        Exit.fail(new MeshStream.NoResult({ taskId: a, status: "done" }))
      )
    })
  )

  it.effect("returns a result that arrived before the wait elapsed while the process stood still", () =>
    Effect.gen(function* () {
      const late = Stream.make(s(b, "running"), result()).pipe(
        Stream.rechunk(1),
        Stream.mapEffect((event) => Effect.as(turnsAfter("5 seconds", 10), event))
      )
      const fiber = yield* Effect.forkChild(MeshStream.takeResult(Stream.concat(feedOf(s(a, "done")), late), a))
      yield* settle
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(yield* Fiber.join(fiber), answer)
    })
  )

  it.effect("waits five seconds however the wall clock steps", () =>
    Effect.gen(function* () {
      const { clock, step } = yield* WallClock.make
      const { feed, send } = yield* openFeed
      const fiber = yield* Effect.forkChild(
        Effect.provideService(Effect.exit(MeshStream.takeResult(feed, a)), Clock.Clock, clock)
      )
      yield* send(s(a, "done"))
      yield* TestClock.adjust("1 second")
      step(-3_600_000)
      yield* send(s(a, "running"), s(a, "done"))
      yield* TestClock.adjust("4 seconds")
      step(7_200_000)
      yield* send(s(b, "running"))
      yield* TestClock.adjust("999 millis")
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      assert.isTrue(Exit.isFailure(yield* Fiber.join(fiber)))
    })
  )

  it.effect("endedTimeToLive can be zero, and can be without end", () =>
    Effect.gen(function* () {
      const never = Stream.concat(feedOf(s(a, "done")), Stream.never)
      assert.deepStrictEqual(
        yield* Effect.flip(MeshStream.takeResult(never, a, { endedTimeToLive: 0 })),
        new MeshStream.NoResult({ taskId: a, status: "done" })
      )
      const fiber = yield* Effect.forkChild(MeshStream.takeResult(never, a, { endedTimeToLive: "Infinity" }))
      yield* TestClock.adjust("365 days")
      assert.isUndefined(fiber.pollUnsafe())
      yield* Fiber.interrupt(fiber)
    })
  )

  it.effect("closes the stream as soon as the answer is known", () =>
    Effect.gen(function* () {
      const { closed, feed, send } = yield* openFeed
      yield* send(result())
      yield* MeshStream.takeResult(feed, a)
      yield* closed
    })
  )

  it.effect("interrupted while it waits for a late result, it leaves no fiber and no open stream", () =>
    Effect.gen(function* () {
      const running = yield* Ref.make(0)
      const waiting = yield* Deferred.make<void>()
      // The pull that is timed out runs in a fiber of its own: it counts itself while it does.
      const late = Stream.fromEffect(
        Effect.acquireUseRelease(
          Ref.update(running, (n) => n + 1),
          () => Effect.andThen(Deferred.succeed(waiting, undefined), Effect.never),
          () => Ref.update(running, (n) => n - 1)
        )
      )
      const feed = Stream.concat(feedOf(s(a, "done")), late)
      const fiber = yield* Effect.forkChild(MeshStream.takeResult(feed, a))
      yield* Deferred.await(waiting)
      assert.strictEqual(yield* Ref.get(running), 1)
      yield* Fiber.interrupt(fiber)
      assert.strictEqual(yield* Ref.get(running), 0)
    })
  )

  it.effect("starts with fresh state in each run", () =>
    Effect.gen(function* () {
      const program = Effect.exit(MeshStream.takeResult(Stream.concat(feedOf(s(a, "done")), Stream.never), a))
      for (const round of [1, 2]) {
        const fiber = yield* Effect.forkChild(program)
        yield* TestClock.adjust("4999 millis")
        assert.isUndefined(fiber.pollUnsafe(), `round ${round}`)
        yield* TestClock.adjust("1 millis")
        assert.isTrue(Exit.isFailure(yield* Fiber.join(fiber)))
      }
    })
  )

  it.effect.prop(
    "is the same however the input is split, and whatever the lifecycle says in between",
    [events, sizes, place],
    ([events, sizes, place]) =>
      Effect.gen(function* () {
        const options = { restartAfter: Infinity }
        const whole = yield* Effect.exit(MeshStream.takeResult(feedOf(...events), a, options))
        assert.deepStrictEqual(yield* Effect.exit(MeshStream.takeResult(inArrays(events, sizes), a, options)), whole)
        const index = at(place, events)
        const gap = [disconnected(7), connected(8), resync(), resync(a)]
        assert.deepStrictEqual(
          yield* Effect.exit(
            MeshStream.takeResult(feedOf(...events.slice(0, index), ...gap, ...events.slice(index)), a, options)
          ),
          whole
        )
      })
  )

  it.effect("its errors can be encoded and decoded", () =>
    Effect.gen(function* () {
      const error = new MeshStream.TaskFailed({ taskId: a, result: answer })
      const encoded = yield* Schema.encodeUnknownEffect(MeshStream.TaskFailed)(error)
      assert.deepStrictEqual(yield* Schema.decodeUnknownEffect(MeshStream.TaskFailed)(encoded), error)
    })
  )
})
