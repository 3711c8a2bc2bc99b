/** The transcript of a task, and its gaps. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { Page } from "playwright-core"
import * as Chromium from "../browser/support/chromium.ts"
import * as Story from "./support/story.ts"
import * as View from "./support/view.ts"
import * as World from "./support/world.ts"

const transcript = (page: Page) => page.getByRole("log", { name: "Transcript" })
const notes = (page: Page) => transcript(page).getByRole("note")

/** The texts of the drawn entries, in their order. */
const drawn = (page: Page): Promise<ReadonlyArray<string>> =>
  transcript(page).evaluate((element) =>
    Array.from(element.querySelectorAll<HTMLElement>("[data-index]"))
      .toSorted((a, b) => Number(a.dataset["index"]) - Number(b.dataset["index"]))
      .map((entry) => entry.innerText)
  )

/** Where the transcript is scrolled to, once its rows are measured and nothing moves any more. */
const settled = (page: Page): Promise<number> =>
  transcript(page).evaluate(async (element) => {
    let last = -1
    for (let same = 0; same < 3;) {
      await new Promise((resolve) => requestAnimationFrame(resolve))
      same = element.scrollTop === last ? same + 1 : 0
      last = element.scrollTop
    }
    return last
  })

/** The transcript of a task whose output arrives, and a function that sends a text and waits until it is shown. */
const beforeCut = Effect.gen(function* () {
  const world = yield* World.make()
  const { page } = yield* World.open(world, { path: "/#/task/a" })
  yield* world.server.emit(World.updated("a", 1))
  yield* World.followed(world, ["a"])
  const say = (text: string) =>
    Effect.andThen(
      world.server.emit(World.output("a", text)),
      Effect.promise(() => transcript(page).getByText(text).waitFor())
    )
  yield* say("Before the cut.")
  return { page, say, world }
})

Chromium.describeInChromium("a transcript of the dashboard", (test) => {
  test("is readable at 1,280, 768 and 390 px, dark and light, with folded tools, diffs and Markdown", () =>
    Effect.gen(function* () {
      const world = yield* World.make()
      const { page, problems } = yield* Story.open(world)
      yield* Effect.promise(async () => {
        await page.goto(`${world.url}/#/task/${Story.main}`)
        await page.getByText("I will now write the note").waitFor()
        const text = await transcript(page).innerText()
        // Markdown as elements, and escape sequences without their effect.
        assert.strictEqual(await transcript(page).locator("strong").getByText("large accounts").count(), 1)
        assert.notInclude(text, "\u001b")
        // A tool is folded until it is asked for.
        const edit = transcript(page).locator("details").filter({ hasText: "Edit" })
        assert.isFalse(await page.getByText("Readable.from(lines(rows))").isVisible())
        await edit.locator("summary").click()
        await page.getByText("Readable.from(lines(rows))").first().waitFor()
      })
      for (const colorScheme of World.themes) {
        for (const width of World.widths) {
          yield* Effect.promise(() => View.resize(page, width, colorScheme))
          yield* World.screenshot(page, `transcript-${width}-${colorScheme}`)
          assert.isAtMost(yield* Effect.promise(() => View.overflow(page)), 0, `${width} px`)
        }
        const violations = yield* Effect.promise(() => View.violations(page, World.rulesOf(colorScheme)))
        assert.deepStrictEqual(violations, [], colorScheme)
      }
      assert.deepStrictEqual(problems.said, [])
    }))

  test("of 10,000 lines scrolls from its end to its start and back with few elements, and follows the newest line", () =>
    Effect.gen(function* () {
      const { append, log } = yield* World.makeLog
      const world = yield* World.make({ gateway: { log } })
      const line = (n: number) => World.output("long", `This is line ${n} of the transcript.`)
      yield* append([World.updated("long", 1), ...Array.from({ length: 10_000 }, (_, n) => line(n + 1))])
      const { page, problems } = yield* World.open(world, { path: "/#/task/long" })
      yield* world.server.emit(World.updated("long", 1))
      yield* World.followed(world, ["long"])
      const say = (n: number) => Effect.runPromise(Effect.andThen(world.server.emit(line(n)), append([line(n)])))
      yield* Effect.promise(async () => {
        const visible = (n: number) => transcript(page).getByText(line(n).content, { exact: true })
        await visible(10_000).waitFor()
        assert.isBelow(await View.elements(page), 1500)
        await page.keyboard.press("Home")
        await visible(1).waitFor()
        assert.isBelow(await View.elements(page), 1500)
        // Each page of the middle has its lines in order.
        await transcript(page).evaluate((element) => element.scrollTo({ top: element.scrollHeight / 2 }))
        await page.waitForFunction(() => !document.body.innerText.includes("line 1 of the transcript"))
        const numbers = (await drawn(page)).map((text) => Number(/line (\d+) of/.exec(text)?.[1]))
        assert.isAbove(numbers.length, 3)
        assert.deepStrictEqual(
          numbers,
          numbers.map((_, place) => (numbers[0] ?? 0) + place)
        )
        // The reader has scrolled up: what arrives does not move the page.
        const before = await settled(page)
        await say(10_001)
        await page
          .getByRole("button", { name: /Jump to the newest/ })
          .filter({ hasText: "1 new" })
          .waitFor()
        assert.approximately(await settled(page), before, 2)
        await page.keyboard.press("End")
        await visible(10_001).waitFor()
        await say(10_002)
        await visible(10_002).waitFor()
      })
      assert.deepStrictEqual(problems.said, [])
    }))

  test("joins the pieces of a message, and shows them while they arrive", () =>
    Effect.gen(function* () {
      const world = yield* World.make()
      const { page } = yield* World.open(world, { path: "/#/task/writer" })
      yield* world.server.emit(World.updated("writer", 1))
      yield* World.followed(world, ["writer"])
      const text = transcript(page)
      yield* world.server.emit(World.output("writer", "One ", { isPartial: true }))
      yield* world.server.emit(World.output("writer", "two ", { isPartial: true }))
      yield* Effect.promise(() => text.getByText("One two").waitFor())
      yield* world.server.emit(World.output("writer", "One two three."))
      yield* Effect.promise(async () => {
        await text.getByText("One two three.", { exact: true }).waitFor()
        await text.getByText("writing").waitFor({ state: "detached" })
        assert.strictEqual(await text.getByText("One two").count(), 1)
      })
    }))

  test("shows a cut of the server's connection at its place, in the list of gaps, and in the header while it lasts", () =>
    Effect.gen(function* () {
      const { page, say, world } = yield* beforeCut

      yield* world.server.refuse(Number.POSITIVE_INFINITY, 503)
      yield* world.upstream.kill()
      const status = page.getByRole("status", { name: "Connection" })
      yield* Effect.promise(async () => {
        await status.filter({ hasText: "Server offline" }).waitFor()
        await page.getByText("The gateway has lost the server").waitFor()
        await notes(page).filter({ hasText: "Output may be missing here: since" }).waitFor()
      })
      yield* World.screenshot(page, "gap-open")
      yield* world.server.emit(World.output("a", "Sent while the connection is down."))
      yield* world.server.heal
      yield* Effect.promise(() => status.filter({ hasText: "Online" }).waitFor())
      yield* say("After the cut.")

      yield* Effect.promise(async () => {
        const entries = await drawn(page)
        const place = (text: string) => entries.findIndex((entry) => entry.includes(text))
        assert.isAbove(place("Output may be missing here"), place("Before the cut."))
        assert.isAbove(place("After the cut."), place("Output may be missing here"))
        assert.strictEqual(await notes(page).count(), 1)
        assert.notInclude(entries.join(), "Sent while the connection is down.")
      })
      yield* World.screenshot(page, "gap-transcript")
      yield* Effect.promise(async () => {
        await page.goto(`${world.url}/#/gaps`)
        const gap = page.getByRole("main").getByRole("listitem")
        await gap.first().waitFor()
        assert.strictEqual(await gap.count(), 1)
        assert.include(await gap.innerText(), "The connection was lost")
      })
      yield* World.screenshot(page, "gap-list")
      assert.deepStrictEqual(yield* Effect.promise(() => View.violations(page)), [])
      yield* Effect.promise(async () => {
        await page.keyboard.press("Escape")
        await View.grid(page).locator(".has-gaps").first().waitFor()
      })
    }))

  test("marks a cut between the page and its gateway the same way", () =>
    Effect.gen(function* () {
      const { page, say, world } = yield* beforeCut
      yield* world.downstream.kill()
      yield* Effect.promise(async () => {
        await notes(page).filter({ hasText: "Output may be missing here" }).waitFor()
        await page.getByRole("status", { name: "Connection" }).filter({ hasText: "Online" }).waitFor()
        await page.waitForFunction(() => !document.body.innerText.includes("may be missing here: since"))
      })
      yield* say("After the cut.")
    }))
})
