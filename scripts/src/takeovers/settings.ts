/** What the relays of a run and its judge agree on. Times in milliseconds. */
import * as Schema from "effect/Schema"

export const timeToLive = 1500
export const skew = 300
/** The longest takeover that is allowed. */
export const allowed = timeToLive + 1000

/** A line that a relay prints when its status changes. */
export const Line = Schema.Struct({
  role: Schema.Literals(["standby", "holder"]),
  term: Schema.Int,
  isConnected: Schema.Boolean,
  isAligned: Schema.Boolean,
  /** Whether it has received output of every task. */
  isReady: Schema.Boolean
})
export type Line = typeof Line.Type

export const tasks = ["a", "b", "c", "d"]
