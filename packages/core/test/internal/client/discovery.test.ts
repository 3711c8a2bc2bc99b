import { assert, describe, it } from "@effect/vitest"
import * as Discovery from "../../../src/internal/client/discovery.ts"
import * as Known from "../../../src/internal/client/known.ts"
import type { TaskUpdated } from "../../../src/ServerMessage.ts"
import { TaskId } from "../../../src/TaskId.ts"

const a = TaskId.make("a")
const b = TaskId.make("b")

const update = (taskId: TaskId, status?: string, version?: number): TaskUpdated => ({
  _tag: "TaskUpdated",
  taskId,
  ...(status === undefined ? {} : { status }),
  ...(version === undefined ? {} : { version })
})

const setup = (options?: { readonly staleMillis?: number; readonly maxTasks?: number }) => {
  const log: Array<string> = []
  const known = Known.make()
  const live = Discovery.make({
    known,
    settings: {
      terminal: "done",
      isTerminal: (status) => status === "done",
      endedMillis: 10,
      staleMillis: 100,
      maxTasks: 10_000,
      ...options
    },
    onFound: (taskId) => log.push(`+${taskId}`),
    onGone: (taskId, why, now) => log.push(`-${taskId} ${why} ${now}`)
  })
  // As the client calls them: first what it knows, then the discovery.
  const discovery = {
    ...live,
    observe: (update: TaskUpdated, now: number) => live.observe(update, known.observe(update), now),
    connected(now: number) {
      known.connected(now)
      live.connected(now)
    },
    disconnected: known.disconnected
  }
  return { discovery, known, log }
}

describe("discovery", () => {
  it("finds a task once, and forgets it some time after its end", () => {
    const { discovery, log } = setup()
    assert.isTrue(discovery.observe(update(a), 0))
    assert.isFalse(discovery.observe(update(a, "running"), 1))
    discovery.observe(update(a, "done"), 5)
    assert.strictEqual(discovery.next(), 15)
    discovery.sweep(14)
    assert.deepStrictEqual(log, ["+a"])
    discovery.sweep(15)
    assert.deepStrictEqual(log, ["+a", "-a ended 15"])
    assert.strictEqual(discovery.next(), Infinity)
  })

  it("keeps a task that starts again, but not for an update without a status", () => {
    const { discovery, log } = setup()
    discovery.observe(update(a, "running"), 0)
    discovery.observe(update(a, "done"), 0)
    discovery.observe(update(a), 1)
    assert.strictEqual(discovery.next(), 10)
    discovery.observe(update(a, "running"), 2)
    discovery.sweep(100)
    assert.deepStrictEqual(log, ["+a"])
  })

  it("ignores a task that had ended when it was first seen", () => {
    const { discovery, log } = setup()
    discovery.observe(update(a, "done"), 0)
    discovery.observe(update(a), 0)
    assert.deepStrictEqual(log, [])
  })

  it("adopts what the client knows: no ended task, and a silent one for what is left of its time", () => {
    const { discovery, known, log } = setup()
    const [stale, over] = [TaskId.make("stale"), TaskId.make("over")]
    known.connected(0)
    known.observe(update(stale, "running"))
    known.observe(update(a, "running"))
    known.resumed(0)
    known.observe(update(a))
    known.resumed(40)
    known.observe(update(b, "running"))
    known.observe(update(over, "done", 3))
    discovery.adoptKnown(100)
    discovery.observe(update(over, "running", 2), 100)
    assert.deepStrictEqual(log, ["+a", "+b"])
    assert.strictEqual(discovery.next(), 140)
    discovery.sweep(200)
    assert.deepStrictEqual(log, ["+a", "+b", "-a stale 200"])
  })

  it("does not let a late older update revoke an end, before and after the task was forgotten", () => {
    const { discovery, log } = setup()
    discovery.observe(update(a, "running", 1), 0)
    discovery.observe(update(a, "done", 3), 0)
    discovery.observe(update(a, "running", 2), 1)
    discovery.sweep(10)
    assert.deepStrictEqual(log, ["+a", "-a ended 10"])
    discovery.observe(update(a, "running", 2), 11)
    assert.deepStrictEqual(log, ["+a", "-a ended 10"])
    discovery.observe(update(a, "running", 4), 12)
    assert.deepStrictEqual(log, ["+a", "-a ended 10", "+a"])
  })

  it("takes lower versions after a reconnect for those of a server that was restored", () => {
    const { discovery, log } = setup()
    discovery.connected(0)
    discovery.observe(update(a, "done", 1200), 0)
    discovery.connected(1)
    discovery.observe(update(a, "running", 1001), 2)
    assert.deepStrictEqual(log, ["+a"])
  })

  it("evicts the task that was silent for longest when there are too many", () => {
    const { discovery, log } = setup({ maxTasks: 2 })
    discovery.observe(update(a), 0)
    discovery.observe(update(b), 0)
    assert.isTrue(discovery.touch(a))
    discovery.observe(update(TaskId.make("c")), 1)
    assert.deepStrictEqual(log, ["+a", "+b", "-b evicted 1", "+c"])
    assert.isFalse(discovery.touch(b))
  })

  it("forgets a task that stays silent after a reconnect, and finds it again with its next update", () => {
    const { discovery, log } = setup()
    discovery.connected(0)
    discovery.observe(update(a), 0)
    discovery.observe(update(b), 0)
    discovery.sweep(1000)
    discovery.disconnected(1000)
    discovery.connected(2000)
    assert.strictEqual(discovery.next(), 2100)
    discovery.touch(b)
    discovery.sweep(2100)
    assert.deepStrictEqual(log, ["+a", "+b", "-a stale 2100"])
    discovery.observe(update(a), 2200)
    assert.deepStrictEqual(log.at(-1), "+a")
  })

  it("does not count time without a connection as silence, nor starts anew with each reconnect", () => {
    const { discovery, log } = setup()
    discovery.connected(0)
    discovery.observe(update(a), 0)
    for (let n = 1; n <= 2; n++) {
      discovery.disconnected(n * 1000)
      assert.strictEqual(discovery.next(), Infinity)
      // Each connection lasts 40 of the 100 milliseconds.
      discovery.connected(n * 1000 + 960)
      discovery.sweep(n * 1000 + 999)
    }
    assert.strictEqual(log.length, 1)
    discovery.disconnected(3000)
    discovery.connected(4000)
    // Of the third connection, 20 are left.
    discovery.sweep(4019)
    assert.deepStrictEqual(log, ["+a"])
    discovery.sweep(4020)
    assert.deepStrictEqual(log, ["+a", "-a stale 4020"])
  })
})
