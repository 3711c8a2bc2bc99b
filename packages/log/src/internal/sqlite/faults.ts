/**
 * Where tests make an append fail.
 */
import * as Context from "effect/Context"

/** The steps of an append, in order. */
export const steps = ["begin", "insert", "meta", "commit", "committed", "head"] as const

export type Step = (typeof steps)[number]

export interface Fault {
  /** Called before each step of an append, after the commit (`committed`) and after `head`. */
  readonly at?: (step: Step) => void
  /** The largest number of pages of the file, as on a full disk. */
  readonly maxPageCount?: number
}

/** Faults for the logs that are opened. Called before each step of an append, after `committed`, and after `head`. */
export const Faults = Context.Reference<Fault | undefined>("@makima-stream/log/SqliteLog/Faults", {
  defaultValue: () => undefined
})
