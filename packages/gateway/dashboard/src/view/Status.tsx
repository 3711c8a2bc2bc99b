/** A status as a chip. Its colour repeats what its text says. */
import * as TaskStatus from "@makima-stream/core/TaskStatus"
import { oneLine } from "../model/text.ts"

const waiting = new Set(["paused", "blocked"])
const starting = new Set(["pending", "starting", "queued", ""])

const toneOf = (status: string): string => {
  if (TaskStatus.isFailed(status)) return "bad"
  if (TaskStatus.isTerminal(status)) return "done"
  if (waiting.has(status) || /^(wait|await|need)/i.test(status)) return "warn"
  return starting.has(status) ? "idle" : "live"
}

export const Status = ({ status }: { readonly status: string }) => (
  <span class={`status status-${toneOf(status)}`}>{status === "" ? "unknown" : oneLine(status, 32)}</span>
)
