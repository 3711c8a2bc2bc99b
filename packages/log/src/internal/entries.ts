/**
 * Helpers for entries that engines share.
 */
import type { Entry } from "../MeshLog.ts"

/**
 * The entry for a reader that marks removed positions, from `from` to `to`.
 * Its position is `to`, so that a reader that resumes after it misses nothing.
 *
 * **Example** (Positions 1 to 9 are gone)
 *
 * ```ts
 * import * as LogEngine from "@makima-stream/log/LogEngine"
 *
 * console.log(LogEngine.truncated(1, 9, 0).position) // 9
 * ```
 *
 * @category entries
 * @since 0.2.0
 */
export const truncated = (from: number, to: number, at: number): Entry => ({
  position: to,
  at,
  event: { _tag: "Resync", epoch: 0, reason: { _tag: "LogTruncated", from, to } }
})

/**
 * Returns whether a later update of a task replaces the newest one so far. It does unless
 * its version is lower.
 *
 * **Example** (A late older update)
 *
 * ```ts
 * import * as LogEngine from "@makima-stream/log/LogEngine"
 *
 * console.log(LogEngine.isNewerUpdate(2, 3)) // false
 * console.log(LogEngine.isNewerUpdate(undefined, 3)) // true
 * ```
 *
 * @category entries
 * @since 0.2.0
 */
export const isNewerUpdate = (version: number | undefined, newest: number | undefined): boolean =>
  version === undefined || newest === undefined || version >= newest
