/**
 * Decodes the two frequent messages from the text of a frame without `JSON.parse`.
 *
 * Invariant: returns what `decodeObject` returns for the parsed frame, or `undefined`; then the frame must be parsed. Never
 * returns an error. `ServerMessage.test.ts` checks this against the schema, on generated and on damaged frames.
 *
 * The gain (docs/performance.md): about 0.1 µs of the 0.6 µs of CPU that `MeshStream.connect` spends on an event.
 */
import type { TaskId } from "../../TaskId.ts"
import type { Output, Update } from "./messages.ts"
import { char, escape, plain } from "./patterns.ts"
import { type Member, outputMembers, updateMembers } from "./protocol.ts"

/** The messages that can stay undecoded. */
export type Skippable = (Output | Update)["_tag"]

/** `false` if a message that is not decoded yet is not wanted. */
export type MayBeWanted = (type: Skippable, taskId: TaskId) => boolean

/** The longest frame that is decoded this way. A substring keeps its whole frame in memory while the program keeps it. */
const maxLength = 1024

/** A frame as servers write it: `type` first, the other members in the protocol's order, each at most once. */
const frameOf = (start: string, members: ReadonlyArray<Member>): RegExp => {
  const optional = members.map(({ name, pattern }) => `(?:,"${name}":(?:null|${pattern}))?`)
  return new RegExp(`^\\{"type":"${start}${optional.join("")}\\}$`)
}

// Every other frame is decoded by `JSON.parse`. A text that matches an expression is a valid message. Each group is a member.
const outputFrame = frameOf(
  `taskOutput","taskId":"${char}+","messageType":"(${plain})",` +
    // The inner group is a backslash of the content.
    String.raw`"content":"(${plain}(?:(\\)${escape}${plain})*)"`,
  outputMembers
)
const updateFrame = frameOf(`taskUpdated","taskId":"${char}+"`, updateMembers)

/**
 * Returns the message in the text of a frame, or `undefined` if another method must decode it. For a valid message that
 * `mayBeWanted` rejects, returns only its type: it is validated, but not decoded. `intern` returns an equal task id (see `taskIds.ts`).
 *
 * The gain of not decoding (docs/performance.md): 0.11 instead of 0.28 µs for a frame, and no allocation. A stream of one
 * task of 1,000 goes from 1.84 to 2.9 times the rate of a loop that decodes everything.
 */
export const decode = (
  frame: string,
  mayBeWanted?: MayBeWanted,
  intern?: (taskId: TaskId) => TaskId
): Update | Output | Skippable | undefined => {
  if (frame.length > maxLength) return undefined
  // The first character in which the two types differ: O or U.
  const letter = frame.charCodeAt(`{"type":"task`.length)
  if (letter !== 79 && letter !== 85) return undefined
  const isOutput = letter === 79
  const type = isOutput ? "TaskOutput" : "TaskUpdated"
  // In a frame that matches the expression, this is the id. The id of every other frame is not used.
  const start = type.length + `{"type":"","taskId":"`.length
  const cut = frame.slice(start, frame.indexOf(`"`, start)) as TaskId
  const taskId = intern?.(cut) ?? cut
  if (mayBeWanted?.(type, taskId) === false) {
    return (isOutput ? outputFrame : updateFrame).test(frame) ? type : undefined
  }
  // The same string, so that its hash is computed once.
  return isOutput ? decodeOutputText(frame, taskId) : decodeUpdateText(frame, taskId)
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
  if (version !== undefined && status !== undefined && updatedFields !== undefined && updatedBy !== undefined) {
    // One literal for the common case: V8 stores members that are added later in a second object (0.04 µs).
    return {
      _tag: "TaskUpdated",
      taskId,
      version: Number(version),
      status,
      updatedFields: stringsOf(updatedFields),
      updatedBy
    }
  }
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
