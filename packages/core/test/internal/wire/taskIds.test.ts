import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import * as TaskIds from "../../../src/internal/wire/taskIds.ts"
import { TaskId } from "../../../src/TaskId.ts"

describe("the ids of tasks", () => {
  // Many end alike, so they share a slot.
  const id = Schema.Literals(["a", "ab", "abc", "xabc", "yabc", "xyabc", "é", "task 1", "task 11"]).pipe(
    Schema.decodeTo(TaskId)
  )

  it.prop("are returned with the same characters", [Schema.Array(Schema.toType(id))], ([ids]) => {
    const intern = TaskIds.make()
    for (const each of ids) assert.strictEqual(intern(each), each)
  })
})
