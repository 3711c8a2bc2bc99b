/** Parses a frame to its JSON object. Both directions of the wire share this. */
import { DecodeError } from "../../DecodeError.ts"
import type { JsonObject } from "./exactIntegers.ts"

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
