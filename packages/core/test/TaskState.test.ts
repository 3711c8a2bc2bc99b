import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import type * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import type { MeshEvent, ResyncReason } from "../src/MeshEvent.ts"
import type { Projection } from "../src/Projection.ts"
import type { TaskUpdated } from "../src/ServerMessage.ts"
import { TaskId } from "../src/TaskId.ts"
import * as MeshError from "../src/MeshError.ts"
import * as TaskState from "../src/TaskState.ts"
import * as TaskStatus from "../src/TaskStatus.ts"
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
  taskOf,
  updated,
  withGapAt
} from "./support/histories.ts"
import { demanding, type Same, type Setting } from "./support/types.ts"

const a = TaskId.make("a")
const b = TaskId.make("b")

const foldAll = (events: ReadonlyArray<MeshEvent>, options?: TaskState.Options) =>
  TaskState.fold(TaskState.make(a), events, 1000, options)

/** Folds with the time of each event being its place. */
const foldInTime = (events: ReadonlyArray<MeshEvent>) =>
  events.reduce((state, event, index) => TaskState.update(state, event, index), TaskState.make(a))

/** What the runs of a task cost, computed from the whole history at once. */
const costOf = (events: ReadonlyArray<MeshEvent>, taskId: TaskId) => {
  const runs: Array<{ costUsd: number; durationMs: number }> = [{ costUsd: 0, durationMs: 0 }]
  let hasEnded = false
  for (const event of events) {
    if (taskOf(event) !== taskId) continue
    if (event._tag === "TaskUpdated" && event.status !== undefined) {
      const ends = TaskStatus.isTerminal(event.status)
      if (hasEnded && !ends) runs.push({ costUsd: 0, durationMs: 0 })
      hasEnded = ends
    }
    if (event._tag === "TaskOutput" && event.messageType === "result") {
      runs[runs.length - 1] = { costUsd: event.costUsd ?? 0, durationMs: event.durationMs ?? 0 }
    }
  }
  return {
    runs: runs.length,
    costUsd: runs.reduce((sum, run) => sum + run.costUsd, 0),
    durationMs: runs.reduce((sum, run) => sum + run.durationMs, 0)
  }
}

/** Without what counts messages and marks. */
const withoutCounts = ({ status, version, lastOutput, costUsd, durationMs, runs, endedAt }: TaskState.TaskState) => ({
  status,
  version,
  lastOutput,
  costUsd,
  durationMs,
  runs,
  endedAt
})

describe("TaskState", () => {
  it.prop("is the same however the events are split", [history, sizes], ([events, sizes]) => {
    assertFoldsAlike(TaskState, TaskState.make(a), events, sizes)
  })

  it.prop("adds up the last result of each run", [history], ([events]) => {
    const { runs, costUsd, durationMs } = foldAll(events)
    assert.deepStrictEqual({ runs, costUsd, durationMs }, costOf(events, a))
  })

  it.prop("counts only messages twice when every event arrives twice", [history], ([events]) => {
    const once = withoutCounts(foldAll(events))
    const twice = withoutCounts(foldAll(events.flatMap((event) => [event, event])))
    assert.deepStrictEqual(twice, once)
  })

  it.prop("returns the same object for what concerns other tasks", [history], ([events]) => {
    const state = foldAll(events)
    for (const event of events) {
      if (taskOf(event) !== a && event._tag !== "Resync" && event._tag !== "Disconnected")
        assert.strictEqual(TaskState.update(state, event, 0), state)
    }
  })

  it.prop("keeps the newest of each thing", [history], ([events]) => {
    const state = foldAll(events)
    const own = events.filter((event) => taskOf(event) === a)
    const updates = own.filter((event): event is TaskUpdated => event._tag === "TaskUpdated")
    const outputs = own.filter((event) => event._tag === "TaskOutput")
    const whole = outputs.filter((output) => output.isPartial !== true)
    assert.strictEqual(state.status, updates.findLast(({ status }) => status !== undefined)?.status)
    assert.strictEqual(state.version, updates.findLast(({ version }) => version !== undefined)?.version)
    assert.strictEqual(state.lastOutput, whole.at(-1))
    assert.strictEqual(state.partials, outputs.length - whole.length)
    for (const [messageType, count] of state.counts) {
      assert.strictEqual(count, whole.filter((output) => output.messageType === messageType).length)
    }
    assert.strictEqual(
      [...state.counts.values()].reduce((sum, count) => sum + count, 0),
      whole.length
    )
  })

  it("records when a run started and ended, and starts again with the next run", () => {
    const first = foldInTime([
      updated(a, "pending"),
      updated(b, "running"),
      updated(a, "starting"),
      updated(a, "running"),
      updated(a, "done"),
      said(a, "trailing"),
      updated(a, "merged")
    ])
    assert.deepStrictEqual(
      [first.firstEventAt, first.startedAt, first.endedAt, first.lastEventAt, first.runs],
      [0, 2, 4, 6, 1]
    )
    assert.isFalse(TaskState.isLive(first))
    assert.strictEqual(TaskState.elapsedMillis(first, 100), 2)
    const waiting = TaskState.update(first, updated(a, "pending"), 10)
    assert.deepStrictEqual([waiting.startedAt, waiting.endedAt, waiting.runs], [undefined, undefined, 2])
    assert.strictEqual(TaskState.elapsedMillis(waiting, 100), undefined)
    const second = TaskState.update(waiting, said(a, "working"), 20)
    assert.strictEqual(second.startedAt, 20)
    assert.strictEqual(TaskState.elapsedMillis(second, 100), 80)
  })

  it("does not count an output after the end as a start", () => {
    const state = foldInTime([updated(a, "done"), said(a, "trailing")])
    assert.deepStrictEqual([state.startedAt, state.endedAt, state.runs], [undefined, 0, 1])
  })

  it("ignores an update that is not newer than what it knows", () => {
    const state = foldInTime([updated(a, "running", 3), updated(a, "done", 4)])
    assert.strictEqual(TaskState.update(state, updated(a, "running", 4), 9), state)
    assert.strictEqual(TaskState.update(state, updated(a, "running", 3), 9), state)
    assert.strictEqual(TaskState.update(state, updated(a, "running", 5), 9).runs, 2)
    assert.strictEqual(TaskState.update(state, updated(a, "running"), 9).runs, 2)
  })

  it("replaces the result of a run, and adds to the runs before", () => {
    const state = foldAll([
      updated(a, "running"),
      result(a, 1, 10),
      result(a, 2, 20),
      updated(a, "done"),
      result(a, 3, 30),
      updated(a, "running"),
      result(a, 4, 40)
    ])
    assert.deepStrictEqual([state.costUsd, state.durationMs], [7, 70])
  })

  it("recognises a repeat of the result of the previous run", () => {
    const runs = [updated(a, "running"), result(a, 1, 10), updated(a, "done"), updated(a, "running")]
    assert.strictEqual(foldAll([...runs, result(a, 1, 10)]).costUsd, 1)
    assert.strictEqual(foldAll([...runs, result(a, 2, 20), result(a, 1, 10)]).costUsd, 3)
    assert.strictEqual(foldAll([...runs, result(a, 1, 11)]).costUsd, 2)
    assert.strictEqual(foldAll([...runs, { ...result(a, 1, 10), content: "the End" }]).costUsd, 2)
  })

  it("keeps the previous cost if a result has none, and ignores a partial result", () => {
    const bare = said(a, "the end", "result")
    const state = foldAll([result(a, 1, 10), bare, { ...piece(a, "x"), messageType: "result", costUsd: 5 }])
    assert.deepStrictEqual([state.costUsd, state.durationMs], [1, 10])
    assert.strictEqual(foldAll([{ ...said(a, "x"), costUsd: 5 }]).costUsd, 0)
  })

  it("counts at most 64 message types separately, whatever their names", () => {
    const types = [...Array.from({ length: 63 }, (_, index) => `type${index}`), "__proto__"]
    const state = foldAll([...types, "one", "two", "type0"].map((type) => said(a, "x", type)))
    assert.strictEqual(state.counts.size, 65)
    assert.strictEqual(state.counts.get("*"), 2)
    assert.strictEqual(state.counts.get("type0"), 2)
    assert.strictEqual(state.counts.get("__proto__"), 1)
  })

  it("uses the statuses of its options", () => {
    const state = TaskState.fold(TaskState.make(a), [updated(a, "queued"), updated(a, "done")], 5, {
      terminal: "parked",
      waiting: ["queued", "done"]
    })
    assert.deepStrictEqual([state.startedAt, state.endedAt], [undefined, undefined])
    assert.strictEqual(TaskState.update(state, updated(a, "parked"), 6, { terminal: "parked" }).endedAt, 6)
  })

  it("assumes a restored server after three consecutive lower versions on a new connection", () => {
    const ended = foldAll([updated(a, "done", 1200), gap])
    const late = [updated(a, "running", 1001), updated(a, "running", 1002)]
    assert.strictEqual(TaskState.fold(ended, late, 1).status, "done")
    const restored = TaskState.fold(ended, [...late, updated(a, "paused", 1003)], 1)
    assert.deepStrictEqual([restored.status, restored.version, restored.runs], ["paused", 1003, 2])
    assert.strictEqual(TaskState.update(restored, updated(a, "running", 1004), 2).status, "running")
  })

  it("never lets late updates of the same connection revoke an end", () => {
    const late = Array.from({ length: 9 }, (_, index) => updated(a, "running", index + 1))
    assert.strictEqual(foldAll([gap, updated(a, "done", 10), ...late]).status, "done")
  })

  it("reads from its options how many lower versions show a restored server", () => {
    const events = [updated(a, "done", 10), gap, updated(a, "running", 5)]
    assert.strictEqual(foldAll(events, { restartAfter: 1 }).status, "running")
    assert.strictEqual(foldAll(events, { restartAfter: Number.NaN }).status, "running")
    const many = Array.from({ length: 9 }, (_, index) => updated(a, "running", index + 1))
    assert.strictEqual(foldAll([updated(a, "done", 10), gap, ...many], { restartAfter: Infinity }).status, "done")
  })

  it("truncates the last output at the bound and marks it, until an output fits", () => {
    const long = foldAll([said(a, "x".repeat(5000))])
    assert.deepStrictEqual([long.lastOutput?.content.length, long.lastOutputTruncated], [4096, true])
    const short = TaskState.update(long, said(a, "y"), 0)
    assert.deepStrictEqual([short.lastOutput?.content, "lastOutputTruncated" in short], ["y", false])
    const none = foldAll([said(a, "x")], { maxOutputChars: -1 })
    assert.deepStrictEqual([none.lastOutput?.content, none.lastOutputTruncated], ["", true])
  })

  it("leaves out a tool input that does not fit, and cuts names", () => {
    const input = { path: "x".repeat(100), list: Array.from({ length: 1000 }, () => [1, null, true]) }
    const call = { ...said(a, "call", "tool_use"), toolName: "n".repeat(1000), toolInput: input }
    const cut = foldAll([call])
    assert.deepStrictEqual(
      [cut.lastOutput?.toolInput, cut.lastOutput?.toolName?.length, cut.lastOutputTruncated],
      [undefined, 256, true]
    )
    const whole = { ...call, toolName: "Read" }
    assert.strictEqual(foldAll([whole], { maxOutputChars: Infinity }).lastOutput, whole)
    const named = foldAll([updated(a, "s".repeat(1000)), said(a, "x", "t".repeat(1000))])
    assert.deepStrictEqual([named.status?.length, [...named.counts]], [256, [["*", 1]]])
  })

  it("keeps costs and durations finite for any result", () => {
    const runs = [1e308, 1e308, 1e308].flatMap((cost, index) => [
      updated(a, "running"),
      result(a, cost, index),
      updated(a, "done")
    ])
    assert.strictEqual(foldAll(runs).costUsd, Number.MAX_VALUE)
  })

  it("refuses an initial state of another task", () => {
    assert.throws(() => TaskState.reducer(a, { initial: TaskState.make(b) }), /"initial"/)
  })

  describe("and completeness", () => {
    const mark = (reason: ResyncReason, more: { taskId?: TaskId; unconfirmed?: number } = {}): MeshEvent => ({
      _tag: "Resync",
      epoch: 1,
      reason,
      ...more
    })
    const started = mark({ _tag: "Started" })
    const reconnected = mark({ _tag: "Reconnected", downMillis: 5 })
    const subscribed = (kind: "updates" | "output", taskId?: TaskId) =>
      mark({ _tag: "Subscribed", kind }, taskId === undefined ? {} : { taskId })
    const overflow = mark({ _tag: "Overflow", dropped: 1 })
    const jump = mark({ _tag: "VersionGap", lastVersion: 1, version: 5 }, { taskId: a })
    const lost: MeshEvent = {
      _tag: "Disconnected",
      epoch: 1,
      opened: true,
      attempt: 1,
      reason: new MeshError.ConnectionClosed({ code: 1001 }),
      at: 0
    }
    const since = (events: ReadonlyArray<MeshEvent>) => {
      const { outputCompleteSince, updatesCompleteSince } = foldInTime(events)
      return [updatesCompleteSince, outputCompleteSince]
    }
    const gaps = (events: ReadonlyArray<MeshEvent>) => {
      const { outputGaps, updateGaps } = foldInTime(events)
      return [updateGaps, outputGaps]
    }

    it("begins at the first mark, for what it names", () => {
      assert.deepStrictEqual(since([updated(a, "running"), said(a, "x")]), [undefined, undefined])
      assert.deepStrictEqual(since([updated(a, "running"), started]), [1, 1])
      assert.deepStrictEqual(since([subscribed("updates"), updated(a, "running")]), [0, undefined])
      assert.deepStrictEqual(since([subscribed("updates", a), subscribed("output", a)]), [0, 1])
      assert.deepStrictEqual(since([subscribed("updates", b), subscribed("output", b)]), [undefined, undefined])
    })

    it("ends with the connection, and begins again at the next mark", () => {
      assert.deepStrictEqual(since([started, lost]), [undefined, undefined])
      assert.deepStrictEqual(since([started, lost, lost, reconnected]), [3, 3])
      assert.deepStrictEqual(since([started, lost, subscribed("output", a)]), [undefined, 2])
    })

    it("is not opened by a mark with unconfirmed keys, which ends what it names", () => {
      const unconfirmed = mark({ _tag: "Reconnected", downMillis: 5 }, { unconfirmed: 1 })
      assert.deepStrictEqual(since([started, unconfirmed]), [undefined, undefined])
      assert.deepStrictEqual(since([started, unconfirmed, subscribed("updates", a)]), [2, undefined])
      assert.deepStrictEqual(since([mark({ _tag: "Started" }, { unconfirmed: 0 })]), [0, 0])
    })

    it("starts again after a gap, and a gap starts no task", () => {
      assert.deepStrictEqual(since([started, updated(a, "running"), overflow]), [2, 2])
      assert.deepStrictEqual(since([started, lost, overflow]), [undefined, undefined])
      assert.deepStrictEqual(since([started, updated(a, "running"), jump]), [2, 0])
    })

    it("counts no gap for the first mark of a kind, also after events", () => {
      const beginning = [started, updated(a, "running"), subscribed("output", a), said(a, "x")]
      assert.deepStrictEqual(gaps(beginning), [0, 0])
      assert.deepStrictEqual(gaps([...beginning, subscribed("output", a)]), [0, 1])
      const discovered = [updated(a, "running"), said(a, "x"), started]
      assert.deepStrictEqual(gaps(discovered), [0, 0])
      assert.deepStrictEqual(gaps([updated(a, "running"), subscribed("output", a), said(a, "x")]), [0, 0])
    })

    it("counts gaps of updates and of output separately, each where something was known", () => {
      const known = [subscribed("updates"), updated(a, "running")]
      assert.deepStrictEqual(gaps([...known, lost, reconnected]), [1, 0])
      assert.deepStrictEqual(gaps([...known, subscribed("output", a), lost, reconnected]), [1, 1])
      assert.deepStrictEqual(gaps([...known, said(a, "x"), overflow]), [1, 1])
      assert.deepStrictEqual(gaps([...known, said(a, "x"), jump]), [1, 0])
      assert.deepStrictEqual(gaps([overflow, jump]), [0, 0])
      assert.deepStrictEqual(gaps([...known, subscribed("output", a), overflow]), [1, 1])
    })

    it("counts the first mark of a new connection after a state was restored", () => {
      const saved = foldInTime([started, updated(a, "running"), said(a, "x")])
      const resumed = TaskState.update(saved, started, 100)
      assert.deepStrictEqual(
        [resumed.updateGaps, resumed.outputGaps, resumed.updatesCompleteSince, resumed.lastGap],
        [1, 1, 100, { _tag: "Started" }]
      )
    })

    it("counts a mark of everything until the task ends, and a mark that names it always", () => {
      const ended = [started, updated(a, "running"), updated(a, "done")]
      assert.deepStrictEqual(gaps([...ended, lost, reconnected]), [0, 0])
      assert.deepStrictEqual(gaps([...ended, jump]), [1, 0])
      assert.deepStrictEqual(since([...ended, lost, reconnected]), [4, 4])
    })

    it("changes nothing else for a gap, wherever it stands", () => {
      const events = [updated(b, "running"), updated(a, "running"), said(a, "x"), updated(a, "done"), said(a, "y")]
      for (let index = 0; index <= events.length; index++) {
        assert.deepStrictEqual(withoutCounts(foldAll(withGapAt(events, index))), withoutCounts(foldAll(events)))
      }
    })
  })

  describe("saved and restored", () => {
    const roundTrip = (state: TaskState.TaskState) =>
      Schema.decodeUnknownSync(TaskState.codec)(JSON.parse(JSON.stringify(Schema.encodeSync(TaskState.codec)(state))))

    it.prop("goes on exactly as the original", [history, history], ([before, after]) => {
      const original = foldAll(before)
      const restored = roundTrip(original)
      assert.deepStrictEqual(restored, original)
      assert.deepStrictEqual(TaskState.fold(restored, after, 9), TaskState.fold(original, after, 9))
    })

    it("keeps what tells a repeated result, and how many older updates came", () => {
      const state = roundTrip(foldAll([updated(a, "done", 10), result(a, 1, 10), gap, updated(a, "running", 5)]))
      assert.strictEqual(TaskState.fold(state, [updated(a, "running", 11), result(a, 1, 10)], 0).costUsd, 1)
      assert.strictEqual(TaskState.fold(state, [updated(a, "x", 6), updated(a, "y", 7)], 0).status, "y")
    })

    it("shows no bookkeeping in JSON or in its keys", () => {
      const state = foldAll([updated(a, "running", 1), result(a, 1, 10)])
      assert.notInclude(JSON.stringify(state), "fingerprint")
      assert.notInclude(Object.keys(state), "results")
    })

    it("refuses to decode anything but a state", () => {
      assert.throws(() => Schema.decodeUnknownSync(TaskState.codec)({ taskId: "a" }))
    })

    it.effect("continues a stream from an initial state", () =>
      Effect.gen(function* () {
        const initial = roundTrip(foldAll([updated(a, "running"), result(a, 1, 10), updated(a, "done")]))
        const events = Stream.make(updated(a, "running"), result(a, 2, 20))
        const last = yield* events.pipe(TaskState.scan(a, { initial }), Stream.runLast)
        assert.strictEqual(last._tag === "Some" && last.value.costUsd, 3)
        const running = yield* TaskState.run(events, a, { initial })
        yield* running.join
        assert.strictEqual((yield* SubscriptionRef.get(running.ref)).costUsd, 3)
      })
    )
  })

  describe("over a stream", () => {
    it.effect("emits a state for each batch that changes it, with the clock's times", () =>
      Effect.gen(function* () {
        const states = yield* fromChunks<MeshEvent>([
          [updated(a, "running"), said(a, "x")],
          [said(b, "y")],
          [updated(a, "done")]
        ]).pipe(
          Stream.chunks,
          Stream.tap(() => TestClock.adjust(100)),
          Stream.flatMap((chunk) => Stream.fromArray(chunk)),
          TaskState.scan(a),
          Stream.runCollect
        )
        assert.deepStrictEqual(
          states.map(({ status, startedAt, endedAt }) => [status, startedAt, endedAt]),
          [
            ["running", 100, undefined],
            ["done", 100, 300]
          ]
        )
      })
    )

    it.effect.prop(
      "ends in the same state however the feed is cut into chunks",
      [history, sizes],
      Effect.fnUntraced(function* ([events, sizes]) {
        const running = yield* TaskState.run(fromChunks(chunked(events, sizes)), a)
        yield* running.join
        assert.deepStrictEqual(yield* SubscriptionRef.get(running.ref), TaskState.fold(TaskState.make(a), events, 0))
      }, Effect.scoped)
    )

    it("keeps the error and the requirements, however it is called", () => {
      const updates = demanding(() => updated(a, "running"))
      const piped = updates.pipe(TaskState.scan(a, { terminal: "done" }))
      const dataFirst = TaskState.scan(updates, a)
      const running = updates.pipe(TaskState.run(a))
      type Out = Stream.Stream<TaskState.TaskState, "broken", Setting>
      const same: readonly [
        Same<typeof piped, Out>,
        Same<typeof dataFirst, Out>,
        Same<typeof running, Effect.Effect<Projection<TaskState.TaskState, "broken">, never, Setting | Scope.Scope>>
      ] = [true, true, true]
      assert.notInclude(same, false)
    })
  })
})
