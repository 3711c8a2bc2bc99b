/**
 * Helpers for entries that engines share.
 */
import type { Entry } from "../MeshLog.ts"

/**
 * The entry for a reader that marks removed positions, from `from` to `to`.
 * Its position is `to`, so that a reader that resumes after it misses nothing.
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
 * @category entries
 * @since 0.2.0
 */
export const isNewerUpdate = (version: number | undefined, newest: number | undefined): boolean =>
  version === undefined || newest === undefined || version >= newest
