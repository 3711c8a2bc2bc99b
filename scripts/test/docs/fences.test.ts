import { assert, describe, it } from "@effect/vitest"
import * as Fences from "../../src/docs/fences.ts"

const page = (...lines: ReadonlyArray<string>) => Fences.extract("page.md", lines.join("\n"), 1)

/** What one fence says it prints. */
const expectedOf = (...code: ReadonlyArray<string>) => page("```ts", ...code, "```").fences[0]?.expected

describe("fences", () => {
  it("are found with the line of their code, and without the indent of a list", () => {
    const { fences } = page("Text.", "", "  ```ts", "  const a = 1", "    const b = 2", "  ```")
    assert.deepStrictEqual(fences, [
      { file: "page.md", line: 4, code: "const a = 1\n  const b = 2", run: true, isTest: false }
    ])
  })

  it("are not run where they say so, and are test files where they import a runner", () => {
    const { fences } = page("```ts no-run", "x", "```", "```ts", `import { it } from "@effect/vitest"`, "```")
    assert.deepStrictEqual(
      fences.map(({ isTest, run }) => [run, isTest]),
      [
        [false, false],
        [true, true]
      ]
    )
  })

  it("do not escape the check by another name, an unknown mark or a missing end", () => {
    const { problems } = page("```js", "x", "```", "```ts skip", "x", "```", "```sh", "ls", "```", "```ts", "x")
    assert.deepStrictEqual(
      problems.map(({ line }) => line),
      [2, 5, 11]
    )
  })

  it("of a docstring have the lines of the source file", () => {
    const source = ["const a = 1", "/**", " * Text.", " *", " * ```ts", " * const b = 2", " * ```", " */"].join("\n")
    const { fences } = Fences.extractFromSource("a.ts", source)
    assert.deepStrictEqual(
      fences.map(({ code, line }) => [code, line]),
      [["const b = 2", 6]]
    )
  })

  it("have files of their own names, of which only tests that run look like tests", () => {
    const fence = { file: "packages/core/src/A.ts", line: 3, code: "", run: true, isTest: false }
    assert.strictEqual(Fences.fileName(fence), "packages-core-A-3.ts")
    assert.strictEqual(Fences.fileName({ ...fence, isTest: true }), "packages-core-A-3.test.ts")
    assert.strictEqual(Fences.fileName({ ...fence, isTest: true, run: false }), "packages-core-A-3.ts")
  })
})

describe("what a fence says it prints", () => {
  it("stands after the call, and on the lines below", () => {
    assert.deepStrictEqual(expectedOf("console.log(1) // 1", "Console.log(2)", "// 2", "// 3"), ["1", "2", "3"])
  })

  it("may stand after the statement that the call is in", () => {
    assert.deepStrictEqual(expectedOf("promise.then((x) =>", "  console.log(x)", ") // 1"), ["1"])
    assert.deepStrictEqual(expectedOf("promise.then(console.log) // 1"), ["1"])
  })

  it("is no comment below a definition, on another line, or in a string", () => {
    assert.isUndefined(expectedOf("const f = () =>", "  console.log(1)", "// Not yet."))
    assert.isUndefined(expectedOf("console.log(1)", "", "// Something else."))
    assert.isUndefined(expectedOf("const a = 1 // one", "console.log(a)"))
    assert.isUndefined(expectedOf(`console.log("a // b", \`c // d\`)`))
    assert.deepStrictEqual(expectedOf(`console.log("a // b") // a // b`), ["a // b"])
  })

  it("is compared without regard to whitespace and quotes, and to nothing else", () => {
    assert.strictEqual(Fences.normalise("[ 'a',\n  1 ]\n"), Fences.normalise(`["a", 1]`))
    assert.notStrictEqual(Fences.normalise("[ 'a' ]"), Fences.normalise(`["b"]`))
  })
})
