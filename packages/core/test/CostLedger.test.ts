import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as Effect from "effect/Effect"
import * as HashMap from "effect/HashMap"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import type * as Scope from "effect/Scope"
import * as CostLedger from "../src/CostLedger.ts"
import type { MeshEvent, ResyncReason } from "../src/MeshEvent.ts"
import type { Projection } from "../src/Projection.ts"
import * as TaskBoard from "../src/TaskBoard.ts"
import { TaskId } from "../src/TaskId.ts"
import {
  assertFoldsAlike,
  chunked,
  fromChunks,
  gap,
  history,
  piece,
  result,
  said,
  sizes,
  tasks,
  updated,
  withGapAt
} from "./support/histories.ts"
import { assertSame } from "./support/assertSame.ts"
import { demanding, type Same, type Setting } from "./support/types.ts"

const a = TaskId.make("a")
const b = TaskId.make("b")

const small = Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 3 })))

const foldAll = (events: ReadonlyArray<MeshEvent>, options?: CostLedger.Options) =>
  CostLedger.fold(CostLedger.make(options), events, 0)

const total = (events: ReadonlyArray<MeshEvent>) => foldAll(events).totalUsd

const sum = (ledger: CostLedger.CostLedger) =>
  HashMap.reduce(ledger.tasks, ledger.rolledUsd, (sum, { costUsd }) => sum + costUsd)

describe("CostLedger", () => {
  it.prop("is the same however the events are split", [history, sizes, small], ([events, sizes, maxEnded]) => {
    assertFoldsAlike(CostLedger, CostLedger.make({ maxEnded }), events, sizes)
  })

  it.prop("agrees with the board about each task", [history], ([events]) => {
    const ledger = foldAll(events)
    const board = TaskBoard.fold(TaskBoard.make(), events, 0)
    for (const taskId of tasks) {
      const entry = Option.getOrUndefined(CostLedger.get(ledger, taskId))
      const state = Option.getOrUndefined(TaskBoard.get(board, taskId))
      assert.strictEqual(entry?.costUsd ?? 0, state?.costUsd ?? 0)
      assert.strictEqual(entry?.durationMs ?? 0, state?.durationMs ?? 0)
      assert.strictEqual(entry?.runs ?? 1, state?.runs ?? 1)
      assert.strictEqual(entry?.status, state?.status)
      assert.strictEqual(entry?.endedAt, state?.endedAt)
    }
  })

  it.prop("has a total of its entries and the rolled up tasks", [history, small, small], (inputs) => {
    const [events, maxEnded, maxTasks] = inputs
    let ledger = CostLedger.make({ maxEnded, maxTasks })
    for (const [index, event] of events.entries()) {
      ledger = CostLedger.update(ledger, event, index)
      assert.strictEqual(ledger.totalUsd, sum(ledger))
      assert.isAtMost(HashMap.size(ledger.tasks), Math.max(1, maxTasks))
    }
  })

  it.prop("costs the same when every event comes twice", [history], ([events]) => {
    assert.strictEqual(total(events.flatMap((event) => [event, event])), total(events))
  })

  it.prop("costs the same if a result is repeated anywhere later in its run", [history, small], (inputs) => {
    const [events, which] = inputs
    const results = events.filter((event) => event._tag === "TaskOutput" && event.messageType === "result")
    const again = results[which % Math.max(1, results.length)]
    if (again?._tag !== "TaskOutput") return
    const from = events.indexOf(again)
    for (let index = from + 1; index <= events.length; index++) {
      const next = events[index]
      const repeated = [...events.slice(0, index), again, ...events.slice(index)]
      assert.strictEqual(total(repeated), total(events))
      // The next result of this task replaces this one, or belongs to another run: from there on it is no repeat of
      // the latest.
      if (next?._tag === "TaskOutput" && next.taskId === again.taskId && next.messageType === "result") break
    }
  })

  it("counts a result once, however often it comes", () => {
    const events = [updated(a, "running"), result(a, 1, 10), result(a, 1, 10), updated(a, "done"), result(a, 1, 10)]
    assert.strictEqual(total(events), 1)
  })

  it("counts a result of the next run, unless it equals the previous one", () => {
    const first = [updated(a, "running"), result(a, 1, 10), updated(a, "done"), updated(a, "running")]
    assert.strictEqual(total([...first, result(a, 1, 10)]), 1)
    assert.strictEqual(total([...first, result(a, 1, 11)]), 2)
    assert.strictEqual(total([...first, result(a, 1, 11), result(a, 1, 10)]), 2)
    assert.strictEqual(total([...first, { ...result(a, 1, 10), isError: true }]), 2)
  })

  it("counts a result after the end of its run for that run", () => {
    const events = [
      updated(a, "running"),
      updated(a, "done"),
      result(a, 1, 10),
      updated(a, "running"),
      result(a, 2, 20)
    ]
    assert.strictEqual(total(events), 3)
    assert.strictEqual(Option.getOrThrow(CostLedger.get(foldAll(events), a)).runs, 2)
  })

  it("replaces the cost of a run, and begins no run at a second terminal status", () => {
    assert.strictEqual(
      total([updated(a, "running"), result(a, 1, 10), updated(a, "done"), updated(a, "merged"), result(a, 2, 20)]),
      2
    )
  })

  it("begins no run with a late update", () => {
    assert.strictEqual(total([updated(a, "done", 5), result(a, 1, 10), updated(a, "running", 4), result(a, 2, 20)]), 2)
  })

  it("counts only whole results with a cost", () => {
    const events: ReadonlyArray<MeshEvent> = [
      { ...said(a, "x"), costUsd: 1 },
      { ...piece(a, "x"), messageType: "result", costUsd: 1 },
      said(a, "x", "result")
    ]
    assert.strictEqual(total(events), 0)
  })

  it("keeps the cost of evicted tasks in the total", () => {
    const ledger = foldAll([result(a, 1, 10), updated(a, "done"), result(b, 2, 20), updated(b, "done"), gap], {
      maxEnded: 1
    })
    assert.deepStrictEqual(
      [ledger.totalUsd, ledger.rolledUsd, ledger.rolledTasks, HashMap.size(ledger.tasks)],
      [3, 1, 1, 1]
    )
    const later = CostLedger.update(ledger, gap, 24 * 60 * 60 * 1000)
    assert.deepStrictEqual([later.totalUsd, later.rolledUsd, later.rolledTasks], [3, 3, 2])
  })

  it("counts marks that follow something known, and changes nothing else for them", () => {
    const events = [updated(a, "running"), result(a, 1, 10), updated(a, "done")]
    const plain = foldAll(events)
    for (let index = 0; index <= events.length; index++) {
      const marked = foldAll(withGapAt(events, index))
      const expected = index === 0 ? 0 : 1
      assert.deepStrictEqual([marked.updateGaps, marked.outputGaps], [expected, expected])
      assert.deepStrictEqual([marked.totalUsd, marked.rolledTasks], [plain.totalUsd, plain.rolledTasks])
    }
  })

  it("counts no gap for the first mark of a feed or of a task, and one for the next", () => {
    const mark = (reason: ResyncReason, taskId?: TaskId): MeshEvent => ({
      _tag: "Resync",
      epoch: 1,
      reason,
      ...(taskId === undefined ? {} : { taskId })
    })
    const started = mark({ _tag: "Started" })
    const output = mark({ _tag: "Subscribed", kind: "output" }, a)
    const jump = mark({ _tag: "VersionGap", lastVersion: 1, version: 3 }, a)
    const gaps = (events: ReadonlyArray<MeshEvent>) => {
      const { outputGaps, updateGaps } = foldAll(events)
      return [updateGaps, outputGaps]
    }
    const beginning = [updated(b, "running"), started, updated(a, "running"), output, result(a, 1, 10)]
    assert.deepStrictEqual(gaps(beginning), [0, 0])
    assert.deepStrictEqual(gaps([...beginning, output]), [0, 1])
    assert.deepStrictEqual(gaps([...beginning, jump]), [1, 0])
    assert.deepStrictEqual(gaps([...beginning, started]), [1, 1])
  })

  it("leaves no trace of an absurd cost that is corrected, and is never infinite", () => {
    const absurd = [result(a, 1e17, 1), result(b, 0.5, 2), result(a, 123.45, 3)]
    assert.strictEqual(total(absurd), 123.95)
    const huge = [result(a, 1e308, 1), result(b, 1e308, 2)]
    assert.strictEqual(total(huge), Number.MAX_VALUE)
    assert.strictEqual(total([...huge, result(a, 0.25, 3), result(b, 0.5, 4)]), 0.75)
    assert.strictEqual(total([result(a, -1, 1), result(b, 0.5, 2)]), -0.5)
  })

  it("rolls up exactly what its entries cost", () => {
    const many = Array.from({ length: 100 }, (_, index) => TaskId.make(`t${index}`))
    const costOf = (index: number) => (index % 2 === 0 ? 0.1 : 1e15)
    const ledger = foldAll(many.flatMap((id, index) => [result(id, costOf(index), 1), updated(id, "done")]))
    const rolled = CostLedger.update(ledger, gap, 1e12)
    assert.deepStrictEqual([rolled.totalUsd, rolled.rolledUsd], [ledger.totalUsd, ledger.totalUsd])
    const others = many.map((id, index) => result(id, -costOf(index), 2))
    assert.strictEqual(CostLedger.fold(rolled, others, 1e12).totalUsd, 0)
  })

  it("accepts the lower versions of a restored server after a new connection", () => {
    const before = [updated(a, "done", 1200), result(a, 1, 10), gap]
    const after = [1001, 1002, 1003].map((version) => updated(a, "running", version))
    assert.strictEqual(total([...before, ...after.slice(0, 2), result(a, 2, 20)]), 2)
    assert.strictEqual(total([...before, ...after, result(a, 2, 20)]), 3)
  })

  describe("saved and restored", () => {
    const roundTrip = (ledger: CostLedger.CostLedger, options?: CostLedger.Options) => {
      const codec = CostLedger.codec(options)
      return Schema.decodeUnknownSync(codec)(JSON.parse(JSON.stringify(Schema.encodeSync(codec)(ledger))))
    }
    const seen = ({ outputGaps, rolledTasks, rolledUsd, tasks, totalUsd, updateGaps }: CostLedger.CostLedger) => [
      totalUsd,
      rolledUsd,
      rolledTasks,
      updateGaps,
      outputGaps,
      [...HashMap.values(tasks)].sort((x, y) => (x.taskId < y.taskId ? -1 : 1))
    ]

    it.prop("goes on exactly as the original", [history, history, small], ([before, after, maxEnded]) => {
      const options = { maxEnded, maxTasks: 2 }
      let original = CostLedger.fold(CostLedger.make(options), before, 0)
      let restored = roundTrip(original, options)
      assertSame(seen(restored), seen(original))
      for (const event of after) {
        original = CostLedger.update(original, event, 1000)
        restored = CostLedger.update(restored, event, 1000)
        assertSame(seen(restored), seen(original))
      }
    })

    it("keeps an exact total, also of absurd costs", () => {
      const events = [result(a, 1e308, 1), updated(a, "done"), result(b, 0.1, 2), updated(b, "done")]
      const restored = roundTrip(foldAll(events, { maxEnded: 0 }))
      assert.strictEqual(restored.totalUsd, 1e308)
      assert.strictEqual(CostLedger.update(restored, result(a, -1e308, 1), 0).totalUsd, 0.1)
    })

    it.effect("continues a stream from an initial ledger, with its options unless others are given", () =>
      Effect.gen(function* () {
        const initial = foldAll([result(a, 1, 10), updated(a, "parked")], { terminal: "parked" })
        const events = Stream.make(updated(a, "running"), result(a, 2, 20))
        const own = yield* events.pipe(CostLedger.scan({ initial, maxEnded: 5 }), Stream.runLast)
        assert.strictEqual(Option.getOrThrow(own).totalUsd, 3)
        const running = yield* CostLedger.run(events, { initial })
        yield* running.join
        assert.strictEqual((yield* SubscriptionRef.get(running.ref)).totalUsd, 3)
      })
    )

    it("shows no bookkeeping in its keys or those of its entries", () => {
      const ledger = foldAll([result(a, 1, 10)])
      const keys = Object.keys(ledger).sort()
      assert.deepStrictEqual(keys, ["outputGaps", "rolledTasks", "rolledUsd", "tasks", "totalUsd", "updateGaps"])
      assert.notInclude(JSON.stringify(Option.getOrThrow(CostLedger.get(ledger, a))), "fingerprint")
    })
  })

  it("returns the same object if nothing changes", () => {
    const ledger = foldAll([result(a, 1, 10)])
    for (const event of [said(a, "x"), result(a, 1, 10), { _tag: "Connected", epoch: 1, at: 0 } as const]) {
      assert.strictEqual(CostLedger.update(ledger, event, 1), ledger)
    }
  })

  describe("over a stream", () => {
    it.effect.prop(
      "ends in the same total however the feed is cut into chunks",
      [history, sizes],
      Effect.fnUntraced(function* ([events, sizes]) {
        const running = yield* fromChunks(chunked(events, sizes)).pipe(CostLedger.run)
        yield* running.join
        assert.strictEqual((yield* SubscriptionRef.get(running.ref)).totalUsd, total(events))
        const last = yield* fromChunks(chunked(events, sizes)).pipe(CostLedger.scan, Stream.runLast)
        assert.strictEqual(Option.match(last, { onNone: () => 0, onSome: ({ totalUsd }) => totalUsd }), total(events))
      }, Effect.scoped)
    )

    it("keeps the error and the requirements, however it is called", () => {
      const results = demanding(() => result(a, 1, 10))
      const bare = results.pipe(CostLedger.scan)
      const withOptions = results.pipe(CostLedger.scan({ maxEnded: 1 }))
      const dataFirst = CostLedger.scan(results, { maxEnded: 1 })
      const running = results.pipe(CostLedger.run)
      const runningWithOptions = results.pipe(CostLedger.run({ maxEnded: 1 }))
      type Out = Stream.Stream<CostLedger.CostLedger, "broken", Setting>
      type Running = Effect.Effect<Projection<CostLedger.CostLedger, "broken">, never, Setting | Scope.Scope>
      const same: readonly [
        Same<typeof bare, Out>,
        Same<typeof withOptions, Out>,
        Same<typeof dataFirst, Out>,
        Same<typeof running, Running>,
        Same<typeof runningWithOptions, Running>
      ] = [true, true, true, true, true]
      assert.notInclude(same, false)
    })
  })
})
