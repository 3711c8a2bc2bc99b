/** Why a task needs a person, in a few words. */
import type { Attention } from "../model/attention.ts"
import type { Task } from "../model/board.ts"
import { counted, short } from "../model/format.ts"

/** Returns the words; empty if the task needs no attention. */
export const attentionText = (attention: Attention, task: Task, now: number): string => {
  const since = task.activeAt === undefined ? "" : ` ${short(now - task.activeAt)}`
  switch (attention) {
    case "failed":
      return task.status === "failed" ? "Failed" : "Ended early"
    case "waiting":
      return `Waiting${since}`
    case "stalled":
      return `Silent${since}`
    case "gaps":
      return counted(task.updateGaps + task.outputGaps, "gap")
    default:
      return ""
  }
}
