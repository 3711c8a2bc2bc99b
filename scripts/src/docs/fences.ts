/**
 * The examples of docstrings and guides: every ```ts fence, with the output that its
 * comments contain.
 */
import { basename } from "node:path"
import ts from "typescript"

/** A ```ts fence. */
export interface Fence {
  /** Its file, relative to the root of the repository. */
  readonly file: string
  /** The line of its first line of code, from 1. */
  readonly line: number
  readonly code: string
  readonly run: boolean
  /** A fence that imports a test runner is a test file. */
  readonly isTest: boolean
  /** The expected output, one entry for each comment; absent without such comments. */
  readonly expected?: ReadonlyArray<string>
}

/** A problem with a fence itself. */
export interface FenceProblem {
  readonly file: string
  readonly line: number
  readonly what: string
}

const opening = /^(\s*)```([\w-]*)[ \t]*(.*)$/

/** Other names of TypeScript and JavaScript, with which a fence would not be checked. */
const aliases = new Set(["typescript", "tsx", "js", "javascript", "mts", "jsx"])

/** Returns the fences in a text that starts at line `firstLine` of the file. */
export const extract = (
  file: string,
  text: string,
  firstLine: number
): { readonly fences: ReadonlyArray<Fence>; readonly problems: ReadonlyArray<FenceProblem> } => {
  const fences: Array<Fence> = []
  const problems: Array<FenceProblem> = []
  const lines = text.split("\n")
  for (let i = 0; i < lines.length; i++) {
    const match = opening.exec(lines[i] ?? "")
    if (match === null) continue
    const [, indent = "", language = "", info = ""] = match
    const start = i + 1
    let end = start
    while (end < lines.length && (lines[end] ?? "").trim() !== "```") end++
    const line = firstLine + start
    if (end === lines.length) {
      problems.push({ file, line, what: "the fence does not end" })
    } else if (aliases.has(language)) {
      problems.push({ file, line, what: `write \`\`\`ts, not \`\`\`${language}, so that it is checked` })
    } else if (language === "ts") {
      const run = info !== "no-run"
      if (info !== "" && run) problems.push({ file, line, what: `unknown mark on a fence: ${info}` })
      const code = lines
        .slice(start, end)
        .map((codeLine) => (codeLine.startsWith(indent) ? codeLine.slice(indent.length) : codeLine.trimStart()))
        .join("\n")
      const isTest = /from "[^"]*\bvitest"/.test(code)
      const expected = expectedOutput(code)
      fences.push({ file, line, code, run, isTest, ...(expected.length === 0 ? {} : { expected }) })
    }
    i = end
  }
  return { fences, problems }
}

/** Returns the fences in the comments of a source file. */
export const extractFromSource = (file: string, text: string): ReturnType<typeof extract> => {
  const fences: Array<Fence> = []
  const problems: Array<FenceProblem> = []
  for (const match of text.matchAll(/^[ \t]*\/\*\*[\s\S]*?\*\//gm)) {
    const firstLine = text.slice(0, match.index).split("\n").length
    const comment = match[0].replace(/^[ \t]*\* ?/gm, "")
    const found = extract(file, comment, firstLine)
    fences.push(...found.fences)
    problems.push(...found.problems)
  }
  return { fences, problems }
}

/**
 * Returns the expected output in the comments of a program, from top to bottom: the
 * comment on the line on which a call of `console.log` or `Console.log`, an expression
 * around it, or its statement ends; and the comment lines that follow directly. (Comment
 * lines after a definition do not count, because the definition has not run yet.)
 */
const expectedOutput = (code: string): ReadonlyArray<string> => {
  if (!code.includes("onsole.log")) return []
  const source = ts.createSourceFile("fence.ts", code, ts.ScriptTarget.Latest, true)
  const lineOf = (position: number) => source.getLineAndCharacterOfPosition(position).line
  /** The lines at which such an expression ends, and whether the comment lines after it count. */
  const endings = new Map<number, boolean>()
  const visit = (node: ts.Node): void => {
    if (ts.isPropertyAccessExpression(node) && /^[cC]onsole\.log$/.test(node.getText(source))) {
      for (let at: ts.Node = node; ; at = at.parent) {
        const line = lineOf(at.getEnd())
        endings.set(line, endings.get(line) === true || ts.isExpressionStatement(at))
        if (ts.isStatement(at) || ts.isSourceFile(at.parent)) break
      }
    }
    ts.forEachChild(node, visit)
  }
  visit(source)

  const expected: Array<string> = []
  const lines = code.split("\n")
  for (const [line, isExpression] of [...endings].sort(([a], [b]) => a - b)) {
    const trailing = trailingComment(source, line)
    if (trailing !== undefined) expected.push(trailing)
    else if (!isExpression) continue
    let next = line + 1
    for (; /^\s*\/\/ /.test(lines[next] ?? ""); next++) expected.push((lines[next] ?? "").replace(/^\s*\/\/ /, ""))
  }
  return expected
}

/** The text of the `//` comment at the end of a line of code. Ignores `//` in strings. */
const trailingComment = (source: ts.SourceFile, line: number): string | undefined => {
  const start = source.getPositionOfLineAndCharacter(line, 0)
  const starts = source.getLineStarts()
  const end = starts[line + 1] ?? source.text.length
  const text = source.text.slice(start, end)
  for (let at = text.indexOf("// "); at >= 0; at = text.indexOf("// ", at + 1)) {
    const isComment = text.slice(0, at).trim() !== "" && !isInsideToken(source, start + at)
    if (isComment) return text.slice(at + 3).trim()
  }
  return undefined
}

const isInsideToken = (source: ts.SourceFile, position: number): boolean => {
  const visit = (node: ts.Node): boolean => {
    const isText =
      ts.isStringLiteralLike(node) || ts.isTemplateLiteralToken(node) || ts.isRegularExpressionLiteral(node)
    if (isText && node.getStart(source) < position && position < node.getEnd()) return true
    return ts.forEachChild(node, visit) ?? false
  }
  return visit(source)
}

/**
 * Normalises output and expectation for the comparison: ignores whitespace and the kind
 * of quotes.
 */
export const normalise = (text: string): string => text.replace(/\s+/g, "").replace(/['`]/g, `"`)

/** The name of a fence's file, derived from its place. */
export const fileName = ({ file, isTest, line, run }: Fence): string => {
  const directory = file
    .split("/")
    .slice(0, -1)
    .filter((part) => part !== "src")
    .join("-")
  const name = basename(file).replace(/\.(ts|md)$/, "")
  return `${directory === "" ? "" : `${directory}-`}${name}-${line}${isTest && run ? ".test" : ""}.ts`
}
