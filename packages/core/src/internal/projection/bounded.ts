/**
 * Strings and outputs cut to a bound, so that what a projection keeps of a task
 * has a bound too: one frame may be 16 MiB.
 */
import type * as Schema from "effect/Schema"
import type { TaskOutput } from "../../ServerMessage.ts"

/** Statuses, message types and tool names are kept up to this length. */
export const maxNameChars = 256

/** A copy of a string's beginning. A plain `slice` would keep the whole string in memory. */
const beginningOf = (text: string, maxChars: number): string =>
  text.length <= maxChars ? text : (JSON.parse(JSON.stringify(text.slice(0, maxChars))) as string)

/** A status, message type or tool name as it is kept. */
export const name = (text: string): string => beginningOf(text, maxNameChars)

/** How many characters a JSON value has, about: counting stops once there are more than `limit`. */
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

/** How many characters of an output are kept, about. */
export const charsOf = ({ content, toolInput }: TaskOutput): number =>
  content.length + (toolInput === undefined ? 0 : charsOfJson(toolInput, Infinity))

/**
 * An output with at most `maxChars` characters of `content`. A `toolInput` that
 * does not fit besides it is left out. Returns the same object if all fits.
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
