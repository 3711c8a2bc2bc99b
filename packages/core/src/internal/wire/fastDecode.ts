/**
 * Decodes the two frequent messages, acknowledgements of one task, and messages of an unknown type, without the schema:
 * `decodeText` from a frame's text, without `JSON.parse`, and `decode` from the object that `JSON.parse` returned.
 *
 * Invariant: each returns exactly what the `ServerMessage` schema returns for the same frame, or `undefined`; then the next
 * method decodes the frame. Neither reports an error, so every error comes from the schema. `ServerMessage.test.ts` checks
 * that the three agree, on generated and on damaged frames.
 *
 * The gain (docs/performance.md): `decodeText` saves about 0.1 µs of the 0.6 µs of CPU that `MeshStream.connect` spends on
 * an event. `decode` avoids the schema, which allocates several times as much as the rest of the path of an event
 * (`work.test.ts` fails without it), and which recurses into input whose depth the sender chooses.
 */
import type * as Schema from "effect/Schema"
import type { TaskId } from "../../TaskId.ts"
import * as ExactIntegers from "./exactIntegers.ts"
import type { JsonObject } from "./exactIntegers.ts"
import { serverTypes } from "./protocol.ts"

// The messages as `ServerMessage` declares them, but writable, because they are built member by member. Absent members are
// omitted, as in the schema.

interface Update {
  readonly _tag: "TaskUpdated"
  readonly taskId: TaskId
  version?: number
  status?: string
  updatedFields?: ReadonlyArray<string>
  updatedBy?: string
}

interface Output {
  readonly _tag: "TaskOutput"
  readonly taskId: TaskId
  readonly messageType: string
  content: string
  toolName?: string
  toolInput?: Exclude<Schema.Json, null>
  isError?: boolean
  costUsd?: number
  durationMs?: number
  isPartial?: boolean
}

interface Unknown {
  readonly _tag: "UnknownMessage"
  readonly raw: { readonly [key: string]: Schema.Json; readonly type: string }
}

type Acknowledged = "Subscribed" | "Unsubscribed" | "OutputSubscribed" | "OutputUnsubscribed"

interface Acknowledgement {
  readonly _tag: Acknowledged
  readonly taskId?: TaskId
}

/** Returns the message in a parsed frame, or `undefined` if the schema must decide. */
export const decode = (object: JsonObject): Update | Output | Acknowledgement | Unknown | undefined => {
  switch (object.type) {
    case "taskOutput":
      return decodeOutput(object)
    case "taskUpdated":
      return decodeUpdate(object)
    // A reconnect with 10,000 tasks brings as many of these at once.
    case "subscribed":
      return decodeAcknowledgement("Subscribed", object)
    case "unsubscribed":
      return decodeAcknowledgement("Unsubscribed", object)
    case "outputSubscribed":
      return decodeAcknowledgement("OutputSubscribed", object)
    case "outputUnsubscribed":
      return decodeAcknowledgement("OutputUnsubscribed", object)
    default:
      return isUnknown(object) && hasFiniteNumbers(object) ? { _tag: "UnknownMessage", raw: object } : undefined
  }
}

const decodeAcknowledgement = (_tag: Acknowledged, { taskId }: JsonObject): Acknowledgement | undefined => {
  if (taskId == null) return { _tag }
  return isTaskId(taskId) ? { _tag, taskId } : undefined
}

const isUnknown = (object: JsonObject): object is Unknown["raw"] =>
  typeof object.type === "string" && !serverTypes.has(object.type)

/**
 * Whether every number in a parsed value is finite. JSON allows numbers beyond the range of a double: `JSON.parse` makes
 * them infinite, and the schema refuses them. A loop instead of recursion, because the sender chooses the depth.
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

const decodeOutput = (object: JsonObject): Output | undefined => {
  const { taskId, messageType, content, toolName, toolInput, isError, costUsd, durationMs, isPartial } = object
  if (!isTaskId(taskId) || typeof messageType !== "string" || typeof content !== "string") return undefined
  const output: Output = { _tag: "TaskOutput", taskId, messageType, content }
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

const decodeUpdate = (object: JsonObject): Update | undefined => {
  const { taskId, version, status, updatedFields, updatedBy } = object
  if (!isTaskId(taskId)) return undefined
  const update: Update = { _tag: "TaskUpdated", taskId }
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

/** The longest frame that is decoded this way. A substring keeps its whole frame in memory while the program keeps it. */
export const maxLength = 1024

/** A character that a JSON string contains without an escape. */
export const char = String.raw`[^"\\\x00-\x1f]`
const string = `"(${char}*)"`
/** A non-negative integer that a number represents exactly. */
export const int = "(?:0|[1-9][0-9]{0,14})"
const number = String.raw`-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?`
/** An optional member, with the comma before it. `null` means absent. */
export const optional = (name: string, value: string) => `(?:,"${name}":(?:null|${value}))?`

// A frame as servers write it: no white space, `type` first, the other members in the protocol's order, each at most once.
// Every other frame is decoded by `JSON.parse`. The expressions are sound because JSON is unambiguous: if a text matches an
// expression, and the part in the place of `toolInput` is valid JSON, then the text has no other meaning.
const outputFrame = new RegExp(
  String.raw`^\{"type":"taskOutput","taskId":"(${char}+)","messageType":${string}` +
    String.raw`,"content":"(${char}*(?:\\.${char}*)*)"` +
    optional("toolName", string) +
    // The shortest match that fits the rest. `JSON.parse` decides whether it is a value.
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

/** Returns the message in the text of a frame, or `undefined` if another method must decode it. */
export const decodeText = (text: string): Update | Output | undefined => {
  if (text.length > maxLength) return undefined
  // The first character in which the two types differ.
  switch (text.charCodeAt(`{"type":"task`.length)) {
    case 79:
      return decodeOutputText(text)
    case 85:
      return decodeUpdateText(text)
    default:
      return undefined
  }
}

/** Whether a number in a text can be beyond the range of a double: that takes an exponent or 309 digits. */
const mayOverflow = (text: string): boolean => text.length > 300 || /[0-9][eE]/.test(text)

const decodeOutputText = (text: string): Output | undefined => {
  // These are the groups of the expression. Those of optional members can be missing.
  const match = outputFrame.exec(text) as ReadonlyArray<string> | null as OutputGroups | null
  if (match === null) return undefined
  const content = match[3]
  const toolName = match[4]
  const toolInput = match[5]
  const isError = match[6]
  const costUsd = match[7]
  const durationMs = match[8]
  const isPartial = match[9]
  const output: Output = { _tag: "TaskOutput", taskId: match[1], messageType: match[2], content }
  try {
    if (content.includes("\\")) output.content = JSON.parse(`"${content}"`)
    if (toolName !== undefined) output.toolName = toolName
    if (toolInput !== undefined) {
      const value = ExactIntegers.parse(toolInput)
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

const decodeUpdateText = (text: string): Update | undefined => {
  const match = updateFrame.exec(text) as ReadonlyArray<string> | null as UpdateGroups | null
  if (match === null) return undefined
  const version = match[2]
  const status = match[3]
  const updatedFields = match[4]
  const updatedBy = match[5]
  const update: Update = { _tag: "TaskUpdated", taskId: match[1] }
  if (version !== undefined) update.version = Number(version)
  if (status !== undefined) update.status = status
  if (updatedFields !== undefined) update.updatedFields = splitStrings(updatedFields)
  if (updatedBy !== undefined) update.updatedBy = updatedBy
  return update
}

/** Returns the strings of `"a","b"`. None contains a quote, so every second quote starts a string. */
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
