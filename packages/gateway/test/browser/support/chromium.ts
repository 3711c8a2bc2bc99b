/**
 * Debian's Chromium, where it is installed. Playwright only drives it, and downloads no browser.
 *
 * A worker of Vitest starts one browser, and its tests run one after the other in one context of it: a new context takes a
 * second of CPU time, a new page a fifth of that. Each test has pages of its own and starts without cookies.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { describe, it, type Vitest } from "@effect/vitest"
import type { Browser, BrowserContext, BrowserContextOptions, Page } from "playwright-core"
import { executable } from "../../../../../scripts/src/chromium.ts"

export const missing =
  "Chromium is not installed: `apt-get install chromium`, or set CHROMIUM to its path. .ci/run installs it"

/** Ends a wait that would never end. No wait takes this long, however busy the machine is. */
export const patience = 240_000

const flags = [
  "--disable-gpu",
  "--disable-quic",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  // `/dev/shm` is small in containers.
  "--disable-dev-shm-usage",
  // A page of the browser itself that every new window would load.
  "--disable-features=WebUIOmniboxPopup"
]

const defaults: BrowserContextOptions = { viewport: { width: 1280, height: 800 }, timezoneId: "UTC" }

const makeContext = async (browser: Browser, options?: BrowserContextOptions): Promise<BrowserContext> => {
  const context = await browser.newContext({ ...defaults, ...options })
  context.setDefaultTimeout(patience)
  return context
}

/** The browser of this worker, started by the first test. Playwright ends it with the process. */
const browser = Effect.runSync(
  Effect.cached(
    Effect.promise(async () => {
      if (executable === undefined) throw new Error(missing)
      // Loaded only where there is a browser: it takes a while.
      const { chromium } = await import("playwright-core")
      return chromium.launch({ executablePath: executable, chromiumSandbox: false, args: flags, timeout: patience })
    })
  )
)

/** The context of this worker, with an empty page: without any page its window would close. */
const shared = Effect.runSync(
  Effect.cached(
    Effect.flatMap(browser, (browser) =>
      Effect.promise(async () => {
        const context = await makeContext(browser)
        return { context, empty: await context.newPage() }
      })
    )
  )
)

/** Tests that need Chromium. Where it is missing they are skipped, and say so. */
export const describeInChromium = (name: string, tests: (test: Vitest.Tester<Scope.Scope>) => void): void => {
  if (executable === undefined) {
    console.warn(`skipped: ${name}. ${missing}`)
    describe(name, () => it("needs Chromium", (context) => context.skip(missing)))
    return
  }
  // Sockets, timers and frames of the browser run in real time, so the tests run on the live clock.
  describe(name, () => tests(it.live))
}

/** A browser context of its own, for what would stay in the shared one: options, or the clock of the page. */
export const newContext = (options?: BrowserContextOptions): Effect.Effect<BrowserContext, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.flatMap(browser, (browser) => Effect.promise(() => makeContext(browser, options))),
    (context) => Effect.promise(() => context.close())
  )

/** A page in the shared context. The scope closes it, every other page of the test, and removes the cookies. */
export const newPage: Effect.Effect<Page, never, Scope.Scope> = Effect.map(
  Effect.acquireRelease(
    Effect.flatMap(shared, ({ context, empty }) =>
      Effect.promise(async () => ({ context, empty, page: await context.newPage() }))
    ),
    ({ context, empty }) =>
      Effect.promise(async () => {
        for (const page of context.pages()) if (page !== empty) await page.close()
        await context.clearCookies()
      })
  ),
  ({ page }) => page
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
