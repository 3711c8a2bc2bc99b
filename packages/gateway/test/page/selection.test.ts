import { assert, describe, it } from "@effect/vitest"
import type { Task } from "../../dashboard/src/model/board.ts"
import { defaultQuery, type Query } from "../../dashboard/src/model/route.ts"
import { countsOf, doneCount, rowsOf, select } from "../../dashboard/src/model/selection.ts"
import { id } from "./events.ts"

const now = 1_000_000

const task = (taskId: string, changes?: Partial<Task>): Task => ({
  taskId: id(taskId),
  status: "running",
  version: 1,
  isLive: true,
  isGone: false,
  since: now - 1000,
  endedAt: undefined,
  activeAt: now,
  costUsd: 0,
  runs: 1,
  updateGaps: 0,
  outputGaps: 0,
  lastOutput: undefined,
  ...changes
})

const ended = (taskId: string, status: string, endedAt: number) => task(taskId, { status, isLive: false, endedAt })

const shown = (tasks: ReadonlyArray<Task>, query: Partial<Query>, line = (task: Task) => `line of ${task.taskId}`) =>
  select(rowsOf(tasks, now), { ...defaultQuery, ...query }, line).map(({ task }) => task.taskId)

const fleet = [
  task("running-new", { since: now - 10, costUsd: 2 }),
  ended("done", "done", now - 50),
  task("waits-short", { status: "blocked", activeAt: now - 100 }),
  ended("failed-old", "failed", now - 900),
  task("waits-long", { status: "paused", activeAt: now - 500 }),
  task("running-old", { since: now - 5000, costUsd: 0.5 }),
  ended("failed-new", "failed", now - 100),
  task("gap", { outputGaps: 2 })
]

describe("selection", () => {
  it("by attention: the newest failure, the longest wait, then the oldest running task", () => {
    assert.deepStrictEqual(shown(fleet, {}), [
      "failed-new",
      "failed-old",
      "waits-long",
      "waits-short",
      "gap",
      "running-old",
      "running-new",
      "done"
    ])
  })

  it("a direction turns the order around, and equal rows stay in the order of their ids", () => {
    const byCost = shown(fleet, { sort: "cost", descending: true })
    assert.deepStrictEqual(byCost.slice(0, 2), ["running-new", "running-old"])
    assert.deepStrictEqual(byCost.slice(2), ["done", "failed-new", "failed-old", "gap", "waits-long", "waits-short"])
    assert.deepStrictEqual(shown(fleet, { sort: "cost" }).slice(-2), ["running-old", "running-new"])
  })

  it("sorts by age, activity, gaps, status and id", () => {
    assert.strictEqual(shown(fleet, { sort: "age", descending: true })[0], "running-old")
    assert.strictEqual(shown(fleet, { sort: "activity" })[0], "waits-long")
    assert.strictEqual(shown(fleet, { sort: "gaps", descending: true })[0], "gap")
    assert.strictEqual(shown(fleet, { sort: "status" })[0], "waits-short")
    assert.strictEqual(shown(fleet, { sort: "task" })[0], "done")
  })

  it("filters by group, and counts what each filter shows", () => {
    assert.deepStrictEqual(shown(fleet, { filter: "failed" }), ["failed-new", "failed-old"])
    assert.deepStrictEqual(shown(fleet, { filter: "ended" }), ["failed-new", "failed-old", "done"])
    assert.strictEqual(shown(fleet, { filter: "attention" }).length, 4)
    const rows = rowsOf(fleet, now)
    assert.deepStrictEqual(countsOf(rows), { all: 8, attention: 4, live: 5, failed: 2, ended: 3 })
    assert.strictEqual(doneCount(rows), 1)
  })

  it("finds every word of a search in the id, the status or the last line, in any case", () => {
    assert.deepStrictEqual(shown(fleet, { search: "NEW running" }), ["running-new"])
    assert.deepStrictEqual(shown(fleet, { search: "blocked" }), ["waits-short"])
    assert.deepStrictEqual(
      shown(fleet, { search: "npm" }, ({ taskId }) => (taskId === "gap" ? "Bash: NPM test" : "")),
      ["gap"]
    )
    assert.deepStrictEqual(shown(fleet, { search: "no such text" }), [])
  })
})
