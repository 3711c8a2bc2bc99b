/**
 * Parses a frame to its JSON object, and turns a schema's error into a `DecodeError`. Both directions of the wire share
 * this.
 */
import type * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import { DecodeError } from "../../DecodeError.ts"
import type { JsonObject } from "./exactIntegers.ts"
import { memberNames } from "./protocol.ts"

export type Frame = string | Uint8Array

/** A frame's JSON object, and the text that it was parsed from. */
export interface Parsed {
  readonly object: JsonObject
  readonly json: string
}

// `fatal` turns damaged UTF-8 into an error instead of U+FFFD. The decoder drops a leading byte order mark.
const utf8 = new TextDecoder("utf-8", { fatal: true })

const byteOrderMark = 0xfeff

const invalidFrame = (frame: Frame, problem: DecodeError["problem"], expected: string): DecodeError =>
  new DecodeError({ problem, path: [], expected, size: frame.length })

/**
 * Parses the JSON object in a frame. Ignores one leading byte order mark, as RFC 8259 allows, so that a frame means the
 * same as text and as bytes.
 */
export const parse = (frame: Frame): Parsed | DecodeError => {
  let json: string
  if (typeof frame === "string") {
    json = frame.charCodeAt(0) === byteOrderMark ? frame.slice(1) : frame
  } else {
    try {
      json = utf8.decode(frame)
    } catch {
      return invalidFrame(frame, "InvalidUtf8", "bytes that are UTF-8")
    }
  }
  let value: unknown
  try {
    value = JSON.parse(json)
  } catch {
    return invalidFrame(frame, "InvalidJson", "one JSON object")
  }
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? { object: value as JsonObject, json }
    : invalidFrame(frame, "NotAnObject", "one JSON object")
}

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

/** Turns a schema's error about a frame into a `DecodeError`, without the values and unknown names of the frame. */
export const invalidMessage = (
  frame: Frame,
  messageType: string | undefined,
  error: Schema.SchemaError
): DecodeError => {
  const [first] = formatIssue(error.issue).issues
  return new DecodeError({
    problem: "InvalidMessage",
    ...(messageType === undefined ? {} : { messageType }),
    path: protocolPath(first?.path ?? []),
    expected: (first?.message ?? "a message of the protocol")
      .replace(/^Expected /, "")
      .replace(/^Missing key$/, "a value"),
    size: frame.length
  })
}
