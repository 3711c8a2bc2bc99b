import { assert, describe, it } from "@effect/vitest"
import * as Discovery from "../../../src/internal/client/discovery.ts"
import type { TaskUpdated } from "../../../src/ServerMessage.ts"
import { TaskId } from "../../../src/TaskId.ts"

const a = TaskId.make("a")
const b = TaskId.make("b")

const update = (taskId: TaskId, status?: string): TaskUpdated => ({
  _tag: "TaskUpdated",
  taskId,
  ...(status === undefined ? {} : { status })
})

const setup = () => {
  const log: Array<string> = []
  const discovery = Discovery.make({
    terminal: new Set(["done"]),
    endedMillis: 10,
    onFound: (taskId) => log.push(`+${taskId}`),
    onGone: (taskId, now) => log.push(`-${taskId} ${now}`)
  })
  return { discovery, log }
}

describe("discovery", () => {
  it("finds a task once, and lets it go a while after its end", () => {
    const { discovery, log } = setup()
    discovery.observe(update(a), 0)
    discovery.observe(update(a, "running"), 1)
    discovery.observe(update(a, "done"), 5)
    assert.strictEqual(discovery.next(), 15)
    discovery.sweep(14)
    assert.deepStrictEqual(log, ["+a"])
    discovery.sweep(15)
    assert.deepStrictEqual(log, ["+a", "-a 15"])
    assert.isUndefined(discovery.next())
  })

  it("remembers the last ten thousand tasks that were over, and no more", () => {
    const { discovery, log } = setup()
    // One that is over again is the newest again.
    for (const taskId of [b, a, b]) discovery.observe(update(taskId, "done"), 0)
    for (let n = 1; n <= 9999; n++) discovery.observe(update(TaskId.make(`t${n}`), "done"), 0)
    for (const taskId of [b, TaskId.make("t1"), TaskId.make("t9999")]) discovery.observe(update(taskId), 1)
    assert.deepStrictEqual(log, [])
    discovery.observe(update(a), 1)
    assert.deepStrictEqual(log, ["+a"])
  })

  it("keeps a task that starts again, and not for an update that says nothing of its status", () => {
    const { discovery, log } = setup()
    discovery.observe(update(a, "running"), 0)
    discovery.observe(update(a, "done"), 0)
    discovery.observe(update(a), 1)
    assert.strictEqual(discovery.next(), 10)
    discovery.observe(update(a, "running"), 2)
    discovery.sweep(100)
    assert.deepStrictEqual(log, ["+a"])
  })

  it("leaves a task alone that had ended, and lets go of everything at once when asked", () => {
    const { discovery, log } = setup()
    discovery.observe(update(b, "done"), 0)
    discovery.observe(update(a), 0)
    discovery.clear(3)
    assert.deepStrictEqual(log, ["+a", "-a 3"])
  })
})
