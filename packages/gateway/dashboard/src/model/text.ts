/**
 * Makes text from agents safe to show: nothing in it is interpreted, and nothing in it changes the text around it.
 */

/**
 * Escape sequences of terminals: CSI, OSC and other strings up to their terminator, and sequences of two characters. A string
 * ends before the next introducer and at the end of the line, so that an unfinished one hides no text, and a hostile text takes
 * linear time.
 */
const escapes =
  // oxlint-disable-next-line no-control-regex
  /(?:\u001b\[|\u009b)[0-?]*[ -/]*[@-~]?|(?:\u001b[\]PX^_]|[\u0090\u0098\u009d-\u009f])[^\n\u0007\u001b\u0090\u0098\u009c-\u009f]*(?:\u0007|\u001b\\|\u009c)|\u001b[ -/]*[0-~]?/g

/** Characters that have no shape of their own, or that change the direction of the text after them. */
const invisible =
  // oxlint-disable-next-line no-control-regex
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\u{e0000}-\u{e007f}]/gu

const shown = (character: string): string => {
  const code = character.codePointAt(0) ?? 0
  if (code === 0x200d || code === 0x200c) return character // Joins emoji and letters.
  if (code === 0x2028 || code === 0x2029) return "\n"
  if (code < 0x20) return String.fromCodePoint(0x2400 + code)
  if (code >= 0xd800 && code < 0xe000) return "\ufffd" // Half of a pair.
  if (code === 0x7f) return "\u2421"
  return `\u27e8U+${code.toString(16).toUpperCase().padStart(4, "0")}\u27e9`
}

/** Whether a text has nothing to remove or replace. Most texts have not. */
// oxlint-disable-next-line no-control-regex
const isPlain = (text: string): boolean => !/[^\n\t\u0020-\u007e\u00a0-\u0600\u3000-\ud7ff]/.test(text)

/**
 * Returns the text without escape sequences. Line ends become `\n`, and other characters that cannot be seen become visible:
 * control characters as their pictures (`␀`), bidirectional controls as `⟨U+202E⟩`.
 */
export const plain = (text: string): string =>
  isPlain(text) ? text : text.replace(escapes, "").replace(/\r\n?/g, "\n").replace(invisible, shown)

/** Returns at most `max` UTF-16 code units of a text from `start` on, without cutting a character in two. */
export const piece = (text: string, start: number, max: number): string => {
  const end = Math.min(text.length, start + max)
  const code = text.charCodeAt(end - 1)
  const splits = end < text.length && code >= 0xd800 && code < 0xdc00
  return text.slice(start, splits ? end - 1 : end)
}

/** Returns the text on one line of at most `max` code units. */
export const oneLine = (text: string, max = 200): string => {
  const line = plain(piece(text, 0, max * 4))
    .replace(/\s+/g, " ")
    .trim()
  return line.length > max ? `${piece(line, 0, max - 1)}…` : line
}

/** How far back from its end a text is searched for its last line. */
const maxTail = 4000

/**
 * Returns the last line of a text that has a letter or a digit, with at most `max` code units. If there is none, returns the
 * last line, such as `}`.
 */
export const lastLine = (text: string, max = 200): string => {
  const start = Math.max(0, text.length - maxTail)
  const lines = plain(text.slice(start)).trimEnd().split("\n")
  return oneLine(lines.findLast((line) => /[\p{L}\p{N}]/u.test(line)) ?? lines.at(-1) ?? "", max)
}

/** The longest text that is shown at once, in code units and in lines. */
export interface Limits {
  readonly chars: number
  readonly lines: number
}

/** A text that is cut, and how much of it is not shown. */
export interface Clipped {
  readonly text: string
  /** The number of code units after `text`. */
  readonly rest: number
}

/** Returns the start of a text within both limits. */
export const clip = (text: string, { chars, lines }: Limits): Clipped => {
  let end = -1
  for (let line = 0; line < lines; line++) {
    end = text.indexOf("\n", end + 1)
    if (end === -1 || end > chars) break
  }
  if (end === -1 && text.length <= chars) return { text, rest: 0 }
  const shown = end === -1 || end > chars ? piece(text, 0, chars) : text.slice(0, end)
  return { text: shown, rest: text.length - shown.length }
}
