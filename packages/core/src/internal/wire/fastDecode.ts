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

/** The messages that can stay undecoded. */
export type Skippable = (Output | Update)["_tag"]

/** `false` if a message that is not decoded yet is not wanted. */
export type MayBeWanted = (type: Skippable, taskId: TaskId) => boolean

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
  isString(object.type) && !serverTypes.has(object.type)

/**
 * Whether every number in a parsed value is finite. JSON allows numbers beyond the range of a double: `JSON.parse` makes
 * them infinite, and the schema refuses them. A loop instead of recursion, because the sender chooses the depth.
 */
const hasFiniteNumbers = (value: Schema.Json): boolean => {
  const open = [value]
  for (const each of open) {
    if (typeof each === "number" && !Number.isFinite(each)) return false
    if (typeof each === "object") for (const member of Object.values(each ?? {})) open.push(member)
  }
  return true
}

const isString = (value: unknown): value is string => typeof value === "string"

const isBoolean = (value: unknown): boolean => typeof value === "boolean"

const isTaskId = (value: unknown): value is TaskId => isString(value) && value.length > 0

/** An optional member, and which values of it are valid. */
type Member = readonly [name: string, isValid: (value: Schema.Json) => boolean]

const updateMembers: ReadonlyArray<Member> = [
  ["version", Number.isSafeInteger],
  ["status", isString],
  ["updatedFields", (value) => Array.isArray(value) && value.every(isString)],
  ["updatedBy", isString]
]

const outputMembers: ReadonlyArray<Member> = [
  ["toolName", isString],
  ["toolInput", hasFiniteNumbers],
  ["isError", isBoolean],
  ["costUsd", Number.isFinite],
  ["durationMs", Number.isSafeInteger],
  ["isPartial", isBoolean]
]

/** Adds the optional members of a frame to its message. Returns `undefined` if one is invalid. */
const withMembers = <M extends Update | Output>(
  message: M,
  object: JsonObject,
  members: ReadonlyArray<Member>
): M | undefined => {
  // The members are those of `M`, with valid values, which the type of a name does not say.
  const writable = message as unknown as Record<string, Schema.Json>
  for (const [name, isValid] of members) {
    const value = object[name]
    // `null` and missing mean the same.
    if (value === undefined || value === null) continue
    if (!isValid(value)) return undefined
    writable[name] = value
  }
  return message
}

const decodeOutput = (object: JsonObject): Output | undefined => {
  const { content, messageType, taskId } = object
  return isTaskId(taskId) && isString(messageType) && isString(content)
    ? withMembers({ _tag: "TaskOutput", taskId, messageType, content }, object, outputMembers)
    : undefined
}

const decodeUpdate = (object: JsonObject): Update | undefined =>
  isTaskId(object.taskId)
    ? withMembers({ _tag: "TaskUpdated", taskId: object.taskId }, object, updateMembers)
    : undefined

// ---------------------------------------------------------------------------
// from text
// ---------------------------------------------------------------------------

/** The longest frame that is decoded this way. A substring keeps its whole frame in memory while the program keeps it. */
const maxLength = 1024

/** A character that a JSON string contains without an escape. */
const char = String.raw`[^"\\\x00-\x1f]`
/** The inside of a string without escapes, what follows the backslash of an escape, and the inside of a string. */
const plain = `${char}*`
const escape = String.raw`(?:["\\/bfnrt]|u[0-9a-fA-F]{4})`
const text = String.raw`${plain}(?:\\${escape}${plain})*`
/** A non-negative integer that a number represents exactly. */
const int = "(?:0|[1-9][0-9]{0,14})"
const number = String.raw`-?${int}(?:\.[0-9]+)?`
const bool = "true|false"
/** What most tools receive: a plain value, or an object of plain values. */
const scalar = `(?:"${text}"|${number}|${bool}|null)`
const input = String.raw`${scalar}|\{(?:"${text}":${scalar}(?:,"${text}":${scalar})*)?\}`
/** An optional member, with the comma before it. `null` means absent. */
const optional = (name: string, value: string) => `(?:,"${name}":(?:null|${value}))?`

// A frame as servers write it: no white space, `type` first, the other members in the protocol's order, each at most once.
// Every other frame is decoded by `JSON.parse`. A text that matches an expression is a valid message. Each group is a member.
const outputFrame = new RegExp(
  String.raw`^\{"type":"taskOutput","taskId":"${char}+","messageType":"(${plain})",` +
    // The inner group is a backslash of the content.
    String.raw`"content":"(${plain}(?:(\\)${escape}${plain})*)"` +
    optional("toolName", `"(${plain})"`) +
    optional("toolInput", `(${input})`) +
    optional("isError", `(${bool})`) +
    optional("costUsd", `(${number})`) +
    optional("durationMs", `(${int})`) +
    optional("isPartial", `(${bool})`) +
    String.raw`\}$`
)
const updateFrame = new RegExp(
  String.raw`^\{"type":"taskUpdated","taskId":"${char}+"` +
    optional("version", `(${int})`) +
    optional("status", `"(${plain})"`) +
    optional("updatedFields", String.raw`\[((?:"${plain}"(?:,"${plain}")*)?)\]`) +
    optional("updatedBy", `"(${plain})"`) +
    String.raw`\}$`
)

/** A reconnect with 10,000 tasks brings as many of these at once. */
const outputSubscribedFrame = new RegExp(String.raw`^\{"type":"outputSubscribed","taskId":"(${char}+)"\}$`)

/**
 * Returns the message in the text of a frame, or `undefined` if another method must decode it. For a valid message that
 * `mayBeWanted` rejects, returns only its type: it is validated, but not decoded.
 *
 * The gain of not decoding (docs/performance.md): 0.11 instead of 0.28 µs for a frame, and no allocation. A stream of one
 * task of 1,000 goes from 1.84 to 2.9 times the rate of a loop that decodes everything.
 */
export const decodeText = (
  frame: string,
  mayBeWanted?: MayBeWanted
): Update | Output | Acknowledgement | Skippable | undefined => {
  if (frame.length > maxLength) return undefined
  // The first character in which the two types differ.
  const letter = frame.charCodeAt(`{"type":"task`.length)
  if (letter !== 79 && letter !== 85) {
    const taskId = outputSubscribedFrame.exec(frame)?.[1]
    return taskId === undefined ? undefined : { _tag: "OutputSubscribed", taskId: taskId as TaskId }
  }
  const type = letter === 79 ? "TaskOutput" : "TaskUpdated"
  // In a frame that matches the expression, this is the id. The id of every other frame is not used.
  const start = `{"type":"${type}","taskId":"`.length
  const taskId = frame.slice(start, frame.indexOf(`"`, start)) as TaskId
  if (mayBeWanted?.(type, taskId) === false) {
    return (type === "TaskOutput" ? outputFrame : updateFrame).test(frame) ? type : undefined
  }
  // The same string, so that its hash is computed once.
  return type === "TaskOutput" ? decodeOutputText(frame, taskId) : decodeUpdateText(frame, taskId)
}

const decodeOutputText = (frame: string, taskId: TaskId): Output | undefined => {
  // The groups of optional members can be missing, which the type of a match does not say.
  const match = outputFrame.exec(frame) as Groups | null
  if (match === null) return undefined
  const escaped = match[3]
  const toolName = match[4]
  const toolInput = match[5]
  const isError = match[6]
  const costUsd = match[7]
  const durationMs = match[8]
  const isPartial = match[9]
  const output: Output = { _tag: "TaskOutput", taskId, messageType: match[1], content: match[2] }
  if (escaped !== undefined) output.content = JSON.parse(`"${match[2]}"`)
  if (toolName !== undefined) output.toolName = toolName
  if (toolInput !== undefined) output.toolInput = JSON.parse(toolInput)
  if (isError !== undefined) output.isError = isError === "true"
  if (costUsd !== undefined) output.costUsd = Number(costUsd)
  if (durationMs !== undefined) output.durationMs = Number(durationMs)
  if (isPartial !== undefined) output.isPartial = isPartial === "true"
  return output
}

const decodeUpdateText = (frame: string, taskId: TaskId): Update | undefined => {
  const match = updateFrame.exec(frame) as Groups | null
  if (match === null) return undefined
  const version = match[1]
  const status = match[2]
  const updatedFields = match[3]
  const updatedBy = match[4]
  const update: Update = { _tag: "TaskUpdated", taskId }
  if (version !== undefined) update.version = Number(version)
  if (status !== undefined) update.status = status
  if (updatedFields !== undefined) update.updatedFields = stringsOf(updatedFields)
  if (updatedBy !== undefined) update.updatedBy = updatedBy
  return update
}

/** Returns the strings of `"a","b"`, none of which contains a quote. Twice as fast as `split`. */
const stringsOf = (text: string): ReadonlyArray<string> => {
  const strings: Array<string> = []
  for (let start = 1; start < text.length;) {
    const end = text.indexOf(`"`, start)
    strings.push(text.slice(start, end))
    start = end + 3
  }
  return strings
}

type Group = string | undefined
/** The groups of an expression: those of required members first. */
type Groups = readonly [string, string, string, ...Array<Group>]
