import { assert, describe, it } from "@effect/vitest"
import { Inputs } from "../../../src/internal/merge/inputs.ts"

/** Two open inputs, the first of which leads in both kinds since time 0. */
const pair = (): Inputs => {
  const inputs = new Inputs(2)
  for (const input of inputs.all) Object.assign(input, { state: "open", isConfirmed: true })
  inputs.leadAlone(0, 0)
  return inputs
}

describe("the inputs of a merge", () => {
  it("lets an input lead once both of its bounds are known", () => {
    const inputs = pair()
    const [first, second] = [inputs.get(0), inputs.get(1)]
    assert.isTrue(inputs.isJoining("output"))
    inputs.boundary(second, "output", 5)
    assert.isFalse(second.output.leads)
    inputs.boundary(first, "output", 6)
    assert.isTrue(second.output.leads)
    assert.isFalse(second.updates.leads)
    assert.isFalse(inputs.isJoining("output"))
    assert.strictEqual(inputs.lead(), 0)
  })

  it("ignores boundaries from before an input began to join, or before it was confirmed", () => {
    const inputs = pair()
    const [first, second] = [inputs.get(0), inputs.get(1)]
    inputs.restart(second, "updates", 10, 20)
    inputs.boundary(second, "updates", 9)
    assert.isFalse(second.updates.isLoKnown)
    inputs.boundary(second, "updates", 10)
    inputs.boundary(first, "updates", 19)
    assert.isFalse(second.updates.leads)
    inputs.boundary(first, "updates", 20)
    assert.isTrue(second.updates.leads)
  })

  it("begins a sequence with the state of each input", () => {
    const inputs = pair()
    inputs.boundary(inputs.get(1), "output", 5)
    assert.deepStrictEqual(inputs.starts("output"), [
      { mode: "aligned", lo: -Infinity, hi: Infinity, confirmedAt: 0 },
      { mode: "joining", lo: 0, hi: Infinity, confirmedAt: 0 }
    ])
    inputs.get(1).state = "closed"
    assert.strictEqual(inputs.starts("output")[1]?.mode, "absent")
  })

  it("does not count a closed input as leading", () => {
    const inputs = pair()
    assert.isTrue(inputs.hasLead("updates"))
    assert.isFalse(inputs.hasLead("updates", 0))
    inputs.get(0).state = "closed"
    assert.isFalse(inputs.hasLead("updates"))
    assert.strictEqual(inputs.lead(), -1)
    assert.strictEqual(inputs.openCount(), 1)
  })

  it("refuses the number of an input that does not exist", () => {
    assert.throws(() => pair().get(2), /There is no input 2/)
  })
})
