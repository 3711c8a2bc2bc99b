/**
 * The limits of a log: its retention, normalised.
 */
import type { Retention } from "../MeshLog.ts"
import * as Options from "./options.ts"

/**
 * What a log keeps at most. `Infinity` means no limit.
 *
 * @category models
 * @since 0.2.0
 */
export interface Limits {
  /** In milliseconds. */
  readonly maxAge: number
  /** How many entries. */
  readonly maxEntries: number
  /** The size of all encoded events in bytes. */
  readonly maxBytes: number
}

/**
 * Normalises a retention. Throws a `RangeError` that names the option for a limit that would keep
 * nothing.
 *
 * **Example** (No limit but the age)
 *
 * ```ts
 * import * as LogEngine from "@makima-stream/log/LogEngine"
 *
 * console.log(LogEngine.fromRetention({ maxAge: "1 minute" }))
 * // { maxAge: 60000, maxEntries: Infinity, maxBytes: Infinity }
 * ```
 *
 * @category options
 * @since 0.2.0
 */
export const fromRetention = (retention: Retention | undefined): Limits => ({
  maxAge: Options.millis("maxAge", retention?.maxAge, { fallback: Number.POSITIVE_INFINITY, min: 1 }),
  maxEntries: Options.count("maxEntries", retention?.maxEntries, { fallback: Number.POSITIVE_INFINITY, min: 1 }),
  maxBytes: Options.count("maxBytes", retention?.maxBytes, { fallback: Number.POSITIVE_INFINITY, min: 1 })
})
