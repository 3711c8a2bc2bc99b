import { assert, describe, it } from "@effect/vitest"
import * as TaskStatus from "@makima-stream/core/TaskStatus"

describe("TaskStatus", () => {
  it("has exactly the documented terminal statuses as its default", () => {
    assert.deepStrictEqual([...TaskStatus.defaultTerminal].sort(), [
      "cancelled",
      "completed",
      "done",
      "failed",
      "interrupted",
      "merged"
    ])
  })

  it("has only terminal statuses as its default failures", () => {
    assert.deepStrictEqual([...TaskStatus.defaultFailed].sort(), ["cancelled", "failed", "interrupted"])
    for (const status of TaskStatus.defaultFailed) assert.isTrue(TaskStatus.isTerminal(status))
  })

  it("does not end or fail a task for an unknown status", () => {
    assert.isFalse(TaskStatus.isTerminal("vanished"))
    assert.isFalse(TaskStatus.isFailed("vanished"))
    assert.isFalse(TaskStatus.isFailed("done"))
  })
})
