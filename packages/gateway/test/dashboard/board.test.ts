/** The board of the dashboard in Chromium. */
import { assert } from "@effect/vitest"
import type { ServerLog } from "@makima-stream/test-kit/ServerLog"
import * as Effect from "effect/Effect"
import * as Chromium from "../browser/support/chromium.ts"
import * as Story from "./support/story.ts"
import * as View from "./support/view.ts"
import * as World from "./support/world.ts"

/** The totals of a board that has missed nothing of what the server sent. Each task has one result at most. */
const totalsOf = (log: ServerLog) => {
  const statuses = new Map<string, string | undefined>()
  let costUsd = 0
  for (const entry of log) {
    if (entry._tag !== "Sent") continue
    if (entry.message._tag === "TaskUpdated") statuses.set(entry.message.taskId, entry.message.status)
    if (entry.message._tag === "TaskOutput") costUsd += entry.message.costUsd ?? 0
  }
  const count = (...wanted: ReadonlyArray<string>): string =>
    String(Array.from(statuses.values()).filter((status) => status !== undefined && wanted.includes(status)).length)
  return {
    Live: count("running", "blocked"),
    Failed: count("failed"),
    Done: count("done"),
    "Needs you": count("failed", "blocked"),
    "Total cost": `$${costUsd.toFixed(2)}`
  }
}

Chromium.describeInChromium("the board of the dashboard", (test) => {
  test("shows 24 tasks at 1,280, 768 and 390 px, dark and light, those that need a person first", () =>
    Effect.gen(function* () {
      const world = yield* World.make()
      const { page, problems } = yield* Story.open(world)
      yield* View.awaitTasks(page, Story.ids.length)
      // The last event of the story changes the cost.
      yield* View.awaitTotal(page, "Total cost", `$${Story.costUsd.toFixed(2)}`)

      const statuses = new Map(Story.ids.map((id, n) => [id, Story.endings[n]] as const))
      const order = yield* Effect.promise(() => View.drawnTasks(page))
      assert.deepStrictEqual(
        order
          .slice(0, 5)
          .map((id) => statuses.get(id))
          .toSorted(),
        ["blocked", "blocked", "failed", "failed", "paused"]
      )
      assert.sameMembers(
        order.slice(0, 2).map((id) => statuses.get(id) ?? ""),
        ["failed", "failed"]
      )
      yield* View.awaitTotal(page, "Total cost", `$${Story.costUsd.toFixed(2)}`)
      const totals = yield* Effect.promise(() => View.totals(page))
      assert.deepInclude(totals, { "Needs you": "5", Live: "16", Failed: "2", Done: "6" })

      for (const colorScheme of World.themes) {
        for (const width of World.widths) {
          yield* Effect.promise(() => View.resize(page, width, colorScheme))
          yield* World.screenshot(page, `board-${width}-${colorScheme}`)
          assert.isAtMost(yield* Effect.promise(() => View.overflow(page)), 0, `${width} px`)
          if (width === 768) continue
          const violations = yield* Effect.promise(() => View.violations(page, World.rulesOf(colorScheme)))
          assert.deepStrictEqual(violations, [], `${width} px, ${colorScheme}`)
        }
      }
      assert.deepStrictEqual(problems.said, [])
      assert.deepStrictEqual(World.elsewhere(world, problems), [])
    }))

  test("follows 1,000 tasks through a burst of 4,000 events, and agrees with the server's log at its end", () =>
    Effect.gen(function* () {
      const world = yield* World.make()
      const { page, problems } = yield* World.open(world)
      const ids = Array.from({ length: 1000 }, (_, n) => `task-${`${n}`.padStart(4, "0")}`)
      yield* world.server.emitAll(ids.map((id) => World.updated(id, 1)))
      yield* View.awaitTasks(page, 1000)
      // The page follows the output of each task before the burst, so it misses nothing.
      yield* World.followed(world, ids)

      const statuses = ["running", "done", "failed", "blocked"]
      for (let n = 0; n < 3; n++) {
        yield* world.server.emitAll(
          ids.flatMap((id, task) => [
            World.output(id, `${n} of ${id}`, n === 2 ? { messageType: "result", costUsd: 0.25 } : {}),
            ...(n === 1 ? [World.updated(id, 2, statuses[task % 4])] : [])
          ])
        )
      }

      const expected = totalsOf(yield* world.server.log)
      yield* View.awaitTotal(page, "Total cost", expected["Total cost"])
      assert.deepInclude(yield* Effect.promise(() => View.totals(page)), expected)
      const drawn = yield* Effect.promise(() => View.drawnTasks(page))
      assert.isBelow(drawn.length, 100, "only the rows near the visible part exist")
      assert.deepStrictEqual(problems.said, [])
    }))
})
