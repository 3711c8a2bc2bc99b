/**
 * Decodes the parsed frame of a server without the schema.
 *
 * Invariant: returns the message, or the path and the expectation of the error, that the `ServerMessage` schema returns for
 * the same frame. `ServerMessage.test.ts` checks this on generated and on damaged frames.
 *
 * The gain: the schema allocates several times as much as the rest of the path of an event (`work.test.ts` fails with it),
 * recurses into input whose depth the sender chooses, and weighs 0.9 KiB in a bundle.
 */
import type * as Schema from "effect/Schema"
import { DecodeError } from "../../DecodeError.ts"
import type { JsonObject } from "./exactIntegers.ts"
import type { Message, TaskAcknowledged, Unknown } from "./messages.ts"
import {
  errorMembers,
  hasFiniteNumbers,
  isString,
  isTaskId,
  type Member,
  memberNames,
  outputMembers,
  serverMessages,
  typeMember,
  updateMembers
} from "./protocol.ts"

/** Returns the message in a parsed frame of this size, or its first error. */
export const decode = (object: JsonObject, size: number): Message | DecodeError =>
  decodeValid(object) ?? errorOf(object, size)

const decodeValid = (object: JsonObject): Message | undefined => {
  const { content, messageType, taskId } = object
  switch (object.type) {
    case "taskOutput":
      return isTaskId(taskId) && isString(messageType) && isString(content)
        ? withMembers({ _tag: "TaskOutput", taskId, messageType, content }, object, outputMembers)
        : undefined
    case "taskUpdated":
      return isTaskId(taskId) ? withMembers({ _tag: "TaskUpdated", taskId }, object, updateMembers) : undefined
    case "error":
      return withMembers({ _tag: "ServerError", code: "ERROR", message: "" }, object, errorMembers)
    case "subscribedAll":
      return { _tag: "SubscribedAll" }
    case "unsubscribedAll":
      return { _tag: "UnsubscribedAll" }
    // A reconnect with 10,000 tasks brings as many of these at once.
    case "subscribed":
      return acknowledgement("Subscribed", taskId)
    case "unsubscribed":
      return acknowledgement("Unsubscribed", taskId)
    case "outputSubscribed":
      return acknowledgement("OutputSubscribed", taskId)
    case "outputUnsubscribed":
      return acknowledgement("OutputUnsubscribed", taskId)
    default:
      return isNamed(object) && hasFiniteNumbers(object) ? { _tag: "UnknownMessage", raw: object } : undefined
  }
}

const isNamed = (object: JsonObject): object is Unknown["raw"] => isString(object.type)

const acknowledgement = (
  _tag: TaskAcknowledged["_tag"],
  taskId: Schema.Json | undefined
): TaskAcknowledged | undefined => {
  if (taskId == null) return { _tag }
  return isTaskId(taskId) ? { _tag, taskId } : undefined
}

/** Adds the optional members of a frame to its message. Returns `undefined` if one is invalid. */
const withMembers = <M extends Message>(
  message: M,
  object: JsonObject,
  members: ReadonlyArray<Member>
): M | undefined => {
  // The members are those of `M`, with valid values, which the type of a name does not say.
  const writable = message as unknown as Record<string, Schema.Json>
  for (const { isValid, name } of members) {
    const value = object[name]
    // `null` and missing mean the same.
    if (value === undefined || value === null) continue
    if (!isValid(value)) return undefined
    writable[name] = value
  }
  return message
}

/** The first error of an object that is not a message. */
const errorOf = (object: JsonObject, size: number): DecodeError => {
  const { type } = object
  const members = isString(type) ? serverMessages.get(type) : [typeMember]
  const invalid = (path: DecodeError["path"], expected: string) =>
    invalidMessage(path, expected, size, isString(type) && members !== undefined ? type : undefined)

  for (const { expected, isRequired, isValid, name, type } of members ?? []) {
    const value = object[name]
    if (value === undefined && isRequired) return invalid([name], "a value")
    if (value === undefined || (value === null && !isRequired) || isValid(value)) continue
    if (type === "array" && Array.isArray(value)) {
      return invalid([name, value.findIndex((each) => !isString(each))], expected)
    }
    if (type === "JSON" || type === typeof value) return invalid([name], expected)
    return invalid([name], isRequired ? type : `${type} | null`)
  }
  // The type is unknown. The name of a member that the protocol does not define is payload, which must not reach an error.
  const name = Object.keys(object).find((each) => !hasFiniteNumbers(object[each] ?? null)) ?? ""
  return invalid(memberNames.has(name) ? [name] : [], "JSON value")
}

/** The error of an object that is not a message. `messageType` is its `type`, if the protocol defines that. */
export const invalidMessage = (
  path: DecodeError["path"],
  expected: string,
  size: number,
  messageType: string | undefined
): DecodeError =>
  new DecodeError({
    problem: "InvalidMessage",
    ...(messageType === undefined ? {} : { messageType }),
    path,
    expected,
    size
  })
