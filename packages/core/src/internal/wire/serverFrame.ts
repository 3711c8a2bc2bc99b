/** Decodes the frames of a server: by the fastest method that can decode a frame. */
import type { DecodeError } from "../../DecodeError.ts"
import type { TaskId } from "../../TaskId.ts"
import * as DecodeObject from "./decodeObject.ts"
import * as DecodeText from "./decodeText.ts"
import * as Frame from "./frame.ts"
import type { Message } from "./messages.ts"

/** Decodes a frame. */
export function decode(frame: string | Uint8Array): Message | DecodeError
/** Decodes a frame. Returns only the type of a valid message that `mayBeWanted` rejects. `intern` returns an equal task id. */
export function decode(
  frame: string | Uint8Array,
  mayBeWanted: DecodeText.MayBeWanted | undefined,
  intern?: (taskId: TaskId) => TaskId
): Message | DecodeError | DecodeText.Skippable
export function decode(
  frame: string | Uint8Array,
  mayBeWanted?: DecodeText.MayBeWanted,
  intern?: (taskId: TaskId) => TaskId
): Message | DecodeError | DecodeText.Skippable {
  if (typeof frame === "string") {
    const message = DecodeText.decode(frame, mayBeWanted, intern)
    if (message !== undefined) return message
  }
  const parsed = Frame.parse(frame)
  if ("_tag" in parsed) return parsed
  return DecodeObject.decode(parsed, frame.length)
}
