/**
 * The shortest way for a frame: to nothing, because nobody wants its message. It
 * only says that the frame holds one.
 *
 * Invariant: a frame that is skipped is one in which the `ServerMessage` schema
 * sees a message of the type that is given here, and one that nobody may
 * want. `ServerMessage.test.ts` holds that over generated and damaged frames.
 */
import type { TaskId } from "../../TaskId.ts"
import { char, int, maxLength, optional } from "./fastDecode.ts"
import type { MayBeWanted, Skippable } from "../pushdown.ts"

// Exact without `JSON.parse`: with escapes as JSON has them, numbers that are finite for sure, and for `toolInput` what
// tools are given most: an object of plain values, or one of those. What is more than that is decoded to be judged.
const string = String.raw`"${char}*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})${char}*)*"`
const number = String.raw`-?(?:0|[1-9][0-9]{0,99})(?:\.[0-9]+)?`
const plain = `(?:${string}|${number}|true|false|null)`
const plainObject = String.raw`\{(?:${string}:${plain}(?:,${string}:${plain})*)?\}`

const anyOutput = new RegExp(
  String.raw`^\{"type":"taskOutput","taskId":"${char}+","messageType":${string},"content":${string}` +
    optional("toolName", string) +
    optional("toolInput", `(?:${plain}|${plainObject})`) +
    optional("isError", "(?:true|false)") +
    optional("costUsd", number) +
    optional("durationMs", int) +
    optional("isPartial", "(?:true|false)") +
    String.raw`\}$`
)
const anyUpdate = new RegExp(
  String.raw`^\{"type":"taskUpdated","taskId":"${char}+"` +
    optional("version", int) +
    optional("status", string) +
    optional("updatedFields", String.raw`\[(?:${string}(?:,${string})*)?\]`) +
    optional("updatedBy", string) +
    String.raw`\}$`
)
const outputPrefix = `{"type":"taskOutput","taskId":"`.length
const updatePrefix = `{"type":"taskUpdated","taskId":"`.length

/** The type of the message in a frame that may be skipped; `undefined` for every other frame. */
export const skip = (text: string, mayBeWanted: MayBeWanted): Skippable | undefined => {
  if (text.length > maxLength) return undefined
  // The first letter in which the two types differ.
  switch (text.charCodeAt(`{"type":"task`.length)) {
    case 79:
      return mayBeWanted("TaskOutput", idAt(text, outputPrefix)) || !anyOutput.test(text) ? undefined : "TaskOutput"
    case 85:
      return mayBeWanted("TaskUpdated", idAt(text, updatePrefix)) || !anyUpdate.test(text) ? undefined : "TaskUpdated"
    default:
      return undefined
  }
}

// Where the frame is another than it seems, or the id has an escape in it, this is no id, and the frame is not skipped.
const idAt = (text: string, start: number): TaskId => text.slice(start, text.indexOf(`"`, start)) as TaskId
