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

const shown = (known: Known.Known, now: number) =>
  Array.from(known.tasks(), ({ status, taskId, version }) => {
    const since = known.suspects.get(taskId)
    return `${taskId} ${status} ${version} ${since === undefined ? undefined : known.connectedTime(now) - since}`
  })

describe("known tasks", () => {
  it("keep the status of the highest version, and that of the last update that has one", () => {
    const known = Known.make()
    known.observe(update(a, "done", 3))
    assert.isUndefined(known.observe(update(a, "running", 2)))
    known.observe(update(a, undefined, 4))
    known.observe(update(b, "running"))
    known.observe(update(b, "done"))
    assert.deepStrictEqual(shown(known, 0), ["a done 4 undefined", "b done undefined undefined"])
  })

  it("compare no versions across connections", () => {
    const known = Known.make()
    known.observe(update(a, "running", 9))
    known.connected(0)
    known.observe(update(a, "done", 1))
    assert.deepStrictEqual(shown(known, 0), ["a done 1 undefined"])
  })

  it("are suspect in connected time from a new connection to their next message", () => {
    const known = Known.make()
    known.connected(0)
    for (const taskId of [a, b, c]) known.observe(update(taskId, "running"))
    known.disconnected(10)
    known.connected(100)
    known.observe(update(b))
    known.touch(c)
    assert.deepStrictEqual(shown(known, 130), [
      "a running undefined 30",
      "c running undefined undefined",
      "b running undefined undefined"
    ])
    known.disconnected(150)
    known.connected(500)
    assert.deepStrictEqual([...known.suspects.keys()], [a, c, b])
    assert.deepStrictEqual(shown(known, 507), [
      "a running undefined 57",
      "c running undefined 7",
      "b running undefined 7"
    ])
  })

  it("are suspect after a time in which not all updates were received", () => {
    const known = Known.make()
    known.connected(0)
    known.observe(update(a, "running"))
    known.resumed(5)
    assert.deepStrictEqual(shown(known, 7), ["a running undefined 2"])
  })

  it("are bounded: those without an update for longest are forgotten", () => {
    const known = Known.make()
    known.maxTasks = 8
    const ids = Array.from({ length: 10 }, (_, n) => TaskId.make(`t${n}`))
    for (const taskId of ids.slice(0, 8)) known.observe(update(taskId))
    known.connected(0)
    known.observe(update(ids[0] ?? a))
    known.observe(update(ids[8] ?? a))
    known.observe(update(ids[9] ?? a))
    assert.deepStrictEqual(Array.from(known.tasks(), ({ taskId }) => taskId).join(" "), "t3 t4 t5 t6 t7 t0 t8 t9")
    assert.deepStrictEqual([...known.suspects.keys()].join(" "), "t3 t4 t5 t6 t7")
  })
})
