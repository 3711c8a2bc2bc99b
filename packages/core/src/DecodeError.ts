/**
 * Why a frame is not a message.
 *
 * Decoding never throws: a frame is either a message or one of these values,
 * which say what was wrong and where, and never repeat what the frame held, so
 * that they may be logged. `ServerMessage` and `ClientMessage` make them.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

/**
 * A frame that is not a message.
 *
 * **Details**
 *
 * `problem` tells how far the decoder came:
 *
 * - `InvalidUtf8`: a binary frame whose bytes are not UTF-8.
 * - `InvalidJson`: text that is not one JSON value.
 * - `NotAnObject`: a JSON value other than an object.
 * - `InvalidMessage`: an object whose members do not fit; `path` names the
 *   member, `expected` what belongs there, and `messageType` the frame's
 *   `type`, where that could be read and is a known one.
 *
 * `size` is the frame's size: bytes of a binary frame, UTF-16 code units of a
 * text frame.
 *
 * **Example** (Reading what was wrong)
 *
 * ```ts
 * import * as Result from "effect/Result"
 * import * as ServerMessage from "@makima-stream/core/ServerMessage"
 *
 * const result = ServerMessage.decodeFrame(`{"type":"taskUpdated","taskId":""}`)
 * if (Result.isFailure(result)) {
 *   console.log(result.failure.path) // ["taskId"]
 * }
 * ```
 *
 * @category errors
 * @since 0.1.0
 */
export class DecodeError extends Schema.TaggedError<DecodeError>("@makima-stream/core/DecodeError")("DecodeError", {
  problem: Schema.Literals(["InvalidUtf8", "InvalidJson", "NotAnObject", "InvalidMessage"]),
  messageType: Schema.optionalKey(Schema.String),
  path: Schema.Array(Schema.Union([Schema.String, Schema.Int])),
  expected: Schema.String,
  size: Schema.Int
}) {
  /** One line: what was expected, and where. Holds nothing of the frame's payload. */
  override get message(): string {
    const where = this.path.length === 0 ? "" : ` at ${this.path.join(".")}`
    const what = this.messageType === undefined ? "frame" : `${this.messageType} frame`
    return `Bad ${what} of size ${this.size}: expected ${this.expected}${where}`
  }
}
