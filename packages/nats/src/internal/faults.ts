/**
 * Faults for tests: the process ends in the middle of an append.
 */
import * as Context from "effect/Context"

/** Where the process of an append is killed. */
export interface Faults {
  /** How many more messages are sent before that. Counts down; `undefined` means no fault. */
  messagesLeft: number | undefined
}

/** The faults of the logs that are opened here. Defaults to none. */
export const Faults = Context.Reference<Faults>("@makima-stream/nats/internal/Faults", {
  defaultValue: () => ({ messagesLeft: undefined })
})

/** The failure of an append whose process was killed. */
export class Killed extends Error {
  override readonly name = "Killed"
}
