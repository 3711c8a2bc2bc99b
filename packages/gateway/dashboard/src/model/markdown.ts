/** Markdown as tokens. The views make elements of them; nothing is ever parsed as HTML. */
import { Lexer, type Token } from "marked"

/** A longer text is shown as it is, because parsing it would take too long. */
const maxLength = 30_000

/** With more of these characters a text is shown as it is, since the time to parse it grows with their square. */
const delimiters = /[*_[\]<>~]/g
const maxDelimiters = 1500

/** Lists and quotes within each other, deeper than anybody writes. */
const deep = /^(?:[ \t]*(?:>|[-*+]|\d{1,9}[.)])){40}/m

/** Whether a text takes little time to parse. */
const isSimple = (text: string): boolean =>
  text.length <= maxLength && (text.match(delimiters)?.length ?? 0) <= maxDelimiters && !deep.test(text)

/** The most parsed texts that are kept. */
const maxCached = 300

/** Parses texts, and keeps the newest results. Returns `undefined` for a text that is to be shown as it is. */
export const parser = (): ((text: string) => ReadonlyArray<Token> | undefined) => {
  const cache = new Map<string, ReadonlyArray<Token>>()
  return (text) => {
    if (!isSimple(text)) return undefined
    const cached = cache.get(text)
    if (cached !== undefined) return cached
    const tokens = new Lexer({ gfm: true, breaks: true }).lex(text)
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
