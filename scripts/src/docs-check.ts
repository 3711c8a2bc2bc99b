/**
 * Checks the documentation: the docstring of every public export is complete;
 * every ```ts fence in a docstring, in the README, in the guides and in the
 * packages' READMEs type-checks, runs, and prints the output in its comments; every
 * link of a page has a target.
 *
 * Run by `pnpm run docs:check`. Arguments restrict it to some files and
 * directories: `pnpm run docs:check README.md packages/core/src/TaskBoard.ts`.
 * CONTRIBUTING.md has the rules for writers.
 */
import { execFile } from "node:child_process"
import { existsSync, globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { dirname, join, relative, resolve } from "node:path"
import { promisify } from "node:util"
import ts from "typescript"
import * as Docstrings from "./docs/docstrings.ts"
import * as Fences from "./docs/fences.ts"
import type { Job, Outcome } from "./docs/run.ts"

const root = resolve(import.meta.dirname, "../..")
const out = join(root, "build/docs")
const problems: Array<string> = []
const exec = promisify(execFile)

const read = (file: string): string => readFileSync(join(root, file), "utf8")

/** The files and directories to check, relative to the root of the repository. Empty for all. */
const only = process.argv.slice(2).map((path) => relative(root, resolve(path)))

const isWanted = (file: string): boolean =>
  only.length === 0 || only.some((path) => path === "" || file === path || file.startsWith(`${path}/`))

/** Runs a Node program, and returns its output even if it fails. */
const run = async (script: string, args: ReadonlyArray<string>): Promise<{ ok: boolean; output: string }> => {
  try {
    const { stderr, stdout } = await exec(process.execPath, [join(root, script), ...args], {
      cwd: root,
      env: { ...process.env, NO_COLOR: "1" },
      maxBuffer: 64 * 1024 * 1024
    })
    return { ok: true, output: stdout + stderr }
  } catch (error) {
    if (!(error instanceof Error) || !("stdout" in error) || !("stderr" in error)) throw error
    return { ok: false, output: `${error.stdout}${error.stderr}` }
  }
}

// ---------------------------------------------------------------------------
// docstrings
// ---------------------------------------------------------------------------

const sources = globSync("packages/*/src/**/*.ts", { cwd: root }).sort()
/**
 * Operators are checked through `MeshStream`, which re-exports them: not every helper in their files is public. The package of
 * the command publishes no module.
 */
const isPublic = (file: string): boolean => !/\/(internal|operators)\//.test(file) && !file.startsWith("packages/cli/")

const parse = (file: string) => ts.createSourceFile(file, read(file), ts.ScriptTarget.Latest, true)
for (const gap of Docstrings.checkAll(sources.filter(isPublic), parse)) {
  if (isWanted(gap.file)) problems.push(`${gap.file}:${gap.line}: ${gap.what}`)
}

// ---------------------------------------------------------------------------
// fences
// ---------------------------------------------------------------------------

const pages = globSync(["*.md", "docs/*.md", "docs/decisions/*.md", "packages/*/README.md", "examples/*.md"], {
  cwd: root
})
  .filter(isWanted)
  .sort()

const found = [
  ...sources.filter(isWanted).map((file) => Fences.extractFromSource(file, read(file))),
  ...pages.map((file) => Fences.extract(file, read(file), 1))
]
const fences = found.flatMap((each) => each.fences)
for (const problem of found.flatMap((each) => each.problems)) {
  problems.push(`${problem.file}:${problem.line}: ${problem.what}`)
}
if (fences.length === 0 && only.length === 0) problems.push("no fences were found: the check itself is broken")
for (const path of only) {
  if (![...sources, ...pages].some((file) => path === "" || file === path || file.startsWith(`${path}/`))) {
    problems.push(`${path}: no source file and no page`)
  }
}

// ---------------------------------------------------------------------------
// links
// ---------------------------------------------------------------------------

/** The anchors of a page: its headings in the form that GitHub uses. */
const anchors = (page: string): ReadonlySet<string> =>
  new Set(
    [...read(page).matchAll(/^#+ (.+)$/gm)].map(([, heading = ""]) =>
      heading
        .toLowerCase()
        .replace(/[^\w\- ]/g, "")
        .replaceAll(" ", "-")
    )
  )

for (const page of pages) {
  // Brackets in code are not links.
  const prose = read(page).replace(/```[\s\S]*?```|`[^`\n]*`/g, (code) => code.replace(/[^\n]/g, " "))
  for (const match of prose.matchAll(/\]\(([^)\s]+)\)/g)) {
    const [target = "", anchor] = (match[1] ?? "").split("#")
    if (/^[a-z]+:/.test(target)) continue
    const file = target === "" ? page : join(dirname(page), target)
    const line = prose.slice(0, match.index).split("\n").length
    if (!existsSync(join(root, file))) problems.push(`${page}:${line}: the link has no target: ${match[1]}`)
    else if (anchor !== undefined && !anchors(file).has(anchor)) {
      problems.push(`${page}:${line}: ${file} has no heading for #${anchor}`)
    }
  }
}

rmSync(out, { recursive: true, force: true })
mkdirSync(out, { recursive: true })
const byPath = new Map(fences.map((fence) => [join(out, Fences.fileName(fence)), fence]))
for (const [path, { code }] of byPath) writeFileSync(path, `${code}\n`)
writeFileSync(
  join(out, "tsconfig.json"),
  JSON.stringify({
    extends: "../../tsconfig.base.json",
    compilerOptions: {
      types: ["node"],
      rootDir: "../..",
      composite: false,
      noEmit: true,
      declarationMap: false,
      sourceMap: false,
      // An example may define names that it does not use.
      noUnusedLocals: false
    },
    include: ["*.ts"],
    references: ["core", "node", "test-kit", "log", "nats", "gateway", "cli"].map((name) => ({
      path: `../../packages/${name}`
    }))
  })
)

/** The place in the repository of a line of an example. */
const origin = (path: string, line: number): string => {
  const fence = byPath.get(path)
  return fence === undefined ? `${relative(root, path)}:${line}` : `${fence.file}:${fence.line + line - 1}`
}

const typeCheck = async (): Promise<void> => {
  const { ok, output } = await run("node_modules/typescript/bin/tsc", ["-p", out, "--pretty", "false"])
  if (ok) return
  const before = problems.length
  for (const line of output.split("\n")) {
    const match = /^(.+?)\((\d+),\d+\): (error .*)$/.exec(line)
    if (match !== null) problems.push(`${origin(resolve(root, match[1] ?? ""), Number(match[2]))}: ${match[3]}`)
  }
  if (problems.length === before) problems.push(output)
}

const runExamples = async (): Promise<void> => {
  const jobs: Array<Job> = []
  for (const [path, { expected, isTest, run: runs }] of byPath) {
    if (runs && !isTest) jobs.push({ path, ...(expected === undefined ? {} : { expected }) })
  }
  const jobsFile = join(out, "jobs.json")
  const outcomesFile = join(out, "outcomes.json")
  writeFileSync(jobsFile, JSON.stringify(jobs))
  const { ok, output } = await run("scripts/src/docs/run.ts", [jobsFile, outcomesFile])
  if (!ok) return void problems.push(`the examples could not be run:\n${output}`)
  // The list is written by `run.ts`.
  const outcomes = JSON.parse(readFileSync(outcomesFile, "utf8")) as ReadonlyArray<Outcome>
  for (const { millis, path, problem } of outcomes) {
    if (problem !== undefined) problems.push(`${origin(path, 1)}: the example fails: ${problem}`)
    if (millis > 2000) console.log(`slow: ${origin(path, 1)} takes ${Math.round(millis)} ms`)
  }
}

const runTests = async (): Promise<void> => {
  const tests = [...byPath].filter(([, fence]) => fence.isTest && fence.run)
  if (tests.length === 0) return
  const { ok, output } = await run("node_modules/vitest/vitest.mjs", [
    "run",
    "--root",
    out,
    "--reporter",
    "dot",
    "--silent",
    // Only ends a test that would never end: the machine may be busy.
    "--testTimeout=120000"
  ])
  if (!ok)
    problems.push(
      `the tests among the examples fail (${tests.map(([path]) => origin(path, 1)).join(", ")}):\n${output}`
    )
}

const start = performance.now()
if (fences.length > 0) await Promise.all([typeCheck(), runExamples().then(runTests)])
const seconds = ((performance.now() - start) / 1000).toFixed(1)

for (const problem of problems) console.error(problem)
const notRun = fences.filter((fence) => !fence.run).length
const compared = fences.filter((fence) => fence.run && fence.expected !== undefined).length
console.log(
  `docs: ${fences.length} examples checked in ${seconds} s (${compared} by what they print, ${notRun} not run), ` +
    `${problems.length} problems`
)
process.exitCode = problems.length === 0 ? 0 : 1
