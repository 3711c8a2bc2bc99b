/** What tasks send is shown as text, whatever it is. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Chromium from "../browser/support/chromium.ts"
import * as View from "./support/view.ts"
import * as World from "./support/world.ts"

/** Texts that would run, load or hide something if they were more than text. */
const texts = [
  `<script>alert("script")</script>`,
  `<img src="https://evil.example/pixel.png" onerror="alert('img')">`,
  `<svg onload="alert('svg')"><style>*{display:none!important}</style></svg>`,
  `<iframe src="https://evil.example/"></iframe><base href="https://evil.example/">`,
  `![image](https://evil.example/image.png) ![x](javascript:alert(1))`,
  `[run](javascript:alert('link')) [data](data:text/html,<script>alert(1)</script>) <javascript:alert(1)>`,
  `[vb](vbscript:x) [tab](java\tscript:alert(1)) [entity](&#106;avascript:alert(1))`,
  "```html\n<script>alert('fence')</script>\n```",
  `| <b onmouseover=alert(1)>cell</b> |\n| --- |\n| <img src=x onerror=alert(1)> |`,
  `&lt;script&gt;alert("entity")&lt;/script&gt;`,
  `\u001b]8;;javascript:alert(1)\u0007click\u001b]8;;\u0007 \u001b[2J\u001b[8mhidden\u001b[0m`,
  "right\u202Eto left\u202C \u2066isolated\u2069 zero\u200Bwidth \u0000 \uFFFE \uD800",
  `{{constructor.constructor("alert(1)")()}} \${alert(1)}`,
  "x".repeat(1 << 20),
  `${"> ".repeat(5000)}deep`,
  `${"*a ".repeat(20_000)}`,
  `${"[".repeat(20_000)}`
]

const hostile = `<img src=x onerror=alert(2)>`

Chromium.describeInChromium("hostile content in the dashboard", (test) => {
  test("is shown as text: no script, no dialog, no request elsewhere, no link that runs, nothing beyond its place", () =>
    Effect.gen(function* () {
      // A page that is slow to read a line of 1 MB loses nothing of it here.
      const world = yield* World.make({ gateway: { maxBufferedBytes: 64 << 20 } })
      const { page, problems } = yield* World.open(world)
      yield* Effect.promise(() =>
        page.addInitScript(() => {
          const seen: Array<string> = []
          Object.assign(globalThis, { violated: seen })
          addEventListener("securitypolicyviolation", ({ violatedDirective }) => seen.push(violatedDirective))
        })
      )
      yield* Effect.promise(() => page.reload())
      const task = `${hostile}/../"'`
      yield* world.server.emit({ ...World.updated(task, 1, hostile), updatedBy: hostile })
      yield* World.followed(world, [task])
      for (const text of texts) {
        yield* world.server.emitAll([
          World.output(task, text),
          World.output(task, text, { messageType: hostile, isError: true }),
          World.output(task, text, {
            messageType: "tool_use",
            toolName: hostile,
            toolInput: { command: text, [text.slice(0, 99)]: text }
          }),
          World.output(task, text, { messageType: "tool_result", toolName: hostile }),
          World.output(task, text, { messageType: "result", costUsd: 1e300, durationMs: 1 })
        ])
      }
      yield* world.server.emit(World.output(task, "The end."))
      yield* View.awaitTasks(page, 1)
      yield* Effect.promise(() => View.grid(page).getByText("The end.").waitFor())
      yield* World.screenshot(page, "hostile-board")

      yield* Effect.promise(async () => {
        await page.keyboard.press("j")
        await page.keyboard.press("Enter")
        const log = page.getByRole("log", { name: "Transcript" })
        await log.getByText("The end.").waitFor()
        // Every entry is drawn once, and opened.
        await log.evaluate(async (element) => {
          const frame = () => new Promise((resolve) => requestAnimationFrame(resolve))
          element.scrollTo({ top: 0 })
          for (let last = -1; last !== element.scrollTop;) {
            last = element.scrollTop
            await frame()
            for (const summary of element.querySelectorAll("details:not([open]) > summary")) {
              if (summary instanceof HTMLElement) summary.click()
            }
            await frame()
            element.scrollBy({ top: element.clientHeight / 2 })
            await frame()
          }
        })
        await log.evaluate((element) => element.scrollTo({ top: 0 }))
        await log.getByText(`<script>alert("script")</script>`).first().waitFor()
      })
      yield* World.screenshot(page, "hostile-transcript")
      yield* Effect.promise(async () => {
        const dangerous = await page.evaluate(() =>
          Array.from(
            document.querySelectorAll("main script, img, iframe, object, embed, form[action], a[href]"),
            (element) => element.outerHTML.slice(0, 200)
          ).filter((html) => !/^<a [^>]*href="(#|https?:)/.test(html))
        )
        assert.deepStrictEqual(dangerous, [])
        const violated = await page.evaluate(() => (globalThis as unknown as { readonly violated: unknown }).violated)
        assert.deepStrictEqual(violated, [])
        for (const width of World.widths) {
          await View.resize(page, width, "dark")
          assert.isAtMost(await View.overflow(page), 0, `${width} px`)
        }
        // Control characters and marks of direction have no effect.
        const text = await page.evaluate(() => document.body.innerText)
        assert.notMatch(text, /[^\P{Cc}\t\r\n]|[\u202a-\u202e\u2066-\u2069]/u)
      })
      assert.deepStrictEqual(problems.said, [])
      assert.deepStrictEqual(World.elsewhere(world, problems), [])
    }))
})
