/** The models of the page, and the `Sink` through which the feed folds into them. */
import { signal, type ReadonlySignal } from "@preact/signals"
import type { Sink } from "./feed.ts"
import type { Frames } from "./frames.ts"
import * as Board from "./model/board.ts"
import type * as Connection from "./model/connection.ts"
import * as Gaps from "./model/gaps.ts"
import * as Series from "./model/series.ts"
import { lastLine, oneLine } from "./model/text.ts"
import * as Tools from "./model/tools.ts"
import * as Transcripts from "./model/transcript.ts"

export interface Models {
  readonly board: Board.Board
  readonly transcripts: Transcripts.Transcripts
  readonly gaps: Gaps.Gaps
  readonly activity: Series.Series
  readonly cost: Series.Series
  readonly meter: Series.Meter
  readonly connection: ReadonlySignal<Connection.Facts>
  readonly sink: Sink
  /** The output that a task is writing, or its last one, in one line. */
  readonly lineOf: (task: Board.Task) => string
}

/** A point for each second of half an hour; then for each two seconds, and so on. */
const seriesOptions = { width: 1000, maxPoints: 1800 }

/** The last output of a task, in one line. */
const describe = ({ lastOutput: output }: Board.Task): string => {
  if (output === undefined) return ""
  if (output.messageType !== "tool_use") return lastLine(output.content)
  const what = Tools.summary(output.toolInput) || oneLine(output.content)
  return what === "" ? (output.toolName ?? "") : `${output.toolName ?? "tool"}: ${what}`
}

/** The facts of the connection, and the part of the sink that changes them. */
const makeConnection = () => {
  const facts = signal<Connection.Facts>({
    status: { _tag: "Connecting", attempt: 0 },
    isUpstream: false,
    isSignedIn: true,
    offlineSince: undefined
  })
  const sink: Pick<Sink, "status" | "signedIn"> = {
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
  return { facts, sink }
}

export const make = (frames: Frames): Models => {
  const board = Board.make()
  const transcripts = Transcripts.make()
  const gaps = Gaps.make()
  const activity = Series.make("sum", seriesOptions)
  const cost = Series.make("last", seriesOptions)
  const meter = Series.meter()
  const connection = makeConnection()

  const sink: Sink = {
    ...connection.sink,
    events(events) {
      const at = Date.now()
      board.fold(events, at)
      transcripts.pieces(events)
      const count = events.reduce((sum, { _tag }) => sum + (_tag === "TaskUpdated" || _tag === "TaskOutput" ? 1 : 0), 0)
      if (count > 0) {
        activity.add(at, count)
        meter.add(at, count)
        cost.add(at, board.totalUsd())
      }
      frames.requestSlow()
    },
    joined(events) {
      const at = Date.now()
      let start = 0
      // A gap stands in a transcript after the output that arrived before it, also within a batch.
      for (const [index, event] of events.entries()) {
        if (event._tag === "TaskUpdated" || event._tag === "TaskOutput") continue
        const added = gaps.fold([event], at)
        if (added.length === 0) continue
        transcripts.fold(events.slice(start, index), at)
        for (const gap of added) transcripts.gap(gap.id, gap.taskId, at)
        start = index
      }
      transcripts.fold(events.slice(start), at)
      frames.request()
    },
    listed(tasks) {
      board.list(tasks, Date.now())
      frames.requestSlow()
    },
    said(taskId, output) {
      board.said(taskId, output)
      frames.requestSlow()
    }
  }

  return {
    board,
    transcripts,
    gaps,
    activity,
    cost,
    meter,
    connection: connection.facts,
    sink,
    lineOf(task) {
      const pending = transcripts.pendingText(task.taskId)
      return pending === "" ? describe(task) : lastLine(pending)
    }
  }
}
