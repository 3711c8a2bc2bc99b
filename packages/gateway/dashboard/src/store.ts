/**
 * The state of the page. The feed folds into the models at once, whether the page is visible or not. The views read the
 * signals, which change at most once in a frame and only while the page is visible.
 */
import { batch, computed, effect, signal } from "@preact/signals"
import * as Feed from "./feed.ts"
import * as Attention from "./model/attention.ts"
import * as Board from "./model/board.ts"
import * as Connection from "./model/connection.ts"
import * as Gaps from "./model/gaps.ts"
import * as Route from "./model/route.ts"
import * as Selection from "./model/selection.ts"
import * as Series from "./model/series.ts"
import { lastLine, oneLine } from "./model/text.ts"
import * as Tools from "./model/tools.ts"
import * as Transcripts from "./model/transcript.ts"

/** The board is drawn at most this often, in milliseconds. A transcript is drawn in each frame. */
const boardInterval = 200

/** Half an hour of seconds; then two seconds to a point, and so on. */
const seriesOptions = { width: 1000, maxPoints: 1800 }

/** The remembered choices of a person. */
const storage = {
  get(key: string): string | null {
    try {
      return localStorage.getItem(key)
    } catch {
      return null
    }
  },
  set(key: string, value: string): void {
    try {
      localStorage.setItem(key, value)
    } catch {
      // Storage may be turned off. The choice then lasts as long as the page.
    }
  }
}

/** The choice of colours: that of the system, or one of the two. */
export type Theme = "auto" | "light" | "dark"

const themeOf = (value: string | null): Theme => (value === "light" || value === "dark" ? value : "auto")

/** What a task last said, in one line. */
const describeOutput = (task: Board.Task): string => {
  const output = task.lastOutput
  if (output === undefined) return ""
  if (output.messageType !== "tool_use") return lastLine(output.content)
  const what = Tools.summary(output.toolInput) || oneLine(output.content)
  return what === "" ? (output.toolName ?? "") : `${output.toolName ?? "tool"}: ${what}`
}

const make = () => {
  const board = Board.make()
  const transcripts = Transcripts.make()
  const gaps = Gaps.make()
  const activity = Series.make("sum", seriesOptions)
  const cost = Series.make("last", seriesOptions)
  const meter = Series.meter()

  /** Grows when something has changed that the board, or a transcript, shows. */
  const boardVersion = signal(0)
  const frame = signal(0)
  /** The time that is shown. Changes once a second while the page is visible. */
  const now = signal(Date.now())
  const route = signal(Route.parse(location.hash))
  const theme = signal(themeOf(storage.get("makima.theme")))
  const selected = signal<string | undefined>(undefined)
  const facts = signal<Connection.Facts>({
    status: { _tag: "Connecting", attempt: 0 },
    isUpstream: false,
    isSignedIn: true,
    offlineSince: undefined
  })
  const narrow = matchMedia("(max-width: 719px)")
  const isPhone = signal(narrow.matches)
  narrow.addEventListener("change", () => void (isPhone.value = narrow.matches))
  /** Whether a phone shows the charts. */
  const showsCharts = signal(storage.get("makima.charts") === "open")
  /** Gaps up to this number have been looked at. */
  const seenGaps = signal(0)

  // ---------------------------------------------------------------------------
  // frames
  // ---------------------------------------------------------------------------

  let isRequested = false
  let isBoardDue = false
  let drawnAt = 0
  let timer: ReturnType<typeof setTimeout> | undefined

  const request = (): void => {
    if (isRequested || document.hidden) return
    isRequested = true
    requestAnimationFrame(draw)
  }
  const draw = (): void => {
    isRequested = false
    const at = performance.now()
    batch(() => {
      frame.value++
      if (!isBoardDue) return
      if (at - drawnAt >= boardInterval) {
        isBoardDue = false
        drawnAt = at
        boardVersion.value++
      } else {
        timer ??= setTimeout(
          () => {
            timer = undefined
            request()
          },
          boardInterval - (at - drawnAt)
        )
      }
    })
  }
  const changed = (): void => {
    isBoardDue = true
    request()
  }
  const tick = (): void => {
    if (document.hidden) return
    cost.add(Date.now(), board.totalUsd())
    now.value = Date.now()
  }

  // ---------------------------------------------------------------------------
  // the feed
  // ---------------------------------------------------------------------------

  const sink: Feed.Sink = {
    events(events) {
      const at = Date.now()
      board.fold(events, at)
      transcripts.pieces(events)
      for (const gap of gaps.fold(events, at)) transcripts.gap(gap.id, gap.taskId, at)
      const count = events.reduce((sum, { _tag }) => sum + (_tag === "TaskUpdated" || _tag === "TaskOutput" ? 1 : 0), 0)
      if (count > 0) {
        activity.add(at, count)
        meter.add(at, count)
        cost.add(at, board.totalUsd())
      }
      changed()
    },
    joined(events) {
      transcripts.fold(events, Date.now())
      request()
    },
    listed(tasks) {
      board.list(tasks, Date.now())
      changed()
    },
    said(taskId, output) {
      board.said(taskId, output)
      changed()
    },
    status(status, isUpstream) {
      const isOffline = status._tag === "Offline" || status._tag === "Failed"
      const before = facts.value.offlineSince
      const offlineSince = status._tag === "Online" ? undefined : (before ?? (isOffline ? Date.now() : undefined))
      facts.value = { ...facts.value, status, isUpstream, offlineSince }
    },
    signedIn(isSignedIn) {
      if (facts.value.isSignedIn !== isSignedIn) facts.value = { ...facts.value, isSignedIn }
    }
  }

  // ---------------------------------------------------------------------------
  // what the views read
  // ---------------------------------------------------------------------------

  const lineOf = (task: Board.Task): string => {
    const pending = transcripts.pendingText(task.taskId)
    return pending === "" ? describeOutput(task) : lastLine(pending)
  }
  // A task may become stalled without an event, so the rows also depend on the time. Ten seconds are soon enough for that.
  const slowNow = computed(() => Math.floor(now.value / 10_000) * 10_000)
  const rows = computed(() => {
    void boardVersion.value
    void slowNow.value
    return Selection.rowsOf(board.tasks(), Date.now())
  })
  let lastQuery = Route.defaultQuery
  const query = computed(() => (route.value.view === "board" ? route.value.query : lastQuery))
  effect(() => {
    if (route.value.view === "board") lastQuery = route.value.query
  })

  const store = {
    now,
    frame,
    boardVersion,
    route,
    query,
    theme,
    selected,
    isPhone,
    showsCharts,
    rows,
    connection: computed(() => Connection.describe(facts.value)),
    counts: computed(() => Selection.countsOf(rows.value)),
    done: computed(() => Selection.doneCount(rows.value)),
    selection: computed(() => Selection.select(rows.value, query.value, lineOf)),
    totalUsd: computed(() => (void boardVersion.value, board.totalUsd())),
    isLowerBound: computed(() => (void boardVersion.value, board.isLowerBound())),
    gaps: computed(() => (void boardVersion.value, gaps.list())),
    unseenGaps: computed(() => (void boardVersion.value, Math.max(0, gaps.total() - seenGaps.value))),
    rate: computed(() => (void boardVersion.value, meter.rate(now.value))),
    lineOf,
    gap: gaps.get,
    startedAt: gaps.startedAt,
    task: board.get,
    attentionOf: Attention.attentionOf,
    transcript: transcripts.get,
    activity,
    cost,
    markGapsSeen: () => void (seenGaps.value = gaps.total()),
    reconnect: () => feed.reconnect(),
    /** Goes to a route. `replace` changes the address without a new entry in the history. */
    go(next: Route.Route, options?: { readonly replace: boolean }) {
      const hash = Route.format(next)
      if (hash === Route.format(route.value) && location.hash !== "") return
      if (options?.replace === true) history.replaceState(null, "", hash)
      else history.pushState(null, "", hash)
      route.value = next
    },
    setShowsCharts(next: boolean) {
      if (showsCharts.value === next) return
      showsCharts.value = next
      storage.set("makima.charts", next ? "open" : "closed")
    },
    setTheme(next: Theme) {
      theme.value = next
      storage.set("makima.theme", next)
    }
  }

  effect(() => {
    const { value } = theme
    if (value === "auto") delete document.documentElement.dataset["theme"]
    else document.documentElement.dataset["theme"] = value
  })
  effect(() => transcripts.open(route.value.view === "task" ? route.value.taskId : undefined))
  const readRoute = () => void (route.value = Route.parse(location.hash))
  addEventListener("popstate", readRoute)
  addEventListener("hashchange", readRoute)
  document.addEventListener("visibilitychange", () => {
    tick()
    changed()
  })
  setInterval(tick, 1000)
  const feed = Feed.start(sink, location.origin)
  return store
}

/** The state and the actions of the page. */
export type Store = ReturnType<typeof make>

/** Starts the page's connection, and returns its state. */
export const start = make
