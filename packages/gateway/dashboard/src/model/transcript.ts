/**
 * The transcripts of all tasks, with a bound for each task and for all of them.
 *
 * It is folded from the joined feed (core's `joinPartials`), so a message is one item. The pieces of messages that are not
 * complete yet come from the feed itself, and are shown after the items.
 */
import type { MeshEvent, Restated } from "@makima-stream/core/MeshEvent"
import type { TaskUpdated } from "@makima-stream/core/ServerMessage"
import type { TaskId } from "@makima-stream/core/TaskId"
import * as TaskStatus from "@makima-stream/core/TaskStatus"
import { History, type Transcript } from "./history.ts"

export type { Content, Item, Pending, ToolResult, Transcript } from "./history.ts"

/** Bounds. Characters are UTF-16 code units. */
export interface Options {
  /** The most items of one task. Defaults to 20,000. */
  readonly maxItems?: number
  /** The most characters of all tasks. Defaults to 64 million. */
  readonly maxChars?: number
  /** The most items of all tasks. Defaults to 400,000. */
  readonly maxTotalItems?: number
  /** The most tasks. When there are more, the transcript of the task that appeared first is dropped. Defaults to 20,000. */
  readonly maxTasks?: number
}

export interface Transcripts {
  /** Folds a batch of the feed itself: the pieces of messages. */
  readonly pieces: (batch: ReadonlyArray<MeshEvent>) => void
  /** Folds a batch of the joined feed, which arrived at `at`. */
  readonly fold: (batch: ReadonlyArray<MeshEvent>, at: number) => void
  /** Puts a gap into the transcript of one task, or of all live ones. */
  readonly gap: (gapId: number, taskId: TaskId | undefined, at: number) => void
  /** The transcript of a task. The same object until something changes. */
  readonly get: (taskId: string) => Transcript
  /** The message that a task is writing; empty if there is none. */
  readonly pendingText: (taskId: string) => string
  /** Keeps this transcript whole while others are shortened. */
  readonly open: (taskId: string | undefined) => void
}

/** Whether a task with this status has ended. */
const hasEnded = (status: string | undefined): boolean => status !== undefined && TaskStatus.isTerminal(status)

/** Histories within a common bound. */
const makeHistories = (options: Options) => {
  const { maxChars = 64_000_000, maxItems = 20_000, maxTasks = 20_000, maxTotalItems = 400_000 } = options
  const histories = new Map<string, History>()
  let opened: string | undefined
  let chars = 0
  let items = 0

  /** Changes a history, and counts what it then keeps. */
  const change = (history: History, apply: (history: History) => void): void => {
    const before = { chars: history.chars, items: history.size }
    apply(history)
    chars += history.chars - before.chars
    items += history.size - before.items
  }
  const weight = (history: History): number => history.chars / maxChars + history.size / maxTotalItems
  /** The largest history. The open one is only shortened if it is the only one. */
  const largest = (): History | undefined => {
    let found: History | undefined
    for (const [taskId, history] of histories) {
      if (taskId === opened || history.size === 0) continue
      if (found === undefined || weight(history) > weight(found)) found = history
    }
    return found ?? (opened === undefined ? undefined : histories.get(opened))
  }
  const isFull = (): boolean => chars > maxChars || items > maxTotalItems
  const shrink = (): void => {
    while (isFull()) {
      const history = largest()
      if (history === undefined || history.size === 0) return
      change(history, () => history.drop(Math.ceil(history.size / 2)))
    }
  }

  /** Drops the history of the task that appeared first and is not open. */
  const forget = (): void => {
    for (const [taskId, history] of histories) {
      if (taskId === opened) continue
      change(history, () => history.drop(history.size))
      histories.delete(taskId)
      return
    }
  }

  return {
    get: (taskId: string) => histories.get(taskId),
    of(taskId: string): History {
      const known = histories.get(taskId)
      if (known !== undefined) return known
      const made = new History(taskId)
      histories.set(taskId, made)
      if (histories.size > maxTasks) forget()
      return made
    },
    all: () => histories.values(),
    change(history: History, apply: (history: History) => void): void {
      change(history, apply)
      // A tenth at a time, so that a long history does not copy its items at each event.
      if (history.size > maxItems) change(history, () => history.drop(history.size - Math.floor(maxItems * 0.9)))
      if (isFull()) shrink()
    },
    open: (taskId: string | undefined) => void (opened = taskId)
  }
}

export const make = (options: Options = {}): Transcripts => {
  const histories = makeHistories(options)

  const onUpdate = (update: TaskUpdated | Restated, at: number): void => {
    const { status, taskId } = update
    if (status === undefined) return
    const history = histories.of(taskId)
    if (history.status === status) return
    history.status = status
    const by = update._tag === "TaskUpdated" ? (update.updatedBy ?? "") : ""
    const item = { kind: "status", status, by, isRestated: update._tag === "Restated" } as const
    histories.change(history, () => history.push(item, at))
  }

  return {
    pieces(batch) {
      for (const event of batch) {
        if (event._tag === "TaskOutput") {
          const history = event.isPartial === true ? histories.of(event.taskId) : histories.get(event.taskId)
          history?.piece(event)
        } else if (event._tag === "Resync" && (event.reason._tag !== "Subscribed" || event.reason.kind === "output")) {
          if (event.taskId !== undefined) histories.get(event.taskId)?.clearPending()
          else for (const history of histories.all()) history.clearPending()
        }
      }
    },
    fold(batch, at) {
      for (const event of batch) {
        if (event._tag === "TaskOutput") {
          histories.change(histories.of(event.taskId), (history) => history.output(event, at))
        } else if (event._tag === "TaskUpdated" || event._tag === "Restated") {
          onUpdate(event, at)
        }
      }
    },
    gap(gapId, taskId, at) {
      const add = (history: History): void => histories.change(history, () => history.push({ kind: "gap", gapId }, at))
      if (taskId !== undefined) return add(histories.of(taskId))
      for (const history of histories.all()) {
        // A task that has ended misses nothing.
        if (history.size > 0 && !hasEnded(history.status)) add(history)
      }
    },
    get: (taskId) => histories.get(taskId)?.transcript ?? { taskId, items: [], dropped: 0, pending: [] },
    pendingText: (taskId) => histories.get(taskId)?.pendingText ?? "",
    open: histories.open
  }
}
