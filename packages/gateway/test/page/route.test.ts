import { assert, describe, it } from "@effect/vitest"
import * as Route from "../../dashboard/src/model/route.ts"

describe("route", () => {
  it("reads what it has written", () => {
    const queries: ReadonlyArray<Route.Query> = Route.sortKeys.flatMap((sort) =>
      Route.filterKeys.flatMap((filter) =>
        [true, false].map((descending) => ({ sort, filter, descending, search: "a b&c=#?ü" }))
      )
    )
    const routes: ReadonlyArray<Route.Route> = [
      ...queries.map((query) => ({ view: "board" as const, query })),
      { view: "task", taskId: "a/b?c#d e%" },
      { view: "gaps" }
    ]
    for (const route of routes) assert.deepStrictEqual(Route.parse(Route.format(route)), route)
  })

  it("leaves out what is the default", () => {
    assert.strictEqual(Route.format({ view: "board", query: Route.defaultQuery }), "#/")
    assert.strictEqual(
      Route.format({ view: "board", query: { ...Route.defaultQuery, sort: "cost", descending: true } }),
      "#/?sort=cost"
    )
  })

  it("an unknown address is the board as it first appears", () => {
    for (const hash of ["", "#", "#/nowhere", "#/task/", "#/?sort=evil&dir=x&show=y"]) {
      assert.deepStrictEqual(Route.parse(hash), { view: "board", query: Route.defaultQuery })
    }
  })

  it("a broken escape in a task's address is part of its id", () => {
    assert.deepStrictEqual(Route.parse("#/task/%E0%A4%A"), { view: "task", taskId: "%E0%A4%A" })
  })

  it("cuts a very long search", () => {
    const route = Route.parse(`#/?q=${"x".repeat(10_000)}`)
    assert.strictEqual(route.view === "board" ? route.query.search.length : 0, 200)
  })
})
