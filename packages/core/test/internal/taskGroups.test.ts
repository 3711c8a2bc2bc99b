import { assert, describe, it } from "@effect/vitest"
import { TaskGroups } from "../../src/internal/taskGroups.ts"
import type { MeshEvent } from "../../src/MeshEvent.ts"
import { TaskId } from "../../src/TaskId.ts"

const taskId = TaskId.make("a")
const updated = (status: string, version: number): MeshEvent => ({ _tag: "TaskUpdated", taskId, status, version })

const make = (endedTimeToLive = 5) => {
  const groups = new TaskGroups<MeshEvent, never>({
    capacity: 10,
    idleTimeToLive: 100,
    endedTimeToLive,
    isTerminal: (status) => status === "done",
    restartAfter: 3
  })
  const group = groups.make(taskId)
  groups.add(group)
  const [idle, ending] = groups.queues
  if (idle === undefined || ending === undefined) return assert.fail("two queues")
  return { groups, group, idle, ending }
}

describe("the groups of groupByTask", () => {
  it("end after their time of silence, and not before", () => {
    const { group, groups, idle } = make()
    groups.hear(group, updated("running", 1), 10)
    groups.sweep(idle, 109)
    assert.strictEqual(groups.get(taskId), group)
    groups.sweep(idle, 110)
    assert.isUndefined(groups.get(taskId))
    assert.strictEqual(idle.members.size, 0)
  })

  it("end sooner after a terminal status, unless a newer update follows", () => {
    const { ending, group, groups, idle } = make()
    groups.hear(group, updated("done", 2), 10)
    assert.deepStrictEqual([idle.members.size, ending.members.size], [0, 1])
    groups.hear(group, updated("running", 1), 11)
    assert.deepStrictEqual([idle.members.size, ending.members.size], [0, 1])
    groups.hear(group, updated("running", 3), 12)
    assert.deepStrictEqual([idle.members.size, ending.members.size], [1, 0])
  })

  it("end at once with the terminal status if they may not outlive it", () => {
    const { group, groups } = make(0)
    groups.hear(group, updated("done", 1), 10)
    assert.isUndefined(groups.get(taskId))
  })

  it("end the silent ones only, the oldest first", () => {
    const { group, groups, idle } = make()
    const other = groups.make(TaskId.make("b"))
    groups.add(other)
    groups.hear(group, updated("running", 1), 10)
    groups.hear(other, updated("running", 1), 20)
    groups.hear(group, updated("running", 2), 30)
    groups.sweep(idle, 125)
    assert.isUndefined(groups.get(TaskId.make("b")))
    assert.strictEqual(groups.get(taskId), group)
  })
})
