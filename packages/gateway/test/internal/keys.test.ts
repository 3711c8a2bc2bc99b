import { assert, describe, it } from "@effect/vitest"
import type { Interest } from "@makima-stream/core/Interest"
import * as TaskId from "@makima-stream/core/TaskId"
import { Keys } from "../../src/internal/keys.ts"

const a = TaskId.make("a")
const nothing: Interest = { all: false, updates: new Set(), output: new Set() }

const make = () => {
  const seen = { changes: 0 }
  return { keys: new Keys<string>({ idleMillis: 1000, onChanged: () => void seen.changes++ }), seen }
}

describe("Keys", () => {
  it("waits with an acknowledgement until the key is confirmed, and then acknowledges at once", () => {
    const { keys } = make()
    assert.isFalse(keys.add("one", "updates", a))
    const key = keys.obtain("updates", a)
    assert.strictEqual(key.clients.get("one"), 1)
    keys.confirm(key, 7)
    assert.strictEqual(key.confirmedAt, 7)
    assert.isTrue(keys.add("two", "updates", a))
  })

  it("confirms the updates of each task together with all updates, but no output", () => {
    const { keys } = make()
    keys.add("one", "updates", a)
    keys.add("one", "output", a)
    keys.add("one", "all", undefined)
    const confirmed = keys.confirm(keys.obtain("all", undefined), 3)
    assert.deepStrictEqual(
      confirmed.map(({ kind }) => kind),
      ["all", "updates"]
    )
    assert.isTrue(keys.add("one", "updates", TaskId.make("b")))
    assert.strictEqual(keys.obtain("updates", TaskId.make("b")).confirmedAt, 3)
    assert.isFalse(keys.add("one", "output", TaskId.make("b")))
  })

  it("requests an idle key until its time is up, and again only after its unsubscribe was sent", () => {
    const { keys } = make()
    keys.add("one", "output", a)
    const key = keys.obtain("output", a)
    keys.confirm(key, 1)
    keys.remove("one", key, 0)
    const requested: Interest = { ...nothing, output: new Set([a]) }
    keys.sweep(999, requested)
    assert.isTrue(keys.interest().output.has(a))
    keys.sweep(1000, requested)
    assert.isFalse(keys.interest().output.has(a))
    assert.isFalse(keys.add("two", "output", a))
    assert.isFalse(keys.interest().output.has(a))
    keys.observe(nothing)
    assert.isTrue(keys.interest().output.has(a))
    assert.strictEqual(key.state, "wanted")
  })

  it("removes a key that was given up, once its unsubscribe was sent", () => {
    const { keys } = make()
    keys.add("one", "output", a)
    const key = keys.obtain("output", a)
    keys.confirm(key, 1)
    keys.remove("one", key, 0)
    keys.sweep(1000, { ...nothing, output: new Set([a]) })
    keys.observe(nothing)
    assert.strictEqual(keys.size, 0)
  })

  it("keeps a key of the gateway itself without a client", () => {
    const { keys } = make()
    keys.pin("all", undefined)
    keys.add("one", "all", undefined)
    keys.remove("one", keys.obtain("all", undefined), 0)
    keys.sweep(5000, { ...nothing, all: true })
    assert.isTrue(keys.interest().all)
  })

  it("remembers after the end of a connection which keys its clients know as confirmed", () => {
    const { keys } = make()
    keys.add("one", "updates", a)
    keys.add("one", "output", a)
    keys.confirm(keys.obtain("updates", a), 1)
    keys.add("one", "updates", a)
    keys.obtain("updates", a).clients.set("one", 0)
    keys.reset()
    assert.deepStrictEqual(
      [...keys.values()].map(({ kind, stale, state }) => [kind, stale, state]),
      [
        ["updates", true, "wanted"],
        ["output", false, "wanted"]
      ]
    )
  })

  it("reports each change of its interest", () => {
    const { keys, seen } = make()
    keys.add("one", "updates", a)
    keys.add("two", "updates", a)
    assert.strictEqual(seen.changes, 1)
  })
})
