/** What a frame's bytes are handed on as. */
import { isUtf8 } from "node:buffer"

/** A frame as it is pulled: text as a string, everything else as bytes. */
export type Frame = string | Uint8Array

/**
 * The text of a text frame. Bytes that are not UTF-8 stay bytes: the decoder
 * judges them, and the connection goes on.
 *
 * `toString` writes U+FFFD for invalid bytes. Looking for that character is
 * cheaper than validating every byte beforehand.
 */
export const textOf = (data: Buffer, start: number, end: number): Frame => {
  const text = data.toString("utf8", start, end)
  if (!text.includes("\uFFFD")) return text
  const bytes = data.subarray(start, end)
  return isUtf8(bytes) ? text : bytesOf(bytes)
}

/** The bytes of a binary frame. A view of a larger buffer is copied: it would keep up to 64 KiB of other frames alive. */
export const bytesOf = (data: Buffer): Uint8Array =>
  data.length === data.buffer.byteLength ? new Uint8Array(data.buffer) : new Uint8Array(data)
