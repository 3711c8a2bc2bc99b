/**
 * What the marks of a session claim, by the places of the server's acknowledgements:
 * where a complete stretch begins, and where a mark is missing.
 */
import type { Resync } from "@makima-stream/core/MeshEvent"
import * as Transcript from "./transcript.ts"
import type { Mark, Session } from "./walk.ts"

/** Whether a mark names a sequence. A `BadFrame` mark names only its own frame. */
const names = ({ reason, taskId }: Resync, sequence: Transcript.Sequence): boolean => {
  switch (reason._tag) {
    case "BadFrame":
      return false
    case "Subscribed":
      return reason.kind === sequence.kind && (taskId === undefined || taskId === sequence.taskId)
    case "VersionGap":
      return sequence.kind === "updates" && taskId === sequence.taskId
    default:
      return taskId === undefined || taskId === sequence.taskId
  }
}

/** Whether a mark names the whole interest. A queue may drop other marks, and replaces them with an `Overflow`. */
export const namesAll = ({ reason, taskId }: Resync): boolean => {
  switch (reason._tag) {
    case "Started":
    case "Reconnected":
    case "JoinedLate":
    case "Overflow":
      return taskId === undefined
    default:
      return false
  }
}

/** Whether a mark is at the place of the server's confirmation. */
const standsAtConfirmation = ({ reason }: Resync): boolean =>
  reason._tag === "Started" || reason._tag === "Reconnected" || reason._tag === "Subscribed"

/** The latest place in the log where a mark can stand, for a sequence. */
export const latestPlace = ({ connection, places }: Session, mark: Mark, sequence: Transcript.Sequence): number => {
  const next = places[mark.at] ?? Number.POSITIVE_INFINITY
  if (!standsAtConfirmation(mark.resync)) return next
  const confirmed = Transcript.confirmedAt(connection, sequence, next) ?? Number.POSITIVE_INFINITY
  return Math.min(next, Math.max(places[mark.at - 1] ?? 0, confirmed))
}

/** Whether a mark opens a complete stretch of a sequence. */
const opensStretch = ({ connection, places }: Session, mark: Mark, sequence: Transcript.Sequence): boolean => {
  const { reason, taskId, unconfirmed } = mark.resync
  const next = places[mark.at] ?? Number.POSITIVE_INFINITY
  const confirmed = Transcript.confirmedAt(connection, sequence, next) ?? Number.POSITIVE_INFINITY
  if (unconfirmed !== undefined) return confirmed < (places[mark.at - 1] ?? 0)
  // A mark for the whole interest names a sequence only if it was part of the interest by then.
  return reason._tag === "Subscribed" || taskId !== undefined || confirmed < next
}

/** How many messages of a session the consumer had seen before a place in the log. */
const seenBefore = ({ places }: Session, place: number): number => {
  let low = 0
  let high = places.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((places[middle] ?? Number.POSITIVE_INFINITY) <= place) low = middle + 1
    else high = middle
  }
  return low
}

/** Whether a message that is missing at a place in the log is missing inside a complete stretch. */
export const isClaimed = (session: Session, sequence: Transcript.Sequence, place: number): boolean => {
  const next = seenBefore(session, place)
  const mark = session.marks.findLast(({ at, resync }) => at <= next && names(resync, sequence))
  return mark !== undefined && latestPlace(session, mark, sequence) < place && opensStretch(session, mark, sequence)
}

/** Whether the consumer saw an event after a place in the log, without an earlier mark that `isMark` accepts. */
const isOverdue = (session: Session, from: number, place: number | undefined, isMark: (mark: Resync) => boolean) => {
  if (place === undefined) return false
  const seen = seenBefore(session, place)
  return (
    seen < session.places.length && !session.marks.some(({ at, resync }) => at >= from && at <= seen && isMark(resync))
  )
}

/** Whether the mark of a whole connection is missing. */
export const isUnmarked = (session: Session): boolean =>
  isOverdue(session, 0, Transcript.allConfirmedAt(session.connection), namesAll)

/** Whether a message that was emitted but not sent on a session's connection lacks a mark. */
export const isUnmarkedGap = (
  session: Session,
  sequence: Transcript.Sequence,
  place: number,
  /** Whether the consumer had given up the sequence, which ends its complete stretch. */
  isGivenUp = false
): boolean => {
  if (!isGivenUp && isClaimed(session, sequence, place)) return true
  const from = seenBefore(session, place)
  const isMark = (mark: Resync): boolean => names(mark, sequence)
  const confirmed =
    sequence.kind === "other"
      ? Transcript.allConfirmedAt(session.connection)
      : Transcript.subscribeAfter(session.connection, sequence, place)?.acknowledgedAt
  if (!isOverdue(session, from, confirmed, isMark)) return false
  // It may be part of a replay that is not confirmed yet.
  const isReplayed =
    confirmed !== undefined &&
    session.marks.some(({ at, resync }) => at <= seenBefore(session, confirmed) && namesAll(resync))
  return isReplayed || isOverdue(session, from, Transcript.allConfirmedAt(session.connection), isMark)
}
