/** Checks that the tables of contents are complete, that guides are short, and that pages name only files and commands that exist. */
import { assert, describe, it } from "@effect/vitest"
import { globSync, readFileSync } from "node:fs"
import { basename, join, resolve } from "node:path"
import * as MeshStream from "@makima-stream/core/MeshStream"

const root = resolve(import.meta.dirname, "../../..")
const read = (file: string): string => readFileSync(join(root, file), "utf8")
const glob = (pattern: string | Array<string>): ReadonlyArray<string> => globSync(pattern, { cwd: root }).sort()

const linkTargets = (page: string): ReadonlyArray<string> =>
  [...read(page).matchAll(/\]\(([^)#]+)[^)]*\)/g)].map(([, target = ""]) => target)

const titleOf = (page: string): string => /^# (.+)$/m.exec(read(page))?.[1] ?? ""

/** Every page that is written by hand. */
const prose = glob([
  "*.md",
  "docs/*.md",
  "docs/decisions/*.md",
  "packages/*/README.md",
  "examples/*.md",
  ".changeset/README.md"
])

describe("docs", () => {
  it("lists every operator of MeshStream in the table of operators", () => {
    const listed = [...read("docs/operators.md").matchAll(/^\|[^|]*\| `([^`]+)` \|/gm)].map(([, name = ""]) => name)
    const operators = Object.entries(MeshStream)
      // Classes are errors and the codec of a result. `connect` is the source.
      .filter(([name, value]) => typeof value === "function" && /^[a-z]/.test(name) && name !== "connect")
      .map(([name]) => name)
    assert.isAtLeast(operators.length, 20)
    assert.deepStrictEqual(listed.filter((name) => !name.includes(".")).sort(), operators.sort())
  })

  it("links every page from the table of contents", () => {
    const pages = glob("docs/*.md").map((page) => basename(page))
    const linked = new Set([...linkTargets("docs/README.md"), "README.md"])
    assert.deepStrictEqual(
      pages.filter((page) => !linked.has(page)),
      []
    )
  })

  it("lists every decision record with its title", () => {
    const lines = glob("docs/decisions/[0-9]*.md").map((page) => {
      const number = basename(page).slice(0, 3)
      assert.isTrue(titleOf(page).startsWith(`${number}: `), `${page} begins with its number`)
      return `- [${number}](${basename(page)}): ${titleOf(page).slice(5)}`
    })
    const index = read("docs/decisions/README.md")
      .split("\n")
      .filter((line) => line.startsWith("- "))
    assert.deepStrictEqual(index, lines)
  })

  it("has no guide of more than two screens, and no long decision record", () => {
    /** Pages to look things up in, and the record of what each part of a bundle weighs. */
    const references = ["docs/PROTOCOL.md", "docs/cli.md", "docs/decisions/004-bundle-sizes.md"]
    const limitOf = (page: string): number =>
      references.includes(page) ? 200 : page.startsWith("docs/decisions/") ? 50 : 125
    const long = glob(["docs/*.md", "docs/decisions/[0-9]*.md"]).filter(
      (page) => read(page).trimEnd().split("\n").length > limitOf(page)
    )
    assert.deepStrictEqual(long, [])
  })

  it("names only source files that exist", () => {
    const files = glob(["*.ts", "{packages,scripts,examples,bench}/**/*.{ts,tsx}"]).filter(
      (file) => !file.includes("node_modules")
    )
    // `core/X.test.ts` stands for `packages/core/test/X.test.ts`.
    const full = (name: string): string =>
      name.replace(/^(core|node|log|gateway|test-kit)\/(?=.*\.test\.ts$)/, "$1/test/")
    const missing = prose.flatMap((page) =>
      [...read(page).matchAll(/`([\w./-]+\.tsx?)`/g)]
        .map(([, name = ""]) => name)
        .filter((name) => !/^X\.|\/X\./.test(name) && !files.some((file) => `/${file}`.endsWith(`/${full(name)}`)))
        .map((name) => `${page}: ${name}`)
    )
    assert.deepStrictEqual(missing, [])
  })

  it("names only commands of pnpm that exist", () => {
    const { scripts } = JSON.parse(read("package.json")) as { readonly scripts: Readonly<Record<string, string>> }
    const known = new Set([...Object.keys(scripts), "install", "exec", "run"])
    const unknown = prose.flatMap((page) =>
      [...read(page).matchAll(/\bpnpm(?:@12)? (?:run )?([a-z][\w:]*)/g)]
        .filter(([, name = ""]) => !known.has(name))
        .map(([command]) => `${page}: ${command}`)
    )
    assert.deepStrictEqual(unknown, [])
  })
})
