/** `MeshSocket` on the `WebSocket` of Chromium, which cannot ping. */
import * as TaskId from "@makima-stream/core/TaskId"
import * as ChaosProxy from "@makima-stream/test-kit/ChaosProxy"
import * as MockMeshServer from "@makima-stream/test-kit/MockMeshServer"
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { Page } from "playwright-core"
import * as Chromium from "./support/chromium.ts"
import * as Site from "./support/site.ts"

/**
 * In milliseconds. On a machine that is too slow for it, the connection ends once more often: the test waits for what
 * comes after, and does not count.
 */
const heartbeat = { interval: 300, deadline: 1500 }

const updated = (version: number) =>
  ({ _tag: "TaskUpdated", taskId: TaskId.make("a"), version, status: "running" }) as const

const events = (page: Page) => Effect.promise(() => page.getByRole("listitem").allTextContents())

/** Waits until the page has reported an event after the place, and returns its place. */
const reported = (page: Page, text: string, after = -1) =>
  Effect.promise(async () => {
    const place = await page.waitForFunction(
      ([text, after]) => {
        const items = Array.from(document.querySelectorAll("li"), ({ textContent }) => textContent)
        const found = items.indexOf(text, after + 1)
        return found < 0 ? undefined : { found }
      },
      [text, after] as const
    )
    return (await place.jsonValue())?.found ?? -1
  })

Chromium.describeInChromium("MeshSocket in Chromium", (test) => {
  test("notices a frozen server by its heartbeat, and brings the feed back with a mark", () =>
    Effect.gen(function* () {
      const server = yield* MockMeshServer.make()
      const network = yield* ChaosProxy.make({ target: server.port })
      const site = yield* Site.serve(yield* Site.bundle("feed.ts"))
      const page = yield* Chromium.newPage
      const problems = Chromium.watch(page)
      const parameters = new URLSearchParams({
        feed: network.url,
        interval: String(heartbeat.interval),
        deadline: String(heartbeat.deadline)
      })
      yield* Effect.promise(() => page.goto(`${site}?${parameters}`))

      const started = yield* reported(page, "Resync Started")
      // The heartbeat judges a server that has answered it once. The next event follows that answer.
      yield* server
        .awaitReceived(({ message }) => message._tag === "UnsubscribeOutput")
        .pipe(Effect.timeout(Chromium.patience))
      yield* server.emit(updated(1))
      const first = yield* reported(page, "TaskUpdated 1", started)

      // The connection is half-open, and nothing answers the next dial.
      yield* server.stallDial(1)
      yield* network.freeze()
      yield* server.emit(updated(2))
      const noticed = yield* reported(page, "Disconnected HeartbeatTimeout", first)
      const refused = yield* reported(page, "Disconnected DialTimeout", noticed)
      const marked = yield* reported(page, "Resync Reconnected", refused)
      // What the old connection still has is dropped.
      yield* network.thaw()
      yield* server.emit(updated(3))
      yield* reported(page, "TaskUpdated 3", marked)

      assert.notInclude(yield* events(page), "TaskUpdated 2")
      // Chromium warns of a WebSocket that is closed before it is open.
      assert.deepStrictEqual(
        problems.said.filter((text) => !text.startsWith("warning: WebSocket connection")),
        []
      )
    }))
})
