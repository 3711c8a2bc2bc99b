import { assert, describe, it } from "@effect/vitest"
import * as Known from "../../../src/internal/client/known.ts"
import type { TaskUpdated } from "../../../src/ServerMessage.ts"
import { TaskId } from "../../../src/TaskId.ts"

const [a, b, c] = ["a", "b", "c"].map((id) => TaskId.make(id)) as [TaskId, TaskId, TaskId]

const update = (taskId: TaskId, status?: string, version?: number): TaskUpdated => ({
  _tag: "TaskUpdated",
  taskId,
  ...(status === undefined ? {} : { status }),
  ...(version === undefined ? {} : { version })
})

const setup = () => {
  const known = Known.make()
  let seen = 0
  return { ...known, observe: (event: TaskUpdated) => known.observe(event, ++seen) }
}

const shown = (known: Pick<Known.Known, "suspects" | "tasks">) =>
  Array.from(
    known.tasks,
    ([taskId, { status, version }]) => `${taskId} ${status} ${version} ${known.suspects.get(taskId)}`
  )

describe("known tasks", () => {
  it("keep the status of the highest version, and that of the last update that has one", () => {
    const known = setup()
    known.observe(update(a, "done", 3))
    assert.isUndefined(known.observe(update(a, "running", 2)))
    known.observe(update(a, undefined, 4))
    known.observe(update(b, "running"))
    known.observe(update(b, "done"))
    assert.deepStrictEqual(shown(known), ["a done 4 undefined", "b done undefined undefined"])
  })

  it("compare no versions across connections", () => {
    const known = setup()
    known.observe(update(a, "running", 9))
    known.resumed(0)
    known.observe(update(a, "done", 1))
    assert.deepStrictEqual(shown(known), ["a done 1 undefined"])
  })

  it("are suspect since a new connection until their next message", () => {
    const known = setup()
    for (const taskId of [a, b, c]) known.observe(update(taskId, "running"))
    known.resumed(10)
    known.observe(update(b))
    known.touch(c)
    assert.deepStrictEqual(shown(known), [
      "a running undefined 10",
      "b running undefined undefined",
      "c running undefined undefined"
    ])
    known.resumed(60)
    assert.deepStrictEqual(shown(known), ["a running undefined 10", "b running undefined 60", "c running undefined 60"])
    assert.deepStrictEqual([...known.suspects.keys()], [a, b, c])
  })

  it("are bounded: those without an update for long are forgotten", () => {
    const known = Known.make()
    known.maxTasks = 8
    const ids = Array.from({ length: 10 }, (_, n) => TaskId.make(`t${n}`))
    let seen = 0
    const observe = (taskId: TaskId | undefined) => known.observe(update(taskId ?? a), ++seen)
    for (const taskId of ids.slice(0, 8)) observe(taskId)
    known.resumed(0)
    observe(ids[0])
    observe(ids[8])
    observe(ids[9])
    assert.deepStrictEqual([...known.tasks.keys()].join(" "), "t3 t4 t5 t6 t7 t0 t8 t9")
    assert.deepStrictEqual([...known.suspects.keys()].join(" "), "t3 t4 t5 t6 t7")
    // Every task has had an update since it was appended.
    for (const taskId of known.tasks.keys()) observe(taskId)
    observe(a)
    assert.deepStrictEqual([...known.tasks.keys()].join(" "), "t4 t5 t6 t7 t0 t8 t9 a")
  })
})
