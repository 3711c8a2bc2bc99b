/**
 * Debian's Chromium, where it is installed. One process serves all tests of a file; each test has a profile of its own.
 * Playwright only drives it, and downloads no browser.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { describe, it, layer, type Vitest } from "@effect/vitest"
import type { Browser, BrowserContext, BrowserContextOptions, Page } from "playwright-core"
import { executable } from "./executable.ts"

export const missing =
  "Chromium is not installed: `apt-get install chromium`, or set CHROMIUM to its path. .ci/run installs it"

/** Ends a wait that would never end. No wait takes this long, however busy the machine is. */
export const patience = 60_000

const flags = [
  "--disable-gpu",
  "--disable-quic",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  // `/dev/shm` is small in containers.
  "--disable-dev-shm-usage"
]

/** A running browser. */
export class Chromium extends Context.Service<Chromium, Browser>()("@makima-stream/gateway/test/Chromium") {}

const launch = Effect.gen(function* () {
  const executablePath = executable
  if (executablePath === undefined) return yield* Effect.die(new Error(missing))
  // Loaded only where there is a browser: it takes a while.
  const { chromium } = yield* Effect.promise(() => import("playwright-core"))
  return yield* Effect.acquireRelease(
    Effect.promise(() =>
      chromium.launch({
        executablePath,
        chromiumSandbox: false,
        args: flags,
        timeout: patience
      })
    ),
    (browser) => Effect.promise(() => browser.close())
  )
})

export const live = Layer.effect(Chromium, launch)

/** Tests that need Chromium. Where it is missing they are skipped, and say so. */
export const describeInChromium = (
  name: string,
  tests: (test: Vitest.Tester<Chromium | Scope.Scope>) => void
): void => {
  if (executable === undefined) {
    console.warn(`skipped: ${name}. ${missing}`)
    describe(name, () => it("needs Chromium", (context) => context.skip(missing)))
    return
  }
  // Sockets, timers and frames of the browser run in real time, so the tests run on the live clock.
  layer(live, { excludeTestServices: true, timeout: patience })(name, ({ effect }) => tests(effect))
}

/** A profile of its own: cookies and storage are those of one test. */
export const newContext = (
  options?: BrowserContextOptions
): Effect.Effect<BrowserContext, never, Chromium | Scope.Scope> =>
  Effect.flatMap(Chromium, (browser) =>
    Effect.acquireRelease(
      Effect.promise(async () => {
        const context = await browser.newContext(options)
        context.setDefaultTimeout(patience)
        return context
      }),
      (context) => Effect.promise(() => context.close())
    )
  )

/** Everything that a page should not do. */
export interface Problems {
  /** Messages on the console that are warnings or errors, uncaught errors, and dialogs. */
  readonly said: Array<string>
  /** The URLs of all requests. */
  readonly requested: Array<string>
}

/** Records the problems of a page. */
export const watch = (page: Page): Problems => {
  const problems: Problems = { said: [], requested: [] }
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") {
      problems.said.push(`${message.type()}: ${message.text()}`)
    }
  })
  page.on("pageerror", (error) => problems.said.push(`uncaught: ${error.message}`))
  page.on("dialog", (dialog) => {
    problems.said.push(`dialog: ${dialog.message()}`)
    void dialog.dismiss()
  })
  page.on("request", (request) => problems.requested.push(request.url()))
  page.on("websocket", (socket) => problems.requested.push(socket.url()))
  return problems
}
