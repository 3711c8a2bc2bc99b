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
import type * as Schema from "effect/Schema"
import { serverTypes } from "./protocol.ts"

/** A parsed JSON object. */
export type JsonObject = { readonly [key: string]: Schema.Json }

// An integer of at most 15 digits is always exact. Most texts have no longer sequence of digits, so only this test runs.
const longDigits = /[0-9]{16}/

const quote = 0x22
const backslash = 0x5c
const minus = 0x2d
const plus = 0x2b
const dot = 0x2e

const isDigit = (code: number): boolean => code >= 0x30 && code <= 0x39

/** Whether a number continues with this character, although it is no longer an integer. */
const isFractionOrExponent = (code: number): boolean =>
  code === dot || code === plus || code === minus || (code | 0x20) === 0x65

/** The index after the string that starts at `start`. */
const afterString = (json: string, start: number): number => {
  for (let i = start + 1; i < json.length; i++) {
    const code = json.charCodeAt(i)
    if (code === quote) return i + 1
    if (code === backslash) i++
  }
  return json.length
}

/**
 * Returns a valid JSON text in which each integer is quoted that a number does not print back unchanged. Uses a loop
 * without recursion and without backtracking expressions, because the sender chooses length and depth.
 */
export const quoteInexact = (json: string): string => {
  let quoted = ""
  let copied = 0
  for (let i = 0; i < json.length;) {
    const first = json.charCodeAt(i)
    if (first === quote) {
      i = afterString(json, i)
    } else if (first === minus || isDigit(first)) {
      const start = i
      let isInteger = true
      for (i++; i < json.length; i++) {
        const code = json.charCodeAt(i)
        if (isFractionOrExponent(code)) isInteger = false
        else if (!isDigit(code)) break
      }
      const source = json.slice(start, i)
      if (isInteger && source.length > 15 && String(Number(source)) !== source) {
        quoted += `${json.slice(copied, start)}"${source}"`
        copied = i
      }
    } else {
      i++
    }
  }
  return copied === 0 ? json : quoted + json.slice(copied)
}

/** Parses a JSON text. Throws as `JSON.parse` does. */
export const parse = (json: string): Schema.Json => {
  const value: Schema.Json = JSON.parse(json)
  return longDigits.test(json) ? JSON.parse(quoteInexact(json)) : value
}

/** Whether `toolInput` can contain a number. */
const mayHoldNumbers = (value: Schema.Json | undefined): boolean =>
  typeof value === "number" || (typeof value === "object" && value !== null)

/**
 * Returns the parsed frame of a server with exact integers in the places whose content the protocol does not define:
 * `toolInput`, and all members of a message of an unknown type.
 */
export const restore = (object: JsonObject, json: string): JsonObject => {
  const { toolInput, type } = object
  if (type === "taskOutput") {
    if (!mayHoldNumbers(toolInput) || !longDigits.test(json)) return object
    // The other members stay numbers: a schema checks them.
    const exact: JsonObject = JSON.parse(quoteInexact(json))
    return { ...object, toolInput: exact.toolInput ?? null }
  }
  if (typeof type !== "string" || serverTypes.has(type) || !longDigits.test(json)) return object
  return JSON.parse(quoteInexact(json))
}
