/**
 * From a frame to the JSON object in it, and from a schema's complaint to a
 * `DecodeError`: the part of decoding that both directions of the wire share.
 */
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import type * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import { DecodeError } from "../../DecodeError.ts"

export type Frame = string | Uint8Array

export type JsonObject = { readonly [key: string]: Schema.Json }

// `fatal` turns damaged UTF-8 into an error instead of U+FFFD; `ignoreBOM` keeps a leading BOM, so that a frame
// means the same whether it came as text or as bytes.
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

const problem = (frame: Frame, problem: DecodeError["problem"], expected: string): DecodeError =>
  new DecodeError({ problem, path: [], expected, size: frame.length })

/** The JSON object that a frame holds. */
export const parse = (frame: Frame): Result.Result<JsonObject, DecodeError> => {
  let text: string
  if (typeof frame === "string") {
    text = frame
  } else {
    try {
      text = utf8.decode(frame)
    } catch {
      return Result.fail(problem(frame, "InvalidUtf8", "bytes that are UTF-8"))
    }
  }
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return Result.fail(problem(frame, "InvalidJson", "one JSON object"))
  }
  // `isObject` is false for null and for arrays.
  return Predicate.isObject(value)
    ? Result.succeed(value as JsonObject)
    : Result.fail(problem(frame, "NotAnObject", "one JSON object"))
}

const formatIssue = SchemaIssue.makeFormatterStandardSchemaV1()

const toPathElement = (segment: PropertyKey | { readonly key: PropertyKey }): string | number => {
  const key = typeof segment === "object" ? segment.key : segment
  return typeof key === "number" ? key : String(key)
}

/** A schema's complaint about a frame, without the values that it complains about. */
export const invalidMessage = (
  frame: Frame,
  messageType: string | undefined,
  error: Schema.SchemaError
): DecodeError => {
  const [first] = formatIssue(error.issue).issues
  return new DecodeError({
    problem: "InvalidMessage",
    ...(messageType === undefined ? {} : { messageType }),
    path: (first?.path ?? []).map(toPathElement),
    expected: (first?.message ?? "a message of the protocol")
      .replace(/^Expected /, "")
      .replace(/^Missing key$/, "a value"),
    size: frame.length
  })
}
