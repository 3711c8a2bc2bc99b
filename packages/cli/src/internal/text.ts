/** Text from the network: made safe for a terminal, and measured in columns. */
import * as CliOutput from "effect/cli/CliOutput"

// Control sequences (CSI), strings (OSC, DCS, SOS, PM, APC), and the short escape sequences of ECMA-48.
const sequences =
  // oxlint-disable-next-line no-control-regex
  /\u001b\[[0-?]*[ -/]*[@-~]|\u009b[0-?]*[ -/]*[@-~]|(?:\u001b[\]PX^_]|[\u009d\u0090\u0098\u009e\u009f])[^\u0007\u001b\u009c]*(?:\u0007|\u001b\\|\u009c)?|\u001b[ -/]*[0-~]/g

// The other control characters, and characters that change the direction of text. Tab and line feed are kept.
// oxlint-disable-next-line no-control-regex
const controls = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g

// oxlint-disable-next-line no-control-regex
const suspicious = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/

/** Removes escape sequences, control characters and marks of direction. Keeps tabs and line breaks. */
export const strip = (text: string): string =>
  suspicious.test(text) ? text.replaceAll(sequences, "").replaceAll(controls, "") : text

/** Like `strip`, and joins the lines. */
export const oneLine = (text: string): string => strip(text).replaceAll(/\s*[\n\t]\s*/g, " ")

// oxlint-disable-next-line no-control-regex
const rest = /[\u007f-\u009f]/

/** JSON without characters that control a terminal: they are escaped, so the value is the same. */
export const escapeJson = (json: string): string =>
  rest.test(json)
    ? // oxlint-disable-next-line no-control-regex
      json.replaceAll(/[\u007f-\u009f]/g, (it) => `\\u${it.charCodeAt(0).toString(16).padStart(4, "0")}`)
    : json

const segmenter = new Intl.Segmenter(undefined, { granularity: "grapheme" })

// oxlint-disable-next-line no-control-regex
const ascii = /^[ -~]*$/

/** The longest start of a text that fits into a number of columns. Never splits a character. */
export const fit = (text: string, columns: number): string => {
  if (ascii.test(text)) return text.slice(0, Math.max(0, columns))
  let width = 0
  let end = 0
  for (const { index, segment } of segmenter.segment(text)) {
    width += CliOutput.displayWidth(segment)
    if (width > columns) break
    end = index + segment.length
  }
  return text.slice(0, end)
}

/** The columns that a text takes on a terminal. */
export const widthOf = (text: string): number => (ascii.test(text) ? text.length : CliOutput.displayWidth(text))

/** A text in exactly a number of columns: cut, or filled up with spaces. */
export const cell = (text: string, columns: number, align: "left" | "right" = "left"): string => {
  const fitting = fit(text, columns)
  const fill = " ".repeat(Math.max(0, columns - widthOf(fitting)))
  return align === "left" ? fitting + fill : fill + fitting
}

/** The last characters of a task's id. They distinguish tasks well enough for a display. */
export const shortId = (taskId: string): string => oneLine(taskId).slice(-8)

/** An amount of US dollars. */
export const usd = (amount: number): string => `$${amount.toFixed(4)}`

/** Puts text into a colour. */
export type Paint = (code: number, text: string) => string

/** Makes a `Paint` that does nothing if colours are off. */
export const painter = (color: boolean): Paint =>
  color ? (code, text) => (text.trim() === "" ? text : `\u001b[${code}m${text}\u001b[0m`) : (_, text) => text

/** Codes of the colours in use. */
export const colors = { bold: 1, dim: 2, inverse: 7, red: 31, green: 32, yellow: 33, blue: 34, magenta: 35, cyan: 36 }

/** The colour of a status. */
export const statusColor = (status: string | undefined): number => {
  switch (status) {
    case "failed":
    case "interrupted":
    case "cancelled":
      return colors.red
    case "done":
    case "completed":
    case "merged":
      return colors.green
    case "running":
      return colors.cyan
    default:
      return colors.yellow
  }
}
