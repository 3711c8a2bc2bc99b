/**
 * What may be missing: each gap with its time span, its reason, and whether it was repaired.
 *
 * A gap of the connection opens at a `Disconnected` and closes at the next `Resync` that names everything. Other marks are
 * gaps without a duration. A repair restores the updates of a gap. Output cannot be restored.
 */
import type { Disconnected, MeshEvent, Resync } from "@makima-stream/core/MeshEvent"
import type { TaskId } from "@makima-stream/core/TaskId"
import { count, counted } from "./format.ts"
import { oneLine } from "./text.ts"

/** Whether the updates of a gap are known again. */
export type Repaired = "missing" | "repaired" | "failed" | "unaffected"

/** One gap. Times are in milliseconds since 1970. */
export interface Gap {
  /** Grows with each gap. */
  readonly id: number
  readonly from: number
  /** Absent while the gap is open. */
  readonly to?: number
  /** The task; absent if the gap concerns all of them. */
  readonly taskId?: TaskId
  /** What happened, in a few words. */
  readonly title: string
  /** Why, as far as it is known. */
  readonly detail: string
  readonly updates: Repaired
  readonly output: "missing" | "unaffected"
}

export interface Gaps {
  /** Folds a batch that arrived at `at`. Returns the gaps that are new. */
  readonly fold: (batch: ReadonlyArray<MeshEvent>, at: number) => ReadonlyArray<Gap>
  /** The newest gaps, oldest first. */
  readonly list: () => ReadonlyArray<Gap>
  readonly get: (id: number) => Gap | undefined
  /** How many gaps there were, including those that are not kept any more. */
  readonly total: () => number
  /** From when on the page knows everything. Absent before the first confirmation. */
  readonly startedAt: () => number | undefined
}

/** The most gaps that are kept. */
const maxGaps = 500

type Draft = Omit<Gap, "id">

const disconnected = ({ at, reason }: Disconnected): Draft => ({
  from: at,
  title: "The connection was lost",
  detail: oneLine(reason.message),
  updates: "missing",
  output: "missing"
})

const both = { updates: "missing", output: "missing" } as const

/** Returns the gap that a mark describes; `undefined` if it describes none. */
const gapOf = ({ reason }: Resync, at: number): Draft | undefined => {
  const moment = { from: at, to: at }
  switch (reason._tag) {
    case "Reconnected":
      return {
        from: at - Math.max(0, reason.downMillis),
        to: at,
        title: "The connection was lost",
        detail: "",
        ...both
      }
    case "BadFrame":
      return { ...moment, title: "A message could not be read", detail: oneLine(reason.error.message), ...both }
    case "Overflow":
      return {
        ...moment,
        title: "The reader was too slow",
        detail: reason.dropped > 0 ? `${counted(reason.dropped, "event")} dropped` : "Marks were dropped",
        ...both
      }
    case "VersionGap":
      return {
        ...moment,
        title: "Updates were skipped",
        detail: `From version ${reason.lastVersion} to version ${reason.version}`,
        updates: "missing",
        output: "unaffected"
      }
    case "Unaligned":
      return { ...moment, title: "Two connections could not be compared", detail: reason.cause, ...both }
    case "LogTruncated":
      return {
        ...moment,
        title: "The log does not go back far enough",
        detail: `Positions ${count(reason.from)} to ${count(reason.to)}`,
        ...both
      }
    default:
      return undefined
  }
}

/** Whether a mark closes the gap of the connection. */
const confirmsAll = ({ reason, taskId }: Resync): boolean =>
  taskId === undefined && (reason._tag === "Started" || reason._tag === "Reconnected" || reason._tag === "JoinedLate")

export const make = (): Gaps => {
  const gaps = new Map<number, Gap>()
  let lastId = 0
  let open: number | undefined
  let startedAt: number | undefined

  const add = (draft: Draft): Gap => {
    const gap = { id: ++lastId, ...draft }
    gaps.set(gap.id, gap)
    const [oldest] = gaps.keys()
    if (gaps.size > maxGaps && oldest !== undefined) gaps.delete(oldest)
    return gap
  }
  const change = (id: number, changes: Partial<Gap>): void => {
    const gap = gaps.get(id)
    if (gap !== undefined) gaps.set(id, { ...gap, ...changes })
  }
  /** A repair says nothing about a gap that is still open. */
  const settle = (updates: Repaired): void => {
    for (const gap of gaps.values()) {
      const isMissing = gap.updates === "missing" || gap.updates === "failed"
      if (gap.to !== undefined && isMissing) change(gap.id, { updates })
    }
  }

  const onResync = (mark: Resync, at: number): Gap | undefined => {
    if (confirmsAll(mark)) {
      const isFirst = startedAt === undefined
      startedAt ??= at
      if (open !== undefined) {
        change(open, { to: at })
        open = undefined
        return undefined
      }
      if (isFirst && mark.reason._tag !== "Reconnected") return undefined
    }
    const draft = gapOf(mark, at)
    if (draft === undefined) return undefined
    return add(mark.taskId === undefined ? draft : { ...draft, taskId: mark.taskId })
  }

  return {
    fold(batch, at) {
      const added: Array<Gap> = []
      for (const event of batch) {
        if (event._tag === "Disconnected") {
          // Before the first confirmation the page knows nothing, so nothing is missing.
          if (open !== undefined || startedAt === undefined) continue
          const gap = add(disconnected(event))
          open = gap.id
          added.push(gap)
        } else if (event._tag === "Resync") {
          const gap = onResync(event, at)
          if (gap !== undefined) added.push(gap)
        } else if (event._tag === "Repaired") {
          if (event.open === 0 && event.absent === 0) settle("repaired")
        } else if (event._tag === "RepairFailed") {
          settle("failed")
        }
      }
      return added
    },
    list: () => [...gaps.values()],
    get: (id) => gaps.get(id),
    total: () => lastId,
    startedAt: () => startedAt
  }
}
