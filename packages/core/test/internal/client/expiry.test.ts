import { assert, describe, it } from "@effect/vitest"
import * as Expiry from "../../../src/internal/client/expiry.ts"

describe("expiry", () => {
  it("returns each key once, when it is due", () => {
    const expiry = Expiry.make<string>(10)
    expiry.schedule("a", 0)
    expiry.schedule("b", 5)
    assert.strictEqual(expiry.next(), 10)
    assert.deepStrictEqual(expiry.due(9), [])
    assert.deepStrictEqual(expiry.due(10), ["a"])
    assert.deepStrictEqual(expiry.due(15), ["b"])
    assert.strictEqual(expiry.next(), Infinity)
  })

  it("starts the time of a key again", () => {
    const expiry = Expiry.make<string>(10)
    expiry.schedule("a", 0)
    expiry.schedule("b", 1)
    expiry.schedule("a", 2)
    assert.strictEqual(expiry.next(), 11)
    assert.deepStrictEqual(expiry.due(11), ["b"])
    assert.deepStrictEqual(expiry.due(12), ["a"])
  })

  it("forgets what is cancelled", () => {
    const expiry = Expiry.make<string>(10)
    expiry.schedule("a", 0)
    assert.isTrue(expiry.cancel("a"))
    assert.isFalse(expiry.cancel("a"))
    assert.deepStrictEqual(expiry.due(100), [])
  })
})
