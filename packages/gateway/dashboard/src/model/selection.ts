/** The rows of the board: filtered, searched and sorted. */
import * as TaskStatus from "@makima-stream/core/TaskStatus"
import { attentionOf, needsPerson, rank, type Attention } from "./attention.ts"
import type { Task } from "./board.ts"
import type { FilterKey, Query } from "./route.ts"

/** One row. */
export interface Row {
  readonly task: Task
  readonly attention: Attention
}

/** How many tasks each filter shows. */
export type Counts = Readonly<Record<FilterKey, number>>

const matchers: Readonly<Record<FilterKey, (row: Row) => boolean>> = {
  all: () => true,
  attention: ({ attention }) => needsPerson(attention),
  live: ({ task }) => task.isLive && !task.isGone,
  failed: ({ attention }) => attention === "failed",
  ended: ({ task }) => !task.isLive
}

/** Returns a row for each task. */
export const rowsOf = (tasks: ReadonlyArray<Task>, now: number): ReadonlyArray<Row> =>
  tasks.map((task) => ({ task, attention: attentionOf(task, now) }))

/** Counts the rows of each filter. */
export const countsOf = (rows: ReadonlyArray<Row>): Counts => {
  const counts = { all: 0, attention: 0, live: 0, failed: 0, ended: 0 }
  for (const row of rows) {
    counts.all++
    if (matchers.attention(row)) counts.attention++
    if (matchers.live(row)) counts.live++
    if (matchers.failed(row)) counts.failed++
    if (matchers.ended(row)) counts.ended++
  }
  return counts
}

/** Counts the tasks that ended with success. */
export const doneCount = (rows: ReadonlyArray<Row>): number =>
  rows.reduce((sum, { task }) => sum + (!task.isLive && !task.isGone && !TaskStatus.isFailed(task.status) ? 1 : 0), 0)

type Compare = (a: Row, b: Row) => number

const text = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

/** The time by which rows of the same urgency are ordered. */
const momentOf = ({ attention, task }: Row): number =>
  (attention === "failed" || attention === "ended"
    ? task.endedAt
    : attention === "waiting"
      ? task.activeAt
      : task.since) ?? 0

/** In the ascending direction. */
const comparisons: Readonly<Record<Query["sort"], Compare>> = {
  // Failed and ended tasks: the newest first. Waiting tasks: the longest wait first. Running tasks: the oldest first.
  attention: (a, b) => {
    if (a.attention !== b.attention) return rank[a.attention] - rank[b.attention]
    const isNewestFirst = a.attention === "failed" || a.attention === "ended"
    return isNewestFirst ? momentOf(b) - momentOf(a) : momentOf(a) - momentOf(b)
  },
  task: (a, b) => text(a.task.taskId, b.task.taskId),
  status: (a, b) => text(a.task.status, b.task.status),
  activity: (a, b) => (a.task.activeAt ?? 0) - (b.task.activeAt ?? 0),
  // The age of a task that appeared later is lower.
  age: (a, b) => (b.task.since ?? 0) - (a.task.since ?? 0),
  cost: (a, b) => a.task.costUsd - b.task.costUsd,
  gaps: (a, b) => a.task.updateGaps + a.task.outputGaps - (b.task.updateGaps + b.task.outputGaps)
}

/** Returns the rows that a query shows, in its order. Rows that compare equal are in the order of their ids. */
export const select = (
  rows: ReadonlyArray<Row>,
  { descending, filter, search, sort }: Query,
  lineOf: (task: Task) => string
): ReadonlyArray<Row> => {
  const isShown = matchers[filter]
  const words = search.toLowerCase().split(/\s+/).filter(Boolean)
  const matches = ({ task }: Row): boolean => {
    if (words.length === 0) return true
    const where = `${task.taskId} ${task.status} ${lineOf(task)}`.toLowerCase()
    return words.every((word) => where.includes(word))
  }
  const compare = comparisons[sort]
  const sign = descending ? -1 : 1
  return rows
    .filter((row) => isShown(row) && matches(row))
    .sort((a, b) => sign * compare(a, b) || text(a.task.taskId, b.task.taskId))
}
