/**
 * Faults for tests: an append fails at one of its steps.
 */
import * as Context from "effect/Context"

/** The steps of an append, in order. */
export const steps = ["begin", "insert", "meta", "commit", "committed", "head"] as const

export type Step = (typeof steps)[number]

export interface Fault {
  /** Called before each step of an append, after the commit (`committed`), and after the head file is written (`head`). */
  readonly at?: (step: Step) => void
  /** The largest number of pages of the file, as on a full disk. */
  readonly maxPageCount?: number
}

/** The faults of the logs that are opened. Defaults to none. */
export const Faults = Context.Reference<Fault | undefined>("@makima-stream/log/SqliteLog/Faults", {
  defaultValue: () => undefined
})
