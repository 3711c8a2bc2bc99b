/**
 * Keeps integers that a JavaScript number cannot represent.
 *
 * `JSON.parse` silently turns `1234567890123456789` into `1234567890123456800`. Here
 * such an integer becomes a string of its digits. An integer that a number prints
 * back unchanged stays a number, so the output of `JSON.stringify` decodes to the
 * same value.
 *
 * This works on the text, not in a reviver of `JSON.parse`: a reviver overflows
 * the stack on deep input, and not every runtime passes it the source text.
 */
import type { JsonObject, Parsed } from "./frame.ts"

// An integer of at most 15 digits is always exact. Most texts have no longer sequence of digits, so only this test runs.
const longDigits = /[0-9]{16}/

// An escape, the start or the end of a string, or a number.
const tokens = /\\.|"|-?[0-9][-+.0-9eE]*/g

/**
 * Returns a valid JSON text in which each integer is quoted that a number does not print back unchanged. Uses neither
 * recursion nor backtracking expressions, because the sender chooses length and depth.
 */
export const quoteInexact = (json: string): string => {
  let inString = false
  return json.replaceAll(tokens, (token) => {
    if (token === `"`) inString = !inString
    return !inString && /^-?[0-9]{16,}$/.test(token) && String(Number(token)) !== token ? `"${token}"` : token
  })
}

/** Returns the object of a parsed frame with exact integers. Used where the protocol does not define the content. */
export const restore = ({ json, object }: Parsed): JsonObject =>
  longDigits.test(json) ? JSON.parse(quoteInexact(json)) : object
