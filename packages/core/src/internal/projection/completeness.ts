/**
 * Tracks from when the knowledge of a task is complete, and how many gaps it has, for
 * updates and for output separately.
 *
 * A `Resync` ends the complete stretch of what it names, and opens the next one at
 * its place. It counts as a gap of a kind if an event of that kind came before it, or
 * if that kind was complete before. `Started` and `Subscribed` count only if both are
 * true.
 */
import type { Resync, ResyncReason } from "../../MeshEvent.ts"

/** The history of one kind. */
export interface Knowledge {
  /** Whether an event was seen. */
  readonly seen: boolean
  /** Whether a mark opened a complete stretch. */
  readonly opened: boolean
}

/** The public part. Times are those of the fold, in milliseconds since 1970. */
export interface Completeness {
  readonly updatesCompleteSince?: number
  readonly outputCompleteSince?: number
  readonly updateGaps: number
  readonly outputGaps: number
  readonly lastGap?: ResyncReason
}

/** The internal part, which the counting needs. */
export interface Known {
  readonly updates: Knowledge
  readonly output: Knowledge
}

const none: Knowledge = { seen: false, opened: false }

export const nothing: Known = { updates: none, output: none }

export interface Mark {
  readonly updates: boolean
  readonly output: boolean
  /**
   * What follows the mark: `opens` begins a complete stretch; `ends` begins none,
   * because keys are unconfirmed; `hole` restarts a complete stretch if there was one.
   */
  readonly effect: "opens" | "ends" | "hole"
  /** Whether it counts as a gap only if the kind was complete before. */
  readonly isFirst: boolean
}

/** Reads a `Resync`. A jump of `version` shows a gap of updates only. */
export const read = (event: Resync): Mark => {
  const { reason, unconfirmed } = event
  const opening = unconfirmed !== undefined && unconfirmed > 0 ? "ends" : "opens"
  switch (reason._tag) {
    case "Started":
      return { updates: true, output: true, effect: opening, isFirst: true }
    case "Subscribed": {
      const updates = reason.kind === "updates"
      return { updates, output: !updates, effect: opening, isFirst: true }
    }
    case "VersionGap":
      return { updates: true, output: false, effect: "hole", isFirst: false }
    case "BadFrame":
    case "Overflow":
      return { updates: true, output: true, effect: "hole", isFirst: false }
    // `Reconnected`, `JoinedLate`, `Unaligned`, `LogTruncated`.
    default:
      return { updates: true, output: true, effect: opening, isFirst: false }
  }
}

/** Whether a mark counts as a gap of a kind. */
export const isGap = ({ opened, seen }: Knowledge, isFirst: boolean): boolean =>
  isFirst ? opened && seen : opened || seen

/** The start of the complete stretch after a mark. */
export const since = (before: number | undefined, { effect }: Mark, at: number): number | undefined =>
  effect === "ends" || (effect === "hole" && before === undefined) ? undefined : at

/** The history of a kind after a mark. */
export const after = (knowledge: Knowledge, { effect }: Mark): Knowledge =>
  effect === "opens" && !knowledge.opened ? { ...knowledge, opened: true } : knowledge

/** The history of a kind after an event of it. */
export const afterEvent = (knowledge: Knowledge): Knowledge =>
  knowledge.seen ? knowledge : { ...knowledge, seen: true }
