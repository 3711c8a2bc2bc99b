/** Keys, deep links and the buttons of the browser. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { Page } from "playwright-core"
import * as Chromium from "../browser/support/chromium.ts"
import * as View from "./support/view.ts"
import * as World from "./support/world.ts"

/** A text in the transcript. The board shows it too. */
const inTranscript = (page: Page) => (text: string) => page.getByRole("log", { name: "Transcript" }).getByText(text)

const ids = ["a", "b", "c", "d"].map((name) => `task-${name}`)

/** Four tasks, sorted by name, with one line of output each. */
const tasks = Effect.fnUntraced(function* (world: World.World, opened: World.Opened) {
  yield* world.server.emitAll(ids.map((id) => World.updated(id, 1)))
  yield* World.followed(world, ids)
  yield* world.server.emitAll(ids.map((id) => World.output(id, `This is ${id}.`)))
  yield* View.awaitTasks(opened.page, ids.length)
})

Chromium.describeInChromium("the dashboard by keyboard and address", (test) => {
  test("j and k choose a task, Enter opens it, Escape returns to the same place, and / searches", () =>
    Effect.gen(function* () {
      const world = yield* World.make()
      const opened = yield* World.open(world, { path: "/#/?sort=task" })
      const { page, problems } = opened
      const said = inTranscript(page)
      yield* tasks(world, opened)
      const press = async (...keys: ReadonlyArray<string>) => {
        for (const key of keys) await page.keyboard.press(key)
      }
      const selected = (id: string) => page.locator(`[role=row][aria-selected=true] a[title="${id}"]`).waitFor()

      yield* Effect.promise(async () => {
        await press("j", "j", "j", "k")
        await selected("task-b")
        await press("Enter")
        await said("This is task-b.").waitFor()
        assert.include(page.url(), "#/task/task-b")

        await press("Escape")
        await selected("task-b")
        assert.include(page.url(), "#/?sort=task")

        await press("/")
        await page.keyboard.type("task-d")
        await page.locator('[role=grid][aria-rowcount="2"]').waitFor()
        assert.deepStrictEqual(await View.drawnTasks(page), ["task-d"])
        assert.include(page.url(), "q=task-d")
        // From the field back to the list, and into the only task.
        await press("Enter", "j", "Enter")
        await said("This is task-d.").waitFor()

        await press("Escape")
        await page.locator('[role=grid][aria-rowcount="2"]').waitFor()
        await press("/", "Escape")
        await page.locator('[role=grid][aria-rowcount="5"]').waitFor()
      })
      assert.deepStrictEqual(problems.said, [])
    }))

  test("an address opens a task directly, and the back button returns to the view before", () =>
    Effect.gen(function* () {
      const world = yield* World.make()
      const opened = yield* World.open(world)
      const { page } = opened
      const said = inTranscript(page)
      yield* tasks(world, opened)
      yield* Effect.promise(async () => {
        await page.goto(`${world.url}/#/task/task-c`)
        await said("This is task-c.").waitFor()
        await page.goBack()
        await View.grid(page).waitFor()
        await page.goForward()
        await said("This is task-c.").waitFor()
        // A new load of the same address: the page comes back with what the gateway knows.
        await page.reload()
        await page.getByRole("heading", { name: "task-c" }).waitFor()
      })
    }))
})
