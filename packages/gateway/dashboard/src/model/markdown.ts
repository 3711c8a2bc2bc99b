/** Markdown as tokens. The views make elements of them; nothing is ever parsed as HTML. */
import { Lexer, type Token } from "marked"

/** A longer text is shown as it is. */
const maxLength = 100_000

/** The most characters of several paragraphs that are parsed together, and the longest paragraph that is parsed. */
const maxTogether = 4000
const maxParagraph = 30_000

/** With more of these characters a paragraph is shown as it is, since the time to parse it grows with their square. */
const delimiters = /[*_[\]<>~]/g
const maxDelimiters = 1500

/** Lists and quotes within each other, deeper than people write. The parser would need a stack as deep as they are. */
const deep = /^(?:[ \t]*(?:>|[-*+]|\d{1,9}[.)])){40}/m

/** Whether a paragraph takes little time to parse. */
const isSimple = (text: string): boolean =>
  text.length <= maxParagraph && (text.match(delimiters)?.length ?? 0) <= maxDelimiters && !deep.test(text)

/** The most parsed texts that are kept. */
const maxCached = 300

/** Splits a text at its blank lines, but not inside of a block of code. */
const paragraphs = (text: string): ReadonlyArray<string> => {
  const found: Array<string> = []
  let lines: Array<string> = []
  let fence: string | undefined
  const end = (): void => {
    if (lines.length > 0) found.push(lines.join("\n"))
    lines = []
  }
  for (const line of text.split("\n")) {
    const mark = /^ {0,3}(`{3,}|~{3,})/.exec(line)?.[1]
    if (fence === undefined) fence = mark
    else if (mark !== undefined && mark.startsWith(fence)) fence = undefined
    if (line.trim() === "" && fence === undefined) end()
    else lines.push(line)
  }
  end()
  return found
}

/** A paragraph that is not parsed. */
const verbatim = (text: string): Token => ({ type: "verbatim", raw: text })

const lex = (text: string): ReadonlyArray<Token> => {
  try {
    return new Lexer({ gfm: true, breaks: true }).lex(text)
  } catch {
    return [verbatim(text)]
  }
}

const parse = (text: string): ReadonlyArray<Token> => {
  const tokens: Array<Token> = []
  let together = ""
  const flush = (): void => {
    if (together !== "") tokens.push(...lex(together))
    together = ""
  }
  for (const paragraph of paragraphs(text)) {
    if (!isSimple(paragraph)) {
      flush()
      tokens.push(verbatim(paragraph))
      continue
    }
    if (together.length + paragraph.length > maxTogether) flush()
    together += `${together === "" ? "" : "\n\n"}${paragraph}`
  }
  flush()
  return tokens
}

/** Parses texts, and keeps the newest results. Returns `undefined` for a text that is too long. */
export const parser = (): ((text: string) => ReadonlyArray<Token> | undefined) => {
  const cache = new Map<string, ReadonlyArray<Token>>()
  return (text) => {
    if (text.length > maxLength) return undefined
    const cached = cache.get(text)
    if (cached !== undefined) return cached
    const tokens = parse(text)
    cache.set(text, tokens)
    const [oldest] = cache.keys()
    if (cache.size > maxCached && oldest !== undefined) cache.delete(oldest)
    return tokens
  }
}

/** The address of a link, if it is one that may be followed. */
export const safeHref = (href: string): string | undefined => {
  if (!URL.canParse(href)) return undefined
  const { protocol } = new URL(href)
  return protocol === "http:" || protocol === "https:" || protocol === "mailto:" ? href : undefined
}

const entities: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', "#39": "'", nbsp: "\u00a0" }

/** Replaces the entities that people write. */
export const decodeEntities = (text: string): string =>
  text.includes("&")
    ? text.replace(/&(amp|lt|gt|quot|#39|nbsp);/g, (whole, name: string) => entities[name] ?? whole)
    : text
