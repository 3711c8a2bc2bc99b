import { assert, describe, it } from "@effect/vitest"
import * as TaskStatus from "@makima-stream/core/TaskStatus"

describe("TaskStatus", () => {
  it("the default terminal statuses are the documented ones, and no other", () => {
    assert.deepStrictEqual([...TaskStatus.defaultTerminal].sort(), [
      "cancelled",
      "completed",
      "done",
      "failed",
      "interrupted",
      "merged"
    ])
  })

  it("the default failures are terminal", () => {
    assert.deepStrictEqual([...TaskStatus.defaultFailed].sort(), ["cancelled", "failed", "interrupted"])
    for (const status of TaskStatus.defaultFailed) assert.isTrue(TaskStatus.isTerminal(status))
  })

  it("a status never seen before neither ends a task nor fails it", () => {
    assert.isFalse(TaskStatus.isTerminal("vanished"))
    assert.isFalse(TaskStatus.isFailed("vanished"))
    assert.isFalse(TaskStatus.isFailed("done"))
  })
})
