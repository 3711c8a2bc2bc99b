import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import * as CliOutput from "effect/cli/CliOutput"
import * as Text from "../../src/internal/text.ts"

const esc = "\u001b"

describe("Text", () => {
  it("strips colours, titles, links, 8-bit controls, carriage returns and changes of direction", () => {
    const cases: ReadonlyArray<readonly [string, string]> = [
      [`${esc}[31mred${esc}[0m`, "red"],
      [`a${esc}]0;title\u0007b`, "ab"],
      [`${esc}]8;;http://x${esc}\\link${esc}]8;;${esc}\\`, "link"],
      [`${esc}P1;2q...${esc}\\x`, "x"],
      ["\u009b2Jx\u009d0;t\u009cy", "xy"],
      [`${esc}cx${esc}(By`, "xy"],
      ["progress\rdone", "progressdone"],
      ["a\u202eb\u2066c", "abc"],
      [`cut ${esc}[3`, "cut 3"],
      [`cut ${esc}`, "cut "],
      ["tab\tand\nline", "tab\tand\nline"],
      ["日本 👩‍👩‍👧", "日本 👩‍👩‍👧"]
    ]
    for (const [text, expected] of cases) assert.strictEqual(Text.strip(text), expected, JSON.stringify(text))
  })

  const pieces = Schema.Literals([
    esc,
    "[",
    "]",
    "\u009b",
    "\u009d",
    "\u0007",
    "\\",
    "1",
    ";",
    "m",
    "P",
    "x",
    "\r",
    "\n"
  ])

  it.prop("leaves no control character in any text", [Schema.Array(pieces)], ([parts]) => {
    // oxlint-disable-next-line no-control-regex
    assert.notMatch(Text.strip(parts.join("")), /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/)
  })

  it("escapes the controls that JSON leaves as they are, and keeps the value", () => {
    const value = { text: `\u009b31m\u007f${esc}[0m é` }
    const json = Text.escapeJson(JSON.stringify(value))
    // oxlint-disable-next-line no-control-regex
    assert.notMatch(json, /[\u0000-\u001f\u007f-\u009f]/)
    assert.deepStrictEqual(JSON.parse(json), value)
  })

  it("cuts and fills to exact columns, without cutting a wide character or an emoji in two", () => {
    const texts = ["plain", "日本語テスト", "👩‍👩‍👧 family", "é combined", "a界b👍🏽c", ""]
    for (const text of texts) {
      for (let columns = 0; columns <= 14; columns++) {
        assert.isAtMost(CliOutput.displayWidth(Text.fit(text, columns)), columns)
        for (const align of ["left", "right"] as const) {
          assert.strictEqual(CliOutput.displayWidth(Text.cell(text, columns, align)), columns, `${text} ${columns}`)
        }
      }
    }
    assert.strictEqual(Text.fit("👩‍👩‍👧x", 1), "")
    assert.strictEqual(Text.fit("👩‍👩‍👧x", 2), "👩‍👩‍👧")
  })
})
