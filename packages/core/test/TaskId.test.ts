import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import * as TaskId from "../src/TaskId.ts"

const thrownBy = (f: () => unknown): unknown => {
  try {
    return f()
  } catch (error) {
    return error
  }
}

describe("TaskId", () => {
  it("throws a typed error of one line for an empty string", () => {
    for (const make of [TaskId.make, TaskId.TaskId.make]) {
      const error = thrownBy(() => make(""))
      assert.instanceOf(error, TaskId.InvalidTaskId)
      assert.deepStrictEqual([error._tag, error.message], ["InvalidTaskId", "A task id must be a non-empty string"])
      assert.isUndefined(error.cause)
    }
  })

  it("accepts any other string, and its schema does too", () => {
    for (const id of ["7f1c", " ", "__proto__"]) {
      assert.strictEqual<string>(TaskId.make(id), id)
      assert.strictEqual<string>(Schema.decodeUnknownSync(TaskId.TaskId)(id), id)
    }
    assert.throws(() => Schema.decodeUnknownSync(TaskId.TaskId)(""))
  })
})
