/** The route of the page, in the address after `#`. */
import { effect, signal, computed, type ReadonlySignal } from "@preact/signals"
import * as Route from "./model/route.ts"

export interface Navigation {
  readonly route: ReadonlySignal<Route.Route>
  /** The query of the board: the current one, or the last one while another view is shown. */
  readonly query: ReadonlySignal<Route.Query>
  /** Goes to a route. `replace` changes the address without a new entry in the history. */
  readonly go: (route: Route.Route, options?: { readonly replace: boolean }) => void
}

export const make = (): Navigation => {
  const route = signal(Route.parse(location.hash))
  let lastQuery = Route.defaultQuery
  const query = computed(() => (route.value.view === "board" ? route.value.query : lastQuery))
  effect(() => {
    if (route.value.view === "board") lastQuery = route.value.query
  })
  const read = () => void (route.value = Route.parse(location.hash))
  addEventListener("popstate", read)
  addEventListener("hashchange", read)
  return {
    route,
    query,
    go(next, options) {
      const hash = Route.format(next)
      if (hash === location.hash) return
      if (options?.replace === true) history.replaceState(null, "", hash)
      else history.pushState(null, "", hash)
      route.value = next
    }
  }
}
