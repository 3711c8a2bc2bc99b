import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Socket from "effect/socket/Socket"
import * as Interest from "@makima-stream/core/Interest"
import type * as MeshError from "@makima-stream/core/MeshError"
import type * as MeshEvent from "@makima-stream/core/MeshEvent"
import * as MeshStream from "@makima-stream/core/MeshStream"
import * as Repair from "@makima-stream/core/Repair"
import * as TaskId from "@makima-stream/core/TaskId"
import * as ScriptedMesh from "@makima-stream/test-kit/ScriptedMesh"

const a = TaskId.make("a")
const b = TaskId.make("b")

const updated = (taskId: TaskId.TaskId, version: number, status = "running"): MeshEvent.MeshEvent => ({
  _tag: "TaskUpdated",
  taskId,
  version,
  status
})
const connected = (epoch: number): MeshEvent.MeshEvent => ({ _tag: "Connected", epoch, at: 0 })
const started: MeshEvent.MeshEvent = { _tag: "Resync", epoch: 1, reason: { _tag: "Started" } }
const reconnected: MeshEvent.MeshEvent = { _tag: "Resync", epoch: 2, reason: { _tag: "Reconnected", downMillis: 1 } }
const overflow: MeshEvent.MeshEvent = { _tag: "Resync", epoch: 1, reason: { _tag: "Overflow", dropped: 1 } }

const done = { taskId: a, version: 9, status: "done" }

/** A feed that a test drives, repaired, and what came out. */
const harness = Effect.fnUntraced(function* (options: Partial<Repair.Options> = {}) {
  const feed = yield* Queue.unbounded<MeshEvent.MeshEvent, Cause.Done>()
  const asked = yield* Queue.unbounded<Repair.Ask>()
  const answers = yield* Queue.unbounded<Exit.Exit<ReadonlyArray<Repair.TaskSnapshot>, unknown>>()
  const seen = yield* Queue.unbounded<MeshEvent.MeshEvent>()
  const all: Array<MeshEvent.MeshEvent> = []
  const fetch = (ask: Repair.Ask) =>
    Effect.andThen(
      Queue.offer(asked, ask),
      Effect.flatMap(Queue.take(answers), (exit) => exit)
    )
  const repaired = Stream.fromQueue(feed).pipe(
    Repair.repair({ fetch, spread: 0, minInterval: 0, ...options }),
    Stream.runForEach((event) => {
      all.push(event)
      return Queue.offer(seen, event)
    })
  )
  const fiber = yield* Effect.forkScoped(repaired)
  return {
    all,
    fiber,
    /** Sends events and waits until they came out. */
    send: (...events: ReadonlyArray<MeshEvent.MeshEvent>) =>
      Effect.andThen(
        Queue.offerAll(feed, events),
        Effect.forEach(events, () => Queue.take(seen), { discard: true })
      ),
    end: Queue.end(feed),
    /** Waits for the next request of a snapshot. */
    asked: Queue.take(asked),
    requests: Queue.size(asked),
    answer: (...snapshot: ReadonlyArray<Repair.TaskSnapshot>) => Queue.offer(answers, Exit.succeed(snapshot)),
    refuse: (error: unknown = { _tag: "Refused" }) => Queue.offer(answers, Exit.fail(error)),
    crash: (defect: unknown) => Queue.offer(answers, Exit.die(defect)),
    /** Waits for the next element. */
    next: Queue.take(seen)
  }
})

/** The outcome of a repair of one mark. */
const outcome = (reason: MeshEvent.ResyncReasonTag, rest: Partial<MeshEvent.Repaired> = {}): MeshEvent.Repaired => ({
  _tag: "Repaired",
  epoch: 1,
  reasons: [reason],
  restated: 0,
  unconfirmed: 0,
  absent: 0,
  open: 0,
  ...rest
})

/** Lets every fiber run that can. */
const settle = TestClock.adjust(0)

describe("repair", () => {
  it.effect("restates what a snapshot knows better, after the mark, while the feed is silent", () =>
    Effect.gen(function* () {
      const mesh = yield* harness()
      yield* mesh.send(connected(1), updated(a, 1), updated(b, 3), started)
      assert.deepStrictEqual(yield* mesh.asked, { _tag: "All" })
      yield* mesh.answer(done, { taskId: b, version: 3, status: "running" })
      assert.deepStrictEqual(yield* mesh.next, { _tag: "Restated", ...done })
      assert.deepStrictEqual(yield* mesh.next, outcome("Started", { restated: 1 }))
    })
  )

  it.effect("lets the feed pass while a snapshot is fetched, and loses nothing of it", () =>
    Effect.gen(function* () {
      const mesh = yield* harness()
      yield* mesh.send(started)
      yield* mesh.asked
      yield* mesh.send(updated(a, 1), updated(a, 2))
      yield* mesh.answer(done)
      yield* mesh.next
      yield* mesh.next
      yield* mesh.send(updated(a, 10))
      assert.deepStrictEqual(
        mesh.all.map(({ _tag }) => _tag),
        ["Resync", "TaskUpdated", "TaskUpdated", "Restated", "Repaired", "TaskUpdated"]
      )
    })
  )

  it.effect("passes everything through at its place, and asks for nothing without a mark", () =>
    Effect.gen(function* () {
      const mesh = yield* harness()
      const events = [connected(1), updated(a, 1), updated(a, 2)]
      yield* mesh.send(...events)
      yield* TestClock.adjust("1 day")
      assert.strictEqual(yield* mesh.requests, 0)
      yield* mesh.end
      yield* Fiber.join(mesh.fiber)
      assert.deepStrictEqual(mesh.all, events)
    })
  )

  it.effect("does not fetch at Connected, but at the mark of the connection", () =>
    Effect.gen(function* () {
      const mesh = yield* harness({ minInterval: "10 seconds" })
      yield* mesh.send(started)
      yield* mesh.asked
      yield* mesh.answer()
      yield* mesh.next
      yield* mesh.send(overflow, connected(2))
      yield* TestClock.adjust("1 day")
      assert.strictEqual(yield* mesh.requests, 0)
      yield* mesh.send(reconnected)
      yield* settle
      assert.strictEqual(yield* mesh.requests, 1)
    })
  )

  it.effect("waits a random time up to spread before it fetches", () =>
    Effect.gen(function* () {
      const mesh = yield* harness({ spread: "10 seconds" })
      yield* mesh.send(started)
      yield* TestClock.adjust("2499 millis")
      assert.strictEqual(yield* mesh.requests, 0)
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(yield* mesh.requests, 1)
    }).pipe(Effect.provideService(Random.Random, quarter))
  )

  it.effect("leaves minInterval between the starts of two fetches, and merges the requests in between", () =>
    Effect.gen(function* () {
      const mesh = yield* harness({ minInterval: "10 seconds" })
      yield* mesh.send(started)
      yield* mesh.asked
      yield* mesh.answer()
      yield* mesh.next
      yield* mesh.send(overflow, overflow)
      yield* TestClock.adjust("9999 millis")
      assert.strictEqual(yield* mesh.requests, 0)
      yield* mesh.send(reconnected)
      yield* TestClock.adjust("1 millis")
      yield* mesh.asked
      yield* mesh.answer()
      assert.deepStrictEqual(yield* mesh.next, outcome("Overflow", { epoch: 2, reasons: ["Overflow", "Reconnected"] }))
      yield* TestClock.adjust("1 day")
      assert.strictEqual(yield* mesh.requests, 0)
    })
  )

  it.effect("fetches again and again with every, while the connection has its mark", () =>
    Effect.gen(function* () {
      const mesh = yield* harness({ every: "1 minute" })
      yield* mesh.send(started)
      yield* mesh.asked
      yield* mesh.answer()
      yield* mesh.next
      yield* TestClock.adjust("59999 millis")
      assert.strictEqual(yield* mesh.requests, 0)
      yield* TestClock.adjust("1 millis")
      yield* mesh.asked
      yield* mesh.answer(done)
      yield* mesh.next
      assert.deepStrictEqual(yield* mesh.next, outcome("Started", { reasons: [], restated: 1 }))
      yield* mesh.send(connected(2))
      yield* TestClock.adjust("1 day")
      assert.strictEqual(yield* mesh.requests, 0)
      yield* mesh.send(reconnected)
      yield* mesh.asked
    })
  )

  it.effect("retries a fetch that fails, then repairs with one Repaired", () =>
    Effect.gen(function* () {
      const mesh = yield* harness({ retry: Schedule.spaced("5 seconds") })
      yield* mesh.send(started)
      yield* mesh.asked
      yield* mesh.refuse()
      yield* TestClock.adjust("4999 millis")
      assert.strictEqual(yield* mesh.requests, 0)
      yield* TestClock.adjust("1 millis")
      yield* mesh.asked
      yield* mesh.answer()
      assert.deepStrictEqual(yield* mesh.next, outcome("Started"))
    })
  )

  it.effect("makes no attempt while the connection is down, and then asks for both gaps at once", () =>
    Effect.gen(function* () {
      const mesh = yield* harness({ retry: Schedule.spaced("5 seconds") })
      yield* mesh.send(started)
      yield* mesh.asked
      yield* mesh.send(connected(2))
      yield* mesh.refuse()
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* mesh.requests, 0)
      yield* mesh.send(reconnected)
      yield* mesh.asked
      yield* mesh.answer()
      assert.deepStrictEqual(yield* mesh.next, outcome("Started", { epoch: 2, reasons: ["Started", "Reconnected"] }))
    })
  )

  it.effect("marks a repair that has failed, and goes on", () =>
    Effect.gen(function* () {
      const mesh = yield* harness({ retry: Schedule.recurs(2) })
      yield* mesh.send(started)
      for (let n = 0; n < 3; n++)
        yield* mesh.refuse({ _tag: "HttpError", message: "secret", reason: { _tag: "Status" } })
      assert.deepStrictEqual(yield* mesh.next, {
        _tag: "RepairFailed",
        epoch: 1,
        reasons: ["Started"],
        attempts: 3,
        error: "HttpError: Status"
      })
      yield* mesh.send(updated(a, 1), overflow)
      yield* mesh.answer()
      assert.deepStrictEqual(yield* mesh.next, outcome("Started", { reasons: ["Started", "Overflow"], absent: 1 }))
    })
  )

  it.effect("fails the stream after the mark of the failure, if it is asked to", () =>
    Effect.gen(function* () {
      const error = { _tag: "Refused" }
      const events: Array<string> = []
      const exit = yield* Stream.make(started).pipe(
        Stream.concat(Stream.never),
        Repair.repair({ fetch: () => Effect.fail(error), retry: Schedule.recurs(0), spread: 0, onFailure: "fail" }),
        Stream.runForEach(({ _tag }) => Effect.sync(() => events.push(_tag))),
        Effect.flip
      )
      assert.strictEqual(exit.reason._tag, "SnapshotFailed")
      assert.strictEqual(exit.message, "No snapshot could be fetched in 1 attempt")
      assert.deepStrictEqual(events, ["Resync", "RepairFailed"])
    })
  )

  it.effect("cuts a fetch that never returns", () =>
    Effect.gen(function* () {
      const mesh = yield* harness({ timeout: "3 seconds", retry: Schedule.recurs(0) })
      yield* mesh.send(started)
      yield* mesh.asked
      yield* TestClock.adjust("2999 millis")
      assert.strictEqual(mesh.all.length, 1)
      yield* TestClock.adjust("1 millis")
      const failed = yield* mesh.next
      assert.deepInclude(failed, { _tag: "RepairFailed", attempts: 1, error: "TimeoutError" })
    })
  )

  it.effect("marks a fetch that throws or interrupts itself, and fetches again at the next mark", () =>
    Effect.gen(function* () {
      const mesh = yield* harness()
      yield* mesh.send(started)
      yield* mesh.crash(new RangeError("a bug"))
      assert.deepInclude(yield* mesh.next, { _tag: "RepairFailed", error: "RangeError" })
      yield* mesh.send(overflow)
      yield* mesh.asked
      yield* mesh.answer()
      assert.strictEqual((yield* mesh.next)._tag, "Repaired")
    })
  )

  it.effect("interrupts the fetch when the stream ends", () =>
    Effect.gen(function* () {
      const interrupted = yield* Deferred.make<void>()
      const begun = yield* Deferred.make<void>()
      const fetch = () =>
        Deferred.succeed(begun, undefined).pipe(
          Effect.andThen(Effect.never),
          Effect.onInterrupt(() => Deferred.succeed(interrupted, undefined))
        )
      const fiber = yield* Stream.make(started).pipe(
        Stream.concat(Stream.never),
        Repair.repair({ fetch, spread: 0 }),
        Stream.runDrain,
        Effect.forkChild
      )
      yield* Deferred.await(begun)
      yield* Fiber.interrupt(fiber)
      yield* Deferred.await(interrupted)
    })
  )

  it.effect("ends with the feed, also while it fetches, and passes its failure on", () =>
    Effect.gen(function* () {
      const mesh = yield* harness()
      yield* mesh.send(started)
      yield* mesh.asked
      yield* mesh.end
      yield* Fiber.join(mesh.fiber)
      const failed = yield* Stream.make(started).pipe(
        Stream.concat(Stream.fail("gone")),
        Repair.repair({ fetch: () => Effect.never, spread: 0 }),
        Stream.runDrain,
        Effect.flip
      )
      assert.strictEqual(failed, "gone")
    })
  )

  it.effect("emits a large snapshot in several arrays", () =>
    Effect.gen(function* () {
      const snapshot = Array.from({ length: 150 }, (_, n) => ({ taskId: TaskId.make(`task ${n}`), version: 1 }))
      const sizes = yield* Stream.make(started).pipe(
        Stream.concat(Stream.never),
        Repair.repair({ fetch: () => Effect.succeed(snapshot), spread: 0 }),
        Stream.chunks,
        Stream.map((chunk) => chunk.length),
        Stream.take(4),
        Stream.runCollect
      )
      assert.deepStrictEqual(sizes, [1, 64, 64, 23])
    })
  )

  it.effect("sees the updates that filters behind it drop, and emits what they want", () =>
    Effect.gen(function* () {
      const mesh = yield* ScriptedMesh.make()
      const collect = Effect.fnUntraced(function* <A>(
        behind: (feed: Stream.Stream<MeshEvent.MeshEvent, MeshError.MeshError>) => Stream.Stream<A, MeshError.MeshError>
      ) {
        const seen: Array<A> = []
        const answer = yield* Deferred.make<ReadonlyArray<Repair.TaskSnapshot>>()
        yield* MeshStream.connect({ interest: { ...Interest.output(a), all: true } }).pipe(
          Stream.provideService(Socket.Socket, mesh.socket),
          Repair.repair({ fetch: () => Deferred.await(answer), spread: 0 }),
          behind,
          Stream.runForEach((element) => Effect.sync(() => seen.push(element))),
          Effect.forkScoped
        )
        yield* mesh.awaitReceived(({ message }) => message._tag === "SubscribeOutput")
        yield* TestClock.adjust(0)
        yield* mesh.emit(
          { _tag: "TaskUpdated", taskId: a, version: 5, status: "running" },
          { _tag: "TaskOutput", taskId: a, messageType: "assistant", content: "hello" },
          { _tag: "TaskOutput", taskId: b, messageType: "assistant", content: "other" }
        )
        yield* TestClock.adjust(0)
        yield* Deferred.succeed(answer, [
          { taskId: a, version: 5, status: "running" },
          { taskId: b, version: 2, status: "done" }
        ])
        yield* TestClock.adjust(0)
        yield* mesh.kill()
        return seen
      })
      const outputs = yield* collect(MeshStream.outputOnly({ keep: "resync" }))
      assert.deepStrictEqual(
        outputs.map((event) => (event._tag === "TaskOutput" ? event.content : event._tag)),
        ["Resync", "hello", "Repaired"]
      )
      assert.deepInclude(outputs[2], { restated: 1 })
    }).pipe(Effect.scoped)
  )

  it("refuses options that make no sense", () => {
    const feed = Stream.empty
    const fetch = () => Effect.succeed([])
    for (const wrong of [
      { every: 0 },
      { timeout: 0 },
      { spread: "Infinity" },
      { minInterval: "Infinity" },
      { onFailure: "ignore" }
    ]) {
      assert.throws(() => Repair.repair(feed, { fetch, ...(wrong as object) }), /^Repair: |^The option "onFailure"/)
    }
  })
})

/** A source of randomness that always returns a quarter. */
const quarter = { ...Random.Random.defaultValue(), nextDoubleUnsafe: () => 0.25 }
