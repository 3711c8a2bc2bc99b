/**
 * The codec of stored events: the JSON of the `MeshEvent` codec.
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { MeshEvent } from "@makima-stream/core/MeshEvent"
import type { MeshEvent as Event } from "@makima-stream/core/MeshEvent"

const codec = Schema.toCodecJson(MeshEvent)
const encodeUnknown = /*#__PURE__*/ Schema.encodeUnknownSync(codec)
const decodeUnknown = /*#__PURE__*/ Schema.decodeUnknownResult(codec)

/**
 * Encodes an event as JSON text.
 *
 * **Gotchas**
 *
 * Throws the schema's error if the value is not an event, which is possible only with
 * a cast.
 *
 * **Example** (An event as text, and back)
 *
 * ```ts
 * import * as Result from "effect/Result"
 * import * as LogEngine from "@makima-stream/log/LogEngine"
 *
 * const text = LogEngine.encodeEvent({ _tag: "Connected", epoch: 1, at: 0 })
 * console.log(text) // {"_tag":"Connected","epoch":1,"at":0}
 * console.log(Result.isSuccess(LogEngine.decodeEvent(text))) // true
 * ```
 *
 * @category codecs
 * @since 0.2.0
 */
export const encodeEvent = (event: Event): string =>
  JSON.stringify(event._tag === "TaskUpdated" || event._tag === "TaskOutput" ? event : encodeUnknown(event))

/**
 * Decodes the text of `encodeEvent`. Never throws.
 *
 * **Example** (Text that is no event)
 *
 * ```ts
 * import * as Result from "effect/Result"
 * import * as LogEngine from "@makima-stream/log/LogEngine"
 *
 * console.log(Result.isFailure(LogEngine.decodeEvent("{}"))) // true
 * ```
 *
 * @category codecs
 * @since 0.2.0
 */
export const decodeEvent = (text: string): Result.Result<Event, Error> => {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return Result.fail(new Error("A stored event is not JSON"))
  }
  if (isFrequent(value)) return Result.succeed(value)
  const decoded = decodeUnknown(value)
  return Result.isSuccess(decoded) ? decoded : Result.fail(new Error("A stored event does not match its schema"))
}

/** Whether the codec returns this value as it is: an update or output with valid members and no others. */
const isFrequent = (value: unknown): value is Event => {
  if (typeof value !== "object" || value === null || !("_tag" in value)) return false
  const members = value._tag === "TaskOutput" ? outputMembers : value._tag === "TaskUpdated" ? updateMembers : undefined
  if (members === undefined) return false
  let required = 0
  for (const key in value) {
    // The keys of a parsed object are its own.
    const member = (value as Record<string, unknown>)[key]
    switch (members[key]) {
      case "tag":
        break
      case "id":
        if (typeof member !== "string" || member === "") return false
        required++
        break
      case "text":
        if (typeof member !== "string") return false
        required++
        break
      case "optionalText":
        if (typeof member !== "string") return false
        break
      case "flag":
        if (typeof member !== "boolean") return false
        break
      case "number":
        if (typeof member !== "number") return false
        break
      case "int":
        if (!Number.isSafeInteger(member)) return false
        break
      case "json":
        if (member === null) return false
        break
      case "texts":
        if (!Array.isArray(member) || !member.every((text) => typeof text === "string")) return false
        break
      case undefined:
        return false
    }
  }
  return required === (value._tag === "TaskOutput" ? 3 : 1)
}

type Member = "tag" | "id" | "text" | "optionalText" | "flag" | "number" | "int" | "json" | "texts"

const updateMembers: { readonly [name: string]: Member | undefined } = {
  __proto__: null as never,
  _tag: "tag",
  taskId: "id",
  version: "int",
  status: "optionalText",
  updatedFields: "texts",
  updatedBy: "optionalText"
}

const outputMembers: { readonly [name: string]: Member | undefined } = {
  __proto__: null as never,
  _tag: "tag",
  taskId: "id",
  messageType: "text",
  content: "text",
  toolName: "optionalText",
  toolInput: "json",
  isError: "flag",
  costUsd: "number",
  durationMs: "int",
  isPartial: "flag"
}
