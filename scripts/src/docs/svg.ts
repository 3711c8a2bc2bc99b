/** Terminal output as an SVG: text with the colours that its escape sequences select. */
import * as CliOutput from "effect/cli/CliOutput"

/** Colours on a dark background, by the code of the escape sequence. */
const colours: ReadonlyMap<number, string> = new Map([
  [2, "#8b949e"],
  [31, "#ff7b72"],
  [32, "#56d364"],
  [33, "#e3b341"],
  [36, "#76e3ea"]
])

const foreground = "#e6edf3"
const background = "#0d1117"
const charWidth = 8.4
const lineHeight = 19
const margin = 16

/** A piece of a line in one colour. */
export interface Piece {
  readonly text: string
  readonly colour: string
}

/** An escape sequence: ESC, `[`, numbers, and a letter. */
const escapeSequence = new RegExp(`${String.fromCharCode(27)}\\[([\\d;?]*[A-Za-z])`)

/** Splits a line at its colour sequences. Removes all other escape sequences. */
export const pieces = (line: string): ReadonlyArray<Piece> => {
  const found: Array<Piece> = []
  let colour = foreground
  // The escape sequences are the odd parts.
  for (const [n, part] of line.split(escapeSequence).entries()) {
    if (n % 2 === 0) {
      if (part !== "") found.push({ text: part, colour })
    } else if (part.endsWith("m")) {
      colour = colours.get(Number.parseInt(part, 10)) ?? foreground
    }
  }
  return found
}

const escape = (text: string): string => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;")

/** Draws lines of a terminal. Each piece has a fixed place and width, so that any monospaced font keeps the columns. */
export const render = (lines: ReadonlyArray<string>, options: { readonly columns: number; readonly title: string }) => {
  const width = Math.ceil(options.columns * charWidth + 2 * margin)
  const height = lines.length * lineHeight + 2 * margin
  const texts = lines.flatMap((line, row) => {
    let column = 0
    const y = margin + row * lineHeight + 14
    return pieces(line).flatMap(({ colour, text }) => {
      const x = margin + column * charWidth
      const length = CliOutput.displayWidth(text)
      column += length
      return text.trim() === ""
        ? []
        : `<text x="${x.toFixed(1)}" y="${y}" fill="${colour}" textLength="${(length * charWidth).toFixed(1)}" xml:space="preserve">${escape(text)}</text>`
    })
  })
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="14">`,
    `<title>${escape(options.title)}</title>`,
    `<rect width="${width}" height="${height}" rx="8" fill="${background}"/>`,
    ...texts,
    "</svg>",
    ""
  ].join("\n")
}
