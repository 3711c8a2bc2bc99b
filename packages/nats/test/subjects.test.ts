import { assert, describe, it } from "@effect/vitest"
import { TaskId } from "@makima-stream/core/TaskId"
import { toWanted } from "@makima-stream/log/LogEngine"
import type { Filter } from "@makima-stream/log/MeshLog"
import * as Subjects from "../src/internal/subjects.ts"

const a = TaskId.make("a")
const unusual = TaskId.make("a.b *>")
const subjects = Subjects.make("tasks")
const filterOf = (filter: Filter) => subjects.filter(toWanted(filter))

describe("subjects", () => {
  it("a task and a message type are encoded where a subject cannot hold them", () => {
    const output = { _tag: "TaskOutput", taskId: unusual, messageType: "tool.use", content: "" } as const
    const encoded = (text: string) => `=${Buffer.from(text).toString("base64url")}`
    assert.strictEqual(subjects.of(output, false), `mk.tasks.t.${encoded("a.b *>")}.o.${encoded("tool.use")}`)
    assert.strictEqual(
      subjects.of({ ...output, taskId: a, messageType: "assistant", isPartial: true }, false),
      "mk.tasks.t.a.p.assistant"
    )
  })

  it("a late older update does not hide the newest one of its task", () => {
    assert.strictEqual(subjects.of({ _tag: "TaskUpdated", taskId: a }, false), "mk.tasks.t.a.u")
    assert.strictEqual(subjects.of({ _tag: "TaskUpdated", taskId: a }, true), "mk.tasks.t.a.l")
  })

  it("a filter becomes one subject that matches all it wants", () => {
    assert.strictEqual(subjects.filter(undefined), "mk.tasks.>")
    assert.strictEqual(filterOf({ tasks: a }), "mk.tasks.t.a.>")
    assert.strictEqual(filterOf({ tasks: [a, unusual] }), "mk.tasks.t.>")
    assert.strictEqual(filterOf({ kind: "updates" }), "mk.tasks.t.*.*")
    assert.strictEqual(filterOf({ kind: "output", tasks: a }), "mk.tasks.t.a.*.*")
    assert.strictEqual(filterOf({ messageTypes: "result" }), "mk.tasks.t.*.*.result")
    assert.strictEqual(filterOf({ kind: "output", keep: "resync" }), "mk.tasks.>")
    assert.strictEqual(filterOf({ kind: "output", tasks: a, keep: "resync" }), "mk.tasks.t.a.>")
  })

  it("only a filter by one task that keeps marks misses the marks of all tasks", () => {
    const misses = (filter: Filter) => subjects.missesMarks(toWanted(filter))
    assert.isTrue(misses({ tasks: a, keep: "resync" }))
    assert.isFalse(misses({ tasks: a }))
    assert.isFalse(misses({ tasks: [a, unusual], keep: "resync" }))
  })
})
