/**
 * Names as parts of keys and subjects.
 */
import * as Base64Url from "effect/encoding/Base64Url"

/**
 * Returns the name as it is if it has at most 64 of the characters `A-Z a-z 0-9 _ -`,
 * otherwise `=` and its base64url.
 *
 * **Example** (A name that a subject can hold, and one that it cannot)
 *
 * ```ts
 * import * as LogEngine from "@makima-stream/log/LogEngine"
 *
 * console.log(LogEngine.token("task-7"), LogEngine.token("a.b")) // task-7 =YS5i
 * ```
 *
 * @category names
 * @since 0.2.0
 */
export const token = (name: string): string =>
  /^[A-Za-z0-9_-]{1,64}$/.test(name) ? name : `=${Base64Url.encode(name)}`
