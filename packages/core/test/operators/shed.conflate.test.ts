import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { MeshEvent, Resync } from "../../src/MeshEvent.ts"
import * as MeshStream from "../../src/MeshStream.ts"
import type { TaskOutput, TaskUpdated } from "../../src/ServerMessage.ts"
import { TaskId } from "../../src/TaskId.ts"
import { isOverflow, itBuffers, overflow, takenAfterPause as afterPause } from "../support/buffers.ts"
import { settle } from "../support/follow.ts"
import { chunked, history, piece, said, sizes, updated, withGapAt } from "../support/histories.ts"
import { pauseAfterFirst } from "../support/slow.ts"
import { demanding, type Same, type Setting } from "../support/types.ts"

const a = TaskId.make("a")
const b = TaskId.make("b")

const isUpdate = (event: MeshEvent): boolean => event._tag === "TaskUpdated"

const takenAfterPause = afterPause(MeshStream.conflateUpdates)

describe("conflateUpdates", () => {
  itBuffers(MeshStream.conflateUpdates)

  it.effect.prop(
    "passes the newest update of each task and everything else to a slow consumer",
    [history, sizes],
    Effect.fnUntraced(function* ([events, sizes]) {
      const taken = yield* takenAfterPause(chunked(events, sizes))
      const newest = new Map<TaskId, number>()
      for (const event of events) {
        if (event._tag === "TaskUpdated" && event.version !== undefined) newest.set(event.taskId, event.version)
      }
      const updates = taken.filter((event) => event._tag === "TaskUpdated")
      assert.strictEqual(new Set(updates.map(({ taskId }) => taskId)).size, updates.length)
      for (const { taskId, version } of updates) assert.strictEqual(version, newest.get(taskId))
      assert.deepStrictEqual(
        taken.filter((event) => !isOverflow(event) && !isUpdate(event)),
        events.filter((event) => !isUpdate(event))
      )
    })
  )

  it.effect("merges the updates of a task at the place of the newest, and marks the others", () =>
    Effect.gen(function* () {
      const taken = yield* takenAfterPause([
        [{ ...updated(a, "running", 1), updatedFields: ["status"] }],
        [updated(b, "running", 1), said(a, "x")],
        [{ _tag: "TaskUpdated", taskId: a, version: 2, updatedFields: ["title"] }]
      ])
      assert.deepStrictEqual(taken, [
        overflow(1, a),
        updated(b, "running", 1),
        said(a, "x"),
        { ...updated(a, "running", 2), updatedFields: ["status", "title"] }
      ])
    })
  )

  it.effect("keeps a Resync at every place, and conflates across it", () =>
    Effect.gen(function* () {
      const events: ReadonlyArray<MeshEvent> = [updated(a, "running", 1), said(a, "x"), updated(a, "done", 2)]
      for (let index = 0; index <= events.length; index++) {
        const marked = withGapAt(events, index)
        const taken = yield* takenAfterPause(chunked(marked, [2]))
        assert.deepStrictEqual(taken, [
          ...(index === 0 ? [...marked.slice(0, 1), { ...overflow(1, a), epoch: 1 }] : [overflow(1, a)]),
          ...marked.slice(index === 0 ? 2 : 1)
        ])
      }
    })
  )

  it.effect("stops reading when it is full of outputs, partial ones too", () =>
    Effect.gen(function* () {
      const read: Array<string> = []
      const contents = ["1", "2", "3", "4", "5", "6"]
      const paused = yield* pauseAfterFirst(
        Stream.fromIterable(contents).pipe(
          Stream.rechunk(1),
          Stream.map((content) => piece(a, content)),
          Stream.tap(({ content }) => Effect.sync(() => read.push(content))),
          MeshStream.conflateUpdates({ capacity: 2 })
        )
      )
      yield* settle
      assert.deepStrictEqual(read, ["1", "2", "3", "4"])
      assert.deepStrictEqual(
        yield* paused.resume,
        contents.map((content) => piece(a, content))
      )
    })
  )

  it.effect("accepts any number of updates of queued tasks without stopping the feed", () =>
    Effect.gen(function* () {
      const versions = Array.from({ length: 1000 }, (_, index) => index + 1)
      const paused = yield* pauseAfterFirst(
        Stream.make<[MeshEvent]>(said(b, "first")).pipe(
          Stream.concat(Stream.fromIterable(versions).pipe(Stream.map((version) => updated(a, "running", version)))),
          MeshStream.conflateUpdates({ capacity: 1 })
        )
      )
      yield* settle
      assert.deepStrictEqual(yield* paused.resume, [said(b, "first"), overflow(999, a), updated(a, "running", 1000)])
    })
  )
})

describe("the types of the buffering operators", () => {
  it("keep the elements, the error and the requirements, however they are called", () => {
    const updates = demanding((): TaskUpdated | TaskOutput => updated(a, "running"))
    type Out = Stream.Stream<TaskUpdated | TaskOutput | Resync, "broken", Setting>
    const bare = updates.pipe(MeshStream.conflateUpdates)
    const withOptions = updates.pipe(MeshStream.conflateUpdates({ capacity: 1 }))
    const dataFirst = MeshStream.conflateUpdates(updates, { capacity: 1 })
    const shedBare = updates.pipe(MeshStream.sheddingBuffer)
    const shedWithOptions = updates.pipe(MeshStream.sheddingBuffer({ capacity: 1 }))
    const shedDataFirst = MeshStream.sheddingBuffer(updates)
    const same: readonly [
      Same<typeof bare, Out>,
      Same<typeof withOptions, Out>,
      Same<typeof dataFirst, Out>,
      Same<typeof shedBare, Out>,
      Same<typeof shedWithOptions, Out>,
      Same<typeof shedDataFirst, Out>
    ] = [true, true, true, true, true, true]
    assert.notInclude(same, false)
    for (const stream of [bare, withOptions, dataFirst, shedBare, shedWithOptions, shedDataFirst]) {
      assert.isTrue(Stream.isStream(stream))
    }
  })
})
