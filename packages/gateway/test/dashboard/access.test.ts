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
      const { context, page, problems } = yield* World.visit(url)
      yield* Effect.promise(() => page.getByText("a-task").first().waitFor())
      assert.strictEqual(page.url(), `${world.url}/?ignored=1`)

      const [cookie, ...others] = yield* Effect.promise(() => context.cookies())
      assert.deepStrictEqual([others, cookie?.httpOnly, cookie?.sameSite, cookie?.expires], [[], true, "Strict", -1])
      assert.strictEqual(yield* Effect.promise(() => page.evaluate(() => document.cookie)), "")
      assert.deepStrictEqual(problems.said, [])
      assert.deepStrictEqual(World.elsewhere(world, problems), [])

      // The same URL in another browser.
      const stranger = yield* Chromium.newContext()
      const refused = yield* Effect.promise(async () => (await stranger.newPage()).goto(url))
      assert.strictEqual(refused?.status(), 403)
    }))
})
