import { assert, describe, it } from "@effect/vitest"
import { parser, safeHref } from "../../dashboard/src/model/markdown.ts"

describe("Markdown", () => {
  it("is parsed if it is what people write", () => {
    const parse = parser()
    const item = "- **Bold** and _slanted_ text with `code` and a [link](https://example.com)\n"
    for (const text of [
      "plain",
      "> a\n> > b\n> > > c",
      "1. one\n   - two\n     - three",
      item.repeat(100),
      "---",
      "* * *"
    ]) {
      assert.isDefined(parse(text), text.slice(0, 40))
    }
  })

  it("is shown as it is if it would take long to parse, or nests deeper than the stack", () => {
    const parse = parser()
    const texts = [">", "> ", "_a_", "*a ", "[", "1. ", "- ", "![", "<a "]
    for (const text of texts) assert.isUndefined(parse(text.repeat(4000)), text)
    assert.isUndefined(parse("x".repeat(30_001)))
  })

  it("makes a link of an address only if it may be followed", () => {
    for (const href of ["https://a.example/", "http://a.example/", "mailto:a@a.example"]) {
      assert.strictEqual(safeHref(href), href)
    }
    const refused = ["javascript:alert(1)", "JaVaScRiPt:alert(1)", " javascript:alert(1)", "java\tscript:alert(1)"]
    for (const href of [
      ...refused,
      "data:text/html,x",
      "vbscript:x",
      "file:///etc/passwd",
      "/relative",
      "blob:x",
      ""
    ]) {
      assert.isUndefined(safeHref(href), href)
    }
  })
})
