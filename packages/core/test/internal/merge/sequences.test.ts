import { assert, describe, it } from "@effect/vitest"
import type { Shared, Start } from "../../../src/internal/merge/sequence.ts"
import { Sequences } from "../../../src/internal/merge/sequences.ts"
import { TaskId } from "../../../src/TaskId.ts"

const aligned: Start = { mode: "aligned", lo: 0, hi: 0, confirmedAt: 0 }
const [a, b] = [TaskId.make("a"), TaskId.make("b")]

const make = () => {
  const shared: Shared = {
    window: 10,
    windowBytes: 1e6,
    maxHeld: 10,
    maxHeldBytes: 1e6,
    held: 0,
    heldBytes: 0,
    disagreements: 0,
    overruns: 0,
    mark: () => assert.fail("a mark")
  }
  const sequences = new Sequences(shared)
  sequences.add("updates", a, [aligned, aligned]).receive(0, { _tag: "TaskUpdated", taskId: a }, 0, [])
  sequences.add("updates", b, [aligned, aligned])
  sequences.add("output", a, [aligned, aligned])
  return { sequences, shared }
}

describe("the sequences of a merge", () => {
  it("keeps the two kinds of a task apart", () => {
    const { sequences } = make()
    assert.strictEqual(sequences.size, 3)
    assert.strictEqual(sequences.count("updates"), 2)
    assert.strictEqual(sequences.get("updates", a)?.position, 1)
    assert.strictEqual(sequences.get("output", a)?.position, 0)
    assert.strictEqual(sequences.oldest("updates")?.taskId, a)
  })

  it("forgets the sequences of a kind that have nothing to remember", () => {
    const { sequences } = make()
    sequences.forgetTrivial("updates", 5)
    assert.isDefined(sequences.get("updates", a))
    assert.isUndefined(sequences.get("updates", b))
    assert.isDefined(sequences.get("output", a))
  })

  it("holds nothing of a sequence that was forgotten", () => {
    const { sequences, shared } = make()
    assert.strictEqual(shared.held, 1)
    sequences.forget("updates", a, 5)
    assert.strictEqual(shared.held, 0)
    sequences.forgetAll(6)
    assert.strictEqual(sequences.size, 0)
  })
})
