import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import * as ToolInput from "../../../src/internal/wire/toolInput.ts"

// Names and values with everything that a parser could confuse with the end of a string, a pair or the object.
const texts = ["", "a", "command", "0", "__proto__", `"`, "}", `":"`, `","`, ":", ",", "é", "\n"] as const
// No name ends in a backslash: after V8 has parsed one, it confuses other names with it (nodejs/node#63785).
const name = Schema.Literals(texts)
const text = Schema.Literals([...texts, "\\"])
const scalar = Schema.Union([text, Schema.Int, Schema.Boolean, Schema.Null])

describe("the input of a tool", () => {
  it.prop(
    "is parsed as JSON.parse does, for objects of plain values",
    [Schema.Array(Schema.Tuple([name, scalar]))],
    ([pairs]) => {
      const json = `{${pairs.map((pair) => pair.map((part) => JSON.stringify(part)).join(":")).join(",")}}`
      assert.strictEqual(JSON.stringify(ToolInput.parse(json)), JSON.stringify(JSON.parse(json)))
    }
  )

  it.prop(
    "is parsed as JSON.parse does, for objects of strings",
    [Schema.Array(Schema.Tuple([name, text]))],
    ([pairs]) => {
      const json = `{${pairs.map((pair) => pair.map((part) => JSON.stringify(part)).join(":")).join(",")}}`
      assert.strictEqual(JSON.stringify(ToolInput.parse(json)), JSON.stringify(JSON.parse(json)))
    }
  )

  it.prop("is parsed as JSON.parse does, for plain values", [scalar], ([value]) => {
    assert.strictEqual(ToolInput.parse(JSON.stringify(value)), JSON.parse(JSON.stringify(value)))
  })

  it("adds a member whose name is __proto__", () => {
    const input = ToolInput.parse(`{"__proto__":"a"}`)
    assert.deepStrictEqual(typeof input === "object" ? Object.keys(input) : [], ["__proto__"])
  })
})
