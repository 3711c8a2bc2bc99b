/**
 * The requirements on a `MeshLog`, as laws that can be checked on any engine.
 *
 * A law runs in a `Harness`: an empty log, which the law can open several times, each
 * time like another process, and a clock. The laws need no test runner; `suite` of
 * `@makima-stream/test-kit/vitest` runs them in Vitest.
 *
 * @since 0.2.0
 */
import * as Arbitrary from "effect/Arbitrary"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as MeshStream from "@makima-stream/core/MeshStream"
import * as TaskId from "@makima-stream/core/TaskId"
import type { LogError } from "@makima-stream/log/LogError"
import * as MemoryLog from "@makima-stream/log/MemoryLog"
import * as MeshLog from "@makima-stream/log/MeshLog"
import {
  expect,
  expectFenced,
  expectGrowing,
  expectLabels,
  expectTruncated,
  isFailure,
  label,
  labels,
  opened,
  output,
  outputs,
  passing,
  range,
  readAll,
  settle,
  taskOf,
  update,
  work
} from "./internal/logLaws/checks.ts"
import { filters, mark, mixed } from "./internal/logLaws/filters.ts"
import { Harness, type Law, LawBroken } from "./internal/logLaws/harness.ts"
import * as MeshArbitrary from "./MeshArbitrary.ts"

export { Harness, LawBroken, type Law } from "./internal/logLaws/harness.ts"

/**
 * Checks a law in a fresh harness.
 *
 * **Example** (One law over the log in memory)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as TestClock from "effect/testing/TestClock"
 * import * as LogLaws from "@makima-stream/test-kit/LogLaws"
 *
 * const checked = LogLaws.checkIn(LogLaws.laws.order, LogLaws.layerMemory)
 * await Effect.runPromise(Effect.provide(checked, TestClock.layer()))
 * ```
 *
 * @category laws
 * @since 0.2.0
 */
export const checkIn = <E>(law: Law, harness: Layer.Layer<Harness, E>): Effect.Effect<void, LawBroken | LogError | E> =>
  Effect.scoped(law.check).pipe(Effect.provide(harness))

/**
 * A harness of the log in memory, in virtual time: it needs the `TestClock`.
 *
 * @category layers
 * @since 0.2.0
 */
export const layerMemory: Layer.Layer<Harness> = Layer.sync(Harness, () => {
  const store = MemoryLog.makeStore()
  return {
    open: (options) => MemoryLog.make({ store, retention: options?.retention }),
    advance: (duration) => Effect.andThen(TestClock.adjust(duration), settle)
  }
})

/**
 * The laws, by name.
 *
 * @category laws
 * @since 0.2.0
 */
export const laws = {
  order: {
    promise: "Entries are read in the order in which they were appended, each once, with growing positions",
    check: Effect.gen(function* () {
      const log = yield* opened
      for (const [from, to] of [
        [0, 1],
        [1, 700],
        [700, 702],
        [702, 2000]
      ] as const) {
        yield* log.append(outputs(from, to))
      }
      const entries = yield* readAll(log)
      yield* expectLabels(entries, range(0, 2000), "all entries")
      yield* expectGrowing(entries)
      const { first, last } = yield* log.bounds
      yield* expect(first === entries[0]?.position && last === entries.at(-1)?.position, () => `${first} to ${last}`)
    })
  },
  events: {
    promise: "Every event is read as it was appended",
    check: Effect.gen(function* () {
      const log = yield* opened
      const histories = yield* Effect.orDie(
        Arbitrary.sampleEffect(MeshArbitrary.data, { count: 200, seed: "log laws" })
      )
      const events = [...mixed, ...histories]
      yield* log.append(events.map((event, n) => ({ id: `${n}`, event })))
      const entries = yield* readAll(log)
      yield* expect(entries.length === events.length, () => `${entries.length} of ${events.length} events`)
      for (const [n, { event }] of entries.entries()) {
        yield* expect(Equal.equals(event, events[n]), () => `${JSON.stringify(event)} of ${JSON.stringify(events[n])}`)
      }
    })
  },
  idempotent: {
    promise: "An event whose id the log holds is not stored again, and has its old position",
    check: Effect.gen(function* () {
      const log = yield* opened
      const { open } = yield* Harness
      const first = yield* log.append(outputs(0, 10))
      const again = yield* log.append(outputs(0, 10))
      yield* expect(first === again, () => `position ${again} instead of ${first}`)
      yield* log.append([output(5), output(10), output(10), output(3), output(11), output(10)])
      const other = yield* open()
      yield* other.append(outputs(8, 14))
      yield* expectLabels(yield* readAll(log), range(0, 14), "after repeated appends")
      const { last } = yield* log.bounds
      const none = yield* log.append([])
      yield* expect(none === last, () => `an empty append returns ${none} instead of ${last}`)
    })
  },
  writers: {
    promise: "Several writers of the same events store each once, and every reader sees the same order",
    check: Effect.gen(function* () {
      const { open } = yield* Harness
      const logs = yield* Effect.all([open(), open(), open()])
      yield* passing(
        Effect.forEach(
          logs,
          (log) =>
            Effect.forEach(
              Array.from({ length: 30 }, (_, n) => outputs(n * 10, n * 10 + 15)),
              (batch) => Effect.andThen(log.append(batch), Effect.yieldNow),
              { discard: true }
            ),
          { concurrency: "unbounded", discard: true }
        )
      )
      const orders = yield* Effect.forEach(logs, (log) => readAll(log))
      for (const entries of orders) {
        yield* expect(Equal.equals(labels(entries), labels(orders[0] ?? [])), () => "two readers saw different orders")
      }
      const order = labels(orders[0] ?? [])
      yield* expect(
        order.length === 305 && new Set(order).size === 305,
        () => `${order.length} entries of ${new Set(order).size} events instead of 305 of 305`
      )
      yield* expectGrowing(orders[0] ?? [])
    })
  },
  positions: {
    promise: "A reader starts after any position, at any time, at the beginning and at the end",
    check: Effect.gen(function* () {
      const { advance } = yield* Harness
      const log = yield* opened
      yield* log.append(outputs(0, 20))
      yield* advance("50 millis")
      yield* log.append(outputs(20, 40))
      const entries = yield* readAll(log)
      for (const [n, { position }] of entries.entries()) {
        yield* expectLabels(yield* readAll(log, { from: MeshLog.after(position) }), range(n + 1, 40), `after ${n}`)
      }
      yield* expectLabels(yield* readAll(log, { from: MeshLog.after(0) }), range(0, 40), "after 0")
      const [early, late] = [entries[0]?.at ?? 0, entries[20]?.at ?? 0]
      yield* expect(late > early, () => "time did not pass")
      yield* expectLabels(yield* readAll(log, { from: MeshLog.time(early) }), range(0, 40), "from the first time")
      yield* expectLabels(yield* readAll(log, { from: MeshLog.time(late) }), range(20, 40), "from a later time")
      yield* expectLabels(yield* readAll(log, { from: MeshLog.time(late + 60_000) }), [], "from the future")
      yield* expectLabels(yield* readAll(log, { from: MeshLog.newest }), [], "from the end")
    })
  },
  lastPerTask: {
    promise: "LastPerTask is the newest update of each task by version, and a follower continues after it",
    check: Effect.gen(function* () {
      const log = yield* opened
      yield* log.append([
        update("a", 1, "running"),
        update("b", 1, "running"),
        output(0),
        update("a", 3, "done"),
        update("a", 2, "running"),
        update("c", 1, "running")
      ])
      const from = MeshLog.lastPerTask
      yield* expectLabels(yield* readAll(log, { from }), ["b1", "a3", "c1"], "the snapshot")
      const filter: MeshLog.Filter = { tasks: TaskId.make("a") }
      yield* expectLabels(yield* readAll(log, { from, filter }), ["a3"], "the snapshot of one task")
      const hasSnapshot = yield* Deferred.make<void>()
      const reader = yield* log.read({ from, follow: true }).pipe(
        Stream.tap(({ event }) => (label(event) === "c1" ? Deferred.succeed(hasSnapshot, undefined) : Effect.void)),
        Stream.take(5),
        Stream.runCollect,
        Effect.forkChild
      )
      yield* Effect.raceFirst(Deferred.await(hasSnapshot), Fiber.join(reader))
      yield* log.append([update("b", 2, "done"), output(1)])
      yield* expectLabels(yield* passing(Fiber.join(reader)), ["b1", "a3", "c1", "b2", "1"], "a following reader")
    })
  },
  filters: {
    promise: "A filter delivers what the operators deliver",
    check: Effect.gen(function* () {
      const log = yield* opened
      yield* log.append(mixed.map((event, n) => ({ id: `${n}`, event })))
      for (const [filter, operators] of filters) {
        const wanted = yield* Stream.runCollect(operators(Stream.fromIterable(mixed)))
        const seen = yield* Stream.runCollect(MeshLog.events(log.read({ filter })))
        yield* expect(
          Equal.equals(seen, wanted),
          () => `${JSON.stringify(filter)}: ${seen.map(label).join()} instead of ${wanted.map(label).join()}`
        )
      }
    })
  },
  follow: {
    promise: "A following reader continues from history to new entries without a loss and without a duplicate",
    check: Effect.gen(function* () {
      const { open } = yield* Harness
      const writer = yield* open()
      const reader = yield* open()
      const count = 600
      yield* writer.append(outputs(0, 50))
      const readers: Array<Fiber.Fiber<Array<MeshLog.Entry>, LogError>> = []
      for (let n = 50; n < count;) {
        const log = readers.length % 2 === 0 ? reader : writer
        if (n % 3 === 0) {
          readers.push(yield* Effect.forkChild(log.read({ follow: true }).pipe(Stream.take(count), Stream.runCollect)))
        }
        if (n % 4 === 0) yield* Effect.yieldNow
        const next = Math.min(count, n + 1 + (n % 13))
        yield* writer.append(outputs(n, next))
        n = next
      }
      for (const fiber of readers) {
        yield* expectLabels(yield* passing(Fiber.join(fiber)), range(0, count), "a following reader")
      }
    })
  },
  newest: {
    promise: "A reader from the end receives what is appended after it started, and nothing before",
    check: Effect.gen(function* () {
      const { advance, open } = yield* Harness
      const [writer, reader] = [yield* open(), yield* open()]
      yield* writer.append(outputs(0, 10))
      const fiber = yield* Effect.forkChild(
        reader.read({ from: MeshLog.newest, follow: true }).pipe(Stream.take(10), Stream.runCollect)
      )
      yield* advance("500 millis")
      yield* writer.append(outputs(10, 20))
      yield* expectLabels(yield* passing(Fiber.join(fiber)), range(10, 20), "a reader from the end")
    })
  },
  followFilters: {
    promise: "A following reader with a filter receives marks at their places",
    check: Effect.gen(function* () {
      const log = yield* opened
      const filter: MeshLog.Filter = { tasks: TaskId.make("a"), keep: "resync" }
      const half = 5
      yield* log.append(mixed.slice(0, half).map((event, n) => ({ id: `${n}`, event })))
      const operators = MeshStream.filterTask(TaskId.make("a"), { keep: "resync" })
      const wanted = yield* Stream.runCollect(operators(Stream.fromIterable(mixed)))
      const fiber = yield* log
        .read({ filter, follow: true })
        .pipe(MeshLog.events, Stream.take(wanted.length), Stream.runCollect, Effect.forkChild)
      yield* settle
      yield* log.append(mixed.slice(half).map((event, n) => ({ id: `${half + n}`, event })))
      const seen = yield* passing(Fiber.join(fiber))
      yield* expect(Equal.equals(seen, wanted), () => `${seen.map(label).join()}, not ${wanted.map(label).join()}`)
    })
  },
  retentionByCount: {
    promise: "A reader of entries that retention by count has removed receives LogTruncated in their place",
    check: Effect.gen(function* () {
      const { open } = yield* Harness
      const log = yield* open({ retention: { maxEntries: 100 } })
      yield* log.append(outputs(0, 90))
      const kept = yield* readAll(log)
      const fifth = kept[4]?.position ?? 0
      for (let n = 90; n < 400; n += 10) yield* log.append(outputs(n, n + 10))
      yield* expectTruncated(log, fifth)
    })
  },
  retentionBySize: {
    promise: "A reader of entries that retention by size has removed receives LogTruncated in their place",
    check: Effect.gen(function* () {
      const { open } = yield* Harness
      const log = yield* open({ retention: { maxBytes: 200_000 } })
      const large = (n: number): MeshLog.NewEvent => ({
        id: `${n}`,
        event: { _tag: "TaskOutput", taskId: taskOf(n), messageType: "raw", content: "x".repeat(20_000) }
      })
      yield* log.append([large(0)])
      for (let n = 1; n < 30; n++) yield* log.append([large(n)])
      const { first, last } = yield* log.bounds
      yield* expect(last - first + 1 <= 10, () => `${last - first + 1} entries of 20 kB in a log of 200 kB`)
      yield* expectTruncated(log, 0)
    })
  },
  retentionByAge: {
    promise: "A reader of entries that retention by age has removed receives LogTruncated in their place",
    check: Effect.gen(function* () {
      const { advance, open } = yield* Harness
      const log = yield* open({ retention: { maxAge: "2 seconds" } })
      yield* log.append(outputs(0, 20))
      yield* advance("4 seconds")
      yield* log.append(outputs(20, 30))
      const { first, last } = yield* log.bounds
      yield* expect(last - first + 1 <= 10, () => `${last - first + 1} entries, of which 20 are too old`)
      yield* expectTruncated(log, 0)
    })
  },
  large: {
    promise: "An event of 16 MiB is stored whole",
    check: Effect.gen(function* () {
      const log = yield* opened
      const content = "0123456789abcdef".repeat((16 << 20) / 16)
      yield* log.append([
        output(0),
        { id: "large", event: { _tag: "TaskOutput", taskId: taskOf(0), messageType: "raw", content } },
        output(1)
      ])
      const entries = yield* readAll(log)
      const [, large, last] = entries.map(({ event }) => event)
      yield* expect(large?._tag === "TaskOutput" && large.content === content, () => "the large event is different")
      yield* expect(last !== undefined && label(last) === "1", () => "the next event is missing")
    })
  },
  consumerResumes: {
    promise: "A durable reader resumes after what was acknowledged, and delivers the rest again",
    check: Effect.gen(function* () {
      const { open } = yield* Harness
      const log = yield* open()
      yield* log.append(outputs(0, 100))
      const first = yield* passing(
        Effect.scoped(
          Effect.gen(function* () {
            const consumer = yield* (yield* open()).consumer("worker")
            const entries = yield* consumer.entries.pipe(Stream.take(60), Stream.runCollect)
            yield* consumer.acknowledge(entries.slice(0, 40))
            // A later entry is acknowledged out of order.
            yield* consumer.acknowledge(entries.slice(50, 51))
            return entries
          })
        )
      )
      yield* expectLabels(first, range(0, 60), "the first reader")
      const rest = [...range(40, 50), ...range(51, 100)]
      const second = yield* passing(
        Effect.scoped(
          Effect.gen(function* () {
            const consumer = yield* (yield* open()).consumer("worker")
            return yield* work(consumer, rest.length)
          })
        )
      )
      yield* expectLabels(second, rest, "the second reader")
      yield* log.append([output(100)])
      const third = yield* passing(
        Effect.scoped(Effect.flatMap(log.consumer("worker"), (consumer) => work(consumer, 1)))
      )
      yield* expectLabels(third, ["100"], "the third reader")
      const other = yield* passing(
        Effect.scoped(Effect.flatMap(log.consumer("other"), (consumer) => work(consumer, 101)))
      )
      yield* expectLabels(other, range(0, 101), "a reader of another name")
    })
  },
  consumerShares: {
    promise: "Readers of one name share the work by task: each entry once, and each task in order",
    check: Effect.gen(function* () {
      const { advance, open } = yield* Harness
      const log = yield* open()
      const names = Array.from({ length: 24 }, (_, n) => TaskId.make(`task ${n}`))
      const event = (n: number): MeshLog.NewEvent => ({
        id: `${n}`,
        event: {
          _tag: "TaskOutput",
          taskId: names[(n * 7) % names.length] ?? taskOf(n),
          messageType: "assistant",
          content: `${n}`
        }
      })
      const handled: Array<readonly [member: number, entry: MeshLog.Entry]> = []
      const workers = new Set<number>()
      const member = Effect.fnUntraced(function* (number: number) {
        // A member is not silent for so long, however busy the machine is.
        const consumer = yield* (yield* open()).consumer("team", { timeToLive: "10 seconds", partitions: 8 })
        yield* consumer.entries.pipe(
          Stream.runForEachArray((entries) =>
            Effect.suspend(() => {
              workers.add(number)
              for (const entry of entries) handled.push([number, entry])
              return consumer.acknowledge(entries)
            })
          ),
          Effect.forkScoped
        )
      })
      let count = 0
      const batch = Effect.suspend(() => log.append(Array.from({ length: 20 }, () => event(count++))))
      const third = yield* Scope.make()
      yield* member(1)
      yield* member(2)
      yield* Scope.provide(member(3), third)
      for (let n = 0; n < 12; n++) yield* Effect.andThen(batch, advance("20 millis"))
      // Members that found each other share the partitions, while there is work.
      for (let n = 0; workers.size < 3 && n < 200; n++) yield* Effect.andThen(batch, advance("250 millis"))
      yield* expect(workers.size === 3, () => `${workers.size} of 3 members had work`)
      yield* Scope.close(third, Exit.void)
      for (let n = 0; n < 12; n++) yield* Effect.andThen(batch, advance("20 millis"))
      const seen = () => handled.map(([, { event }]) => label(event))
      while (new Set(seen()).size < count) yield* advance("50 millis")
      yield* expect(seen().length === count, () => `${seen().length - count} events were handled twice`)
      const last = new Map<string, number>()
      for (const [, { event, position }] of handled) {
        const id = "taskId" in event ? `${event.taskId}` : ""
        yield* expect(position > (last.get(id) ?? 0), () => `the entries of ${id} were out of order`)
        last.set(id, position)
      }
    })
  },
  consumerMarks: {
    promise: "A mark without a task is delivered to a durable reader at its place",
    check: Effect.gen(function* () {
      const log = yield* opened
      yield* log.append([output(0), { id: "mark", event: mark({ _tag: "Started" }) }, output(1), output(2)])
      const entries = yield* passing(
        Effect.scoped(Effect.flatMap(log.consumer("marks"), (consumer) => work(consumer, 4)))
      )
      yield* expectLabels(entries, ["0", "Started", "1", "2"], "a durable reader")
    })
  },
  lease: {
    promise: "A lease has one holder at a time, and its term grows",
    check: Effect.gen(function* () {
      const { advance, open } = yield* Harness
      const [one, two] = [yield* open(), yield* open()]
      const scope = yield* Scope.make()
      const first = yield* passing(Scope.provide(one.lease("relay", { timeToLive: "2 seconds" }), scope))
      const waiting = yield* Effect.forkChild(two.lease("relay", { timeToLive: "2 seconds" }))
      // Three times its time to live, during which the holder renews it.
      for (let n = 0; n < 24; n++) yield* advance("250 millis")
      yield* expect(waiting.pollUnsafe() === undefined, () => "a lease that is renewed was taken")
      yield* expect(yield* first.isHeld, () => "the holder lost a lease that it renewed")
      const another = yield* passing(two.lease("another"))
      yield* expect(another.name === "another", () => "another lease is not free")
      yield* Scope.close(scope, Exit.void)
      const second = yield* passing(Fiber.join(waiting))
      yield* expect(second.term > first.term, () => `term ${second.term} follows term ${first.term}`)
      yield* expect(!(yield* first.isHeld), () => "a released lease is held")
      yield* first.awaitLost
    })
  },
  fence: {
    promise: "An append under a lease that was released or taken is refused, and stores nothing",
    check: Effect.gen(function* () {
      const { open } = yield* Harness
      const [one, two] = [yield* open(), yield* open()]
      const first = yield* passing(one.lease("relay"))
      yield* one.append(outputs(0, 5), { lease: first })
      yield* first.release
      yield* expectFenced(one.append(outputs(5, 10), { lease: first }), "under a released lease")
      const second = yield* passing(two.lease("relay"))
      yield* expectFenced(one.append(outputs(5, 10), { lease: first }), "under a lease that was taken")
      yield* two.append(outputs(20, 25), { lease: second })
      yield* expectFenced(one.append(outputs(5, 10), { lease: first }), "after the new holder's append")
      yield* expectLabels(yield* readAll(two), [...range(0, 5), ...range(20, 25)], "the log")
    })
  },
  crash: {
    promise: "After a crash at any step of an append, the same append completes it: nothing is lost or doubled",
    check: Effect.gen(function* () {
      const { crash, open } = yield* Harness
      if (crash === undefined || crash.steps.length === 0) {
        return yield* new LawBroken({ seen: "the engine has no steps to crash at" })
      }
      let count = 10
      yield* Effect.scoped(Effect.flatMap(open(), (log) => log.append(outputs(0, count))))
      for (const step of crash.steps) {
        const batch = outputs(count, count + 20)
        const ended = yield* Effect.scoped(
          Effect.flatMap(crash.open(step), (log) => Effect.exit(passing(log.append(batch))))
        )
        yield* expect(Exit.isFailure(ended), () => `the append continued after the step "${step}"`)
        yield* Effect.scoped(
          Effect.gen(function* () {
            const log = yield* open()
            const before = labels(yield* readAll(log))
            const whole = range(0, count + 20)
            yield* expect(
              before.length >= count && Equal.equals(before, whole.slice(0, before.length)),
              () => `after the step "${step}" the log has ${before.length} entries, which are not a prefix`
            )
            yield* log.append(batch)
            yield* expectLabels(yield* readAll(log), whole, `after the step "${step}" and the same append`)
          })
        )
        count += 20
      }
    })
  },
  damage: {
    promise: "A reader receives every entry before a damaged one, and then fails with Damaged",
    check: Effect.gen(function* () {
      const { damage, open } = yield* Harness
      if (damage === undefined) return yield* new LawBroken({ seen: "the engine has nothing to damage" })
      const position = yield* Effect.scoped(
        Effect.gen(function* () {
          const log = yield* open()
          yield* log.append(outputs(0, 2000))
          return (yield* readAll(log))[1200]?.position ?? 0
        })
      )
      yield* damage(position)
      yield* Effect.scoped(
        Effect.gen(function* () {
          const log = yield* open()
          const seen: Array<MeshLog.Entry> = []
          const exit = yield* Effect.exit(Stream.runForEach(log.read(), (entry) => Effect.sync(() => seen.push(entry))))
          yield* expect(isFailure(exit, "Damaged"), () => "the reader did not fail with Damaged")
          yield* expect(seen.length >= 1000, () => `only ${seen.length} of 1200 entries before the damage were read`)
          yield* expectLabels(seen, range(0, seen.length), "before the damage")
        })
      )
    })
  }
} satisfies Record<string, Law>

/**
 * The name of a law.
 *
 * @category models
 * @since 0.2.0
 */
export type Name = keyof typeof laws

/**
 * The names of the laws, in the order of the documentation.
 *
 * @category laws
 * @since 0.2.0
 */
// The keys of an object literal are those of its type.
export const names = Object.keys(laws) as ReadonlyArray<Name>
