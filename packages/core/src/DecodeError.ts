/**
 * The error of a frame that is not a message.
 *
 * Decoding never throws: `ServerMessage.decodeFrame` and `ClientMessage.decodeFrame` return a message or a `DecodeError`.
 * The error says what is wrong and where. It is safe to log, because it never contains values or unknown names from the
 * frame.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

/**
 * A frame that is not a message.
 *
 * **Details**
 *
 * `problem` is what is wrong:
 *
 * - `InvalidUtf8`: the bytes of a binary frame are not UTF-8.
 * - `InvalidJson`: the text is not one JSON value.
 * - `NotAnObject`: the JSON value is not an object.
 * - `InvalidMessage`: a member of the object is missing or has a wrong value.
 *
 * For `InvalidMessage`:
 *
 * - `path` is the path of the member. It contains only indices and names that the protocol defines: it ends before the
 *   first other name, because that name is payload. For a member of an unknown message it is empty.
 * - `expected` describes the expected value.
 * - `messageType` is the `type` of the frame, if the protocol defines that type.
 *
 * `size` is the size of the frame: bytes of a binary frame, UTF-16 code units of a text frame.
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
  /** One line that says what was expected, and where. Contains no payload of the frame. */
  override get message(): string {
    const path = this.path.join(".")
    const type = this.messageType === undefined ? "" : `${this.messageType} `
    return `Bad ${type}frame of size ${this.size}: expected ${this.expected}${path && ` at ${path}`}`
  }
}
