/**
 * What the results of a task's runs add up to, each counted once.
 *
 * The protocol gives a result no id, so the rules are:
 *
 * - A run has one result. A later one of the same run replaces what the run
 *   cost and took.
 * - A run begins when the status goes from a terminal one to another. Only then
 *   does a result add to what was there.
 * - A result that says the same as the last one of the run before is a repeat
 *   of that, whenever it comes.
 *
 * "The same" is told by cost, duration, `isError`, and the length and hash of the
 * content, so that no content is kept.
 */
import * as Hash from "effect/Hash"
import type { TaskOutput, TaskUpdated } from "../../ServerMessage.ts"

/**
 * What a task's results add up to, and what it takes to tell a repeat.
 *
 * @category models
 * @since 0.1.0
 */
export interface Results {
  /** US dollars, in all runs. */
  readonly costUsd: number
  /** Milliseconds, in all runs. */
  readonly durationMs: number
  /** US dollars, in the runs before this one. */
  readonly earlierCostUsd: number
  /** Milliseconds, in the runs before this one. */
  readonly earlierDurationMs: number
  /** The mark of this run's latest result. */
  readonly mark?: string
  /** The mark of the last result of the runs before. */
  readonly earlierMark?: string
}

export const none: Results = { costUsd: 0, durationMs: 0, earlierCostUsd: 0, earlierDurationMs: 0 }

/** Whether an output is the result of a run. */
export const isResult = (output: TaskOutput): boolean => output.messageType === "result" && output.isPartial !== true

const markOf = ({ content, costUsd, durationMs, isError }: TaskOutput): string =>
  `${costUsd ?? ""}|${durationMs ?? ""}|${isError === true}|${content.length}|${Hash.string(content)}`

/** A result came. Gives the same object when that changes nothing. */
export const add = (self: Results, output: TaskOutput): Results => {
  const mark = markOf(output)
  if (mark === self.mark || mark === self.earlierMark) return self
  return {
    ...self,
    costUsd: output.costUsd === undefined ? self.costUsd : self.earlierCostUsd + output.costUsd,
    durationMs: output.durationMs === undefined ? self.durationMs : self.earlierDurationMs + output.durationMs,
    mark
  }
}

/** A run began. */
export const beginRun = ({ mark, ...self }: Results): Results => ({
  ...self,
  earlierCostUsd: self.costUsd,
  earlierDurationMs: self.durationMs,
  ...(mark === undefined ? {} : { earlierMark: mark })
})

/** What an update means for the run of a task of which `status` and `version` are known. */
export interface Change {
  readonly status: string | undefined
  readonly isTerminal: boolean
  /** The status was terminal and is not any more. */
  readonly beginsRun: boolean
}

/** Reads an update; `undefined` for one that is not newer than what is known. */
export const read = (
  known: { readonly status?: string; readonly version?: number },
  update: TaskUpdated,
  isTerminal: (status: string) => boolean
): Change | undefined => {
  if (update.version !== undefined && known.version !== undefined && update.version <= known.version) return undefined
  const status = update.status ?? known.status
  const ends = status !== undefined && isTerminal(status)
  return { status, isTerminal: ends, beginsRun: !ends && known.status !== undefined && isTerminal(known.status) }
}
