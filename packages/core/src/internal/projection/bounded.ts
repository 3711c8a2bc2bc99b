/**
 * Cuts strings and outputs to a bound, since one frame may be 16 MiB. So the memory
 * that a projection uses for a task is bounded.
 */
import type * as Schema from "effect/Schema"
import type { TaskOutput } from "../../ServerMessage.ts"

/** The longest status, message type or tool name that is kept. */
export const maxNameChars = 256

/** A copy of a string's beginning. A plain `slice` would keep the whole string in memory. */
const beginningOf = (text: string, maxChars: number): string =>
  text.length <= maxChars ? text : (JSON.parse(JSON.stringify(text.slice(0, maxChars))) as string)

/** A status, message type or tool name, cut to its bound. */
export const name = (text: string): string => beginningOf(text, maxNameChars)

/** The approximate number of characters of a JSON value. Counting stops above `limit`. */
const charsOfJson = (value: Schema.Json, limit: number): number => {
  const pending: Array<Schema.Json> = [value]
  let chars = 0
  for (let next = pending.pop(); next !== undefined && chars <= limit; next = pending.pop()) {
    if (typeof next === "string") chars += next.length + 2
    else if (typeof next !== "object" || next === null) chars += 8
    else if (Array.isArray(next)) {
      chars += next.length + 2
      if (chars <= limit) for (const item of next) pending.push(item)
    } else {
      chars += 2
      for (const [key, member] of Object.entries(next)) {
        chars += key.length + 3
        if (chars > limit) break
        pending.push(member)
      }
    }
  }
  return chars
}

/** The approximate number of characters of a kept output. */
export const charsOf = ({ content, toolInput }: TaskOutput): number =>
  content.length + (toolInput === undefined ? 0 : charsOfJson(toolInput, Infinity))

/**
 * An output with at most `maxChars` characters of `content`. A `toolInput` that
 * exceeds the rest of `maxChars` is omitted. Returns the same object if nothing is
 * cut.
 */
export const output = (self: TaskOutput, maxChars: number): TaskOutput => {
  const isShort =
    self.content.length <= maxChars &&
    self.messageType.length <= maxNameChars &&
    (self.toolName === undefined || self.toolName.length <= maxNameChars)
  const room = Math.max(0, maxChars - self.content.length)
  const hasRoom = self.toolInput === undefined || charsOfJson(self.toolInput, room) <= room
  if (isShort && hasRoom) return self
  const { toolInput, ...rest } = self
  return {
    ...rest,
    content: beginningOf(self.content, maxChars),
    messageType: name(self.messageType),
    ...(self.toolName === undefined ? {} : { toolName: name(self.toolName) }),
    ...(toolInput !== undefined && hasRoom ? { toolInput } : {})
  }
}
