/**
 * What engines share about entries.
 */
import type { Entry } from "../MeshLog.ts"

/**
 * The entry that tells a reader that the positions `from` to `to` have been removed.
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
 * Returns whether an update of a task that is appended later replaces the one that is
 * the newest so far: unless its version is lower.
 *
 * @category entries
 * @since 0.2.0
 */
export const isNewerUpdate = (version: number | undefined, newest: number | undefined): boolean =>
  version === undefined || newest === undefined || version >= newest
