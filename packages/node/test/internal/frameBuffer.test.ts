import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as Schema from "effect/Schema"
import * as FrameBuffer from "../../src/internal/frameBuffer.ts"

const Steps = Arbitrary.array(
  Arbitrary.schema(
    Schema.Union([
      Schema.Struct({ add: Schema.Literals(["text", "binary"]) }),
      Schema.Struct({ chunk: Schema.Array(Schema.String) }),
      Schema.Struct({ take: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 5 })) })
    ])
  ),
  { maxLength: 30 }
)

describe("frameBuffer", () => {
  it.prop("returns every frame once, in order, whatever is taken in between", [Steps], ([steps]) => {
    const buffer = FrameBuffer.make()
    const expected: Array<string> = []
    const taken: Array<string> = []
    const take = (size: number) => taken.push(...buffer.take(size).map((frame) => Buffer.from(frame).toString()))
    for (const [n, step] of steps.entries()) {
      if ("add" in step) {
        const text = `frame ${n}`
        expected.push(text)
        buffer.add(step.add === "text" ? text : Buffer.from(text), text.length)
      } else if ("chunk" in step) {
        const parts = step.chunk.map((text) => Buffer.from(text))
        const chunk = Buffer.concat(parts)
        let at = 0
        for (const part of parts) {
          buffer.addText(chunk, at, at + part.length)
          expected.push(part.toString())
          at += part.length
        }
      } else if (buffer.count() > 0) {
        take(Math.min(step.take, buffer.count()))
      }
      assert.strictEqual(buffer.count(), expected.length - taken.length)
      assert.strictEqual(buffer.bytes() === 0, buffer.count() === 0)
    }
    if (buffer.count() > 0) take(buffer.count())
    assert.deepStrictEqual(taken, expected)
  })

  it("counts empty frames too, and a chunk as a whole", () => {
    const buffer = FrameBuffer.make()
    buffer.add("", 0)
    assert.strictEqual(buffer.bytes(), 32)
    const chunk = Buffer.from("abcd")
    buffer.addText(chunk, 0, 1)
    buffer.addText(chunk, 1, 2)
    assert.strictEqual(buffer.bytes(), 32 + 4 + 64)
  })
})
