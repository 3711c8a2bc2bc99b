/**
 * Makes the entries that a holder writes: events with ids, in the epochs of the log.
 */
import { isLifecycle } from "@makima-stream/core/MeshEvent"
import type { MeshEvent, Resync } from "@makima-stream/core/MeshEvent"
import type { NewEvent } from "../../MeshLog.ts"
import { token } from "../token.ts"

/** The state at the end of the log. */
export interface LogState {
  /** Whether it has no entry. */
  readonly isEmpty: boolean
  /** Whether its last connection is open. */
  readonly isOpen: boolean
  /** The number of its last connection; 0 before the first. */
  readonly epoch: number
  /** When its last connection ended, in milliseconds since 1970. */
  readonly closedAt: number | undefined
}

/** Makes the entries of one tenure. */
export interface Writer {
  /** Returns the event as the log stores it, with its id. */
  readonly toNew: (event: MeshEvent) => NewEvent
  /** The state of the log after what was written. */
  readonly state: () => LogState
}

/**
 * Makes a writer.
 *
 * An update with a version has the id `u:<task>:<version>`, so that the log keeps one of
 * the updates of several relays. All other events have an id of this tenure, so that a
 * repeated append is idempotent.
 */
export const make = (options: {
  readonly term: number
  readonly relay: string
  readonly log: LogState
  /** The wall clock, in milliseconds since 1970. */
  readonly now: () => number
}): Writer => {
  const { now, term } = options
  const relay = token(options.relay)
  let { closedAt, epoch, isEmpty, isOpen } = options.log
  let written = 0

  const idOf = (event: MeshEvent): string => {
    if (event._tag === "TaskUpdated" && event.version !== undefined) return `u:${event.taskId}:${event.version}`
    const place = `${term}:${relay}:${epoch}`
    const n = ++written
    return "taskId" in event && event.taskId !== undefined ? `o:${place}:${event.taskId}:${n}` : `m:${place}:${n}`
  }

  /** A first confirmation continues the log if the log is not empty. */
  const resync = (mark: Resync): Resync => {
    const isStart = mark.reason._tag === "Started" || mark.reason._tag === "JoinedLate"
    if (!isStart || mark.taskId !== undefined || closedAt === undefined) return { ...mark, epoch }
    return { ...mark, epoch, reason: { _tag: "Reconnected", downMillis: Math.max(0, now() - closedAt) } }
  }

  const toStored = (event: MeshEvent): MeshEvent => {
    switch (event._tag) {
      case "Connected":
        epoch++
        isOpen = true
        return { ...event, epoch }
      case "Disconnected":
        isOpen = false
        closedAt = now()
        return { ...event, epoch }
      case "Resync":
        return resync(event)
      default:
        return isLifecycle(event) && "epoch" in event ? { ...event, epoch } : event
    }
  }

  return {
    toNew: (event) => {
      const stored = toStored(event)
      isEmpty = false
      return { id: idOf(stored), event: stored }
    },
    state: () => ({ isEmpty, isOpen, epoch, closedAt })
  }
}

/** The state of a log after one more of its events. */
export const after = (state: LogState, event: MeshEvent, at: number): LogState => {
  switch (event._tag) {
    case "Connected":
      return { ...state, isEmpty: false, isOpen: true, epoch: Math.max(state.epoch, event.epoch) }
    case "Disconnected":
      return { ...state, isEmpty: false, isOpen: false, epoch: Math.max(state.epoch, event.epoch), closedAt: at }
    default:
      return state.isEmpty ? { ...state, isEmpty: false } : state
  }
}
