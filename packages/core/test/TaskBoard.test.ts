import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import type * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import type { MeshEvent } from "../src/MeshEvent.ts"
import type { Projection } from "../src/Projection.ts"
import * as MeshError from "../src/MeshError.ts"
import * as TaskBoard from "../src/TaskBoard.ts"
import { TaskId } from "../src/TaskId.ts"
import * as TaskState from "../src/TaskState.ts"
import {
  assertFoldsAlike,
  chunked,
  fromChunks,
  gap,
  history,
  said,
  sizes,
  taskOf,
  tasks,
  updated,
  withGapAt
} from "./support/histories.ts"
import { assertSame } from "./support/assertSame.ts"
import { demanding, type Same, type Setting } from "./support/types.ts"

const id = (name: string) => TaskId.make(name)
const a = id("a")
const b = id("b")
const c = id("c")

const ids = (states: ReadonlyArray<TaskState.TaskState>) => states.map(({ taskId }) => String(taskId))

const small = Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 3 })))

/** Folds with the time of each event being its place. */
const foldInTime = (board: TaskBoard.TaskBoard, events: ReadonlyArray<MeshEvent>) =>
  events.reduce((board, event, index) => TaskBoard.update(board, event, index), board)

const allUpdates: MeshEvent = { _tag: "Resync", epoch: 1, reason: { _tag: "Subscribed", kind: "updates" } }

const started: MeshEvent = { _tag: "Resync", epoch: 1, reason: { _tag: "Started" } }

const overflow: MeshEvent = { _tag: "Resync", epoch: 1, reason: { _tag: "Overflow", dropped: 1 } }

const lost: MeshEvent = {
  _tag: "Disconnected",
  epoch: 1,
  opened: true,
  attempt: 1,
  reason: new MeshError.ConnectionClosed({ code: 1001 }),
  at: 0
}

describe("TaskBoard", () => {
  it.prop("is the same however the events are split", [history, sizes, small], ([events, sizes, maxEnded]) => {
    assertFoldsAlike(TaskBoard, TaskBoard.make({ maxEnded }), events, sizes)
  })

  it.prop("agrees with TaskState about each task from its first event on", [history], ([events]) => {
    const board = foldInTime(TaskBoard.make(), events)
    for (const taskId of tasks) {
      const from = events.findIndex((event) => taskOf(event) === taskId)
      const state = TaskBoard.get(board, taskId)
      assert.strictEqual(Option.isSome(state), from >= 0)
      if (state._tag === "None") continue
      // A board knows the start of the updates of all tasks before it knows a task.
      const start = foldInTime(TaskBoard.make(), events.slice(0, from)).updatesCompleteSince
      const empty =
        start === undefined ? TaskState.make(taskId) : TaskState.update(TaskState.make(taskId), allUpdates, start)
      const alone = events.reduce(
        (state, event, index) => (index < from ? state : TaskState.update(state, event, index)),
        empty
      )
      assertSame(state.value, alone)
    }
  })

  it.prop("lists every task as live or ended, the ended ones in the order of their ends", [history], ([events]) => {
    const board = foldInTime(TaskBoard.make(), events)
    const live = TaskBoard.live(board)
    const ended = TaskBoard.ended(board)
    const named = tasks.filter((task) => events.some((event) => taskOf(event) === task))
    assert.sameMembers(ids([...live, ...ended]), named.map(String))
    assert.strictEqual(board.size, named.length)
    assert.isTrue(live.every(TaskState.isLive))
    const ends = ended.map(({ endedAt }) => endedAt ?? -1)
    assert.deepStrictEqual(
      ends,
      [...ends].sort((x, y) => x - y)
    )
    assert.notInclude(ends, -1)
  })

  it.prop(
    "stays within its limits, and counts what it evicts",
    [history, small, small],
    ([events, maxEnded, maxTasks]) => {
      let board = TaskBoard.make({ maxEnded, maxTasks })
      let added = 0
      for (const [index, event] of events.entries()) {
        const taskId = taskOf(event)
        const isNew = taskId !== undefined && Option.isNone(TaskBoard.get(board, taskId))
        board = TaskBoard.update(board, event, index)
        if (isNew) added++
        assert.isAtMost(board.size, Math.max(1, maxTasks))
        assert.isAtMost(TaskBoard.ended(board).length, maxEnded)
        assert.strictEqual(board.size, TaskBoard.ended(board).length + TaskBoard.live(board).length)
        assert.strictEqual(added, board.size + board.evicted + board.forgotten)
      }
    }
  )

  it("returns the same object if nothing changes", () => {
    const board = TaskBoard.fold(TaskBoard.make(), [updated(a, "running", 2)], 0)
    for (const event of [
      updated(a, "done", 2),
      { _tag: "Connected", epoch: 1, at: 0 } as const,
      { _tag: "ServerError", code: "ERROR", message: "" } as const
    ]) {
      assert.strictEqual(TaskBoard.update(board, event, 1), board)
    }
  })

  it("evicts an ended task when its time is over, with any event", () => {
    const board = TaskBoard.fold(
      TaskBoard.make({ endedTimeToLive: "10 seconds" }),
      [updated(a, "done"), said(b, "x")],
      0
    )
    const before = TaskBoard.update(board, gap, 9_999)
    assert.deepStrictEqual(ids(TaskBoard.ended(before)), ["a"])
    const after = TaskBoard.update(before, { _tag: "Connected", epoch: 2, at: 0 }, 10_000)
    assert.deepStrictEqual([ids(TaskBoard.live(after)), ids(TaskBoard.ended(after)), after.evicted], [["b"], [], 1])
  })

  it("counts the time from the first end, and again after a new run", () => {
    const board = TaskBoard.make({ endedTimeToLive: "10 seconds" })
    const ended = TaskBoard.update(board, updated(a, "done"), 0)
    const merged = TaskBoard.update(ended, updated(a, "merged"), 5_000)
    assert.deepStrictEqual(ids(TaskBoard.ended(TaskBoard.update(merged, gap, 10_000))), [])
    const again = TaskBoard.fold(merged, [updated(a, "running"), updated(a, "failed")], 6_000)
    assert.deepStrictEqual(ids(TaskBoard.ended(TaskBoard.update(again, gap, 15_999))), ["a"])
    assert.deepStrictEqual(ids(TaskBoard.ended(TaskBoard.update(again, gap, 16_000))), [])
  })

  it("evicts the task that ended first when there are too many ended ones", () => {
    const board = foldInTime(TaskBoard.make({ maxEnded: 2 }), [
      updated(a, "done"),
      updated(b, "done"),
      updated(a, "running"),
      updated(c, "done"),
      updated(a, "failed")
    ])
    assert.deepStrictEqual([ids(TaskBoard.ended(board)), board.evicted], [["c", "a"], 1])
  })

  it("evicts ended tasks first when there are too many, then the live one without events for longest", () => {
    const board = foldInTime(TaskBoard.make({ maxTasks: 3 }), [
      updated(a, "running"),
      updated(b, "running"),
      updated(c, "done"),
      said(id("d"), "x")
    ])
    assert.deepStrictEqual([ids(TaskBoard.live(board)), board.evicted, board.forgotten], [["a", "b", "d"], 1, 0])
    const heardOf = TaskBoard.update(board, said(a, "x"), 10)
    const crowded = TaskBoard.update(heardOf, said(id("e"), "x"), 11)
    assert.deepStrictEqual([ids(TaskBoard.live(crowded)), crowded.forgotten], [["d", "e", "a"], 1])
  })

  it("never evicts the task of the current event, also if all others had events", () => {
    const board = foldInTime(TaskBoard.make({ maxTasks: 2 }), [said(a, "x"), said(b, "x"), said(a, "y"), said(b, "y")])
    const crowded = TaskBoard.update(board, said(c, "x"), 10)
    assert.deepStrictEqual(ids(TaskBoard.live(crowded)), ["b", "c"])
  })

  it("keeps the newest task of many", () => {
    const events = Array.from({ length: 100 }, (_, index) => said(id(`t${index}`), "x"))
    const board = foldInTime(TaskBoard.make({ maxTasks: 3 }), events)
    assert.deepStrictEqual(ids(TaskBoard.live(board)), ["t97", "t98", "t99"])
    assert.strictEqual(board.forgotten, 97)
  })

  it("counts a gap of everything for live tasks only, wherever it is", () => {
    const events = [updated(a, "running"), updated(b, "running"), updated(a, "done")]
    const gaps = [0, 1, 2, 3].map((index) => {
      const board = TaskBoard.fold(TaskBoard.make(), withGapAt(events, index), 0)
      return [a, b].map((taskId) => Option.getOrThrow(TaskBoard.get(board, taskId)).updateGaps)
    })
    assert.deepStrictEqual(gaps, [
      [0, 0],
      [1, 0],
      [1, 1],
      [0, 1]
    ])
  })

  it("adds a task that only a mark names", () => {
    const board = TaskBoard.update(
      TaskBoard.make(),
      { _tag: "Resync", epoch: 1, taskId: a, reason: { _tag: "JoinedLate" } },
      7
    )
    assert.deepStrictEqual(
      TaskBoard.live(board).map((task) => [task.updateGaps, task.firstEventAt, task.updatesCompleteSince]),
      [[0, 7, 7]]
    )
  })

  it("uses the terminal statuses of its options", () => {
    const board = TaskBoard.fold(
      TaskBoard.make({ terminal: ["parked"] }),
      [updated(a, "done"), updated(b, "parked")],
      0
    )
    assert.deepStrictEqual([ids(TaskBoard.live(board)), ids(TaskBoard.ended(board))], [["a"], ["b"]])
  })

  it("starts the updates of a later task where all updates start, and not its output", () => {
    const later = (events: ReadonlyArray<MeshEvent>) => {
      const board = foldInTime(TaskBoard.make(), [...events, updated(a, "running")])
      const { outputCompleteSince, updatesCompleteSince } = Option.getOrThrow(TaskBoard.get(board, a))
      return [updatesCompleteSince, outputCompleteSince]
    }
    assert.deepStrictEqual(later([]), [undefined, undefined])
    assert.deepStrictEqual(later([updated(b, "running"), started]), [1, undefined])
    assert.deepStrictEqual(later([updated(b, "running"), allUpdates]), [1, undefined])
    assert.deepStrictEqual(later([started, overflow]), [1, undefined])
    assert.deepStrictEqual(later([started, lost]), [undefined, undefined])
    assert.deepStrictEqual(later([started, lost, overflow]), [undefined, undefined])
  })

  it("ends the completeness of every task with the connection, in whatever order holes come with it", () => {
    const known = [started, updated(a, "running"), said(a, "x")]
    for (const holes of [
      [lost, overflow],
      [overflow, lost, lost],
      [lost, overflow, overflow]
    ]) {
      const task = Option.getOrThrow(TaskBoard.get(foldInTime(TaskBoard.make(), [...known, ...holes]), a))
      assert.deepStrictEqual(
        [task.updatesCompleteSince, task.updateGaps, task.outputGaps],
        [
          undefined,
          holes.filter((event) => event === overflow).length,
          holes.filter((event) => event === overflow).length
        ]
      )
    }
    const open = Option.getOrThrow(TaskBoard.get(foldInTime(TaskBoard.make(), [...known, overflow]), a))
    assert.deepStrictEqual([open.updatesCompleteSince, open.outputCompleteSince], [3, undefined])
  })

  it("keeps the text of the newest outputs when there is too much in all", () => {
    const text = (name: string) => said(id(name), name.repeat(10))
    const board = foldInTime(TaskBoard.make({ maxTotalOutputChars: 25 }), ["a", "b", "c", "d"].map(text))
    assert.deepStrictEqual(
      TaskBoard.live(board).map((task) => [task.lastOutput?.content, task.lastOutputTruncated]),
      [
        ["", true],
        ["", true],
        ["cccccccccc", undefined],
        ["dddddddddd", undefined]
      ]
    )
    const again = TaskBoard.update(TaskBoard.update(board, text("c"), 10), text("e"), 11)
    assert.deepStrictEqual(
      TaskBoard.live(again).map((task) => task.lastOutput?.content),
      ["", "", "cccccccccc", "", "eeeeeeeeee"]
    )
  })

  it.prop("never keeps more text than its bounds", [history, small, small], ([events, maxTasks, chars]) => {
    let board = TaskBoard.make({ maxTasks, maxTotalOutputChars: chars })
    for (const [index, event] of events.entries()) {
      board = TaskBoard.update(board, event, index)
      const all = [...TaskBoard.live(board), ...TaskBoard.ended(board)]
      assert.isAtMost(
        all.reduce((sum, { lastOutput }) => sum + (lastOutput?.content.length ?? 0), 0),
        chars
      )
    }
  })

  describe("saved and restored", () => {
    const roundTrip = (board: TaskBoard.TaskBoard, options?: TaskBoard.Options) => {
      const codec = TaskBoard.codec(options)
      return Schema.decodeUnknownSync(codec)(JSON.parse(JSON.stringify(Schema.encodeSync(codec)(board))))
    }
    const seen = (board: TaskBoard.TaskBoard) => [
      TaskBoard.live(board),
      TaskBoard.ended(board),
      board.size,
      board.evicted,
      board.forgotten,
      board.updatesCompleteSince
    ]

    it.prop("goes on exactly as the original", [history, history, small, small], ([before, after, maxEnded, chars]) => {
      const options = { maxEnded, maxTasks: 2, maxTotalOutputChars: chars * 2 }
      let original = foldInTime(TaskBoard.make(options), before)
      let restored = roundTrip(original, options)
      assertSame(seen(restored), seen(original))
      for (const event of after) {
        original = TaskBoard.update(original, event, 1000)
        restored = TaskBoard.update(restored, event, 1000)
        assertSame(seen(restored), seen(original))
      }
    })

    it.effect("continues a stream from an initial board, with its options unless others are given", () =>
      Effect.gen(function* () {
        const options = { terminal: "parked" }
        const initial = roundTrip(TaskBoard.fold(TaskBoard.make(options), [updated(a, "parked")], 0), options)
        const events = Stream.make(updated(b, "parked"), updated(c, "done"))
        const own = yield* events.pipe(TaskBoard.scan({ initial, maxEnded: 5 }), Stream.runLast)
        assert.deepStrictEqual(ids(TaskBoard.ended(Option.getOrThrow(own))), ["a", "b"])
        const given = yield* events.pipe(TaskBoard.scan({ initial, terminal: "done" }), Stream.runLast)
        assert.deepStrictEqual(ids(TaskBoard.ended(Option.getOrThrow(given))), ["a", "c"])
        const running = yield* TaskBoard.run(events, { initial, terminal: undefined })
        yield* running.join
        assert.deepStrictEqual(ids(TaskBoard.ended(yield* SubscriptionRef.get(running.ref))), ["a", "b"])
      })
    )

    it("shows no bookkeeping in its keys", () => {
      const board = TaskBoard.fold(TaskBoard.make(), [started, updated(a, "running")], 0)
      assert.deepStrictEqual(Object.keys(board).sort(), ["evicted", "forgotten", "size", "updatesCompleteSince"])
    })
  })

  describe("over a stream", () => {
    it.effect("emits a board for each batch that changes it, with the clock's times", () =>
      Effect.gen(function* () {
        const boards = yield* fromChunks<MeshEvent>([
          [updated(a, "running"), updated(b, "done")],
          [{ _tag: "Connected", epoch: 1, at: 0 }],
          [said(a, "x")]
        ]).pipe(
          Stream.chunks,
          Stream.tap(() => TestClock.adjust("30 minutes")),
          Stream.flatMap((chunk) => Stream.fromArray(chunk)),
          TaskBoard.scan,
          Stream.runCollect
        )
        assert.deepStrictEqual(
          boards.map((board) => [ids(TaskBoard.live(board)), ids(TaskBoard.ended(board))]),
          [
            [["a"], ["b"]],
            [["a"], []]
          ]
        )
      })
    )

    it.effect.prop(
      "ends in the same state however the feed is cut into chunks",
      [history, sizes],
      Effect.fnUntraced(function* ([events, sizes]) {
        const running = yield* fromChunks(chunked(events, sizes)).pipe(TaskBoard.run)
        yield* running.join
        assert.deepStrictEqual(
          TaskBoard.live(yield* SubscriptionRef.get(running.ref)),
          TaskBoard.live(TaskBoard.fold(TaskBoard.make(), events, 0))
        )
      }, Effect.scoped)
    )

    it("keeps the error and the requirements, however it is called", () => {
      const updates = demanding(() => updated(a, "running"))
      const bare = updates.pipe(TaskBoard.scan)
      const withOptions = updates.pipe(TaskBoard.scan({ maxEnded: 1 }))
      const dataFirst = TaskBoard.scan(updates, { maxEnded: 1 })
      const running = updates.pipe(TaskBoard.run)
      const runningWithOptions = updates.pipe(TaskBoard.run({ maxEnded: 1 }))
      type Out = Stream.Stream<TaskBoard.TaskBoard, "broken", Setting>
      type Running = Effect.Effect<Projection<TaskBoard.TaskBoard, "broken">, never, Setting | Scope.Scope>
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
