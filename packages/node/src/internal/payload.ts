/** Converts the bytes of a frame into the value that is pulled. */
import { isUtf8 } from "node:buffer"

/** A frame as it is pulled: text as a string, everything else as bytes. */
export type Frame = string | Uint8Array

/**
 * The text of a text frame. Bytes that are not UTF-8 stay bytes: the decoder reports
 * them, and the connection continues.
 *
 * `toString` writes U+FFFD for invalid bytes. Searching for that character is faster
 * than validating all bytes first.
 */
export const textOf = (data: Buffer, start: number, end: number): Frame => {
  const text = data.toString("utf8", start, end)
  if (!text.includes("\uFFFD")) return text
  const bytes = data.subarray(start, end)
  return isUtf8(bytes) ? text : bytesOf(bytes)
}

/** The bytes of a binary frame. A view of a larger buffer is copied, since it would keep up to 64 KiB of other frames in memory. */
export const bytesOf = (data: Buffer): Uint8Array =>
  data.length === data.buffer.byteLength ? new Uint8Array(data.buffer) : new Uint8Array(data)
