import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import type { MeshEvent } from "../../src/MeshEvent.ts"
import * as MeshStream from "../../src/MeshStream.ts"
import type { TaskOutput } from "../../src/ServerMessage.ts"
import { TaskId } from "../../src/TaskId.ts"
import { settle, turnsAfter } from "../support/follow.ts"
import { chunked, fromChunks, gap, history, said, sizes, taskOf, updated, withGapAt } from "../support/histories.ts"
import * as WallClock from "../support/wallClock.ts"
import { watched } from "../support/slow.ts"
import { demanding, type Same, type Setting } from "../support/types.ts"

const a = TaskId.make("a")
const b = TaskId.make("b")
const c = TaskId.make("c")

const small = Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 6 })))

/** A feed that the test gives, and what its groups have got so far, group by group. */
const dealt = (options?: MeshStream.GroupByTaskOptions) =>
  Effect.gen(function* () {
    const feed = yield* Queue.unbounded<MeshEvent, string | Cause.Done>()
    const got: Array<{ readonly taskId: TaskId; readonly events: Array<MeshEvent>; end: string | undefined }> = []
    const fiber = yield* Stream.fromQueue(feed).pipe(
      MeshStream.groupByTask(options ?? {}),
      Stream.mapEffect(
        ([taskId, events]) => {
          const group = { taskId, events: new Array<MeshEvent>(), end: undefined as string | undefined }
          got.push(group)
          return Stream.runForEach(events, (event) => Effect.sync(() => group.events.push(event))).pipe(
            Effect.onExit((exit) =>
              Effect.sync(() => {
                group.end = Exit.isSuccess(exit) ? "end" : "failure"
              })
            )
          )
        },
        { concurrency: "unbounded" }
      ),
      Stream.runDrain,
      Effect.forkScoped
    )
    const give = (...events: ReadonlyArray<MeshEvent>) => Effect.andThen(Queue.offerAll(feed, events), settle)
    yield* settle
    return { feed, got, fiber, give }
  })

describe("groupByTask", () => {
  it.effect.prop(
    "emits each task what names it, in order, whatever the chunks, the bound and the consumers' speed",
    [history, sizes, small, small],
    Effect.fnUntraced(function* ([events, sizes, capacity, pauses]) {
      const groups = yield* fromChunks(chunked(events, sizes)).pipe(
        MeshStream.groupByTask({ capacity, terminal: new Set() }),
        Stream.mapEffect(
          ([taskId, group]) =>
            group.pipe(
              Stream.tap(() => Effect.repeat(Effect.yieldNow, { times: pauses })),
              Stream.runCollect,
              Effect.map((got) => [taskId, got] as const)
            ),
          { concurrency: "unbounded" }
        ),
        Stream.runCollect
      )
      const named = new Set(events.map(taskOf).filter((taskId) => taskId !== undefined))
      assert.strictEqual(groups.length, named.size)
      for (const [taskId, got] of groups) {
        const from = events.findIndex((event) => taskOf(event) === taskId)
        assert.deepStrictEqual(
          got,
          events.slice(from).filter((event) => taskOf(event) === undefined || taskOf(event) === taskId)
        )
      }
    })
  )

  it.effect.prop(
    "loses nothing between a task's substreams when it ends and begins again",
    [history, sizes],
    Effect.fnUntraced(function* ([events, sizes]) {
      const merged = yield* fromChunks(chunked(events, sizes)).pipe(
        MeshStream.groupByTask({ endedTimeToLive: 0 }),
        Stream.flatMap(([, group]) => group, { concurrency: "unbounded" }),
        Stream.filter((event) => taskOf(event) !== undefined),
        Stream.runCollect
      )
      for (const taskId of [a, b, c]) {
        assert.deepStrictEqual(
          merged.filter((event) => taskOf(event) === taskId),
          events.filter((event) => taskOf(event) === taskId)
        )
      }
    })
  )

  it.effect("emits a gap of everything to every live group, at its place, and a gap of a task to that task", () =>
    Effect.gen(function* () {
      const events = [said(a, "1"), said(b, "2"), said(a, "3"), said(b, "4")]
      for (let index = 0; index <= events.length; index++) {
        const marked = withGapAt(events, index)
        const { give, got } = yield* dealt()
        yield* give(...marked)
        for (const { taskId, events } of got) {
          const from = marked.findIndex((event) => taskOf(event) === taskId)
          assert.deepStrictEqual(
            events,
            marked.slice(from).filter((event) => event === gap || taskOf(event) === taskId)
          )
        }
      }
      const gapOfA: MeshEvent = { _tag: "Resync", epoch: 1, taskId: a, reason: { _tag: "JoinedLate" } }
      const { give, got } = yield* dealt()
      yield* give(said(b, "1"), gapOfA)
      assert.deepStrictEqual(
        got.map(({ taskId, events }) => [taskId, events.length]),
        [
          [b, 1],
          [a, 1]
        ]
      )
    })
  )

  it.effect("ends a group that was silent for its time, and starts another when its task comes again", () =>
    Effect.gen(function* () {
      const { give, got } = yield* dealt({ idleTimeToLive: "10 seconds" })
      yield* give(said(a, "1"))
      yield* TestClock.adjust("6 seconds")
      yield* give(said(b, "1"), gap)
      yield* TestClock.adjust("3999 millis")
      assert.deepStrictEqual(
        got.map(({ end }) => end),
        [undefined, undefined]
      )
      yield* TestClock.adjust("1 millis")
      // What names no task does not keep a group alive.
      assert.deepStrictEqual(
        got.map(({ end }) => end),
        ["end", undefined]
      )
      yield* give(said(a, "2"), said(b, "2"))
      yield* TestClock.adjust("9 seconds")
      assert.deepStrictEqual(
        got.map(({ end }) => end),
        ["end", undefined, undefined]
      )
      yield* TestClock.adjust("1 seconds")
      assert.deepStrictEqual(
        got.map(({ taskId, events, end }) => [taskId, events, end]),
        [
          [a, [said(a, "1"), gap], "end"],
          [b, [said(b, "1"), gap, said(b, "2")], "end"],
          [a, [said(a, "2")], "end"]
        ]
      )
    })
  )

  it.effect("ends a group a while after the last event of a task that has ended", () =>
    Effect.gen(function* () {
      const { give, got } = yield* dealt({ endedTimeToLive: "5 seconds" })
      yield* give(updated(a, "running"), updated(a, "done"), said(b, "1"), updated(b, "failed"))
      yield* TestClock.adjust("4 seconds")
      yield* give(said(a, "trailing"))
      yield* TestClock.adjust("4999 millis")
      assert.deepStrictEqual(
        got.map(({ end }) => end),
        [undefined, "end"]
      )
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(got[0]?.end, "end")
      assert.strictEqual(got[0]?.events.length, 3)
      yield* give(updated(a, "running"))
      assert.strictEqual(got.length, 3)
    })
  )

  it.effect("keeps the group of a task that goes on after its end", () =>
    Effect.gen(function* () {
      const { give, got } = yield* dealt({ endedTimeToLive: "5 seconds", idleTimeToLive: "1 minute" })
      yield* give(updated(a, "done"))
      yield* TestClock.adjust("4 seconds")
      yield* give(updated(a, "running"))
      yield* TestClock.adjust("59 seconds")
      assert.strictEqual(got[0]?.end, undefined)
      yield* TestClock.adjust("1 seconds")
      assert.strictEqual(got[0]?.end, "end")
    })
  )

  it.effect("an older update that arrives late does not keep the group of a task that has ended", () =>
    Effect.gen(function* () {
      const { give, got } = yield* dealt({ endedTimeToLive: "5 seconds" })
      yield* give(updated(a, "done", 2), updated(a, "running", 1))
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(
        got.map(({ events, end }) => [events.length, end]),
        [[2, "end"]]
      )
    })
  )

  it.effect("keeps the group of a task for an event that had arrived when its time was over", () =>
    Effect.gen(function* () {
      const late = Effect.as(turnsAfter("5 seconds", 10), said(a, "trailing"))
      const groups = yield* Stream.make(updated(a, "done")).pipe(
        Stream.concat(Stream.fromEffect(late)),
        MeshStream.groupByTask,
        Stream.mapEffect(([, group]) => Stream.runCollect(group), { concurrency: "unbounded" }),
        Stream.runCollect,
        Effect.forkChild
      )
      yield* settle
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(yield* Fiber.join(groups), [[updated(a, "done"), said(a, "trailing")]])
    })
  )

  it.effect("ends a group in its time however the wall clock steps", () =>
    Effect.gen(function* () {
      const { clock, step } = yield* WallClock.make
      const { give, got } = yield* dealt({ idleTimeToLive: "10 seconds" }).pipe(
        Effect.provideService(Clock.Clock, clock)
      )
      yield* give(said(a, "1"))
      step(-3_600_000)
      yield* give(said(a, "2"))
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(got[0]?.end, "end")
      yield* give(said(b, "1"))
      step(7_200_000)
      yield* TestClock.adjust("9 seconds")
      assert.isUndefined(got[1]?.end)
    })
  )

  it.effect("emits the confirmed subscription of one task only to that task", () =>
    Effect.gen(function* () {
      const subscribed: MeshEvent = {
        _tag: "Resync",
        epoch: 1,
        taskId: a,
        reason: { _tag: "Subscribed", kind: "output" }
      }
      const { give, got } = yield* dealt()
      yield* give(updated(a, "running"), updated(b, "running"), subscribed)
      assert.deepStrictEqual(
        got.map(({ events }) => events.length),
        [2, 1]
      )
      assert.strictEqual(got[0]?.events[1], subscribed)
    })
  )

  it.effect("ends a silent group without spinning where times are fractions of a millisecond", () =>
    Effect.gen(function* () {
      // From here, 10 seconds and then 5 are less than 15 seconds, by a rounding error.
      yield* TestClock.adjust(Duration.nanos(100n))
      const { give, got } = yield* dealt({ idleTimeToLive: "10 seconds" })
      yield* give(said(a, "1"))
      yield* TestClock.adjust("5 seconds")
      yield* give(said(b, "2"))
      yield* TestClock.adjust("11 seconds")
      yield* settle
      assert.deepStrictEqual(
        got.map(({ end }) => end),
        ["end", "end"]
      )
    }).pipe(
      // This clock waits for what it woke, however long that takes.
      Effect.provide(TestClock.layer({ warningDelay: "1 hour" }))
    )
  )

  it.effect("ends a group with the terminal update itself when there is no endedTimeToLive", () =>
    Effect.gen(function* () {
      const { give, got } = yield* dealt({ endedTimeToLive: 0 })
      yield* give(said(a, "1"), updated(a, "done"), said(a, "2"))
      assert.deepStrictEqual(
        got.map(({ events, end }) => [events, end]),
        [
          [[said(a, "1"), updated(a, "done")], "end"],
          [[said(a, "2")], undefined]
        ]
      )
    })
  )

  it.effect("uses the terminal statuses of the options", () =>
    Effect.gen(function* () {
      const { give, got } = yield* dealt({ endedTimeToLive: 0, terminal: new Set(["parked"]) })
      yield* give(updated(a, "done"), updated(a, "parked"), updated(a, "running"))
      assert.deepStrictEqual(
        got.map(({ events }) => events.length),
        [2, 1]
      )
    })
  )

  it.effect("stops the feed when a group is full, and goes on when its consumer comes", () =>
    Effect.gen(function* () {
      const read: Array<string> = []
      const gate = yield* Deferred.make<void>()
      const got: Array<string> = []
      const fiber = yield* Stream.fromIterable(["1", "2", "3", "4", "5", "6"]).pipe(
        Stream.rechunk(1),
        Stream.tap((content) => Effect.sync(() => read.push(content))),
        Stream.flatMap((content) => Stream.make(said(content === "6" ? b : a, content))),
        MeshStream.groupByTask({ capacity: 2 }),
        Stream.flatMap(
          ([taskId, group]) =>
            Stream.tap(group, ({ content }) =>
              Effect.andThen(
                taskId === a ? Deferred.await(gate) : Effect.void,
                Effect.sync(() => got.push(content))
              )
            ),
          { concurrency: "unbounded" }
        ),
        Stream.runDrain,
        Effect.forkChild
      )
      yield* settle
      // Two with its consumer, two in its buffer, one on its way into it; the other task waits behind it.
      assert.deepStrictEqual([...read], ["1", "2", "3", "4", "5"])
      assert.deepStrictEqual(got, [])
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(fiber)
      assert.sameMembers(got, ["1", "2", "3", "4", "5", "6"])
    })
  )

  it.effect("lets the others go on when a consumer leaves, and drops the rest of its task", () =>
    Effect.gen(function* () {
      const events = Array.from({ length: 50 }, (_, index) => said(index % 2 === 0 ? a : b, String(index)))
      const groups = yield* Stream.fromIterable(events).pipe(
        Stream.rechunk(7),
        MeshStream.groupByTask({ capacity: 2 }),
        Stream.mapEffect(
          ([taskId, group]) =>
            (taskId === a ? Stream.take(group, 1) : group).pipe(
              Stream.runCollect,
              Effect.map((got) => got.length)
            ),
          { concurrency: "unbounded" }
        ),
        Stream.runCollect
      )
      assert.deepStrictEqual(groups, [1, 25])
    })
  )

  it.effect("lets the others go on when a consumer that was behind is interrupted", () =>
    Effect.gen(function* () {
      const consumers = new Map<TaskId, Fiber.Fiber<unknown>>()
      const events = Array.from({ length: 50 }, (_, index) => said(index % 2 === 0 ? a : b, String(index)))
      const got: Array<MeshEvent> = []
      const fiber = yield* Stream.fromIterable(events).pipe(
        MeshStream.groupByTask({ capacity: 2 }),
        Stream.runForEach(([taskId, group]) =>
          Stream.runForEach(group, (event) => (taskId === a ? Effect.never : Effect.sync(() => got.push(event)))).pipe(
            Effect.forkChild({ startImmediately: true }),
            Effect.map((consumer) => consumers.set(taskId, consumer))
          )
        ),
        Effect.forkChild
      )
      yield* settle
      assert.isBelow(got.length, 25)
      const consumer = consumers.get(a)
      assert.isDefined(consumer)
      yield* Fiber.interrupt(consumer)
      yield* Fiber.join(fiber)
      assert.strictEqual(got.length, 25)
    })
  )

  it.effect("emits an abandoned group's next events to a new one, after its time", () =>
    Effect.gen(function* () {
      const { give, got, feed } = yield* dealt({ capacity: 1, idleTimeToLive: "10 seconds" })
      yield* give(said(a, "1"))
      const stalled = yield* Queue.unbounded<MeshEvent>()
      const groups: Array<TaskId> = []
      yield* Stream.fromQueue(stalled).pipe(
        MeshStream.groupByTask({ capacity: 1, idleTimeToLive: "10 seconds" }),
        // The groups have no consumers.
        Stream.runForEach(([taskId]) => Effect.sync(() => groups.push(taskId))),
        Effect.forkScoped
      )
      yield* Queue.offerAll(stalled, [said(a, "1"), said(a, "2"), said(b, "3")])
      yield* settle
      assert.deepStrictEqual(groups, [a])
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(groups, [a, a, b])
      yield* Queue.shutdown(feed)
      assert.strictEqual(got.length, 1)
    })
  )

  it.effect("counts a task's silence from the moment its event was delivered", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      const ended = yield* Deferred.make<void>()
      yield* Stream.concat(Stream.fromIterable(["1", "2", "3"]), Stream.never).pipe(
        Stream.map((content) => said(a, content)),
        MeshStream.groupByTask({ capacity: 1, idleTimeToLive: "10 seconds" }),
        Stream.runForEach(([, group]) =>
          Stream.runForEach(group, () => Deferred.await(gate)).pipe(
            Effect.andThen(Deferred.succeed(ended, undefined)),
            Effect.forkChild
          )
        ),
        Effect.forkScoped
      )
      yield* TestClock.adjust("5 seconds")
      yield* Deferred.succeed(gate, undefined)
      yield* settle
      yield* TestClock.adjust("9999 millis")
      assert.isFalse(yield* Deferred.isDone(ended))
      yield* TestClock.adjust("1 millis")
      assert.isTrue(yield* Deferred.isDone(ended))
    })
  )

  it.effect("queues at most 16 groups that no consumer has taken", () =>
    Effect.gen(function* () {
      let read = 0
      yield* Stream.range(1, 100).pipe(
        Stream.rechunk(1),
        Stream.tap(() => Effect.sync(() => read++)),
        Stream.map((index) => said(TaskId.make(String(index)), "hello")),
        MeshStream.groupByTask,
        Stream.runForEach(() => Effect.never),
        Effect.forkScoped
      )
      yield* settle
      // One with the consumer, sixteen waiting, one on its way.
      assert.strictEqual(read, 18)
    })
  )

  it.effect("emits what the groups hold, and then the end of the feed", () =>
    Effect.gen(function* () {
      const { give, got, feed, fiber } = yield* dealt()
      yield* give(said(a, "1"), said(b, "2"))
      yield* Queue.end(feed)
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(
        got.map(({ events, end }) => [events.length, end]),
        [
          [1, "end"],
          [1, "end"]
        ]
      )
    })
  )

  it.effect("fails every live group, and the outer stream, with the failure of the feed", () =>
    Effect.gen(function* () {
      const ends: Array<unknown> = []
      const groups = Stream.make(said(a, "1"), said(b, "2")).pipe(
        Stream.concat(Stream.fail("broken")),
        MeshStream.groupByTask
      )
      const exits: Array<Fiber.Fiber<unknown, unknown>> = []
      const outer = yield* Stream.runForEach(groups, ([, group]) =>
        Stream.runDrain(group).pipe(
          Effect.flip,
          Effect.map((error) => ends.push(error)),
          Effect.forkScoped,
          Effect.map((fiber) => exits.push(fiber))
        )
      ).pipe(Effect.flip)
      yield* Fiber.joinAll(exits)
      assert.strictEqual(outer, "broken")
      assert.deepStrictEqual(ends, ["broken", "broken"])
    })
  )

  it.effect("leaves nothing running when it is interrupted", () =>
    Effect.gen(function* () {
      const feed = watched()
      const ended: Array<TaskId> = []
      const fiber = yield* Stream.concat(
        Stream.fromIterable<MeshEvent>([said(a, "1"), updated(b, "done")]),
        feed.stream
      ).pipe(
        MeshStream.groupByTask,
        Stream.flatMap(
          ([taskId, group]) =>
            Stream.ensuring(
              group,
              Effect.sync(() => ended.push(taskId))
            ),
          {
            concurrency: "unbounded"
          }
        ),
        Stream.runDrain,
        Effect.forkChild
      )
      yield* settle
      assert.isTrue(feed.isReading())
      yield* Fiber.interrupt(fiber)
      assert.isFalse(feed.isReading())
      assert.isTrue(feed.isReleased())
      assert.sameMembers(ended, [a, b])
    })
  )

  it.effect("ends a group that another fiber consumes when it is interrupted", () =>
    Effect.gen(function* () {
      const taken = yield* Deferred.make<Stream.Stream<MeshEvent>>()
      const fiber = yield* Stream.concat(Stream.make(said(a, "1")), Stream.never).pipe(
        MeshStream.groupByTask,
        Stream.runForEach(([, group]) => Deferred.succeed(taken, group)),
        Effect.forkChild
      )
      const consumer = yield* Effect.forkChild(Stream.runDrain(yield* Deferred.await(taken)))
      yield* settle
      yield* Fiber.interrupt(fiber)
      const exit = yield* Fiber.await(consumer)
      assert.isTrue(Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause))
    })
  )

  it.effect("emits nothing to a second run of a group", () =>
    Effect.gen(function* () {
      const runs = yield* Stream.make(said(a, "1"), said(a, "2")).pipe(
        MeshStream.groupByTask,
        Stream.mapEffect(([, group]) =>
          Effect.all([Stream.runCollect(Stream.take(group, 1)), Stream.runCollect(group)])
        ),
        Stream.runCollect
      )
      assert.deepStrictEqual(runs, [[[said(a, "1")], []]])
    })
  )

  it.effect("starts with fresh state in each run", () =>
    Effect.gen(function* () {
      const count = Stream.make(updated(a, "done"), said(b, "1")).pipe(MeshStream.groupByTask, Stream.runCount)
      assert.deepStrictEqual([yield* count, yield* count], [2, 2])
    })
  )
})

describe("the type of groupByTask", () => {
  it("keeps the elements, the error and the requirements, however it is called", () => {
    const outputs = demanding((): TaskOutput => said(a, "1"))
    type Out = Stream.Stream<readonly [TaskId, Stream.Stream<TaskOutput, "broken">], "broken", Setting>
    const bare = outputs.pipe(MeshStream.groupByTask)
    const withOptions = outputs.pipe(MeshStream.groupByTask({ capacity: 1 }))
    const dataFirst = MeshStream.groupByTask(outputs, { capacity: 1 })
    const same: readonly [Same<typeof bare, Out>, Same<typeof withOptions, Out>, Same<typeof dataFirst, Out>] = [
      true,
      true,
      true
    ]
    assert.notInclude(same, false)
    for (const stream of [bare, withOptions, dataFirst]) assert.isTrue(Stream.isStream(stream))
  })
})
