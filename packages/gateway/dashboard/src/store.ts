/**
 * The state of the page. The feed folds into the models at once, whether the page is visible or not. The views read the
 * signals, which change at most once in a frame and only while the page is visible.
 */
import { computed, effect, signal } from "@preact/signals"
import * as Choices from "./choices.ts"
import * as Feed from "./feed.ts"
import * as Frames from "./frames.ts"
import * as Attention from "./model/attention.ts"
import * as Connection from "./model/connection.ts"
import * as Selection from "./model/selection.ts"
import * as Models from "./models.ts"
import * as Navigation from "./navigation.ts"
import * as OpenTask from "./openTask.ts"

/** The board is drawn at most this often, in milliseconds. A transcript is drawn in each frame. */
const boardInterval = 200

/** A signal that says whether a media query matches. */
const media = (query: string) => {
  const list = matchMedia(query)
  const matches = signal(list.matches)
  list.addEventListener("change", () => void (matches.value = list.matches))
  return matches
}

/** The time, in milliseconds since 1970. Changes once a second while the page is visible. */
const clock = () => {
  const now = signal(Date.now())
  const tick = (): void => {
    if (!document.hidden) now.value = Date.now()
  }
  setInterval(tick, 1000)
  document.addEventListener("visibilitychange", tick)
  return now
}

/** The rows of the board, and their counts. */
const makeRows = (
  { board, lineOf }: Models.Models,
  { slow }: Frames.Frames,
  { query }: Navigation.Navigation,
  now: { readonly value: number }
) => {
  // A task may become stalled without an event. Ten seconds are soon enough to notice that.
  const slowNow = computed(() => Math.floor(now.value / 10_000))
  const rows = computed(() => {
    void slow.value
    void slowNow.value
    return Selection.rowsOf(board.tasks(), Date.now())
  })
  return {
    counts: computed(() => Selection.countsOf(rows.value)),
    done: computed(() => Selection.doneCount(rows.value)),
    selection: computed(() => Selection.select(rows.value, query.value, lineOf))
  }
}

const make = () => {
  const frames = Frames.make(boardInterval)
  const models = Models.make(frames)
  const choices = Choices.make()
  const navigation = Navigation.make()
  const now = clock()
  const { board, cost, gaps, meter } = models

  /** A value of a model that changes with the board. */
  const slowly = <A>(read: () => A) =>
    computed(() => {
      void frames.slow.value
      return read()
    })
  /** Gaps up to this number have been looked at. */
  const seenGaps = signal(0)

  effect(() => void cost.add(now.value, board.totalUsd()))
  const openTask = OpenTask.make(models, frames, location.origin)
  const openId = computed(() => {
    const { value } = navigation.route
    return value.view === "task" ? value.taskId : undefined
  })
  effect(() => openTask.open(openId.value))
  const feed = Feed.start(models.sink, location.origin)

  return {
    ...choices,
    ...navigation,
    ...makeRows(models, frames, navigation, now),
    now,
    frames,
    isPhone: media("(max-width: 719px)"),
    /** The id of the task that the keyboard has selected. */
    selected: signal<string | undefined>(undefined),
    connection: computed(() => Connection.describe(models.connection.value)),
    totalUsd: slowly(board.totalUsd),
    isLowerBound: slowly(board.isLowerBound),
    gaps: slowly(gaps.list),
    unseenGaps: slowly(() => Math.max(0, gaps.total() - seenGaps.value)),
    rate: slowly(() => meter.rate(now.value)),
    lineOf: models.lineOf,
    startedAt: gaps.startedAt,
    task: board.get,
    attentionOf: Attention.attentionOf,
    shown: openTask.shown,
    activity: models.activity,
    cost,
    markGapsSeen: () => void (seenGaps.value = gaps.total()),
    reconnect: feed.reconnect
  }
}

/** The state and the actions of the page. */
export type Store = ReturnType<typeof make>

/** Starts the page's connection, and returns its state. */
export const start = make
