/** What operators and projections make of the elements of a repair. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as HashMap from "effect/HashMap"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as CostLedger from "@makima-stream/core/CostLedger"
import type * as MeshEvent from "@makima-stream/core/MeshEvent"
import * as MeshStream from "@makima-stream/core/MeshStream"
import * as TaskBoard from "@makima-stream/core/TaskBoard"
import * as TaskId from "@makima-stream/core/TaskId"
import * as TaskState from "@makima-stream/core/TaskState"

const a = TaskId.make("a")
const b = TaskId.make("b")

const updated = (taskId: TaskId.TaskId, version: number, status: string): MeshEvent.MeshEvent => ({
  _tag: "TaskUpdated",
  taskId,
  version,
  status
})
const restated = (taskId: TaskId.TaskId, rest: Partial<MeshEvent.Restated>): MeshEvent.MeshEvent => ({
  _tag: "Restated",
  taskId,
  ...rest
})
const result = (taskId: TaskId.TaskId, costUsd: number, content = "ok"): MeshEvent.MeshEvent => ({
  _tag: "TaskOutput",
  taskId,
  messageType: "result",
  content,
  costUsd
})
const repaired = (rest: Partial<MeshEvent.Repaired> = {}): MeshEvent.MeshEvent => ({
  _tag: "Repaired",
  epoch: 2,
  reasons: ["Reconnected"],
  restated: 0,
  unconfirmed: 0,
  absent: 0,
  open: 0,
  ...rest
})
const started: MeshEvent.MeshEvent = { _tag: "Resync", epoch: 1, reason: { _tag: "Started" } }
const reconnected: MeshEvent.MeshEvent = { _tag: "Resync", epoch: 2, reason: { _tag: "Reconnected", downMillis: 1 } }
const overflow: MeshEvent.MeshEvent = { _tag: "Resync", epoch: 2, reason: { _tag: "Overflow", dropped: 1 } }

const run = <A>(stream: Stream.Stream<A>) => Effect.runSync(Stream.runCollect(stream))
const feed = (...events: ReadonlyArray<MeshEvent.MeshEvent>) => Stream.fromIterable(events)

describe("TaskState", () => {
  const fold = (...events: ReadonlyArray<MeshEvent.MeshEvent>) => {
    const { fold, initial } = TaskState.reducer(a)
    return fold(initial, events, 1000)
  }

  it("ends a task whose end fell into a gap", () => {
    const state = fold(updated(a, 1, "running"), reconnected, restated(a, { version: 3, status: "done" }))
    assert.deepInclude(state, { status: "done", version: 3, endedAt: 1000 })
  })

  it("ignores a snapshot that is older than an update", () => {
    const state = fold(updated(a, 5, "done"), restated(a, { version: 4, status: "running" }))
    assert.deepInclude(state, { status: "done", version: 5 })
  })

  it("ends a task that is gone, keeps its version, and lets only something newer revive it", () => {
    const gone = restated(a, { version: 3, gone: true })
    assert.deepInclude(fold(updated(a, 3, "running"), gone), {
      gone: true,
      endedAt: 1000,
      status: "running",
      version: 3
    })
    assert.deepInclude(fold(updated(a, 3, "running"), gone, updated(a, 2, "paused")), { gone: true, endedAt: 1000 })
    const revived = fold(updated(a, 3, "running"), gone, updated(a, 4, "paused"))
    assert.deepInclude(revived, { status: "paused", runs: 1 })
    assert.notProperty(revived, "gone")
    assert.notProperty(revived, "endedAt")
  })

  it("clears the gaps of updates at a Repaired that leaves nothing open, and never those of output", () => {
    const before = [updated(a, 1, "running"), result(a, 1), reconnected]
    assert.deepInclude(fold(...before), { updateGaps: 1, outputGaps: 1 })
    assert.deepInclude(fold(...before, repaired()), { updateGaps: 0, outputGaps: 1 })
    assert.deepInclude(fold(...before, overflow, repaired({ open: 1 })), { updateGaps: 2, outputGaps: 2 })
    assert.deepInclude(fold(...before, repaired({ absent: 1 })), { updateGaps: 1 })
    assert.deepInclude(fold(...before, { _tag: "RepairFailed", epoch: 2, reasons: [], attempts: 1, error: "x" }), {
      updateGaps: 1
    })
  })

  it("forgets the reason of the last gap when no gap is left", () => {
    const state = fold(updated(a, 1, "running"), result(a, 1), reconnected, repaired())
    assert.property(state, "lastGap")
    const gap: MeshEvent.MeshEvent = {
      _tag: "Resync",
      epoch: 1,
      taskId: a,
      reason: { _tag: "VersionGap", lastVersion: 1, version: 3 }
    }
    assert.strictEqual(fold(updated(a, 1, "running"), gap).updateGaps, 1)
    assert.notProperty(fold(updated(a, 1, "running"), gap, repaired()), "lastGap")
  })

  it("sets the cost from a snapshot, and counts no result twice", () => {
    // The result of the first run was lost. The snapshot is from after its end.
    const lost = [updated(a, 1, "running"), restated(a, { version: 2, status: "done", costUsd: 2 })]
    assert.strictEqual(fold(...lost).costUsd, 2)
    assert.strictEqual(fold(...lost, result(a, 2)).costUsd, 2)
    assert.strictEqual(fold(...lost, updated(a, 3, "running"), result(a, 1, "next")).costUsd, 3)
    // It is from the second run, which has no result yet.
    const second = [updated(a, 1, "running"), restated(a, { version: 3, status: "running", costUsd: 2 })]
    assert.strictEqual(fold(...second, result(a, 1)).costUsd, 3)
    // It says less than what is known.
    assert.strictEqual(fold(result(a, 5), restated(a, { version: 3, costUsd: 2 })).costUsd, 5)
  })

  it("is saved and restored with a task that is gone", () => {
    const state = fold(updated(a, 3, "running"), restated(a, { version: 3, gone: true }))
    const json = Schema.encodeSync(Schema.fromJsonString(TaskState.codec))(state)
    assert.deepStrictEqual(Schema.decodeSync(Schema.fromJsonString(TaskState.codec))(json), state)
  })
})

describe("TaskBoard", () => {
  it("adds tasks that a snapshot finds, ends those whose end fell into a gap, and clears their gaps", () => {
    const events = [
      updated(a, 1, "running"),
      reconnected,
      overflow,
      restated(a, { version: 2, status: "done" }),
      restated(b, { version: 7, status: "running" })
    ]
    const gapped = TaskBoard.fold(TaskBoard.make(), events, 1000)
    assert.deepStrictEqual(
      [TaskBoard.live(gapped).map(({ taskId }) => taskId), TaskBoard.ended(gapped).map(({ taskId }) => taskId)],
      [[b], [a]]
    )
    assert.deepStrictEqual(
      TaskBoard.ended(gapped).map(({ updateGaps }) => updateGaps),
      [2]
    )
    const board = TaskBoard.fold(gapped, [repaired({ restated: 2 })], 2000)
    assert.deepStrictEqual(
      TaskBoard.ended(board).map(({ updateGaps }) => updateGaps),
      [0]
    )
    const open = TaskBoard.fold(gapped, [repaired({ open: 1 })], 2000)
    assert.deepStrictEqual(
      TaskBoard.ended(open).map(({ updateGaps }) => updateGaps),
      [2]
    )
  })
})

describe("CostLedger", () => {
  it("sets costs and ends from a snapshot, and clears its gaps of updates", () => {
    const ledger = CostLedger.fold(
      CostLedger.make(),
      [
        started,
        updated(a, 1, "running"),
        result(a, 1),
        reconnected,
        restated(a, { version: 2, status: "done", costUsd: 3 })
      ],
      1000
    )
    assert.deepInclude(ledger, { totalUsd: 3, updateGaps: 1, outputGaps: 1 })
    assert.deepInclude(Option.getOrThrow(HashMap.get(ledger.tasks, a)), { costUsd: 3, status: "done", endedAt: 1000 })
    assert.deepInclude(CostLedger.fold(ledger, [repaired()], 2000), { updateGaps: 0, outputGaps: 1, totalUsd: 3 })
    assert.deepInclude(CostLedger.fold(ledger, [repaired({ open: 1 })], 2000), { updateGaps: 1 })
  })

  it("ends a task that is gone", () => {
    const ledger = CostLedger.fold(
      CostLedger.make(),
      [updated(a, 1, "running"), restated(a, { version: 1, gone: true })],
      1000
    )
    assert.strictEqual(Option.getOrThrow(HashMap.get(ledger.tasks, a)).endedAt, 1000)
  })
})

describe("operators", () => {
  it("untilTerminal ends at an end that fell into a gap, and at a task that is gone", () => {
    const events = feed(
      updated(a, 1, "running"),
      restated(a, { version: 2, status: "done" }),
      restated(b, { gone: true }),
      overflow
    )
    assert.strictEqual(run(MeshStream.untilTerminal(events, a)).length, 2)
    assert.strictEqual(run(MeshStream.untilTerminal(events, [a, b])).length, 3)
  })

  it.effect("takeResult fails at a failure that fell into a gap, and at a task that is gone", () =>
    Effect.gen(function* () {
      const failed = yield* Effect.flip(
        MeshStream.takeResult(feed(updated(a, 1, "running"), restated(a, { version: 2, status: "failed" })), a)
      )
      assert.strictEqual(failed._tag, "TaskFailed")
      const gone = yield* Effect.flip(
        MeshStream.takeResult(
          Stream.concat(feed(updated(a, 1, "running"), restated(a, { gone: true })), Stream.never),
          a
        )
      )
      assert.strictEqual(gone.message, "Task a is gone, but no result arrived")
    })
  )

  it.effect("takeResult waits for a late result after an end that fell into a gap", () =>
    Effect.gen(function* () {
      const ended = Stream.concat(feed(restated(a, { version: 2, status: "done" })), Stream.never)
      const fiber = yield* Effect.forkChild(Effect.flip(MeshStream.takeResult(ended, a)))
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual((yield* Fiber.join(fiber)).message, "Task a is done, but no result arrived")
    })
  )

  it.effect("groupByTask ends the group of a task whose end fell into a gap, or that is gone", () =>
    Effect.gen(function* () {
      for (const end of [restated(a, { version: 2, status: "done" }), restated(a, { gone: true })]) {
        const source = yield* Queue.unbounded<MeshEvent.MeshEvent>()
        const groups = MeshStream.groupByTask(Stream.fromQueue(source), { endedTimeToLive: 0 })
        yield* Queue.offerAll(source, [updated(a, 1, "running"), end])
        const events = yield* groups.pipe(
          Stream.take(1),
          Stream.flatMap(([, group]) => group),
          Stream.runCollect
        )
        assert.deepStrictEqual(events, [updated(a, 1, "running"), end])
      }
    })
  )

  it("passes a Restated through dedupeUpdates, and drops a later update with the same version", () => {
    const known = restated(a, { version: 3, status: "done" })
    const gone = restated(a, { version: 3, gone: true })
    const events = [updated(a, 1, "running"), known, updated(a, 3, "done"), gone, updated(a, 4, "running")]
    assert.deepStrictEqual(run(MeshStream.dedupeUpdates(feed(...events))), [events[0], known, gone, events[4]])
  })

  it("markGaps sees no gap at a snapshot, nor between it and the next update", () => {
    const events = [updated(a, 1, "running"), restated(a, { version: 5 }), updated(a, 6, "done")]
    assert.deepStrictEqual(run(MeshStream.markGaps(feed(...events))), events)
  })

  it("statusChanges passes a status that changed inside a gap, once", () => {
    const known = restated(a, { version: 3, status: "done" })
    const events = feed(updated(a, 1, "running"), known, updated(a, 4, "done"), restated(a, { version: 5 }))
    assert.deepStrictEqual(run(MeshStream.statusChanges(events)).slice(1), [known] as never)
  })
})
