import { assert, describe, it } from "@effect/vitest"
import { TaskId } from "../../../src/TaskId.ts"
import { Emitted } from "../../../src/internal/merge/emitted.ts"
import type { Message } from "../../../src/internal/merge/same.ts"

const said = (content: string): Message => ({
  _tag: "TaskOutput",
  taskId: TaskId.make("a"),
  messageType: "assistant",
  content
})

const make = (...contents: ReadonlyArray<string>) => {
  const totals = { held: 0, heldBytes: 0 }
  const emitted = new Emitted(totals, -Infinity)
  contents.forEach((content, at) => emitted.push(said(content), at))
  return { emitted, totals }
}

describe("the emitted messages of a sequence", () => {
  it("counts every message, and keeps those that another input may deliver", () => {
    const { emitted } = make("x", "y")
    emitted.pass(5)
    assert.strictEqual(emitted.position, 3)
    assert.strictEqual(emitted.size, 0)
    emitted.push(said("z"), 6)
    assert.deepStrictEqual(emitted.at(3), said("z"))
  })

  it("has no messages since an index that was dropped", () => {
    const { emitted } = make("x", "y", "z")
    emitted.dropBelow(2, 9)
    assert.isUndefined(emitted.since(1))
    assert.deepStrictEqual(emitted.since(2), [said("z")])
    assert.deepStrictEqual(emitted.since(3), [])
  })

  it("counts what was emitted by a time, unless it no longer knows", () => {
    const { emitted } = make("x", "y", "z")
    assert.strictEqual(emitted.countBy(-1), 0)
    assert.strictEqual(emitted.countBy(1), 2)
    emitted.dropBelow(2, 9)
    assert.strictEqual(emitted.countBy(0), -Infinity)
    assert.strictEqual(emitted.countBy(1), 2)
    emitted.dropAll(9)
    assert.strictEqual(emitted.countBy(8), -Infinity)
    assert.strictEqual(emitted.countBy(9), 3)
  })

  it("finds equal messages by their indexes", () => {
    const { emitted } = make("x", "y", "x", "x")
    emitted.dropBelow(1, 9)
    assert.deepStrictEqual(emitted.indexesOf(said("x")), [2, 3])
  })

  it("compares messages only where they overlap with what is kept", () => {
    const { emitted } = make("x", "y", "z")
    emitted.dropBelow(1, 9)
    assert.isTrue(emitted.agrees([said("?"), said("y")], 0))
    assert.isTrue(emitted.agrees([said("z"), said("?")], 2))
    assert.isTrue(emitted.agrees([said("?")], 3))
    assert.isFalse(emitted.agrees([said("?")], 1))
  })

  it("counts what it keeps in the totals of the merge until it is dropped", () => {
    const { emitted, totals } = make(...Array.from({ length: 200 }, (_, i) => `${i}`))
    assert.strictEqual(totals.held, 200)
    assert.strictEqual(totals.heldBytes, emitted.bytes)
    emitted.dropBelow(150, 300)
    assert.strictEqual(totals.held, 50)
    assert.deepStrictEqual(emitted.at(150), said("150"))
    assert.deepStrictEqual(emitted.since(198), [said("198"), said("199")])
    emitted.dropAll(300)
    assert.deepStrictEqual(totals, { held: 0, heldBytes: 0 })
  })
})
