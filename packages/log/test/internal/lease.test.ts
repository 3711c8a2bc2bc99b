import { assert, describe, it } from "@effect/vitest"
import * as Lease from "../../src/internal/lease.ts"

const cell = (revision: number, behind?: number) => ({
  key: Lease.keyOf("relay"),
  value: JSON.stringify({ term: 1, owner: "a", ttl: 1000, behind }),
  revision
})

describe("makeProof", () => {
  it("proves nothing before it has seen a renewal whose predecessor it saw appear", () => {
    const prove = Lease.makeProof()
    assert.isUndefined(prove(cell(1, 0), 0))
    assert.isUndefined(prove(cell(2, 0), 100))
    assert.isUndefined(prove(cell(2, 0), 200))
    // Revision 2 was stored after the look at 0, and the holder looked after that.
    assert.strictEqual(prove(cell(3, 0), 300), 0)
    assert.strictEqual(prove(cell(4, 30), 400), 170)
  })

  it("proves nothing by a renewal that does not say how far the holder is behind", () => {
    const prove = Lease.makeProof()
    for (const revision of [1, 2, 3, 4]) assert.isUndefined(prove(cell(revision), revision * 100))
  })

  it("does not prove more if it missed renewals", () => {
    const prove = Lease.makeProof()
    prove(cell(1, 0), 0)
    prove(cell(2, 0), 100)
    assert.strictEqual(prove(cell(9, 0), 5000), 0)
  })
})
