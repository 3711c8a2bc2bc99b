/** The summary of a tool call in one line, and the change that an edit makes. */
import { oneLine } from "./text.ts"

/** The members of an input that describe a call best. The first one that is present is shown. */
const descriptive = [
  "command",
  "file_path",
  "path",
  "pattern",
  "query",
  "url",
  "description",
  "prompt",
  "content",
  "text"
]

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const textOf = (value: unknown): string | undefined =>
  typeof value === "string"
    ? value
    : typeof value === "number" || typeof value === "boolean"
      ? String(value)
      : undefined

/** Returns the input of a call in one line. Empty if there is none. */
export const summary = (input: unknown, max = 160): string => {
  if (input === undefined) return ""
  if (!isObject(input)) return oneLine(textOf(input) ?? JSON.stringify(input).slice(0, max * 2), max)
  for (const name of descriptive) {
    const text = textOf(input[name])
    if (text !== undefined && text !== "") return oneLine(text, max)
  }
  const [first] = Object.values(input).flatMap((value) => textOf(value) ?? [])
  return first === undefined ? "" : oneLine(first, max)
}

/** The change that a call makes, if its input is that of an edit. */
export const editOf = (input: unknown): { readonly before: string; readonly after: string } | undefined => {
  if (!isObject(input)) return undefined
  const before = input["old_string"] ?? input["oldText"]
  const after = input["new_string"] ?? input["newText"]
  return typeof before === "string" && typeof after === "string" ? { before, after } : undefined
}

/** Returns an input as indented JSON; a text as it is. */
export const detail = (input: unknown): string =>
  input === undefined ? "" : typeof input === "string" ? input : JSON.stringify(input, undefined, 2)
