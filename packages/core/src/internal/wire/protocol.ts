/**
 * The messages that a server sends, as a table of their members: what the decoders need to know of the `ServerMessage`
 * schemas. The decoders use this table instead of the schemas, so that the bundle of a client does not contain these. A
 * property test in `ServerMessage.test.ts` checks that both agree.
 */
import type * as Schema from "effect/Schema"
import type { TaskId } from "../../TaskId.ts"
import type { Message } from "./messages.ts"
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

/** Makes the members of one kind of value. The last argument is what an error expects of a value of the right type. */
const member =
  (type: Member["type"], isValid: Member["isValid"], pattern: string, expected: string = type) =>
  (name: string, isRequired = false): Member => ({ name, type, isValid, expected, pattern, isRequired })

const string = member("string", isString, Patterns.string)
const id = member("string", isTaskId, Patterns.string, "a value with a length of at least 1")
const int = member("number", Number.isSafeInteger, Patterns.int, "an integer")
const finite = member("number", Number.isFinite, Patterns.number, "a finite number")
const boolean = member("boolean", (value) => typeof value === "boolean", Patterns.boolean)
// An array that is not valid has an element that is not a string.
const areStrings = (value: Schema.Json): boolean => Array.isArray(value) && value.every(isString)
const strings = member("array", areStrings, Patterns.strings, "string")
const json = member("JSON", hasFiniteNumbers, Patterns.toolInput, "JSON value")

/** The optional members of an update, in the order in which servers write them and in which they are checked. */
export const updateMembers: ReadonlyArray<Member> = [
  int("version"),
  string("status"),
  strings("updatedFields"),
  string("updatedBy")
]

/** The optional members of an output, in the same order. */
export const outputMembers: ReadonlyArray<Member> = [
  string("toolName"),
  json("toolInput"),
  boolean("isError"),
  finite("costUsd"),
  int("durationMs"),
  boolean("isPartial")
]

/** What a message consists of: its tag with the members that have a default, and the members of its frame. */
export type Definition = readonly [initial: Partial<Message>, ...members: ReadonlyArray<Member>]

/** The member of every message that says which message it is. */
export const typeMember = string("type", true)
const taskId = id("taskId", true)
const acknowledged = id("taskId")

/** The messages of the protocol, by their `type`. */
export const serverMessages: ReadonlyMap<string, Definition> = new Map<string, Definition>([
  ["taskUpdated", [{ _tag: "TaskUpdated" }, taskId, ...updateMembers]],
  [
    "taskOutput",
    [{ _tag: "TaskOutput" }, taskId, string("messageType", true), string("content", true), ...outputMembers]
  ],
  ["error", [{ _tag: "ServerError", code: "ERROR", message: "" }, string("code"), string("message")]],
  ["subscribedAll", [{ _tag: "SubscribedAll" }]],
  ["unsubscribedAll", [{ _tag: "UnsubscribedAll" }]],
  ["subscribed", [{ _tag: "Subscribed" }, acknowledged]],
  ["unsubscribed", [{ _tag: "Unsubscribed" }, acknowledged]],
  ["outputSubscribed", [{ _tag: "OutputSubscribed" }, acknowledged]],
  ["outputUnsubscribed", [{ _tag: "OutputUnsubscribed" }, acknowledged]]
])

/** The members of all messages, in both directions. Only these names may appear in errors and logs. */
export const memberNames: ReadonlySet<string> = new Set(
  [...serverMessages.values()].flatMap(([, ...members]) => members.map(({ name }) => name)).concat("type")
)
