/** One bad frame for each `problem` of a `DecodeError`. */
import type { DecodeError } from "@makima-stream/core/DecodeError"

export const frames: Readonly<Record<DecodeError["problem"], string | Uint8Array>> = {
  InvalidJson: `{"type":"taskUpdated",`,
  InvalidMessage: `{"type":"taskUpdated","taskId":7}`,
  InvalidUtf8: new Uint8Array([0x7b, 0xff, 0xfe, 0x7d]),
  NotAnObject: "[]"
}
