import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type * as MeshEvent from "@makima-stream/core/MeshEvent"
import * as Repair from "@makima-stream/core/Repair"
import * as TaskId from "@makima-stream/core/TaskId"
import * as MemoryLog from "../src/MemoryLog.ts"
import * as MeshLog from "../src/MeshLog.ts"
import * as RepairLog from "../src/RepairLog.ts"

const a = TaskId.make("a")
const b = TaskId.make("b")

const updated = (taskId: TaskId.TaskId, version: number, status?: string): MeshEvent.MeshEvent => ({
  _tag: "TaskUpdated",
  taskId,
  version,
  ...(status === undefined ? {} : { status })
})

const append = (...events: ReadonlyArray<MeshEvent.MeshEvent>) =>
  Effect.flatMap(MeshLog.MeshLog, (log) => log.append(events.map((event, n) => ({ id: `${n}`, event }))))

const known = (ask: Repair.Ask = { _tag: "All" }) =>
  Effect.flatMap(MeshLog.MeshLog, (log) =>
    Effect.map(RepairLog.make(log)(ask), (tasks) =>
      tasks.map(({ status, taskId, version }) => [taskId, version, status])
    )
  )

describe("RepairLog", () => {
  it.effect("returns the newest state of each task, whatever the order in the log", () =>
    Effect.gen(function* () {
      yield* append(updated(a, 2, "done"), updated(b, 1, "running"), updated(a, 1, "running"))
      assert.sameDeepMembers(yield* known(), [
        [a, 2, "done"],
        [b, 1, "running"]
      ])
      assert.deepStrictEqual(yield* known({ _tag: "Tasks", taskIds: [b] }), [[b, 1, "running"]])
    }).pipe(Effect.provide(MemoryLog.layer()))
  )

  it.effect("finds the status of a task whose newest update says none", () =>
    Effect.gen(function* () {
      yield* append(updated(a, 1, "running"), updated(a, 2, "done"), updated(a, 3), updated(b, 1))
      assert.sameDeepMembers(yield* known(), [
        [a, 3, "done"],
        [b, 1, undefined]
      ])
    }).pipe(Effect.provide(MemoryLog.layer()))
  )

  it.effect("repairs a feed", () =>
    Effect.gen(function* () {
      yield* append(updated(a, 1, "running"), updated(a, 2, "done"))
      const log = yield* MeshLog.MeshLog
      const feed = Stream.make<Array<MeshEvent.MeshEvent>>(updated(a, 1, "running"), {
        _tag: "Resync",
        epoch: 2,
        reason: { _tag: "Reconnected", downMillis: 1 }
      })
      const events = yield* Stream.concat(feed, Stream.never).pipe(
        Repair.repair({ fetch: RepairLog.make(log), spread: 0 }),
        Stream.takeUntil((event) => event._tag === "Repaired"),
        Stream.runCollect
      )
      assert.deepInclude(events.at(-2), { _tag: "Restated", taskId: a, version: 2, status: "done" })
    }).pipe(Effect.provide(MemoryLog.layer()))
  )
})
