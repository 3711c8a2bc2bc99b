/**
 * Ends of the process in the middle of an append, for tests.
 */
import * as Context from "effect/Context"

/** Where an append ends as if its process was killed. */
export interface Faults {
  /** How many messages the next append sends before that. Counts down; `undefined` means no fault. */
  messagesLeft: number | undefined
}

/** The faults of the logs that are opened here. Defaults to none. */
export const Faults = Context.Reference<Faults>("@makima-stream/nats/internal/Faults", {
  defaultValue: () => ({ messagesLeft: undefined })
})

/** What an append fails with where its process was killed. */
export class Killed extends Error {
  override readonly name = "Killed"
}
