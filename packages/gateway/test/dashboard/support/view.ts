/** What the page shows, read from its roles, as a person with a screen reader would. */
import * as Effect from "effect/Effect"
import axe, { type AxeResults } from "axe-core"
import type { Page } from "playwright-core"

/** A tile of the board, such as "Live": "12". */
export const totals = (page: Page): Promise<Readonly<Record<string, string>>> =>
  page
    .getByLabel("Totals", { exact: true })
    .evaluate((list) =>
      Object.fromEntries(
        Array.from(list.querySelectorAll("dt"), (term) => [
          term.textContent,
          term.parentElement?.querySelector("dd")?.firstElementChild?.textContent ?? ""
        ])
      )
    )

/** Waits until a tile shows a value. */
export const awaitTotal = (page: Page, label: string, value: string) =>
  Effect.promise(() =>
    page.waitForFunction(
      ([label, value]) => {
        const terms = Array.from(document.querySelectorAll("dt"))
        const tile = terms.find(({ textContent }) => textContent === label)?.parentElement
        return tile?.querySelector("dd")?.firstElementChild?.textContent === value
      },
      [label, value] as const
    )
  )

/** The grid of the board. */
export const grid = (page: Page) => page.getByRole("grid", { name: "Tasks" })

/** The ids of the tasks of the drawn rows, in their order. */
export const drawnTasks = (page: Page): Promise<ReadonlyArray<string>> =>
  grid(page).evaluate((element) =>
    Array.from(element.querySelectorAll("[role=row][data-index]"))
      .toSorted((a, b) => Number(a.getAttribute("data-index")) - Number(b.getAttribute("data-index")))
      .map((row) => row.querySelector("[role=rowheader] a")?.getAttribute("title") ?? "")
  )

/** How many tasks the grid has, also those that are not drawn. */
export const taskCount = async (page: Page): Promise<number> =>
  Number(await grid(page).getAttribute("aria-rowcount")) - 1

/** Waits until the grid has this many tasks. */
export const awaitTasks = (page: Page, count: number) =>
  Effect.promise(() => page.locator(`[role=grid][aria-rowcount="${count + 1}"]`).waitFor())

/** The id of the selected task. */
export const selectedTask = (page: Page): Promise<string | null> =>
  grid(page).locator("[role=row][aria-selected=true] [role=rowheader] a").getAttribute("title")

/** How much wider the page is than the window, in pixels. */
export const overflow = (page: Page): Promise<number> =>
  page.evaluate(() => {
    const { clientWidth, scrollWidth } = document.documentElement
    const inner = Array.from(document.querySelectorAll("main"), (main) => main.scrollWidth - main.clientWidth)
    return Math.max(scrollWidth - clientWidth, ...inner)
  })

/** The number of elements of the page. */
export const elements = (page: Page): Promise<number> => page.evaluate(() => document.querySelectorAll("*").length)

/** Changes the size of the window and the theme, and waits until the page has drawn itself twice. */
export const resize = async (page: Page, width: number, colorScheme: "dark" | "light"): Promise<void> => {
  await page.emulateMedia({ colorScheme })
  await page.setViewportSize({ width, height: 800 })
  await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))))
}

interface WithAxe {
  readonly axe?: typeof axe
}

/** What axe-core finds, in words. `rules` are the names of the only rules to check. Defaults to all. */
export const violations = async (page: Page, rules?: ReadonlyArray<string>): Promise<ReadonlyArray<string>> => {
  if (!(await page.evaluate(() => "axe" in globalThis))) await page.evaluate(axe.source)
  const { violations } = await page.evaluate(async (rules): Promise<AxeResults> => {
    // The source of axe defines this variable.
    const { axe } = globalThis as unknown as WithAxe
    if (axe === undefined) throw new Error("axe-core is not loaded")
    return axe.run({ resultTypes: ["violations"], ...(rules === undefined ? {} : { runOnly: Array.from(rules) }) })
  }, rules)
  return violations.flatMap(({ id, impact, nodes }) =>
    nodes.map(({ failureSummary, target }) => `${impact}: ${id}: ${target.join(" ")}: ${failureSummary}`)
  )
}
