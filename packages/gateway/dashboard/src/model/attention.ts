/**
 * Which tasks need a person, and how much.
 *
 * The order, first to last:
 *
 * 1. `failed`: the task ended without success.
 * 2. `waiting`: it is paused or blocked, or its status says that it waits for input.
 * 3. `stalled`: it should be at work, and did nothing for `stalledAfter`.
 * 4. `gaps`: it is live, and updates or output of it may be missing.
 * 5. `running`: it is at work.
 * 6. `pending`: it has not started yet.
 * 7. `ended`: it ended with success, or does not exist any more.
 */
import * as TaskStatus from "@makima-stream/core/TaskStatus"

/** How much a task needs a person. */
export type Attention = (typeof order)[number]

/** All values, the most urgent first. */
export const order = ["failed", "waiting", "stalled", "gaps", "running", "pending", "ended"] as const

/** The rank of each value: 0 is the most urgent. */
export const rank: Readonly<Record<Attention, number>> = {
  failed: 0,
  waiting: 1,
  stalled: 2,
  gaps: 3,
  running: 4,
  pending: 5,
  ended: 6
}

/** Whether a task needs a person: it failed, waits or is silent. A gap does not count: after a lost connection every live task has one. */
export const needsPerson = (attention: Attention): boolean => rank[attention] <= rank.stalled

/** How long a task at work may be silent, in milliseconds: 5 minutes. */
export const stalledAfter = 5 * 60_000

/** What the rule reads of a task. */
export interface Facts {
  readonly status: string
  readonly isLive: boolean
  readonly isGone: boolean
  readonly activeAt: number | undefined
  readonly updateGaps: number
  readonly outputGaps: number
}

const waiting = new Set([
  "paused",
  "blocked",
  "needs_input",
  "needsInput",
  "awaiting_input",
  "awaitingInput",
  "question"
])
const isWaiting = (status: string): boolean => waiting.has(status) || /^wait/i.test(status)

const pending = new Set(["", "pending", "queued", "created"])

/** Returns how much a task needs a person at the time `now`. */
export const attentionOf = (task: Facts, now: number): Attention => {
  if (task.isGone) return "ended"
  if (!task.isLive) return TaskStatus.isFailed(task.status) ? "failed" : "ended"
  if (isWaiting(task.status)) return "waiting"
  if (pending.has(task.status)) return "pending"
  if (task.activeAt !== undefined && now - task.activeAt >= stalledAfter) return "stalled"
  return task.updateGaps + task.outputGaps > 0 ? "gaps" : "running"
}
