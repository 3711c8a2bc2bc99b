/**
 * The limits of a log: its retention, normalised.
 */
import type { Retention } from "../MeshLog.ts"
import * as Options from "./options.ts"

/** What a log keeps at most. `Infinity` means no limit. */
export interface Limits {
  /** In milliseconds. */
  readonly maxAge: number
  readonly maxEntries: number
  readonly maxBytes: number
}

/** Normalises a retention. Refuses a limit that would keep nothing. */
export const fromRetention = (retention: Retention | undefined): Limits => ({
  maxAge: Options.millis("maxAge", retention?.maxAge, { fallback: Number.POSITIVE_INFINITY, min: 1 }),
  maxEntries: Options.count("maxEntries", retention?.maxEntries, { fallback: Number.POSITIVE_INFINITY, min: 1 }),
  maxBytes: Options.count("maxBytes", retention?.maxBytes, { fallback: Number.POSITIVE_INFINITY, min: 1 })
})
