/** The board: totals, charts, and a row for each task. */
import { memo } from "preact/compat"
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks"
import type { Attention } from "../model/attention.ts"
import type { Task } from "../model/board.ts"
import { ago, count, counted, rate, short, shortId, usd } from "../model/format.ts"
import * as Route from "../model/route.ts"
import { plain } from "../model/text.ts"
import { attentionText } from "./attentionText.ts"
import { Chart } from "./Chart.tsx"
import { useStore } from "./context.ts"
import * as Icon from "./icons.tsx"
import { useKeys } from "./keys.ts"
import { Status } from "./Status.tsx"
import { useVirtual } from "./virtual.ts"

const filters: ReadonlyArray<readonly [Route.FilterKey, string]> = [
  ["all", "All"],
  ["attention", "Needs you"],
  ["live", "Live"],
  ["failed", "Failed"],
  ["ended", "Ended"]
]

const columns: ReadonlyArray<{ readonly key: Route.SortKey | "line"; readonly name: string; readonly css: string }> = [
  { key: "attention", name: "Attention", css: "attention" },
  { key: "task", name: "Task", css: "task" },
  { key: "status", name: "Status", css: "status" },
  { key: "line", name: "Last output", css: "line" },
  { key: "activity", name: "Activity", css: "activity" },
  { key: "age", name: "Age", css: "age" },
  { key: "cost", name: "Cost", css: "cost" },
  { key: "gaps", name: "Gaps", css: "gaps" }
]

const sortNames: Readonly<Record<Route.SortKey, string>> = {
  attention: "Attention first",
  task: "Task",
  status: "Status",
  activity: "Activity",
  age: "Age",
  cost: "Cost",
  gaps: "Gaps"
}

interface TileProps {
  readonly label: string
  readonly value: string
  readonly note?: string
  readonly tone?: string
  readonly title?: string
}

const Tile = ({ label, note, title, tone, value }: TileProps) => (
  <div class={`tile ${tone ?? ""}`} title={title}>
    <dt>{label}</dt>
    <dd>
      <span class="tile-value">{value}</span>
      {note === undefined ? null : <span class="tile-note">{note}</span>}
    </dd>
  </div>
)

const Totals = () => {
  const { counts, done, isLowerBound, rate: events, totalUsd } = useStore()
  const { attention, failed, live } = counts.value
  return (
    <dl class="totals" aria-label="Totals">
      <Tile label="Needs you" value={count(attention)} tone={attention > 0 ? "tile-warn" : ""} />
      <Tile label="Live" value={count(live)} />
      <Tile label="Failed" value={count(failed)} tone={failed > 0 ? "tile-bad" : ""} />
      <Tile label="Done" value={count(done.value)} />
      <Tile
        label="Total cost"
        value={`${isLowerBound.value ? "≥ " : ""}${usd(totalUsd.value)}`}
        {...(isLowerBound.value ? { title: "A lower bound: results may be missing in a gap" } : {})}
      />
      <Tile label="Events" value={rate(events.value)} note="/s" />
    </dl>
  )
}

const Charts = () => {
  const store = useStore()
  const { activity, cost, now } = store
  const started = store.startedAt()
  const since = started === undefined ? "" : `last ${short(now.value - started)}`
  const perSecond = (at: number) => {
    const { times, values } = activity.points(at)
    const seconds = activity.width() / 1000
    // The newest point is not over yet.
    return { times: times.slice(0, -1), values: values.slice(0, -1).map((value) => value / seconds) }
  }
  return (
    <>
      <Chart
        title="Cost"
        value={usd(store.totalUsd.value)}
        note={since}
        points={cost.points}
        format={usd}
        color="--chart-cost"
        isStepped
      />
      <Chart
        title="Activity"
        value={`${rate(store.rate.value)} events/s`}
        note={since}
        points={perSecond}
        format={rate}
        color="--chart-activity"
      />
    </>
  )
}

/** The totals and the charts. A phone shows the charts only on request, because the tasks matter more. */
const Overview = () => {
  const store = useStore()
  const isPhone = store.isPhone.value
  return (
    <section class="overview" aria-label="Overview">
      <Totals />
      {isPhone ? (
        <details
          class="charts-fold"
          open={store.showsCharts.value}
          onToggle={({ currentTarget }) => store.setShowsCharts(currentTarget.open)}
        >
          <summary>
            <Icon.Chevron />
            Cost and activity over time
          </summary>
          {store.showsCharts.value ? <Charts /> : null}
        </details>
      ) : (
        <Charts />
      )}
    </section>
  )
}

const Toolbar = ({ searchRef }: { readonly searchRef: { current: HTMLInputElement | null } }) => {
  const store = useStore()
  const query = store.query.value
  const change = (changes: Partial<Route.Query>) =>
    store.go({ view: "board", query: { ...query, ...changes } }, { replace: true })
  return (
    <div class="toolbar" role="search">
      <label class="search">
        <Icon.Search />
        <span class="visually-hidden">Search tasks</span>
        <input
          ref={searchRef}
          type="search"
          placeholder="Search id, status, output"
          aria-keyshortcuts="/"
          value={query.search}
          onInput={({ currentTarget }) => change({ search: currentTarget.value })}
          onKeyDown={(event) => {
            if (event.key !== "Escape" && event.key !== "Enter") return
            event.preventDefault()
            if (event.key === "Escape") change({ search: "" })
            document.getElementById("tasks")?.focus()
          }}
        />
        <kbd aria-hidden="true">/</kbd>
      </label>
      <div class="filters" role="group" aria-label="Show">
        {filters.map(([key, name]) => (
          <button
            key={key}
            type="button"
            class="filter"
            aria-pressed={query.filter === key}
            onClick={() => change({ filter: key })}
          >
            {name} <span class="filter-count">{count(store.counts.value[key])}</span>
          </button>
        ))}
      </div>
      <div class="sort">
        <select
          aria-label="Sort by"
          value={query.sort}
          onChange={({ currentTarget }) => {
            const sort = Route.sortKeys.find((key) => key === currentTarget.value) ?? "attention"
            change({ sort, descending: Route.startsDescending[sort] })
          }}
        >
          {Route.sortKeys.map((key) => (
            <option key={key} value={key}>
              {sortNames[key]}
            </option>
          ))}
        </select>
      </div>
    </div>
  )
}

const Header = () => {
  const store = useStore()
  const query = store.query.value
  // A phone has a list of the columns instead, and hides these buttons.
  const isPhone = store.isPhone.value
  const sortBy = (sort: Route.SortKey) => {
    const descending = query.sort === sort ? !query.descending : Route.startsDescending[sort]
    store.go({ view: "board", query: { ...query, sort, descending } }, { replace: true })
  }
  return (
    <div class="row head" role="row" aria-rowindex={1}>
      {columns.map(({ css, key, name }) => {
        if (key === "line") {
          return (
            <div key={key} role="columnheader" class={`cell cell-${css}`}>
              {name}
            </div>
          )
        }
        const isSorted = query.sort === key
        const direction = query.descending ? "descending" : "ascending"
        return (
          <div key={key} role="columnheader" class={`cell cell-${css}`} aria-sort={isSorted ? direction : "none"}>
            <button
              type="button"
              class="sort-button"
              {...(isPhone ? { tabIndex: -1 } : {})}
              onClick={() => sortBy(key)}
            >
              {name}
              <span class="sort-mark" aria-hidden="true">
                {isSorted ? (query.descending ? "↓" : "↑") : ""}
              </span>
            </button>
          </div>
        )
      })}
    </div>
  )
}

interface RowProps {
  readonly task: Task
  readonly attention: Attention
  readonly index: number
  readonly isSelected: boolean
  readonly line: string
  readonly attentionText: string
  readonly activity: string
  readonly age: string
}

const RowCells = memo(
  ({ activity, age, attention, attentionText, line, task }: Omit<RowProps, "index" | "isSelected">) => {
    const gaps = task.updateGaps + task.outputGaps
    return (
      <>
        <div role="gridcell" class="cell cell-attention">
          {attentionText === "" ? null : (
            <span class={`need need-${attention}`}>
              {attention === "gaps" ? <Icon.Gap /> : <Icon.Alert />}
              {attentionText}
            </span>
          )}
        </div>
        <div role="rowheader" class="cell cell-task">
          <a href={Route.format({ view: "task", taskId: task.taskId })} tabIndex={-1} title={plain(task.taskId)}>
            {shortId(plain(task.taskId))}
          </a>
        </div>
        <div role="gridcell" class="cell cell-status">
          <Status status={task.isGone ? "gone" : task.status} />
        </div>
        <div role="gridcell" class="cell cell-line">
          <bdi>{line}</bdi>
        </div>
        <div role="gridcell" class="cell cell-activity num">
          {activity}
        </div>
        <div role="gridcell" class="cell cell-age num">
          {age}
        </div>
        <div role="gridcell" class="cell cell-cost num">
          {task.costUsd === 0 ? "–" : usd(task.costUsd)}
        </div>
        <div
          role="gridcell"
          class={`cell cell-gaps num ${gaps > 0 ? "has-gaps" : ""}`}
          title={`${counted(task.updateGaps, "gap")} of updates, ${counted(task.outputGaps, "gap")} of output`}
        >
          {gaps === 0 ? "–" : count(gaps)}
        </div>
      </>
    )
  }
)

const Empty = () => {
  const store = useStore()
  const { filter, search } = store.query.value
  const isFiltered = store.counts.value.all > 0 && (filter !== "all" || search !== "")
  return (
    <div class="empty">
      <p>{isFiltered ? "No task matches." : "No tasks yet. They appear here as soon as the server reports one."}</p>
      {isFiltered ? (
        <button
          type="button"
          class="button"
          onClick={() =>
            store.go({ view: "board", query: { ...store.query.value, filter: "all", search: "" } }, { replace: true })
          }
        >
          Show all tasks
        </button>
      ) : null}
    </div>
  )
}

const Grid = ({ scroller }: { readonly scroller: { current: HTMLElement | null } }) => {
  const store = useStore()
  const rows = store.selection.value
  const body = useRef<HTMLDivElement>(null)
  const [margin, setMargin] = useState(0)
  const isPhone = store.isPhone.value

  useLayoutEffect(() => {
    const scrolling = scroller.current
    if (scrolling === null) return
    const measure = () => {
      const rect = body.current?.getBoundingClientRect()
      if (rect === undefined) return
      setMargin(Math.round(rect.top - scrolling.getBoundingClientRect().top + scrolling.scrollTop))
    }
    const sizes = new ResizeObserver(measure)
    sizes.observe(scrolling)
    for (const child of scrolling.children) sizes.observe(child)
    measure()
    return () => sizes.disconnect()
  }, [])

  const list = useVirtual({
    scroller,
    count: rows.length,
    keyOf: (index) => rows[index]?.task.taskId ?? index,
    estimate: () => (isPhone ? 112 : 44),
    gap: isPhone ? 8 : 0,
    margin,
    overscan: 6
  })
  useLayoutEffect(() => list.measure(), [isPhone])

  const selectedIndex = rows.findIndex(({ task }) => task.taskId === store.selected.value)
  const move = (index: number): void => {
    const next = rows[Math.max(0, Math.min(rows.length - 1, index))]
    if (next === undefined) return
    store.selected.value = next.task.taskId
    document.getElementById("tasks")?.focus({ preventScroll: true })
    list.scrollToIndex(rows.indexOf(next), { align: "auto" })
  }
  const page = Math.max(1, Math.floor((scroller.current?.clientHeight ?? 400) / (isPhone ? 120 : 44)) - 2)
  useKeys(({ key, target }) => {
    const isButton = target instanceof HTMLButtonElement || target instanceof HTMLAnchorElement
    switch (key) {
      case "j":
      case "ArrowDown":
        return move(selectedIndex + 1) ?? true
      case "k":
      case "ArrowUp":
        return move(selectedIndex === -1 ? 0 : selectedIndex - 1) ?? true
      case "g":
      case "Home":
        return move(0) ?? true
      case "G":
      case "End":
        return move(rows.length - 1) ?? true
      case "PageDown":
        return move(selectedIndex + page) ?? true
      case "PageUp":
        return move(selectedIndex - page) ?? true
      case "Enter": {
        const row = rows[selectedIndex]
        if (row === undefined || isButton) return false
        store.go({ view: "task", taskId: row.task.taskId })
        return true
      }
      default:
        return false
    }
  })

  const now = store.now.value
  const items = list.getVirtualItems()
  const isSelectedDrawn = items.some(({ index }) => index === selectedIndex)
  return (
    <div
      id="tasks"
      class="grid"
      role="grid"
      aria-label="Tasks"
      aria-rowcount={rows.length + 1}
      aria-colcount={columns.length}
      tabIndex={0}
      {...(isSelectedDrawn ? { "aria-activedescendant": `row-${selectedIndex}` } : {})}
    >
      <div role="rowgroup" class="grid-head">
        <Header />
      </div>
      <div role="rowgroup" class="grid-body" ref={body} style={{ height: `${list.getTotalSize()}px` }}>
        {items.map(({ index, key, start }) => {
          const row = rows[index]
          if (row === undefined) return null
          const { attention, task } = row
          const isSelected = index === selectedIndex
          return (
            <div
              key={key}
              id={`row-${index}`}
              data-index={index}
              {...(isPhone ? { ref: list.measureElement } : {})}
              class={`row row-${attention} ${isSelected ? "selected" : ""}`}
              role="row"
              aria-rowindex={index + 2}
              aria-selected={isSelected}
              style={{ transform: `translateY(${start - margin}px)` }}
              onClick={(event) => {
                store.selected.value = task.taskId
                if (event.target instanceof HTMLAnchorElement) return
                if (getSelection()?.isCollapsed === false) return
                store.go({ view: "task", taskId: task.taskId })
              }}
            >
              <RowCells
                task={task}
                attention={attention}
                line={store.lineOf(task)}
                attentionText={attentionText(attention, task, now)}
                activity={task.activeAt === undefined ? "–" : ago(task.activeAt, now)}
                age={task.since === undefined ? "–" : short((task.endedAt ?? now) - task.since)}
              />
            </div>
          )
        })}
      </div>
    </div>
  )
}

/** Where the board was scrolled to when it was left. */
interface Place {
  top: number
}

export const Board = ({ place }: { readonly place: Place }) => {
  const store = useStore()
  const scroller = useRef<HTMLElement>(null)
  const search = useRef<HTMLInputElement>(null)
  useKeys(({ key }) => {
    if (key !== "/") return false
    search.current?.focus()
    search.current?.select()
    return true
  })
  useEffect(() => {
    const element = scroller.current
    if (element === null) return
    element.scrollTop = place.top
    document.getElementById("tasks")?.focus({ preventScroll: true })
    return () => void (place.top = element.scrollTop)
  }, [])
  const isEmpty = store.selection.value.length === 0
  return (
    <main class="view board" id="main" tabIndex={-1} ref={scroller}>
      <h1 class="visually-hidden">Tasks</h1>
      <Overview />
      <Toolbar searchRef={search} />
      <Grid scroller={scroller} />
      {isEmpty ? <Empty /> : null}
    </main>
  )
}
