/**
 * Counts the messages that a consumer did not receive: lost, missed while not
 * connected, unheard, in flight; and how many of them no mark announces.
 */
import type { Data } from "@makima-stream/core/MeshEvent"
import * as TaskStatus from "@makima-stream/core/TaskStatus"
import * as Feed from "../feed.ts"
import * as Marks from "./marks.ts"
import * as Transcript from "./transcript.ts"
import type { Session } from "./walk.ts"

type Wants = (message: Data) => boolean

export interface Missing {
  lostWhileConnected: number
  unmarkedGaps: number
  unheard: number
  missedWhileAway: number
  inFlight: number
}

/** Counts what is missing. */
export const settle = (
  sessions: ReadonlyArray<Session>,
  emissions: ReadonlyArray<Transcript.Emission>,
  wants: Wants | undefined
): Missing => {
  const counts: Missing = { lostWhileConnected: 0, unmarkedGaps: 0, unheard: 0, missedWhileAway: 0, inFlight: 0 }
  const wanted = wants === undefined ? undefined : wantedBy(wants, sessions, emissions)
  const sent = new Set(sessions.flatMap(({ connection }) => connection.slots.map(({ emission }) => emission)))
  const updates = emissions.filter(({ emission, message }) => message._tag === "TaskUpdated" && sent.has(emission))
  // The subscriptions of the latest connection with a request.
  let feed = Feed.make()
  let previous: Session | undefined
  for (const [i, session] of sessions.entries()) {
    const next = sessions[i + 1]
    settleSkipped(session, counts)
    settleUnsent({ session, previous, next, feed, wanted, emissions, updates }, counts)
    // A connection without requests does not change what the consumer wants.
    if (session.connection.requests.length > 0) feed = session.connection.feed
    settleTail(session, next, counts)
    previous = session
  }
  return counts
}

/** The emissions that a consumer wants, after its first request. */
const wantedBy = (
  wants: Wants,
  sessions: ReadonlyArray<Session>,
  emissions: ReadonlyArray<Transcript.Emission>
): ReadonlySet<number> => {
  const places = sessions.flatMap(({ connection }) => Transcript.firstRequest(connection) ?? [])
  const wanted = new Set<number>()
  for (const { emission, message, place } of after(emissions, Math.min(...places))) {
    if (place > Math.min(...places) && wants(message)) wanted.add(emission)
  }
  return wanted
}

/** Counts the frames between those that the consumer saw. */
const settleSkipped = (session: Session, counts: Missing): void => {
  const first = session.marks.find(({ resync }) => Marks.namesAll(resync))
  for (const slot of session.follower.skipped()) {
    const { place, sequence } = slot
    const isClaimedHere = Marks.isClaimed(session, sequence, place)
    if (isClaimedHere) counts.unmarkedGaps++
    if (!Transcript.isMessage(slot)) {
      if (!isClaimedHere && first === undefined) counts.unmarkedGaps++
      continue
    }
    // Before the first mark of a connection, completeness is not claimed.
    if (first !== undefined && place <= Marks.latestPlace(session, first, sequence)) counts.missedWhileAway++
    else {
      counts.lostWhileConnected++
      if (first === undefined) counts.unmarkedGaps++
    }
  }
}

/** Counts the frames after the last one that the consumer saw. */
const settleTail = (session: Session, next: Session | undefined, counts: Missing): void => {
  const { connection, follower, sawClose } = session
  const tail = follower.tail().filter(Transcript.isMessage)
  if (next === undefined) {
    if (sawClose) counts.lostWhileConnected += tail.length
    else counts.inFlight += tail.length
    return
  }
  const again = new Set(next.connection.slots.map(({ emission }) => emission))
  const until = Transcript.firstRequest(next.connection) ?? Number.POSITIVE_INFINITY
  for (const { emission, place, sequence } of tail) {
    if (again.has(emission)) continue
    // The next connection may want less.
    if (place > until && Transcript.subscribeAfter(next.connection, sequence, place) === undefined) continue
    if (!sawClose && (connection.cut || place > connection.faultAt)) counts.missedWhileAway++
    else counts.lostWhileConnected++
    if (Marks.isUnmarkedGap(next, sequence, place)) counts.unmarkedGaps++
  }
}

/** Counts messages that were emitted but sent on no connection of the consumer. */
const settleUnsent = (
  options: {
    readonly session: Session
    readonly previous: Session | undefined
    readonly next: Session | undefined
    readonly feed: Feed.Feed
    readonly wanted: ReadonlySet<number> | undefined
    readonly emissions: ReadonlyArray<Transcript.Emission>
    /** The updates that were sent to the consumer. */
    readonly updates: ReadonlyArray<Transcript.Emission>
  },
  counts: Missing
): void => {
  const { emissions, feed, next, previous, session, updates, wanted } = options
  const { connection } = session
  const requested = Transcript.firstRequest(connection) ?? Number.POSITIVE_INFINITY
  const ended = connection.ended ?? Number.POSITIVE_INFINITY
  const from = previous === undefined ? requested : startOf(previous, session)
  const to = next === undefined ? ended : startOf(session, next)
  const sent = new Set(
    [previous, session, next].flatMap((each) => each?.connection.slots.map(({ emission }) => emission) ?? [])
  )
  for (const { emission, message, place } of after(emissions, from)) {
    if (place >= to) break
    if (place <= from || sent.has(emission)) continue
    const sequence = Transcript.sequenceOf(message)
    if (Transcript.isSubscribed(connection, sequence, place) && sequence.kind !== "other") continue
    const isAway = place < requested
    const isWanted =
      wanted?.has(emission) ?? (feed.wants(message) && (isAway || isFirstRequestedAfter(connection, sequence, place)))
    if (!isWanted) continue
    if (isAway) counts.missedWhileAway++
    else counts.unheard++
    const isGivenUp = wanted !== undefined && hasGivenUpEnded(connection, updates, sequence, place)
    if (Marks.isUnmarkedGap(session, sequence, place, isGivenUp)) counts.unmarkedGaps++
  }
}

/** Whether the output of a task was unsubscribed before a place of the log, after the end of the task. */
const hasGivenUpEnded = (
  connection: Transcript.Connection,
  updates: ReadonlyArray<Transcript.Emission>,
  { kind, taskId }: Transcript.Sequence,
  place: number
): boolean => {
  if (kind !== "output") return false
  const given = connection.requests.findLast(
    (request) =>
      request.place < place && request.message._tag === "UnsubscribeOutput" && request.message.taskId === taskId
  )
  if (given === undefined) return false
  const last = updates.findLast(
    ({ message, place }) => place < given.place && message._tag === "TaskUpdated" && message.taskId === taskId
  )
  const status = last?.message._tag === "TaskUpdated" ? last.message.status : undefined
  return status !== undefined && TaskStatus.defaultTerminal.has(status)
}

/** Whether a connection requests a sequence later, and has not requested it before. */
const isFirstRequestedAfter = (connection: Transcript.Connection, sequence: Transcript.Sequence, place: number) =>
  (Transcript.subscribeAfter(connection, sequence, -1)?.place ?? -1) > place

/** Where a session begins in the log: with the end of the previous connection, or its own handshake. */
const startOf = (previous: Session, session: Session): number =>
  Math.min(
    previous.connection.ended ?? Number.POSITIVE_INFINITY,
    session.connection.opened ?? Transcript.firstRequest(session.connection) ?? Number.POSITIVE_INFINITY
  )

/** The emissions from a place in the log on. */
const after = function* (emissions: ReadonlyArray<Transcript.Emission>, place: number): Iterable<Transcript.Emission> {
  let low = 0
  let high = emissions.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((emissions[middle]?.place ?? Number.POSITIVE_INFINITY) < place) low = middle + 1
    else high = middle
  }
  for (let i = low; i < emissions.length; i++) {
    const emission = emissions[i]
    if (emission !== undefined) yield emission
  }
}
