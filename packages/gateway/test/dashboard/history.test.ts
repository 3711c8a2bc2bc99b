/** The transcript of a task whose history is in the log of the gateway. */
import { assert } from "@effect/vitest"
import type { MeshEvent } from "@makima-stream/core/MeshEvent"
import * as LogError from "@makima-stream/log/LogError"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { Page } from "playwright-core"
import * as Chromium from "../browser/support/chromium.ts"
import * as World from "./support/world.ts"

const transcript = (page: Page) => page.getByRole("log", { name: "Transcript" })

/** Those of the texts that the drawn entries have, in the order of the entries. A text that is there twice is named twice. */
const order = async (page: Page, texts: ReadonlyArray<string>): Promise<ReadonlyArray<string>> => {
  const entries = await transcript(page).evaluate((element) =>
    Array.from(element.querySelectorAll<HTMLElement>("[data-index]"))
      .toSorted((a, b) => Number(a.dataset["index"]) - Number(b.dataset["index"]))
      .map(({ innerText }) => innerText)
  )
  return entries.flatMap((entry) => texts.filter((wanted) => entry.includes(wanted)))
}

const past: ReadonlyArray<MeshEvent> = [
  World.updated("past", 1),
  World.output("past", "I begin.", { isPartial: true }),
  World.output("other", "Another task."),
  World.output("past", "I begin. This is the plan."),
  { _tag: "Resync", epoch: 2, reason: { _tag: "Reconnected", downMillis: 5000 } },
  World.output("past", "After the gap."),
  World.output("past", "All is done.", { messageType: "result", costUsd: 1, durationMs: 1000 }),
  World.updated("past", 2, "done")
]

Chromium.describeInChromium("a transcript of a gateway with a log", (test) => {
  test("of a task that ended before the page was opened is whole, in order, and once", () =>
    Effect.gen(function* () {
      const { append, log } = yield* World.makeLog
      yield* append(past)
      const world = yield* World.make({ gateway: { log } })
      const { page, problems } = yield* World.open(world, { path: "/#/task/past" })
      yield* Effect.promise(async () => {
        await transcript(page).getByText("All is done.").waitFor()
        await transcript(page).getByText("is not in the log of the gateway").waitFor()
        const texts = ["I begin. This is the plan.", "missing", "After the gap.", "All is done."]
        assert.deepStrictEqual(await order(page, texts), texts)
        assert.notInclude(await transcript(page).innerText(), "Another task.")
      })
      assert.deepStrictEqual(problems.said, [])
    }))

  test("continues live without a seam, also after a cut, with each entry once", () =>
    Effect.gen(function* () {
      const { append, log } = yield* World.makeLog
      const world = yield* World.make({ gateway: { log } })
      const say = (text: string) => {
        const message = World.output("live", text)
        return Effect.andThen(world.server.emit(message), append([message]))
      }
      yield* append([World.updated("live", 1), World.output("live", "Said before.")])
      const { page } = yield* World.open(world, { path: "/#/task/live" })
      yield* world.server.emit(World.updated("live", 1))
      yield* World.followed(world, ["live"])
      yield* say("Said live.")
      yield* Effect.promise(() => transcript(page).getByText("Said live.").waitFor())
      yield* world.downstream.kill()
      yield* say("Said during the cut.")
      yield* Effect.promise(() => transcript(page).getByText("Said during the cut.").waitFor())
      yield* say("Said after it.")
      yield* Effect.promise(() => transcript(page).getByText("Said after it.").waitFor())
      const texts = ["Said before.", "Said live.", "Said during the cut.", "Said after it."]
      assert.deepStrictEqual(yield* Effect.promise(() => order(page, texts)), texts)
    }))

  test("reads nothing while the page is hidden, and continues where it was when the page is visible again", () =>
    Effect.gen(function* () {
      const { append, log } = yield* World.makeLog
      yield* append([World.updated("a", 1), World.output("a", "Said before.")])
      const world = yield* World.make({ gateway: { log } })
      const { page } = yield* World.open(world, { path: "/#/task/a" })
      const text = transcript(page)
      yield* Effect.promise(() => text.getByText("Said before.").waitFor())
      const requests: Array<string> = []
      page.on("request", (request) => void (request.url().includes("/events") && requests.push(request.url())))
      const setHidden = (isHidden: boolean) =>
        Effect.promise(() =>
          page.evaluate((isHidden) => {
            Object.defineProperty(document, "hidden", { configurable: true, value: isHidden })
            document.dispatchEvent(new Event("visibilitychange"))
          }, isHidden)
        )
      const ended = page.waitForEvent("requestfailed", (request) => request.url().includes("/events?task=a"))
      yield* setHidden(true)
      yield* Effect.promise(() => ended)
      yield* append([World.output("a", "Said while it was hidden.")])
      assert.deepStrictEqual(requests, [])
      yield* setHidden(false)
      yield* Effect.promise(() => text.getByText("Said while it was hidden.").waitFor())
      const texts = ["Said before.", "Said while it was hidden."]
      assert.deepStrictEqual(yield* Effect.promise(() => order(page, texts)), texts)
      assert.strictEqual(requests.length, 1)
    }))

  test("says that the log failed, and shows what the page receives itself", () =>
    Effect.gen(function* () {
      const { log } = yield* World.makeLog
      const reason = new LogError.Unavailable({ cause: "the disk is gone" })
      const failing = { ...log, read: () => Stream.fail(new LogError.LogError({ reason })) }
      const world = yield* World.make({ gateway: { log: failing } })
      const { page } = yield* World.open(world, { path: "/#/task/live" })
      yield* world.server.emit(World.updated("live", 1))
      yield* World.followed(world, ["live"])
      yield* world.server.emit(World.output("live", "Said live."))
      yield* Effect.promise(async () => {
        await transcript(page).getByText("The history could not be read: The log of the gateway failed").waitFor()
        await transcript(page).getByText("Said live.").waitFor()
      })
      yield* world.server.emit(World.output("live", "Said later."))
      yield* Effect.promise(() => transcript(page).getByText("Said later.").waitFor())
    }))
})
