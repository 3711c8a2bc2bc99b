/**
 * Parses the input of a tool. Most inputs are objects of plain strings, which this parses without `JSON.parse`.
 *
 * The gain: 0.15 µs for such an input, 0.03 µs for an event of the benchmark, of which every fifth has one.
 */
import type * as Schema from "effect/Schema"

/** Parses a valid value without white space. */
export const parse = (json: string): Exclude<Schema.Json, null> => {
  if (!json.startsWith(`{"`) || json.includes("\\")) return JSON.parse(json)
  const input: Record<string, string> = {}
  for (let start = 2; ;) {
    const nameEnd = json.indexOf(`"`, start)
    const name = json.slice(start, nameEnd)
    // Not a string, or a name that an assignment would not add.
    if (json[nameEnd + 2] !== `"` || name === "__proto__") return JSON.parse(json)
    const end = json.indexOf(`"`, nameEnd + 3)
    input[name] = json.slice(nameEnd + 3, end)
    if (end === json.length - 2) return input
    start = end + 3
  }
}
