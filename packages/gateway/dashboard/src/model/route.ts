/** The address of the page: which view it shows, and how the board is sorted and filtered. */

/** The columns that the board can be sorted by. */
export const sortKeys = ["attention", "task", "status", "activity", "age", "cost", "gaps"] as const

/** A column. */
export type SortKey = (typeof sortKeys)[number]

/** The groups of tasks that the board can be limited to. */
export const filterKeys = ["all", "attention", "live", "failed", "ended"] as const

/** A group of tasks. */
export type FilterKey = (typeof filterKeys)[number]

/** How the board is sorted and filtered. */
export interface Query {
  readonly sort: SortKey
  readonly descending: boolean
  readonly filter: FilterKey
  readonly search: string
}

/** What the page shows. */
export type Route =
  | { readonly view: "board"; readonly query: Query }
  | { readonly view: "task"; readonly taskId: string }
  | { readonly view: "gaps" }

/** The direction in which a column is useful first. */
export const startsDescending: Readonly<Record<SortKey, boolean>> = {
  attention: false,
  task: false,
  status: false,
  activity: true,
  age: true,
  cost: true,
  gaps: true
}

/** The board as it first appears. */
export const defaultQuery: Query = { sort: "attention", descending: false, filter: "all", search: "" }

const oneOf = <A extends string>(allowed: ReadonlyArray<A>, value: string | null, fallback: A): A =>
  allowed.find((each) => each === value) ?? fallback

/** A search is never longer than this, in code units. */
const maxSearch = 200

const queryOf = (parameters: URLSearchParams): Query => {
  const sort = oneOf(sortKeys, parameters.get("sort"), defaultQuery.sort)
  const direction = parameters.get("dir")
  return {
    sort,
    descending: direction === "desc" || (direction !== "asc" && startsDescending[sort]),
    filter: oneOf(filterKeys, parameters.get("show"), defaultQuery.filter),
    search: (parameters.get("q") ?? "").slice(0, maxSearch)
  }
}

const decode = (text: string): string => {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** Reads the part of an address after `#`. Everything unknown is the board. */
export const parse = (hash: string): Route => {
  const [path = "", parameters = ""] = hash.replace(/^#/, "").split(/\?(.*)/s)
  const task = /^\/task\/(.+)$/.exec(path)?.[1]
  if (task !== undefined) return { view: "task", taskId: decode(task) }
  if (path === "/gaps") return { view: "gaps" }
  return { view: "board", query: queryOf(new URLSearchParams(parameters)) }
}

/** Writes an address, from `#` on. What is the default is left out. */
export const format = (route: Route): string => {
  if (route.view === "task") return `#/task/${encodeURIComponent(route.taskId)}`
  if (route.view === "gaps") return "#/gaps"
  const { descending, filter, search, sort } = route.query
  const parameters = new URLSearchParams()
  if (sort !== defaultQuery.sort) parameters.set("sort", sort)
  if (descending !== startsDescending[sort]) parameters.set("dir", descending ? "desc" : "asc")
  if (filter !== defaultQuery.filter) parameters.set("show", filter)
  if (search !== "") parameters.set("q", search)
  const text = parameters.toString()
  return text === "" ? "#/" : `#/?${text}`
}
