import { assert, describe, it } from "@effect/vitest"
import { Copies, copyMillis } from "../../../src/internal/merge/same.ts"
import type { ServerError } from "../../../src/ServerMessage.ts"

const error = (message: string): ServerError => ({ _tag: "ServerError", code: "ERROR", message })

describe("messages that name no task", () => {
  it("recognises the copy of another input once", () => {
    const copies = new Copies()
    assert.isFalse(copies.receive(0, error("x"), 0))
    assert.isTrue(copies.receive(1, error("x"), 1))
    assert.isFalse(copies.receive(1, error("x"), 2))
  })

  it("does not take a message that one input repeats for a copy", () => {
    const copies = new Copies()
    assert.isFalse(copies.receive(0, error("x"), 0))
    assert.isFalse(copies.receive(0, error("x"), 1))
    assert.isTrue(copies.receive(1, error("x"), 2))
    assert.isTrue(copies.receive(1, error("x"), 3))
  })

  it("recognises no copy that arrives too late", () => {
    const copies = new Copies()
    assert.isFalse(copies.receive(0, error("x"), 0))
    assert.isFalse(copies.receive(1, error("x"), copyMillis))
  })

  it("keeps at most 64 messages for their copies", () => {
    const copies = new Copies()
    for (let i = 0; i < 65; i++) copies.receive(0, error(`${i}`), 0)
    assert.isTrue(copies.receive(1, error("1"), 1))
    assert.isFalse(copies.receive(1, error("0"), 1))
  })
})
