/** Parses a frame to its JSON object. Both directions of the wire share this. */
import { DecodeError } from "../../DecodeError.ts"
import type * as Schema from "effect/Schema"

/** A parsed JSON object. */
export type JsonObject = { readonly [key: string]: Schema.Json }

export type Frame = string | Uint8Array

/** A frame's JSON object, and the text that it was parsed from. */
export interface Parsed {
  readonly object: JsonObject
  readonly json: string
}

// `fatal` turns damaged UTF-8 into an error instead of U+FFFD. The decoder drops a leading byte order mark.
const utf8 = new TextDecoder("utf-8", { fatal: true })

/**
 * Parses the JSON object in a frame. Ignores one leading byte order mark, as RFC 8259 allows, so that a frame means the
 * same as text and as bytes.
 */
export const parse = (frame: Frame): Parsed | DecodeError => {
  // What is wrong if the next step fails.
  let problem: DecodeError["problem"] = "InvalidUtf8"
  try {
    const json = typeof frame === "string" ? frame.replace(/^\ufeff/, "") : utf8.decode(frame)
    problem = "InvalidJson"
    const object: unknown = JSON.parse(json)
    problem = "NotAnObject"
    // The values of a parsed object are JSON.
    if (typeof object === "object" && object !== null && !Array.isArray(object))
      return { object: object as JsonObject, json }
  } catch {}
  const expected = problem === "InvalidUtf8" ? "bytes that are UTF-8" : "one JSON object"
  return new DecodeError({ problem, path: [], expected, size: frame.length })
}
