import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Discoveries from "../../../src/internal/client/discoveries.ts"
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
  let now = 0
  let wakeAt = Infinity
  const discoveries = Discoveries.make<string>({
    now: () => now,
    wakeAt: (time) => void (wakeAt = Math.min(wakeAt, time)),
    context: Context.empty(),
    onFound: (taskId) => log.push(`+${taskId}`),
    onGone: (_, taskId) => log.push(`-${taskId} ${now}`)
  })
  const settings = {
    isTerminal: (status: string) => status === "done",
    endedMillis: 10,
    staleMillis: 100,
    maxTasks: 10_000,
    ...options
  }
  const join = () => discoveries.join("consumer", settings)
  join()
  return {
    log,
    join,
    leave: () => discoveries.leave("consumer"),
    discoveries,
    /** Sets the time. */
    at: (time: number) => void (now = time),
    observe: (event: TaskUpdated) => discoveries.observe(event).length > 0,
    /** The time of the next sweep, which has happened at `time`. */
    sweepAt: (time: number) =>
      Effect.suspend(() => {
        now = time
        wakeAt = Infinity
        return Effect.map(discoveries.sweep(time) ?? Effect.void, () => wakeAt)
      })
  }
}

describe("discovery", () => {
  it.effect("finds a task once, and forgets it some time after its end", () =>
    Effect.gen(function* () {
      const { at, log, observe, sweepAt } = setup()
      assert.isTrue(observe(update(a)))
      assert.isFalse(observe(update(a, "running")))
      at(5)
      observe(update(a, "done"))
      assert.strictEqual(yield* sweepAt(14), 15)
      assert.deepStrictEqual(log, ["+a"])
      assert.strictEqual(yield* sweepAt(15), Infinity)
      assert.deepStrictEqual(log, ["+a", "-a 15"])
    })
  )

  it.effect("keeps a task that starts again, but not for an update without a status", () =>
    Effect.gen(function* () {
      const { at, log, observe, sweepAt } = setup()
      observe(update(a, "running"))
      observe(update(a, "done"))
      at(1)
      observe(update(a))
      assert.strictEqual(yield* sweepAt(1), 10)
      observe(update(a, "running"))
      yield* sweepAt(100)
      assert.deepStrictEqual(log, ["+a"])
    })
  )

  it("ignores a task that had ended when it was first seen", () => {
    const { log, observe } = setup()
    observe(update(a, "done"))
    observe(update(a))
    assert.deepStrictEqual(log, [])
  })

  it.effect("adopts what the client knows: no ended task, and a silent one for what is left of its time", () =>
    Effect.gen(function* () {
      const { at, discoveries, join, leave, log, observe, sweepAt } = setup()
      leave()
      const [stale, over] = [TaskId.make("stale"), TaskId.make("over")]
      discoveries.connected()
      observe(update(stale, "running"))
      observe(update(a, "running"))
      discoveries.resumed()
      observe(update(a))
      at(40)
      discoveries.resumed()
      observe(update(b, "running"))
      observe(update(over, "done", 3))
      at(100)
      join()
      observe(update(over, "running", 2))
      assert.deepStrictEqual(log, ["+a", "+b"])
      assert.strictEqual(yield* sweepAt(139), 140)
      yield* sweepAt(200)
      assert.deepStrictEqual(log, ["+a", "+b", "-a 200"])
    })
  )

  it.effect("does not let a late older update revoke an end, before and after the task was forgotten", () =>
    Effect.gen(function* () {
      const { log, observe, sweepAt } = setup()
      observe(update(a, "running", 1))
      observe(update(a, "done", 3))
      observe(update(a, "running", 2))
      yield* sweepAt(10)
      assert.deepStrictEqual(log, ["+a", "-a 10"])
      observe(update(a, "running", 2))
      assert.deepStrictEqual(log, ["+a", "-a 10"])
      observe(update(a, "running", 4))
      assert.deepStrictEqual(log, ["+a", "-a 10", "+a"])
    })
  )

  it("takes lower versions after a reconnect for those of a server that was restored", () => {
    const { discoveries, log, observe } = setup()
    discoveries.connected()
    observe(update(a, "done", 1200))
    discoveries.connected()
    observe(update(a, "running", 1001))
    assert.deepStrictEqual(log, ["+a"])
  })

  it("evicts the task that was silent for longest when there are too many", () => {
    const { discoveries, log, observe } = setup({ maxTasks: 2 })
    observe(update(a))
    observe(update(b))
    discoveries.touch(a)
    observe(update(TaskId.make("c")))
    assert.deepStrictEqual(log, ["+a", "+b", "-b 0", "+c"])
    assert.deepStrictEqual([...(discoveries.tasksOf("consumer") ?? [])].join(" "), "a c")
  })

  it.effect("forgets a task that stays silent after a reconnect, and finds it again with its next update", () =>
    Effect.gen(function* () {
      const { at, discoveries, log, observe, sweepAt } = setup()
      discoveries.connected()
      observe(update(a))
      observe(update(b))
      yield* sweepAt(1000)
      discoveries.disconnected()
      at(2000)
      discoveries.connected()
      assert.strictEqual(yield* sweepAt(2099), 2100)
      discoveries.touch(b)
      yield* sweepAt(2100)
      assert.deepStrictEqual(log, ["+a", "+b", "-a 2100"])
      observe(update(a))
      assert.deepStrictEqual(log.at(-1), "+a")
    })
  )

  it.effect("does not count time without a connection as silence, nor starts anew with each reconnect", () =>
    Effect.gen(function* () {
      const { at, discoveries, log, observe, sweepAt } = setup()
      discoveries.connected()
      observe(update(a))
      for (let n = 1; n <= 2; n++) {
        at(n * 1000)
        discoveries.disconnected()
        assert.strictEqual(yield* sweepAt(n * 1000 + 959), Infinity)
        // Each connection lasts 40 of the 100 milliseconds.
        at(n * 1000 + 960)
        discoveries.connected()
        yield* sweepAt(n * 1000 + 999)
      }
      assert.strictEqual(log.length, 1)
      at(3000)
      discoveries.disconnected()
      at(4000)
      discoveries.connected()
      // Of the third connection, 20 are left.
      assert.strictEqual(yield* sweepAt(4019), 4020)
      assert.deepStrictEqual(log, ["+a"])
      yield* sweepAt(4020)
      assert.deepStrictEqual(log, ["+a", "-a 4020"])
    })
  )

  it.effect("counts no time in which the router does not read", () =>
    Effect.gen(function* () {
      const { at, discoveries, log, observe, sweepAt } = setup()
      observe(update(a, "running"))
      observe(update(a, "done"))
      at(4)
      discoveries.pause()
      assert.strictEqual(yield* sweepAt(1000), Infinity)
      discoveries.resume()
      assert.strictEqual(yield* sweepAt(1005), 1006)
      yield* sweepAt(1006)
      assert.deepStrictEqual(log, ["+a", "-a 1006"])
    })
  )
})
