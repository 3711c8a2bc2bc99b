/** Checks that every test and law that RELIABILITY.md names exists. */
import { assert, describe, it } from "@effect/vitest"
import { existsSync, readFileSync } from "node:fs"

const root = new URL("../../", import.meta.url)
const read = (path: string) => readFileSync(new URL(path, root), "utf8")

const page = read("RELIABILITY.md")

interface Row {
  readonly promise: string
  readonly tests: ReadonlyArray<{ readonly file: string; readonly name: string }>
}

/** `core/X.test.ts` is short for `packages/core/test/X.test.ts`. */
const expand = (file: string): string => file.replace(/^(core|node|log|gateway|test-kit)\//, "packages/$1/test/")

/** The rows of the tables: a promise, and for each file in backticks the names in quotes after it. */
const rows: ReadonlyArray<Row> = page
  .split("\n")
  .filter((line) => /^\| [^-]/.test(line) && !line.startsWith("| promise |"))
  .map((line) => {
    const [, promise = "", evidence = ""] = line.split(/(?<!\\)\|/)
    const tests: Array<{ file: string; name: string }> = []
    let file = ""
    for (const [, path, name] of evidence.matchAll(/`([\w./-]+(?:\.test|Laws)\.ts)`: |"([^"]+)"/g)) {
      if (path !== undefined) file = expand(path)
      else if (name !== undefined) tests.push({ file, name })
    }
    return { promise: promise.trim(), tests }
  })

const escape = (text: string): string => text.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`)

/**
 * The names of the tests in a source: the first argument of each call of `it` or of a function whose name begins with `it`; and
 * the promises of laws. An interpolated part of a name matches any text.
 */
const namesIn = (source: string): ReadonlyArray<RegExp> =>
  [
    ...source.matchAll(
      /\b(?:it[A-Z]?\w*(?:\.\w+)*(?:\(!?[\w.]+\(\w*\)\))?\(|promise:)\s*(?:"((?:[^"\\]|\\.)*)"|`((?:[^`\\]|\\.)*)`)/g
    )
  ].map(([, plain, template]) => {
    const text = plain?.replaceAll(String.raw`\"`, `"`) ?? template?.replaceAll("\\`", "`") ?? ""
    return new RegExp(
      `^${text
        .split(/\$\{(?:[^{}]|\{[^{}]*\})*\}/)
        .map(escape)
        .join(".*")}$`
    )
  })

describe("RELIABILITY.md", () => {
  it("names a test for every promise", () => {
    assert.isAtLeast(rows.length, 30)
    for (const { promise, tests } of rows) assert.isNotEmpty(tests, promise)
  })

  it("names only tests and laws that exist", () => {
    const missing = rows
      .flatMap(({ tests }) => tests)
      .filter(({ file, name }) => !existsSync(new URL(file, root)) || !namesIn(read(file)).some((it) => it.test(name)))
    assert.deepStrictEqual(missing, [])
  })

  it("names every test of the ten known failures of clients", () => {
    const pains = namesIn(read("packages/node/test/pains.test.ts"))
    assert.strictEqual(pains.length, 10)
    const named = rows.flatMap(({ tests }) => tests).map(({ name }) => name)
    for (const pain of pains)
      assert.isTrue(
        named.some((name) => pain.test(name)),
        String(pain)
      )
  })

  it("detects a name that has changed, also an interpolated one", () => {
    const source = `
      it.effect("says \\"this\\"", () => x)
      it.live(
        \`\${a} says \${b({ c: 1 })} that\`, () => y)
    `
    const matches = (name: string) => namesIn(source).some((it) => it.test(name))
    assert.deepStrictEqual(
      [`says "this"`, "who says what that", "says that", "who says what", "says this"].map(matches),
      [true, true, false, false, false]
    )
  })
})
