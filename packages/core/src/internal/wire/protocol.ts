/**
 * The messages that a server sends, as a table of their members: what the decoders need to know of the `ServerMessage`
 * schemas. The decoders use this table instead of the schemas, so that the bundle of a client does not contain these. A
 * property test in `ServerMessage.test.ts` checks that both agree.
 */
import type * as Schema from "effect/Schema"
import type { TaskId } from "../../TaskId.ts"
import * as Patterns from "./patterns.ts"

/** A member, and what its value must be. */
export interface Member {
  readonly name: string
  /** The type of the value, or `JSON` for any. */
  readonly type: "string" | "number" | "boolean" | "array" | "JSON"
  readonly isValid: (value: Schema.Json) => boolean
  /** What an error says that a value of the right type should be. */
  readonly expected: string
  /** Matches the value in the text of a frame as servers write it, with one group. */
  readonly pattern: string
  readonly isRequired: boolean
}

export const isString = (value: unknown): value is string => typeof value === "string"

export const isTaskId = (value: unknown): value is TaskId => isString(value) && value !== ""

/**
 * Whether every number in a parsed value is finite. JSON allows numbers beyond the range of a double: `JSON.parse` makes
 * them infinite, and the schema refuses them. A loop instead of recursion, because the sender chooses the depth.
 */
export const hasFiniteNumbers = (value: Schema.Json): boolean => {
  const open = [value]
  for (const each of open) {
    if (typeof each === "number" && !Number.isFinite(each)) return false
    if (typeof each === "object") for (const member of Object.values(each ?? {})) open.push(member)
  }
  return true
}

/** What the value of a member must be. */
type Rule = Omit<Member, "name" | "isRequired">

const rule = (type: Rule["type"], isValid: Rule["isValid"], pattern: string, expected: string = type): Rule => ({
  type,
  isValid,
  pattern,
  expected
})
const string = rule("string", isString, Patterns.string)
const id = rule("string", isTaskId, Patterns.string, "a value with a length of at least 1")
const int = rule("number", Number.isSafeInteger, Patterns.int, "an integer")
const finite = rule("number", Number.isFinite, Patterns.number, "a finite number")
const boolean = rule("boolean", (value) => typeof value === "boolean", Patterns.boolean)
// An array that is not valid has an element that is not a string.
const areStrings = (value: Schema.Json): boolean => Array.isArray(value) && value.every(isString)
const strings = rule("array", areStrings, Patterns.strings, "string")
const json = rule("JSON", hasFiniteNumbers, Patterns.toolInput, "JSON value")

const required = (name: string, rule: Rule): Member => ({ name, ...rule, isRequired: true })
const optional = (name: string, rule: Rule): Member => ({ name, ...rule, isRequired: false })

/** The optional members of an update, in the order in which servers write them and in which they are checked. */
export const updateMembers: ReadonlyArray<Member> = [
  optional("version", int),
  optional("status", string),
  optional("updatedFields", strings),
  optional("updatedBy", string)
]

/** The optional members of an output, in the same order. */
export const outputMembers: ReadonlyArray<Member> = [
  optional("toolName", string),
  optional("toolInput", json),
  optional("isError", boolean),
  optional("costUsd", finite),
  optional("durationMs", int),
  optional("isPartial", boolean)
]

/** The members of an error. Both have a default. */
export const errorMembers: ReadonlyArray<Member> = [optional("code", string), optional("message", string)]

/** The member that names the message. */
export const typeMember = required("type", string)

const taskId = required("taskId", id)
const acknowledged = [optional("taskId", id)]

/** All members of each message, by its `type`. */
export const serverMessages: ReadonlyMap<string, ReadonlyArray<Member>> = new Map([
  ["taskUpdated", [taskId, ...updateMembers]],
  ["taskOutput", [taskId, required("messageType", string), required("content", string), ...outputMembers]],
  ["error", errorMembers],
  ["subscribedAll", []],
  ["unsubscribedAll", []],
  ["subscribed", acknowledged],
  ["unsubscribed", acknowledged],
  ["outputSubscribed", acknowledged],
  ["outputUnsubscribed", acknowledged]
])

/** The members of all messages, in both directions. Only these names may appear in errors and logs. */
export const memberNames: ReadonlySet<string> = new Set(
  [typeMember, ...[...serverMessages.values()].flat()].map(({ name }) => name)
)
