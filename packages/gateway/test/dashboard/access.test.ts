/** Who gets to see the dashboard: the login URL, its cookie, and a browser that has none. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Chromium from "../browser/support/chromium.ts"
import * as World from "./support/world.ts"

Chromium.describeInChromium("access to the dashboard", (test) => {
  test("the login URL signs the browser in once, and its token leaves the address", () =>
    Effect.gen(function* () {
      const world = yield* World.make()
      yield* world.server.emit(World.updated("a-task", 1))
      const url = yield* world.login("/?ignored=1")
      const { page, problems } = yield* World.visit(url)
      yield* Effect.promise(() => page.getByText("a-task").first().waitFor())
      assert.strictEqual(page.url(), `${world.url}/?ignored=1`)

      const [cookie, ...others] = yield* Effect.promise(() => page.context().cookies())
      assert.deepStrictEqual([others, cookie?.httpOnly, cookie?.sameSite, cookie?.expires], [[], true, "Strict", -1])
      assert.strictEqual(yield* Effect.promise(() => page.evaluate(() => document.cookie)), "")
      assert.deepStrictEqual(problems.said, [])
      assert.deepStrictEqual(World.elsewhere(world, problems), [])

      // The same URL in another browser.
      const stranger = yield* Chromium.newContext()
      const refused = yield* Effect.promise(async () => (await stranger.newPage()).goto(url))
      assert.strictEqual(refused?.status(), 403)
    }))

  test("says that the gateway is gone, then that a new one needs a sign-in, and continues after the sign-in", () =>
    Effect.gen(function* () {
      const world = yield* World.make()
      yield* world.server.emit(World.updated("a-task", 1))
      const { page } = yield* World.open(world)
      const status = (text: string) =>
        page.getByRole("status", { name: "Connection" }).filter({ hasText: text }).waitFor()
      yield* Effect.promise(() => page.getByText("a-task").first().waitFor())
      yield* Effect.promise(() => status("Online"))

      yield* world.stop
      yield* Effect.promise(() => page.getByText("This page has lost the gateway").waitFor())
      yield* World.screenshot(page, "access-offline")
      // What was known stays on the page.
      assert.isTrue(yield* Effect.promise(() => page.getByText("a-task").first().isVisible()))

      yield* world.start
      yield* Effect.promise(() => status("Sign-in needed"))
      yield* World.screenshot(page, "access-sign-in")
      const url = yield* world.login()
      yield* Effect.promise(async () => {
        const other = await page.context().newPage()
        await other.goto(url)
        await status("Online")
      })
      yield* world.server.emit(World.updated("b-task", 1))
      yield* Effect.promise(() => page.getByText("b-task").first().waitFor())
    }))

  test("a browser without a cookie receives no page, but a text that says how to sign in", () =>
    Effect.gen(function* () {
      const world = yield* World.make()
      const page = yield* Chromium.newPage
      yield* Effect.promise(async () => {
        const answer = await page.goto(world.url)
        assert.strictEqual(answer?.status(), 401)
        await page.getByText("Open the URL that the gateway has printed").waitFor()
      })
    }))
})
