import { assert, describe, it } from "@effect/vitest"
import { Message } from "../../src/internal/messages.ts"
import * as Ring from "../../src/internal/ring.ts"
import { updated } from "../support/world.ts"

describe("the ring", () => {
  it("returns what came after a number, or that it does not know", () => {
    const ring = Ring.make(3)
    assert.deepStrictEqual(ring.after(0), [])
    for (let n = 1; n <= 5; n++) ring.push(new Message(updated("a", n)))
    const numbers = (after: number) => ring.after(after)?.map(({ number }) => number)
    assert.deepStrictEqual([0, 1, 2, 3, 4, 5, 6].map(numbers), [
      undefined,
      undefined,
      [3, 4, 5],
      [4, 5],
      [5],
      [],
      undefined
    ])
  })

  it("keeps nothing with a capacity of 0", () => {
    const ring = Ring.make(0)
    ring.push(new Message(updated("a", 1)))
    assert.isUndefined(ring.after(0))
    assert.deepStrictEqual(ring.after(1), [])
  })
})
