import { assert, describe, it } from "@effect/vitest"
import ts from "typescript"
import * as Docstrings from "../../src/docs/docstrings.ts"

const header = "/**\n * A module.\n *\n * @since 0.1.0\n */\n"

const docs = (text: string) => `/**\n * ${text}\n *\n * @category models\n * @since 0.1.0\n */\n`

/** What the given modules lack; the first one is public. */
const gaps = (...modules: ReadonlyArray<readonly [file: string, text: string]>) => {
  const files = new Map(modules)
  return Docstrings.checkAll(
    modules.map(([file]) => file).filter((file) => !file.includes("/internal/")),
    (file) => ts.createSourceFile(file, files.get(file) ?? "", ts.ScriptTarget.Latest, true)
  ).map(({ what }) => what)
}

const lacks = (text: string) => gaps(["src/A.ts", `${header}import "x"\n${text}`])

describe("a docstring", () => {
  it("that has everything lacks nothing", () => {
    assert.deepStrictEqual(lacks(`${docs("One.")}export const a = 1`), [])
  })

  it("is missed, and so is each part of it", () => {
    assert.deepStrictEqual(lacks("export const a = 1"), ["a: no docstring"])
    assert.deepStrictEqual(lacks("/** One. */\nexport const a = 1"), ["a: no @since", "a: no @category"])
    assert.deepStrictEqual(lacks("/**\n * @category a\n * @since 0.1.0\n */\nexport const a = 1"), [
      "a: the docstring does not say what it does"
    ])
    assert.deepStrictEqual(gaps(["src/A.ts", `${docs("One.")}export const a = 1`]), [
      "the module has no header with @since"
    ])
  })

  it("is not asked of what is not exported, or internal", () => {
    assert.deepStrictEqual(lacks("const a = 1\n/** @internal */\nexport const b = 1"), [])
  })

  it("of a function has an example, or the module uses it in one", () => {
    assert.deepStrictEqual(lacks(`${docs("One.")}export const a = () => 1`), ["a: no example"])
    const example = "One.\n *\n * ```ts\n * A.b(A.a())\n * ```"
    assert.deepStrictEqual(
      lacks(`${docs("One.")}export const a = () => 1\n${docs(example)}export const b = () => 1`),
      []
    )
  })

  it("speaks of each member, or leads to one that does", () => {
    const two = (text: string) =>
      lacks(`${docs(text)}export interface A { readonly one: 1\n/** Two. */\nreadonly two: 2 }`)
    assert.deepStrictEqual(two("An A."), ["A.one: not documented"])
    assert.deepStrictEqual(two("An A with `one`."), [])
    assert.deepStrictEqual(
      lacks(`${docs("Has `one`.")}export interface A {}\n${docs("See `A`.")}export interface B { readonly one: 1 }`),
      []
    )
    assert.deepStrictEqual(lacks(`${docs("An A.")}export const A = Schema.Struct({ _tag: x, one: y })`), [
      "A.one: not documented"
    ])
  })

  it("is asked of what comes from inside as well, by its name or as a whole", () => {
    const inside = ["src/internal/b.ts", "export const one = 1\nexport const two = 2"] as const
    assert.deepStrictEqual(gaps(["src/A.ts", `${header}export * from "./internal/b.ts"`], inside), [
      "one: no docstring",
      "two: no docstring"
    ])
    assert.deepStrictEqual(gaps(["src/A.ts", `${header}export { two } from "./internal/b.ts"`], inside), [
      "two: no docstring"
    ])
  })
})
