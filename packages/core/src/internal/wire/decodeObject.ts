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
import * as ExactIntegers from "./exactIntegers.ts"
import type { Parsed } from "./frame.ts"
import type { Message, Unknown } from "./messages.ts"
import { hasFiniteNumbers, isString, type Member, serverMessages, typeMember } from "./protocol.ts"

/** Returns the message in a parsed frame of this size, or its first error. */
export const decode = (parsed: Parsed, size: number): Message | DecodeError => {
  const { object } = parsed
  const { type } = object
  if (!isString(type)) return memberError(typeMember, type, size)
  const definition = serverMessages.get(type)
  if (definition === undefined) return decodeUnknown(parsed, size)
  const [initial, ...members] = definition
  const message: Record<string, Schema.Json> = { ...initial }
  for (const member of members) {
    const { isRequired, isValid, name } = member
    let value = object[name]
    // `null` and missing mean the same.
    if (value == null && !isRequired) continue
    if (member.type === "JSON") value = ExactIntegers.restore(parsed)[name]
    if (value === undefined || !isValid(value)) return memberError(member, value, size, type)
    message[name] = value
  }
  // Its members are those of the message, with valid values, which the type of a name does not say.
  return message as unknown as Message
}

/** A message whose type the protocol does not define. */
const decodeUnknown = (parsed: Parsed, size: number): Message | DecodeError => {
  // Its type is a string, which was checked.
  const raw = ExactIntegers.restore(parsed) as Unknown["raw"]
  // The names of its members are payload, which must not reach an error.
  return hasFiniteNumbers(raw) ? { _tag: "UnknownMessage", raw } : invalidMessage([], "JSON value", size)
}

/** The error of a member that is missing or has an invalid value. */
const memberError = (
  member: Member,
  value: Schema.Json | undefined,
  size: number,
  messageType?: string
): DecodeError => {
  const { isRequired, name, type } = member
  const path: Array<string | number> = [name]
  let { expected } = member
  if (value === undefined) expected = "a value"
  else if (type === "array" && Array.isArray(value)) path.push(value.findIndex((each) => !isString(each)))
  else if (type !== "JSON" && type !== typeof value) expected = isRequired ? type : `${type} | null`
  return invalidMessage(path, expected, size, messageType)
}

/** The error of an object that is not a message. `messageType` is its `type`, if the protocol defines that. */
export const invalidMessage = (
  path: DecodeError["path"],
  expected: string,
  size: number,
  messageType?: string
): DecodeError =>
  new DecodeError({
    problem: "InvalidMessage",
    ...(messageType === undefined ? {} : { messageType }),
    path,
    expected,
    size
  })
