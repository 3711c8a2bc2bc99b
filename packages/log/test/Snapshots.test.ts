import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TaskId from "@makima-stream/core/TaskId"
import * as MemoryLog from "@makima-stream/log/MemoryLog"
import * as Snapshots from "@makima-stream/log/Snapshots"
import { outputs, update } from "./support/events.ts"

describe("Snapshots", () => {
  it.effect("fetches the newest update of every task by version, or of the tasks that are asked for", () =>
    Effect.gen(function* () {
      const log = yield* MemoryLog.make()
      yield* log.append([
        update("a", 1),
        update("b", 1),
        ...outputs(0, 3),
        update("a", 3, "done"),
        update("a", 2, "running")
      ])
      const fetch = Snapshots.fetch(log)
      const [a, b] = [TaskId.make("a"), TaskId.make("b")]
      assert.deepStrictEqual(yield* fetch({ _tag: "All" }), [
        { taskId: b, version: 1, status: "running" },
        { taskId: a, version: 3, status: "done" }
      ])
      assert.deepStrictEqual(yield* fetch({ _tag: "Tasks", taskIds: [a] }), [{ taskId: a, version: 3, status: "done" }])
      assert.deepStrictEqual(yield* fetch({ _tag: "Tasks", taskIds: [TaskId.make("unknown")] }), [])
    })
  )
})
