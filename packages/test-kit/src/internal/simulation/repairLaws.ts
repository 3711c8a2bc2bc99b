/** The laws of a repair, element by element: what a `Repaired` claims, and what a `Restated` may change. */
import * as MeshEvent from "@makima-stream/core/MeshEvent"
import type { TaskId } from "@makima-stream/core/TaskId"
import type { Fetched } from "./snapshotServer.ts"

export interface RepairLaws {
  /** Judges the next element that the repair has emitted. */
  readonly judge: (event: MeshEvent.MeshEvent) => string | undefined
  /** The highest version of each task so far. */
  readonly highest: ReadonlyMap<TaskId, number>
}

/** Whether an event marks a gap of updates. */
export const isGap = (event: MeshEvent.MeshEvent): event is MeshEvent.Resync =>
  event._tag === "Resync" && !(event.reason._tag === "Subscribed" && event.reason.kind === "output")

/** The laws for a repair of `input`, which takes snapshots from `fetched`. */
export const make = (input: ReadonlyArray<MeshEvent.MeshEvent>, fetched: Array<Fetched>): RepairLaws => {
  const highest = new Map<TaskId, number>()
  let passed = 0

  const judgeRepaired = ({ open, reasons }: MeshEvent.Repaired): string | undefined => {
    const fetch = fetched.shift()
    if (fetch === undefined) return "a Repaired without a snapshot"
    const { began, snapshot, truth } = fetch
    const marks = new Set(input.slice(0, began).flatMap((event) => (isGap(event) ? [event.reason._tag] : [])))
    const claimed = reasons.find((reason) => !marks.has(reason))
    if (claimed !== undefined) return `a Repaired claims ${claimed}, and its fetch began before that mark`
    if (open === 0 && input.slice(began, passed).some(isGap)) {
      return "a Repaired leaves nothing open, and a mark came after its fetch began"
    }
    for (const [taskId, version] of [...truth, ...snapshot.map((task) => [task.taskId, task.version ?? 0] as const)]) {
      if ((highest.get(taskId) ?? 0) < version) return `a Repaired leaves ${taskId} below version ${version}`
    }
    return undefined
  }

  const judge = (event: MeshEvent.MeshEvent): string | undefined => {
    if (!MeshEvent.isRepairElement(event)) passed++
    if (event._tag === "Repaired") return judgeRepaired(event)
    if (event._tag !== "TaskUpdated" && event._tag !== "Restated") return undefined
    const before = highest.get(event.taskId) ?? 0
    if (event._tag === "Restated" && event.gone === true) return `${event.taskId} is gone, and the list is not complete`
    if (event._tag === "Restated" && (event.version ?? 0) <= before) {
      return `${event.taskId} is restated with version ${event.version}, and had ${before}`
    }
    highest.set(event.taskId, Math.max(before, event.version ?? 0))
    return undefined
  }
  return { judge, highest }
}
