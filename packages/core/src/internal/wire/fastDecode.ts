/**
 * The short ways to the two frequent messages, and to a message of an unknown
 * type, whose size and depth are the sender's choice: `decodeText` from a frame's
 * text, past `JSON.parse`, and `decode` from the object that `JSON.parse` gave.
 *
 * Invariant: each gives either exactly what the `ServerMessage` schema gives for
 * the same frame, or `undefined`, which leaves the frame to the next way. They
 * never decide that something is wrong, so every error still comes from the
 * schema. `ServerMessage.test.ts` holds the three equal over generated and
 * damaged frames.
 *
 * The messages are built member by member with absent members left out, because
 * that is what the schema does.
 */
import type * as Schema from "effect/Schema"
import type { TaskOutput, TaskUpdated, UnknownMessage } from "../../ServerMessage.ts"
import type { TaskId } from "../../TaskId.ts"
import type { JsonObject } from "./frame.ts"

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

/** The `type`s that the protocol defines. */
export const knownTypes: ReadonlySet<string> = new Set([
  "taskUpdated",
  "taskOutput",
  "error",
  "subscribedAll",
  "unsubscribedAll",
  "subscribed",
  "unsubscribed",
  "outputSubscribed",
  "outputUnsubscribed"
])

/** The message in a parsed frame, or `undefined` for whatever the schema must judge. */
export const decode = (object: JsonObject): TaskUpdated | TaskOutput | UnknownMessage | undefined => {
  switch (object.type) {
    case "taskOutput":
      return decodeOutput(object)
    case "taskUpdated":
      return decodeUpdate(object)
    default:
      return isUnknown(object) && hasFiniteNumbers(object) ? { _tag: "UnknownMessage", raw: object } : undefined
  }
}

const isUnknown = (object: JsonObject): object is UnknownMessage["raw"] =>
  typeof object.type === "string" && !knownTypes.has(object.type)

/**
 * Whether every number in a parsed value is finite: JSON has larger ones than a double holds, `JSON.parse` makes them
 * infinite, and the schema refuses what was none. A loop, since the depth is the sender's choice.
 */
const hasFiniteNumbers = (value: Schema.Json): boolean => {
  if (typeof value !== "object") return typeof value !== "number" || Number.isFinite(value)
  const open = [value]
  for (const parent of open) {
    for (const member of Object.values(parent ?? {})) {
      if (typeof member === "object") open.push(member)
      else if (typeof member === "number" && !Number.isFinite(member)) return false
    }
  }
  return true
}

const isTaskId = (value: unknown): value is TaskId => typeof value === "string" && value.length > 0

const decodeOutput = (object: JsonObject): TaskOutput | undefined => {
  const { taskId, messageType, content, toolName, toolInput, isError, costUsd, durationMs, isPartial } = object
  if (!isTaskId(taskId) || typeof messageType !== "string" || typeof content !== "string") return undefined
  const output: Mutable<TaskOutput> = { _tag: "TaskOutput", taskId, messageType, content }
  // `!= null` on purpose: null and missing mean the same.
  if (toolName != null) {
    if (typeof toolName !== "string") return undefined
    output.toolName = toolName
  }
  if (toolInput != null) {
    if (!hasFiniteNumbers(toolInput)) return undefined
    output.toolInput = toolInput
  }
  if (isError != null) {
    if (typeof isError !== "boolean") return undefined
    output.isError = isError
  }
  if (costUsd != null) {
    if (!Number.isFinite(costUsd)) return undefined
    output.costUsd = costUsd as number
  }
  if (durationMs != null) {
    if (!Number.isSafeInteger(durationMs)) return undefined
    output.durationMs = durationMs as number
  }
  if (isPartial != null) {
    if (typeof isPartial !== "boolean") return undefined
    output.isPartial = isPartial
  }
  return output
}

const decodeUpdate = (object: JsonObject): TaskUpdated | undefined => {
  const { taskId, version, status, updatedFields, updatedBy } = object
  if (!isTaskId(taskId)) return undefined
  const update: Mutable<TaskUpdated> = { _tag: "TaskUpdated", taskId }
  if (version != null) {
    if (!Number.isSafeInteger(version)) return undefined
    update.version = version as number
  }
  if (status != null) {
    if (typeof status !== "string") return undefined
    update.status = status
  }
  if (updatedFields != null) {
    if (!Array.isArray(updatedFields)) return undefined
    for (const field of updatedFields) {
      if (typeof field !== "string") return undefined
    }
    update.updatedFields = updatedFields
  }
  if (updatedBy != null) {
    if (typeof updatedBy !== "string") return undefined
    update.updatedBy = updatedBy
  }
  return update
}

// ---------------------------------------------------------------------------
// from text
// ---------------------------------------------------------------------------

// Strings cut out of a frame keep the whole frame in memory: a task id that a program holds may hold no more than this.
export const maxLength = 1024

// What a JSON string may hold as it stands, a string without escapes, and the numbers of JSON.
export const char = String.raw`[^"\\\x00-\x1f]`
const string = `"(${char}*)"`
export const int = "(?:0|[1-9][0-9]{0,14})"
const number = String.raw`-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?`
export const optional = (name: string, value: string) => `(?:,"${name}":(?:null|${value}))?`

// A frame as servers write it: no space, `type` first, the other members in the protocol's order, each at most once.
// Whatever else is a message too takes the longer way. The expressions are sound because JSON is unambiguous: a text that
// one of them takes, in which what stands for `toolInput` is JSON, has that one reading.
const outputFrame = new RegExp(
  String.raw`^\{"type":"taskOutput","taskId":"(${char}+)","messageType":${string}` +
    String.raw`,"content":"(${char}*(?:\\.${char}*)*)"` +
    optional("toolName", string) +
    // As short as the rest allows; `JSON.parse` says whether it is a value.
    `(?:,"toolInput":(.+?))?` +
    optional("isError", "(true|false)") +
    optional("costUsd", `(${number})`) +
    optional("durationMs", `(${int})`) +
    optional("isPartial", "(true|false)") +
    String.raw`\}$`
)
const updateFrame = new RegExp(
  String.raw`^\{"type":"taskUpdated","taskId":"(${char}+)"` +
    optional("version", `(${int})`) +
    optional("status", string) +
    optional("updatedFields", String.raw`\[((?:"${char}*"(?:,"${char}*")*)?)\]`) +
    optional("updatedBy", string) +
    String.raw`\}$`
)

/** The message in the text of a frame, or `undefined` for whatever another way must judge. */
export const decodeText = (text: string): TaskUpdated | TaskOutput | undefined => {
  if (text.length > maxLength) return undefined
  // The first letter in which the two types differ.
  switch (text.charCodeAt(`{"type":"task`.length)) {
    case 79:
      return decodeOutputText(text)
    case 85:
      return decodeUpdateText(text)
    default:
      return undefined
  }
}

/** Whether a number in a text may be larger than a double: it has an exponent, or 309 digits. */
const mayOverflow = (text: string): boolean => text.length > 300 || /[0-9][eE]/.test(text)

const decodeOutputText = (text: string): TaskOutput | undefined => {
  // The expression has these groups; those of optional members may be missing.
  const match = outputFrame.exec(text) as ReadonlyArray<string> | null as OutputGroups | null
  if (match === null) return undefined
  const content = match[3]
  const toolName = match[4]
  const toolInput = match[5]
  const isError = match[6]
  const costUsd = match[7]
  const durationMs = match[8]
  const isPartial = match[9]
  const output: Mutable<TaskOutput> = { _tag: "TaskOutput", taskId: match[1], messageType: match[2], content }
  try {
    if (content.includes("\\")) output.content = JSON.parse(`"${content}"`)
    if (toolName !== undefined) output.toolName = toolName
    if (toolInput !== undefined) {
      const value: Schema.Json = JSON.parse(toolInput)
      if (mayOverflow(toolInput) && !hasFiniteNumbers(value)) return undefined
      if (value !== null) output.toolInput = value
    }
  } catch {
    return undefined
  }
  if (isError !== undefined) output.isError = isError === "true"
  if (costUsd !== undefined) {
    output.costUsd = Number(costUsd)
    if (!Number.isFinite(output.costUsd)) return undefined
  }
  if (durationMs !== undefined) output.durationMs = Number(durationMs)
  if (isPartial !== undefined) output.isPartial = isPartial === "true"
  return output
}

const decodeUpdateText = (text: string): TaskUpdated | undefined => {
  const match = updateFrame.exec(text) as ReadonlyArray<string> | null as UpdateGroups | null
  if (match === null) return undefined
  const version = match[2]
  const status = match[3]
  const updatedFields = match[4]
  const updatedBy = match[5]
  const update: Mutable<TaskUpdated> = { _tag: "TaskUpdated", taskId: match[1] }
  if (version !== undefined) update.version = Number(version)
  if (status !== undefined) update.status = status
  if (updatedFields !== undefined) update.updatedFields = splitStrings(updatedFields)
  if (updatedBy !== undefined) update.updatedBy = updatedBy
  return update
}

/** The strings of `"a","b"`. None has a quote in it, so that every second one starts a string. */
const splitStrings = (text: string): ReadonlyArray<string> => {
  const strings: Array<string> = []
  for (let start = 1; start < text.length;) {
    const end = text.indexOf(`"`, start)
    strings.push(text.slice(start, end))
    start = end + 3
  }
  return strings
}

type Group = string | undefined
type OutputGroups = readonly [string, TaskId, string, string, Group, Group, Group, Group, Group, Group]
type UpdateGroups = readonly [string, TaskId, Group, Group, Group, Group]
