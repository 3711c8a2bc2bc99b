/**
 * Compares a server's log with the events of a consumer, connection by
 * connection, and reports lost messages that are not marked.
 *
 * The server replays nothing, so the feed promises that losses are marked, not
 * that nothing is lost. A `Resync` opens a complete stretch: for the tasks and
 * kinds that it names, everything that the server sent from there on is in the
 * stream, in order, once, until the next `Disconnected` or the next `Resync` that
 * names them. An audit verifies this promise.
 *
 * `MockMeshServer` and `ScriptedMesh` keep the log. The events are those of
 * `MeshStream.connect` or of a client's consumer, in order and complete,
 * lifecycle elements included.
 *
 * @since 0.1.0
 */
import type { Data, MeshEvent, Resync } from "@makima-stream/core/MeshEvent"
import type { TaskId } from "@makima-stream/core/TaskId"
import * as TaskStatus from "@makima-stream/core/TaskStatus"
import * as Feed from "./internal/feed.ts"
import { fingerprint } from "./internal/fingerprint.ts"
import * as Follower from "./internal/follower.ts"
import * as Transcript from "./internal/transcript.ts"
import type { ServerLog } from "./ServerLog.ts"

/**
 * The result of an audit. The first seven count faults. They are 0 for a consumer
 * that keeps the feed's promises.
 *
 * @category models
 * @since 0.1.0
 */
export interface Report {
  /**
   * Messages that are missing from a connection although the consumer saw a later
   * message of that connection, saw it close properly, or closed it itself without a
   * fault of the server or the network. A mark does not excuse them: events that an
   * overflow policy dropped are counted too.
   */
  readonly lostWhileConnected: number
  /** Events that the consumer saw more often than the server sent them. */
  readonly duplicates: number
  /** Events that came after one that the server had sent later. */
  readonly outOfOrder: number
  /** Events that the server never sent to this consumer. */
  readonly unexpected: number
  /**
   * Messages that are missing inside a complete stretch, or without a `Resync` at or
   * before the place of the server's confirmation. Includes messages that were lost,
   * missed while away, or `unheard`, and frames that could not be decoded without a
   * `Resync` for `BadFrame` in their place.
   */
  readonly unmarkedGaps: number
  /**
   * Connections, the first included, whose requests the server had acknowledged,
   * and on which the consumer saw a later event without a `Resync` for the whole
   * interest before it.
   */
  readonly unmarkedConnections: number
  /**
   * Connections on which something was requested, and which the consumer did not
   * report: neither with `Connected` nor, where a fault ended them, with a
   * `Disconnected` of a failed attempt.
   *
   * @since 0.2.0
   */
  readonly unreported: number
  /**
   * Messages that were emitted while the consumer was connected and wanted them,
   * but before the server had handled its request for them. They were sent to no
   * connection of the consumer. A `Resync` must mark them; otherwise they are in
   * `unmarkedGaps` too.
   *
   * @since 0.2.0
   */
  readonly unheard: number
  /**
   * Messages that the consumer could not receive: they were in flight when a
   * connection was cut, were emitted before the next connection had sent a request,
   * or were sent before the first mark of a connection. A `Resync` must mark them;
   * otherwise they are in `unmarkedGaps` too.
   */
  readonly missedWhileAway: number
  /** Messages that were in flight when the run ended. */
  readonly inFlight: number
  /** Messages that the server sent on the consumer's connections. */
  readonly sent: number
  /** Messages of the server that the consumer saw. */
  readonly received: number
  /** Connections that the consumer reported. */
  readonly epochs: number
}

/**
 * Decides which messages a consumer wants. Called once for each message that the
 * server emitted after the consumer's first request, in order, so a function may
 * keep state.
 *
 * @category options
 * @since 0.2.0
 */
export type Wants = (message: Data) => boolean

/**
 * What `MeshClient.everything` wants: all updates, and the output of each task
 * from its first update to its end.
 *
 * **Example** (An output that was sent to no one)
 *
 * ```ts
 * import * as TaskId from "@makima-stream/core/TaskId"
 * import * as Audit from "@makima-stream/test-kit/Audit"
 *
 * const taskId = TaskId.make("a")
 * const output = { _tag: "TaskOutput", taskId, messageType: "assistant", content: "hi" } as const
 * const wants = Audit.everything()
 * console.log(wants(output), wants({ _tag: "TaskUpdated", taskId }), wants(output)) // false true true
 * ```
 *
 * @category options
 * @since 0.2.0
 */
export const everything = (): Wants => {
  const live = new Set<TaskId>()
  return (message) => {
    if (message._tag === "TaskOutput") return live.has(message.taskId)
    if (message._tag !== "TaskUpdated") return true
    if (message.status !== undefined && TaskStatus.defaultTerminal.has(message.status)) live.delete(message.taskId)
    else live.add(message.taskId)
    return true
  }
}

/**
 * Options of a comparison.
 *
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /**
   * Returns the server's connection number for an epoch. Defaults to the same
   * number, which is correct if the consumer is the only client and every handshake
   * that the server answered became a connection. See also `connectionsByTime`.
   */
  readonly connectionOf?: ((epoch: number) => number | undefined) | undefined
  /**
   * Whether a connection, by the server's number, belongs to this consumer. The
   * consumer must report each such connection on which it sent a request. Defaults to
   * all connections.
   *
   * @since 0.2.0
   */
  readonly connections?: ((connection: number) => boolean) | undefined
  /**
   * Which messages count, if the consumer shares its connection with others that
   * request more. Defaults to every message.
   */
  readonly only?: ((message: Data) => boolean) | undefined
  /**
   * Which messages the consumer wants, whether they were requested or not. Pass
   * `Audit.everything()` for a consumer that discovers tasks. Defaults to what was
   * requested; on a new connection, what the previous connection had requested,
   * until the server handles the new request.
   *
   * @since 0.2.0
   */
  readonly wants?: Wants | undefined
}

/**
 * Compares what a server sent with what a consumer saw.
 *
 * **When to use**
 *
 * Use at the end of a run with faults, to show that every loss is marked.
 *
 * **Details**
 *
 * - *Order*: the messages that the consumer saw of a connection must be those that
 *   the server sent on it, each once and in order.
 * - *Marks*: a mark excuses only what it names (task and kind), only what comes
 *   before it, and nothing before the previous mark of the same task and kind.
 *   What comes between `Connected` and its mark may have holes.
 * - *Confirmation*: a mark must come before the first event after the server's
 *   acknowledgement. Without an acknowledgement no mark is required.
 * - *`unconfirmed`*: such a mark opens no complete stretch for keys without an
 *   acknowledgement.
 * - *The tail* of a connection, after the last message seen, may be missing if the
 *   server killed or closed the connection. After a freeze or a frame that cannot be
 *   decoded, later messages may be missing. If the consumer's `Disconnected` has the
 *   code with which the server closed, nothing may be missing. The tail of the last
 *   connection is `inFlight`.
 * - *Unreported connections*: every connection on which something was requested is
 *   judged. Connections before the first one that the consumer saw are not, if it
 *   joined later.
 *
 * The running time is proportional to the size of the log and of the events.
 *
 * **Gotchas**
 *
 * Equal messages on one connection are distinguished only by their order, so a fault
 * among them may be counted in another field. `Workload` numbers its texts for that
 * reason.
 *
 * **Example** (A consumer that lost a message and did not notice)
 *
 * ```ts
 * import * as TaskId from "@makima-stream/core/TaskId"
 * import * as Audit from "@makima-stream/test-kit/Audit"
 * import type * as ServerLog from "@makima-stream/test-kit/ServerLog"
 *
 * const update = (version: number) => ({ _tag: "TaskUpdated", taskId: TaskId.make("a"), version }) as const
 * const log: ServerLog.ServerLog = [
 *   { _tag: "Opened", seq: 1, at: 0, connection: 1 },
 *   { _tag: "Received", seq: 2, at: 0, connection: 1, message: { _tag: "SubscribeAll" } },
 *   ...[{ _tag: "SubscribedAll" } as const, update(1), update(2), update(3)].map((message, index) => ({
 *     ...{ _tag: "Sent", seq: 3 + index, at: 0, connection: 1, emission: index } as const,
 *     ...{ message, as: "text", delivered: true } as const
 *   }))
 * ]
 * const report = Audit.compare(log, [
 *   { _tag: "Connected", epoch: 1, at: 0 },
 *   { _tag: "Resync", epoch: 1, reason: { _tag: "Started" } },
 *   update(1),
 *   update(3)
 * ])
 * console.log(report.lostWhileConnected, report.unmarkedGaps, Audit.isClean(report)) // 1 1 false
 * ```
 *
 * @category auditing
 * @since 0.1.0
 */
export const compare = (log: ServerLog, events: Iterable<MeshEvent>, options?: Options): Report => {
  const { connections, emissions } = Transcript.read(log, options?.only ?? (() => true))
  const walk = follow(connections, events, options?.connectionOf ?? ((epoch) => epoch))
  const { sessions } = walk
  const unreported = judgeUnreported(connections, walk, options?.connections ?? (() => true))
  const counts = settle(sessions, emissions, options?.wants)
  const sentOn = (connection: Transcript.Connection): number => connection.slots.filter(isMessage).length
  return {
    lostWhileConnected: counts.lostWhileConnected + unreported.lost,
    duplicates: walk.duplicates,
    outOfOrder: walk.outOfOrder,
    unexpected: walk.unexpected,
    unmarkedGaps: counts.unmarkedGaps,
    unmarkedConnections: sessions.filter(isUnmarked).length,
    unreported: unreported.count,
    unheard: counts.unheard,
    missedWhileAway: counts.missedWhileAway,
    inFlight: counts.inFlight,
    sent: sessions.reduce((sum, { connection }) => sum + sentOn(connection), unreported.lost),
    received: walk.received,
    epochs: sessions.length
  }
}

const isMessage = ({ key }: Transcript.Slot): boolean => key !== Transcript.badFrameKey

// ---------------------------------------------------------------------------
// what the consumer saw
// ---------------------------------------------------------------------------

/** A `Resync` of the consumer. */
interface Mark {
  readonly resync: Resync
  /** How many messages of the connection, in order, the consumer had seen before it. */
  readonly at: number
}

/** A connection of the consumer. */
interface Session {
  readonly connection: Transcript.Connection
  readonly follower: Follower.Follower
  readonly marks: Array<Mark>
  /** The places in the log of the frames that the consumer saw in order. */
  readonly places: Array<number>
  /** Whether it begins with the mark of a consumer that joined late. */
  readonly joinedLate: boolean
  /** Whether the consumer saw the server's close frame, and so everything before it. */
  sawClose: boolean
}

interface Walk {
  readonly sessions: ReadonlyArray<Session>
  /** Failed attempts that the consumer reported. */
  readonly failedAttempts: number
  readonly seen: ReadonlySet<string>
  readonly duplicates: number
  readonly outOfOrder: number
  readonly unexpected: number
  readonly received: number
}

/** Matches the events of the consumer with the frames of its connections. */
const follow = (
  connections: ReadonlyMap<number, Transcript.Connection>,
  events: Iterable<MeshEvent>,
  connectionOf: (epoch: number) => number | undefined
): Walk => {
  const sessions: Array<Session> = []
  const seen = new Set<string>()
  const counts = { failedAttempts: 0, duplicates: 0, outOfOrder: 0, unexpected: 0, received: 0 }
  let epoch: number | undefined

  const enter = (next: number, joinedLate: boolean): void => {
    epoch = next
    const connection = connections.get(connectionOf(next) ?? 0) ?? Transcript.emptyConnection()
    const follower = Follower.make(connection)
    sessions.push({ connection, follower, marks: [], places: [], joinedLate, sawClose: false })
  }

  const see = (message: Data): void => {
    counts.received++
    const key = fingerprint(message)
    const session = sessions.at(-1)
    const found = session?.follower.see(key)
    if (found?._tag === "InOrder") session?.places.push(found.place)
    else if (found?._tag === "Late") counts.outOfOrder++
    // Checked before late messages: a message that was sent on two connections and seen on one is not late on the other.
    else if (seen.has(key)) counts.duplicates++
    else if (sessions.some(({ follower }) => follower.seeStraggler(key))) counts.outOfOrder++
    else counts.unexpected++
    seen.add(key)
  }

  const mark = (resync: Resync): void => {
    const joinsLate = resync.reason._tag === "JoinedLate"
    if (joinsLate && resync.epoch !== epoch) enter(resync.epoch, true)
    const session = sessions.at(-1)
    if (session === undefined) return
    if (resync.reason._tag === "BadFrame") {
      const found = session.follower.seeBadFrame()
      if (found?._tag === "InOrder") session.places.push(found.place)
      return
    }
    if (joinsLate) session.follower.joinLate()
    session.marks.push({ resync, at: session.places.length })
  }

  for (const event of events) {
    switch (event._tag) {
      case "Connected":
        enter(event.epoch, false)
        break
      case "Disconnected": {
        epoch = undefined
        const session = sessions.at(-1)
        if (!event.opened) counts.failedAttempts++
        else if (session !== undefined && event.reason._tag === "ConnectionClosed") {
          session.sawClose = event.reason.code === session.connection.closeCode
        }
        break
      }
      case "Resync":
        mark(event)
        break
      case "Restated":
      case "Repaired":
      case "RepairFailed":
        // They come from a snapshot, and the feed has to be right without them.
        break
      default:
        see(event)
    }
  }
  return { sessions, seen, ...counts }
}

// ---------------------------------------------------------------------------
// connections that the consumer did not report
// ---------------------------------------------------------------------------

const judgeUnreported = (
  connections: ReadonlyMap<number, Transcript.Connection>,
  { failedAttempts, seen, sessions }: Walk,
  isOwn: (connection: number) => boolean
): { readonly count: number; readonly lost: number } => {
  const reported = new Set(sessions.map(({ connection }) => connection))
  const [first] = sessions
  // A consumer that joins late is not concerned with earlier connections.
  const from = first?.joinedLate === true ? (first.connection.opened ?? 0) : Number.NEGATIVE_INFINITY
  let excused = failedAttempts
  let count = 0
  let lost = 0
  for (const [number, connection] of connections) {
    if (reported.has(connection) || !isOwn(number) || connection.requests.length === 0) continue
    if ((connection.opened ?? 0) < from) continue
    // It may have been cut before the client had sent its whole interest, which counts as a failed attempt.
    if (connection.cut && excused > 0) {
      excused--
      continue
    }
    count++
    lost += connection.slots.filter((slot) => isMessage(slot) && !seen.has(slot.key)).length
  }
  return { count, lost }
}

// ---------------------------------------------------------------------------
// marks
// ---------------------------------------------------------------------------

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
const namesAll = ({ reason, taskId }: Resync): boolean => {
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

/** Marks that stand where the server confirmed. */
const standsAtConfirmation = ({ reason }: Resync): boolean =>
  reason._tag === "Started" || reason._tag === "Reconnected" || reason._tag === "Subscribed"

/** The latest place in the log where a mark can stand, for a sequence. */
const latestPlace = ({ connection, places }: Session, mark: Mark, sequence: Transcript.Sequence): number => {
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
const isClaimed = (session: Session, sequence: Transcript.Sequence, place: number): boolean => {
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
const isUnmarked = (session: Session): boolean =>
  isOverdue(session, 0, Transcript.allConfirmedAt(session.connection), namesAll)

/** Whether a message that was emitted but not sent on a session's connection lacks a mark. */
const isUnmarkedGap = (session: Session, sequence: Transcript.Sequence, place: number): boolean => {
  if (isClaimed(session, sequence, place)) return true
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

// ---------------------------------------------------------------------------
// what is missing
// ---------------------------------------------------------------------------

interface Missing {
  lostWhileConnected: number
  unmarkedGaps: number
  unheard: number
  missedWhileAway: number
  inFlight: number
}

/** Counts what is missing. */
const settle = (
  sessions: ReadonlyArray<Session>,
  emissions: ReadonlyArray<Transcript.Emission>,
  wants: Wants | undefined
): Missing => {
  const counts: Missing = { lostWhileConnected: 0, unmarkedGaps: 0, unheard: 0, missedWhileAway: 0, inFlight: 0 }
  const wanted = wants === undefined ? undefined : wantedBy(wants, sessions, emissions)
  // The subscriptions of the latest connection with a request.
  let feed = Feed.make()
  let previous: Session | undefined
  for (const [i, session] of sessions.entries()) {
    const next = sessions[i + 1]
    settleSkipped(session, counts)
    settleUnsent({ session, previous, next, feed, wanted, emissions }, counts)
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
  const first = session.marks.find(({ resync }) => namesAll(resync))
  for (const slot of session.follower.skipped()) {
    const { place, sequence } = slot
    const isClaimedHere = isClaimed(session, sequence, place)
    if (isClaimedHere) counts.unmarkedGaps++
    if (!isMessage(slot)) {
      if (!isClaimedHere && first === undefined) counts.unmarkedGaps++
      continue
    }
    // Before the first mark of a connection, completeness is not claimed.
    if (first !== undefined && place <= latestPlace(session, first, sequence)) counts.missedWhileAway++
    else {
      counts.lostWhileConnected++
      if (first === undefined) counts.unmarkedGaps++
    }
  }
}

/** Counts the frames after the last one that the consumer saw. */
const settleTail = (session: Session, next: Session | undefined, counts: Missing): void => {
  const { connection, follower, sawClose } = session
  const tail = follower.tail().filter(isMessage)
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
    if (isUnmarkedGap(next, sequence, place)) counts.unmarkedGaps++
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
  },
  counts: Missing
): void => {
  const { emissions, feed, next, previous, session, wanted } = options
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
    if (isUnmarkedGap(session, sequence, place)) counts.unmarkedGaps++
  }
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

// ---------------------------------------------------------------------------
// reports
// ---------------------------------------------------------------------------

/**
 * Returns whether a report counts no fault.
 *
 * **Example** (A consumer that saw everything)
 *
 * ```ts
 * import * as Audit from "@makima-stream/test-kit/Audit"
 *
 * console.log(Audit.isClean(Audit.compare([], []))) // true
 * ```
 *
 * @category auditing
 * @since 0.1.0
 */
export const isClean = (report: Report): boolean =>
  report.lostWhileConnected === 0 &&
  report.duplicates === 0 &&
  report.outOfOrder === 0 &&
  report.unexpected === 0 &&
  report.unmarkedGaps === 0 &&
  report.unmarkedConnections === 0 &&
  report.unreported === 0

/**
 * Returns a report as one line of text.
 *
 * **Details**
 *
 * The counts before the semicolon add up to the messages that the consumer
 * wanted: those that were sent to it, and those that were emitted while it had no
 * connection or no subscription, which are not in `sent`.
 *
 * **Example** (Three of six messages arrived)
 *
 * ```ts
 * import * as Audit from "@makima-stream/test-kit/Audit"
 *
 * const report = { ...Audit.compare([], []), sent: 4, received: 3, missedWhileAway: 2, unheard: 1 }
 * console.log(Audit.format(report).split(";")[0])
 * // Of 6 messages 3 arrived, 2 were missed while away, 1 was unheard, 0 were in flight at the end, 0 were lost while connected
 * ```
 *
 * @category auditing
 * @since 0.1.0
 */
export const format = (report: Report): string => {
  const { duplicates, inFlight, lostWhileConnected, missedWhileAway, outOfOrder, received, unexpected, unheard } =
    report
  const arrived = received - duplicates - unexpected
  const were = (count: number): string => `${count} ${count === 1 ? "was" : "were"}`
  return (
    `Of ${arrived + missedWhileAway + unheard + inFlight + lostWhileConnected} messages ${arrived} arrived, ` +
    `${were(missedWhileAway)} missed while away, ${were(unheard)} unheard, ${were(inFlight)} in flight at the end, ` +
    `${were(lostWhileConnected)} lost while connected; ` +
    `${duplicates} came twice, ${outOfOrder} out of order, ${unexpected} unexpected; ` +
    `${report.unmarkedGaps} missing messages and ${report.unmarkedConnections} connections were not marked, ` +
    `${report.unreported} connections were not reported.`
  )
}

/**
 * Finds the connection of each epoch by time: the last one that the server had
 * opened at the time of `Connected`.
 *
 * **When to use**
 *
 * Use as `connectionOf` if a handshake may fail after the server has answered it:
 * the server has then counted a connection that the consumer has not.
 *
 * **Gotchas**
 *
 * The server and the consumer must use the same clock in one process, and the
 * consumer must be the only client. With two processes, identify each dial instead,
 * for example by a header.
 *
 * **Example** (A handshake that failed after the server had answered)
 *
 * ```ts
 * import * as Audit from "@makima-stream/test-kit/Audit"
 *
 * const connectionOf = Audit.connectionsByTime(
 *   [
 *     { _tag: "Opened", seq: 1, at: 10, connection: 1 },
 *     { _tag: "Opened", seq: 2, at: 500, connection: 2 }
 *   ],
 *   [{ _tag: "Connected", epoch: 1, at: 501 }]
 * )
 * console.log(connectionOf(1)) // 2
 * ```
 *
 * @category auditing
 * @since 0.1.0
 */
export const connectionsByTime = (
  log: ServerLog,
  events: Iterable<MeshEvent>
): ((epoch: number) => number | undefined) => {
  const opened = log.filter((entry) => entry._tag === "Opened")
  const connections = new Map<number, number>()
  for (const event of events) {
    if (event._tag !== "Connected") continue
    const connection = opened.findLast(({ at }) => at <= event.at)?.connection
    if (connection !== undefined) connections.set(event.epoch, connection)
  }
  return (epoch) => connections.get(epoch)
}
