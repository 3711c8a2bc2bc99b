/**
 * The format of a recording: JSON lines. Public through `Recording`.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import type * as Effect from "effect/Effect"
import * as Base64 from "effect/encoding/Base64"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import * as MeshError from "@makima-stream/core/MeshError"

const stamp = {
  /** Milliseconds since the recording began. Never goes back. */
  at: Schema.Finite,
  /** The number of the connection, from 1. 0 before the first. */
  epoch: Schema.Int
}

/** A frame, as text or as base64. */
const frame = Schema.Union([Schema.Struct({ text: Schema.String }), Schema.Struct({ base64: Schema.String })])

/**
 * The first line: the `version` of the format, and when the recording began
 * (`startedAt`, in milliseconds since 1970).
 *
 * @category format
 * @since 0.1.0
 */
export const Header = Schema.TaggedStruct("Recording", {
  version: Schema.Literal(1),
  startedAt: Schema.Finite
})

/**
 * A line after the header.
 *
 * **Details**
 *
 * - `Opened`, `DialFailed`, `Ended`: the lifecycle of a connection. A failed dial has
 *   the epoch of the previous connection. `Ended` has no `reason` if the program
 *   closed the connection.
 * - `Received`, `Sent`: a `frame` from the server, and a frame to it. A sent frame was
 *   passed to the socket; it may not have arrived.
 * - `Finished`: the last line of a complete recording.
 *
 * `at` is in milliseconds since the recording began.
 *
 * @category format
 * @since 0.1.0
 */
export const Entry = Schema.TaggedUnion({
  Opened: stamp,
  DialFailed: { ...stamp, reason: MeshError.ConnectionReason },
  Received: { ...stamp, frame },
  Sent: { ...stamp, frame },
  Ended: { ...stamp, reason: Schema.optionalKey(MeshError.ConnectionReason) },
  Finished: { at: Schema.Finite }
})

/**
 * A line of a recording after the header.
 *
 * @category models
 * @since 0.1.0
 */
export type Entry = typeof Entry.Type

/**
 * An entry of a recording except the last one, `Finished`.
 *
 * @category models
 * @since 0.1.0
 */
export type Played = Exclude<Entry, { readonly _tag: "Finished" }>

/**
 * A recording cannot be read beyond a line.
 *
 * **Details**
 *
 * - `NotARecording`: the first line is not a header.
 * - `UnknownVersion`: the header is of a version that this toolkit cannot read.
 * - `Damaged`: a line cannot be decoded.
 * - `CutOff`: the last line, `Finished`, is missing.
 *
 * `line` counts from 1. All entries before that line have been emitted.
 *
 * @category errors
 * @since 0.1.0
 */
export class RecordingError extends Schema.TaggedError<RecordingError>(
  "@makima-stream/test-kit/Recording/RecordingError"
)("RecordingError", {
  /** What is wrong. */
  problem: Schema.Literals(["NotARecording", "UnknownVersion", "Damaged", "CutOff"]),
  line: Schema.Int,
  /** Details, if there are any. */
  detail: Schema.optionalKey(Schema.String)
}) {
  /** One line with the problem and the line number. */
  override get message(): string {
    const detail = this.detail === undefined ? "" : `: ${this.detail}`
    switch (this.problem) {
      case "NotARecording":
        return `This is not a recording: line ${this.line} is not a header${detail}`
      case "UnknownVersion":
        return `The version of this recording is not supported${detail}`
      case "Damaged":
        return `Line ${this.line} of the recording is damaged${detail}`
      case "CutOff":
        return `The recording is cut off: it ends before line ${this.line}`
    }
  }
}

/**
 * Writes lines, without line ends. Called with one batch at a time.
 *
 * @category models
 * @since 0.1.0
 */
export type Write = (lines: NonEmptyReadonlyArray<string>) => Effect.Effect<void>

const encodeEntry = Schema.encodeSync(Entry)
/** The line of an entry. */
export const encodeLine = (entry: Entry): string => JSON.stringify(encodeEntry(entry))
/** The first line. */
export const encodeHeader = (header: typeof Header.Type): string => JSON.stringify(header)
const decodeEntry = Schema.decodeUnknownResult(Entry)
const isHeader = Schema.is(Header)
const isAnyHeader = Schema.is(Schema.Struct({ _tag: Schema.Literal("Recording"), version: Schema.Unknown }))

const formatIssue = SchemaIssue.makeFormatterStandardSchemaV1()

const explain = (error: Schema.SchemaError): string => {
  const [first] = formatIssue(error.issue).issues
  const path = (first?.path ?? []).map((part) => String(typeof part === "object" ? part.key : part)).join(".")
  return `${first?.message ?? "not a line of a recording"}${path === "" ? "" : ` at ${path}`}`
}

const parseJson = (line: string): Result.Result<unknown, string> => {
  try {
    return Result.succeed(JSON.parse(line))
  } catch {
    return Result.fail("it is not a JSON value")
  }
}

/** Returns why a line is not a header that can be read, or `undefined`. */
export const readHeader = (line: string): RecordingError | undefined => {
  const parsed = parseJson(line)
  if (Result.isSuccess(parsed) && isHeader(parsed.success)) return undefined
  if (Result.isSuccess(parsed) && isAnyHeader(parsed.success)) {
    return new RecordingError({ problem: "UnknownVersion", line: 1, detail: JSON.stringify(parsed.success.version) })
  }
  return new RecordingError({ problem: "NotARecording", line: 1 })
}

/** Decodes a line. */
export const readEntry = (text: string, line: number): Result.Result<Entry, RecordingError> => {
  const damaged = (detail: string) => new RecordingError({ problem: "Damaged", line, detail })
  const parsed = parseJson(text)
  if (Result.isFailure(parsed)) return Result.fail(damaged(parsed.failure))
  const entry = decodeEntry(parsed.success)
  if (Result.isFailure(entry)) return Result.fail(damaged(explain(entry.failure)))
  const value = entry.success
  if ((value._tag === "Received" || value._tag === "Sent") && "base64" in value.frame) {
    if (Result.isFailure(Base64.decode(value.frame.base64))) return Result.fail(damaged("it is not base64 at frame"))
  }
  return Result.succeed(value)
}
