import { assert, describe, it } from "@effect/vitest"
import * as Diff from "../../dashboard/src/model/diff.ts"

const kinds = (lines: ReadonlyArray<Diff.Line>) => lines.map(({ kind }) => kind)

describe("diff", () => {
  it("tells headers, hunks, added, removed and context lines apart", () => {
    const text = [
      "Here is the change:",
      "diff --git a/x b/x",
      "--- a/x",
      "+++ b/x",
      "@@ -1,2 +1,2 @@",
      " same",
      "-old",
      "+new",
      "\\ No newline at end of file",
      "That is all."
    ].join("\n")
    assert.isTrue(Diff.isDiff(text))
    assert.deepStrictEqual(kinds(Diff.parse(text)), [
      "text",
      "header",
      "header",
      "header",
      "hunk",
      "context",
      "removed",
      "added",
      "context",
      "text"
    ])
  })

  it("lists and rules of Markdown are no diff", () => {
    assert.isFalse(Diff.isDiff("- a\n+ b\n---\n@@ mention"))
  })

  it("a second file without a git header is a file of its own", () => {
    const text = "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n--- a/y\n+++ b/y\n@@ -1 +1 @@\n-c"
    assert.deepStrictEqual(kinds(Diff.parse(text)).slice(5, 7), ["header", "header"])
  })

  it("an added line that begins with plus signs is no header", () => {
    assert.deepStrictEqual(kinds(Diff.parse("@@ -1 +1 @@\n+++ x\n+y")), ["hunk", "added", "added"])
  })

  it("shows an edit as removed and added lines with what is around them", () => {
    const lines = Diff.ofEdit("a\nb\nc\nd\ne", "a\nb\nX\nY\nd\ne")
    assert.deepStrictEqual(
      lines.map(({ text }) => text),
      [" a", " b", "-c", "+X", "+Y", " d", " e"]
    )
  })

  it("an edit that only adds removes nothing", () => {
    assert.deepStrictEqual(kinds(Diff.ofEdit("a", "a\nb")), ["context", "added"])
  })
})
