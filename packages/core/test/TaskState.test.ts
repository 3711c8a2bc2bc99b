import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import type * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import type { MeshEvent } from "../src/MeshEvent.ts"
import type { Projection } from "../src/Projection.ts"
import type { TaskUpdated } from "../src/ServerMessage.ts"
import { TaskId } from "../src/TaskId.ts"
import * as TaskState from "../src/TaskState.ts"
import * as TaskStatus from "../src/TaskStatus.ts"
import {
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

const a = TaskId.make("a")
const b = TaskId.make("b")

const foldAll = (events: ReadonlyArray<MeshEvent>, options?: TaskState.Options) =>
  TaskState.fold(TaskState.make(a), events, 1000, options)

/** Folds with the time of each event being its place. */
const foldInTime = (events: ReadonlyArray<MeshEvent>) =>
  events.reduce((state, event, index) => TaskState.update(state, event, index), TaskState.make(a))

/** What the runs of a task cost, told from the whole history at once. */
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

describe("TaskState", () => {
  it.prop("is the same however the events are split", [history, sizes], ([events, sizes]) => {
    const whole = foldAll(events)
    const split = chunked(events, sizes).reduce((state, chunk) => TaskState.fold(state, chunk, 1000), TaskState.make(a))
    const single = events.reduce((state, event) => TaskState.update(state, event, 1000), TaskState.make(a))
    assert.deepStrictEqual(split, whole)
    assert.deepStrictEqual(single, whole)
  })

  it.prop("adds up the last result of each run", [history], ([events]) => {
    const { runs, costUsd, durationMs } = foldAll(events)
    assert.deepStrictEqual({ runs, costUsd, durationMs }, costOf(events, a))
  })

  it.prop("counts nothing but messages twice when every event comes twice", [history], ([events]) => {
    const { counts: _, partials: __, gaps: ___, ...once } = foldAll(events)
    const { counts: _4, partials: _5, gaps: _6, ...twice } = foldAll(events.flatMap((event) => [event, event]))
    assert.deepStrictEqual(twice, once)
  })

  it.prop("gives the same object for what concerns other tasks", [history], ([events]) => {
    const state = foldAll(events)
    for (const event of events) {
      if (taskOf(event) !== a && event._tag !== "Resync") assert.strictEqual(TaskState.update(state, event, 0), state)
    }
  })

  it.prop("keeps the newest of each thing that it is told", [history], ([events]) => {
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

  it("puts down when a run started and ended, and starts again with the next", () => {
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

  it("does not take an output that trails the end for a start", () => {
    const state = foldInTime([updated(a, "done"), said(a, "trailing")])
    assert.deepStrictEqual([state.startedAt, state.endedAt, state.runs], [undefined, 0, 1])
  })

  it("ignores an update that is not newer than what it knows", () => {
    const state = foldInTime([updated(a, "running", 3), updated(a, "done", 4)])
    for (const late of [updated(a, "running", 3), updated(a, "running", 4)]) {
      assert.strictEqual(TaskState.update(state, late, 9), state)
    }
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

  it("knows a repeat of the result of the run before when it sees one", () => {
    const runs = [updated(a, "running"), result(a, 1, 10), updated(a, "done"), updated(a, "running")]
    assert.strictEqual(foldAll([...runs, result(a, 1, 10)]).costUsd, 1)
    assert.strictEqual(foldAll([...runs, result(a, 2, 20), result(a, 1, 10)]).costUsd, 3)
    assert.strictEqual(foldAll([...runs, result(a, 1, 11)]).costUsd, 2)
    assert.strictEqual(foldAll([...runs, { ...result(a, 1, 10), content: "the End" }]).costUsd, 2)
  })

  it("keeps what a result does not say, and counts no partial one", () => {
    const bare = said(a, "the end", "result")
    const state = foldAll([result(a, 1, 10), bare, { ...piece(a, "x"), messageType: "result", costUsd: 5 }])
    assert.deepStrictEqual([state.costUsd, state.durationMs], [1, 10])
    assert.strictEqual(foldAll([{ ...said(a, "x"), costUsd: 5 }]).costUsd, 0)
  })

  it("tells at most 64 message types apart, whatever they are called", () => {
    const types = [...Array.from({ length: 63 }, (_, index) => `type${index}`), "__proto__"]
    const state = foldAll([...types, "one", "two", "type0"].map((type) => said(a, "x", type)))
    assert.strictEqual(state.counts.size, 65)
    assert.strictEqual(state.counts.get("*"), 2)
    assert.strictEqual(state.counts.get("type0"), 2)
    assert.strictEqual(state.counts.get("__proto__"), 1)
  })

  it("takes the caller's word for what the statuses mean", () => {
    const state = TaskState.fold(TaskState.make(a), [updated(a, "queued"), updated(a, "done")], 5, {
      terminal: "parked",
      waiting: ["queued", "done"]
    })
    assert.deepStrictEqual([state.startedAt, state.endedAt], [undefined, undefined])
    assert.strictEqual(TaskState.update(state, updated(a, "parked"), 6, { terminal: "parked" }).endedAt, 6)
  })

  describe("and gaps", () => {
    const events: ReadonlyArray<MeshEvent> = [
      updated(b, "running"),
      updated(a, "running"),
      said(a, "x"),
      updated(a, "done"),
      said(a, "trailing")
    ]

    it("counts a gap of everything exactly while the task is live", () => {
      const counts = [0, 1, 2, 3, 4, 5].map((index) => foldAll(withGapAt(events, index)).gaps)
      assert.deepStrictEqual(counts, [0, 0, 1, 1, 0, 0])
    })

    it("changes nothing else for a gap, wherever it stands", () => {
      for (let index = 0; index <= events.length; index++) {
        const { gaps: _, lastGap: __, ...marked } = foldAll(withGapAt(events, index))
        const { gaps: ___, ...plain } = foldAll(events)
        assert.deepStrictEqual(marked, plain)
      }
    })

    it("counts a gap that names the task, live or not, and none that names another", () => {
      const reason = { _tag: "VersionGap", lastVersion: 1, version: 5 } as const
      const state = foldAll(events)
      const named = TaskState.update(state, { _tag: "Resync", epoch: 1, taskId: a, reason }, 9)
      assert.deepStrictEqual([named.gaps, named.lastGap], [1, reason])
      assert.strictEqual(TaskState.update(state, { _tag: "Resync", epoch: 1, taskId: b, reason }, 9), state)
      assert.strictEqual(TaskState.update(state, gap, 9), state)
    })
  })

  describe("over a stream", () => {
    it.effect("gives a state for each batch that changes it, with the clock's times", () =>
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
      class Setting extends Context.Service<Setting, number>()("test/Setting") {}
      type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
      const updates = Stream.fromEffect(Effect.flatMap(Setting, () => Effect.fail("broken" as const))).pipe(
        Stream.map(() => updated(a, "running"))
      )
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
