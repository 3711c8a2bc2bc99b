import { assert, describe, it } from "@effect/vitest"
import { parser, safeHref } from "../../dashboard/src/model/markdown.ts"

/** Whether a text was not parsed. */
const isVerbatim = (tokens: ReadonlyArray<{ readonly type: string }> | undefined): boolean =>
  tokens?.some(({ type }) => type === "verbatim") === true

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
      assert.isFalse(isVerbatim(parse(text)), text.slice(0, 40))
    }
  })

  it("is shown as it is if it would take long to parse, or nests deeper than the stack", () => {
    const parse = parser()
    const texts = [">", "> ", "_a_", "*a ", "[", "1. ", "- ", "![", "<a "]
    for (const text of texts) assert.isTrue(isVerbatim(parse(text.repeat(4000))), text)
    assert.isTrue(isVerbatim(parse("x".repeat(30_001))))
    assert.isUndefined(parse("x".repeat(100_001)))
  })

  it("is parsed once", () => {
    const parse = parser()
    assert.strictEqual(parse("# a"), parse("# a"))
  })

  it("is parsed by paragraphs if it is long, and code with blank lines stays together", () => {
    const code = "```ts\na\n\n\nb\n```"
    const text = [...Array.from({ length: 100 }, (_, i) => `**paragraph** ${i} ${"word ".repeat(20)}`), code].join(
      "\n\n"
    )
    const tokens = (parser()(text) ?? []).filter(({ type }) => type !== "space")
    assert.strictEqual(tokens.length, 101)
    assert.strictEqual(
      tokens.every(({ type }, i) => type === (i === 100 ? "code" : "paragraph")),
      true
    )
    const [first] = tokens
    assert.strictEqual(first?.type === "paragraph" ? first.tokens?.[0]?.type : undefined, "strong")
    const last = tokens.at(-1)
    assert.strictEqual(last?.type === "code" ? last.text : undefined, "a\n\n\nb")
  })

  it("stays whole as text where the parser cannot handle it, and the paragraphs around it are parsed", () => {
    for (const unit of [">", "> ", "1. ", "- > ", "_a", "[", "**a", "`"]) {
      const text = unit.repeat(30_000 / unit.length)
      const tokens = parser()(text) ?? []
      assert.strictEqual(tokens.map(({ raw }) => raw).join(""), text)
    }
    const around = `**before**

${"> ".repeat(900)}

**after**`
    const types = (parser()(around) ?? []).map(({ type }) => type)
    assert.deepStrictEqual(types, ["paragraph", "verbatim", "paragraph"])
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
