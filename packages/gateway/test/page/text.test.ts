import { assert, describe, it } from "@effect/vitest"
import { clip, lastLine, oneLine, piece, plain } from "../../dashboard/src/model/text.ts"

describe("text", () => {
  it("removes the escape sequences of a terminal and keeps the text between them", () => {
    assert.strictEqual(plain("\u001b[1;31mred\u001b[0m \u001b[?25lhidden"), "red hidden")
    assert.strictEqual(plain("\u001b]0;title\u0007a\u001b]8;;https://x\u001b\\b\u001b]8;;\u001b\\"), "ab")
    assert.strictEqual(plain("\u001bP1$r\u001b\\a\u001b(Bb\u009b31mc"), "abc")
  })

  it("an unfinished sequence hides no text after it", () => {
    assert.strictEqual(plain("a\u001b]0;never ended\nb"), "a0;never ended\nb")
    assert.strictEqual(plain("a\u001b]0;x\nnext line\u0007b"), "a0;x\nnext line␇b")
    assert.strictEqual(plain("a\u001b["), "a")
    assert.strictEqual(plain("a\u001b"), "a")
  })

  it("makes control characters and bidirectional controls visible", () => {
    assert.strictEqual(plain("a\u0000b\u007fc"), "a␀b␡c")
    assert.strictEqual(plain("user\u202egnp.exe"), "user⟨U+202E⟩gnp.exe")
    assert.strictEqual(plain("\u2066x\u2069\ufeff"), "⟨U+2066⟩x⟨U+2069⟩⟨U+FEFF⟩")
    assert.strictEqual(plain("\ud83d"), "\ufffd")
  })

  it("keeps letters of every script, emoji and line breaks", () => {
    const text = "grüße マキマ שלום 👩‍💻\n\tok"
    assert.strictEqual(plain(text), text)
    assert.strictEqual(plain("a\r\nb\rc\u2028d"), "a\nb\nc\nd")
  })

  it("takes time in proportion to a hostile text", () => {
    const size = 300_000
    for (const unit of ["\u001b]", "\u009d", "\u001b[;", "\u001b[0;", "\u202e", "\u001b"]) {
      const text = unit.repeat(size / unit.length)
      assert.isAtMost(plain(text).length, size * 8)
    }
  })

  it("does not cut a character in two", () => {
    assert.strictEqual(piece("ab👍c", 0, 3), "ab")
    assert.strictEqual(piece("ab👍c", 0, 4), "ab👍")
    assert.strictEqual(piece("abc", 1, 10), "bc")
  })

  it("puts a text on one line within its bound", () => {
    assert.strictEqual(oneLine("  a\n\n b\tc "), "a b c")
    assert.strictEqual(oneLine("abcdef", 4), "abc…")
    assert.isAtMost(oneLine("x".repeat(1_000_000), 100).length, 100)
  })

  it("returns the last line that says something", () => {
    assert.strictEqual(lastLine("first\nreturn 1\n}\n```\n\n"), "return 1")
    assert.strictEqual(lastLine("}\n---"), "---")
    assert.strictEqual(lastLine(""), "")
    assert.strictEqual(lastLine(`${"x".repeat(1_000_000)}\nend`), "end")
  })

  it("clips at the first limit that is reached, and counts the rest", () => {
    assert.deepStrictEqual(clip("a\nb\nc", { chars: 100, lines: 2 }), { text: "a\nb", rest: 2 })
    assert.deepStrictEqual(clip("abcdef", { chars: 4, lines: 2 }), { text: "abcd", rest: 2 })
    assert.deepStrictEqual(clip("abcd\nef", { chars: 4, lines: 2 }), { text: "abcd", rest: 3 })
    assert.deepStrictEqual(clip("a\nb", { chars: 100, lines: 2 }), { text: "a\nb", rest: 0 })
    assert.deepStrictEqual(clip("", { chars: 100, lines: 2 }), { text: "", rest: 0 })
  })
})
