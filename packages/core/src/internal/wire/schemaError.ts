/** Turns the schema's error about a frame into a `DecodeError`. */
import type * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import type { DecodeError } from "../../DecodeError.ts"
import { invalidMessage } from "./decodeObject.ts"
import { memberNames } from "./protocol.ts"

const formatIssue = SchemaIssue.makeFormatterStandardSchemaV1()

/**
 * Returns the path up to the first name that the protocol does not define. Such a name is part of the frame's payload,
 * which must not reach an error or a log.
 */
const protocolPath = (
  path: ReadonlyArray<PropertyKey | { readonly key: PropertyKey }>
): ReadonlyArray<string | number> => {
  const known: Array<string | number> = []
  for (const segment of path) {
    const key = typeof segment === "object" ? segment.key : segment
    if (typeof key === "symbol" || (typeof key === "string" && !memberNames.has(key))) break
    known.push(key)
  }
  return known
}

/** Turns the schema's error about a frame into a `DecodeError`, without the values and unknown names of the frame. */
export const toDecodeError = (error: Schema.SchemaError, size: number, messageType?: string): DecodeError => {
  const [first] = formatIssue(error.issue).issues
  const expected = (first?.message ?? "a message of the protocol")
    .replace(/^Expected /, "")
    .replace(/^Missing key$/, "a value")
  return invalidMessage(protocolPath(first?.path ?? []), expected, size, messageType)
}
