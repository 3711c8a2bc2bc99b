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
import { serverMessages } from "./protocol.ts"

/** A parsed JSON object. */
export type JsonObject = { readonly [key: string]: Schema.Json }

// An integer of at most 15 digits is always exact. Most texts have no longer sequence of digits, so only this test runs.
const longDigits = /[0-9]{16}/

// Strings and numbers, in a text whose escapes were replaced.
const tokens = /"[^"]*"|-?[0-9][-+.0-9eE]*/g

const isInexact = (token: string): boolean => /^-?[0-9]{16,}$/.test(token) && String(Number(token)) !== token

/**
 * Returns a valid JSON text in which each integer is quoted that a number does not print back unchanged. Uses neither
 * recursion nor backtracking expressions, because the sender chooses length and depth.
 */
export const quoteInexact = (json: string): string =>
  // Without escapes, each quote starts or ends a string. The replacement is as long, so indices stay the same.
  json
    .replaceAll(/\\./g, "__")
    .replaceAll(tokens, (token, index: number) =>
      isInexact(token) ? `"${token}"` : json.slice(index, index + token.length)
    )

/**
 * Returns the parsed frame of a server with exact integers in the places whose content the protocol does not define:
 * `toolInput`, and all members of a message of an unknown type.
 */
export const restore = (object: JsonObject, json: string): JsonObject => {
  const { toolInput, type } = object
  const isOutput = type === "taskOutput"
  const isOpen = isOutput ? toolInput !== undefined : typeof type === "string" && !serverMessages.has(type)
  if (!isOpen || !longDigits.test(json)) return object
  const exact: JsonObject = JSON.parse(quoteInexact(json))
  // The other members of an output stay numbers: a schema checks them.
  return isOutput ? { ...object, toolInput: exact.toolInput ?? null } : exact
}
