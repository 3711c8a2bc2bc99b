/**
 * The cost and duration of a task's runs, with each result counted once.
 *
 * Results have no id in the protocol, so these rules apply:
 *
 * - A run has one result. A later result of the same run replaces its cost and
 *   duration.
 * - A run begins when the status changes from a terminal to a non-terminal one. The
 *   results of different runs are added.
 * - A result that equals the last result of the previous run counts as a repetition
 *   of it.
 * - The cost in a snapshot is that of all runs. A cost above the known sum replaces the
 *   sum. It includes this run if the run has ended or has a result.
 *
 * Results are compared by cost, duration, `isError`, and the length and hash of
 * the content, so no content is kept.
 */
import * as Hash from "effect/Hash"
import * as Schema from "effect/Schema"
import type { TaskOutput } from "../../ServerMessage.ts"

/** Sums of results, and the fingerprints that identify a repeated result. */
export const Results = Schema.Struct({
  /** US dollars, in all runs. */
  costUsd: Schema.Finite,
  /** Milliseconds, in all runs. */
  durationMs: Schema.Finite,
  /** US dollars, in the earlier runs. */
  earlierCostUsd: Schema.Finite,
  /** Milliseconds, in the earlier runs. */
  earlierDurationMs: Schema.Finite,
  /** The cost of the task in a snapshot, if that includes this run. US dollars. */
  restatedCostUsd: Schema.optionalKey(Schema.Finite),
  /** The fingerprint of this run's latest result. */
  fingerprint: Schema.optionalKey(Schema.String),
  /** The fingerprint of the last result of the earlier runs. */
  earlierFingerprint: Schema.optionalKey(Schema.String)
})

export interface Results extends Schema.Schema.Type<typeof Results> {}

export const none: Results = { costUsd: 0, durationMs: 0, earlierCostUsd: 0, earlierDurationMs: 0 }

/** Whether an output is the result of a run. */
export const isResult = (output: TaskOutput): boolean => output.messageType === "result" && output.isPartial !== true

const fingerprintOf = ({ content, costUsd, durationMs, isError }: TaskOutput): string =>
  `${costUsd ?? ""}|${durationMs ?? ""}|${isError === true}|${content.length}|${Hash.string(content)}`

/** Adds two numbers. Keeps the sum finite, so that one extreme value cannot turn it into `Infinity` or `NaN`. */
const plus = (earlier: number, value: number): number =>
  Number.isNaN(value) ? earlier : Math.max(-Number.MAX_VALUE, Math.min(Number.MAX_VALUE, earlier + value))

/** Adds a result. Returns the same object if nothing changes. */
export const add = (self: Results, output: TaskOutput): Results => {
  const fingerprint = fingerprintOf(output)
  if (fingerprint === self.fingerprint || fingerprint === self.earlierFingerprint) return self
  return {
    ...self,
    costUsd:
      output.costUsd === undefined
        ? self.costUsd
        : Math.max(plus(self.earlierCostUsd, output.costUsd), self.restatedCostUsd ?? -Infinity),
    durationMs: output.durationMs === undefined ? self.durationMs : plus(self.earlierDurationMs, output.durationMs),
    fingerprint
  }
}

/** Adopts the cost of a snapshot if it is higher than the sum. */
export const restate = (self: Results, costUsd: number, hasEnded: boolean): Results => {
  if (!(costUsd > self.costUsd)) return self
  return hasEnded || self.fingerprint !== undefined
    ? { ...self, costUsd, restatedCostUsd: costUsd }
    : { ...self, costUsd, earlierCostUsd: costUsd }
}

/** Begins a run. */
export const beginRun = ({ costUsd, durationMs, earlierFingerprint, fingerprint }: Results): Results => {
  const earlier = fingerprint ?? earlierFingerprint
  return {
    costUsd,
    durationMs,
    earlierCostUsd: costUsd,
    earlierDurationMs: durationMs,
    ...(earlier === undefined ? {} : { earlierFingerprint: earlier })
  }
}
