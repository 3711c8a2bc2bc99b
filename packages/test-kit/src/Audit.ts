/**
 * Did a consumer see what the server sent? Compares a server's log with the
 * events of a consumer, connection by connection.
 *
 * The feed promises that what is lost is marked, not that nothing is lost: the
 * server replays nothing. So an audit tells apart what may be missed (what was
 * said while nobody listened, the tail of a connection that was cut) from what
 * may not (a hole in the middle of a connection), and looks for a `Resync`
 * wherever something is missing. `MockMeshServer` keeps the log; the events are
 * those of `MeshStream.connect`, in order and complete, lifecycle included.
 *
 * @since 0.1.0
 */
import type { Data, MeshEvent, Resync } from "@makima-stream/core/MeshEvent"
import * as Feed from "./internal/feed.ts"
import { fingerprint } from "./internal/fingerprint.ts"
import * as Follower from "./internal/follower.ts"
import * as Transcript from "./internal/transcript.ts"
import type { ServerLog } from "./ServerLog.ts"

/**
 * What an audit found. The first six count what must not be; they are 0 for a
 * consumer that keeps the feed's promises.
 *
 * @category models
 * @since 0.1.0
 */
export interface Report {
  /**
   * Messages that are missing from a connection although the consumer saw a
   * later one of the same connection, or saw it end in good order, or ended it
   * itself for no fault of the server. A mark does not excuse them: what a slow
   * consumer's own policy dropped is counted too.
   */
  readonly lostWhileConnected: number
  /** Events that the consumer saw once too often. */
  readonly duplicates: number
  /** Events that came after one that the server had sent later. */
  readonly outOfOrder: number
  /** Events that the server never sent to this consumer. */
  readonly unexpected: number
  /**
   * Messages that the consumer missed without a `Resync` between the event
   * before and the event after them; and frames that were no message without
   * one for `BadFrame` in their place.
   */
  readonly unmarkedGaps: number
  /** Reconnects that no `Resync` followed before the next event, whether anything was missed or not. */
  readonly unmarkedReconnects: number
  /**
   * Messages that the consumer rightly missed between two connections: they were
   * on their way when the first was cut, or were emitted before the second had
   * asked for anything. A `Resync` must have marked them; where none did, they
   * are in `unmarkedGaps` too.
   */
  readonly missedWhileAway: number
  /** Messages that were on their way when the run ended. */
  readonly inFlight: number
  /** Messages that the server sent on the connections that the consumer saw. */
  readonly sent: number
  /** Messages of the server that the consumer saw. */
  readonly received: number
  /** Connections that the consumer saw. */
  readonly epochs: number
}

/**
 * Options of a comparison.
 *
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /**
   * The server's number of the connection that a consumer's epoch was. Default:
   * the same number, which is right where one consumer is the only client and
   * no handshake failed after the server had answered it. See also
   * `connectionsByTime`.
   */
  readonly connectionOf?: (epoch: number) => number | undefined
  /**
   * Which messages the consumer asked for, where it shares its connection with
   * others that ask for more. Default: every one that the server sent.
   */
  readonly only?: (message: Data) => boolean
}

/**
 * Compares what a server sent with what a consumer saw.
 *
 * **When to use**
 *
 * Use at the end of a run with faults, to show that nothing was lost but what a
 * `Resync` marks.
 *
 * **Details**
 *
 * For each connection, the messages that the consumer saw must be the first ones
 * of those that the server sent on it, each once and in order.
 *
 * - *The tail* after the last message seen may be missing if the server killed,
 *   froze or closed the connection, or sent a frame on it that is no message.
 *   Where the consumer's `Disconnected` names the very code that the server
 *   closed with, the tail may not: everything was sent before the close frame.
 *   The tail of the last connection is `inFlight`.
 * - *Frames that are no message* must be seen too, as a `Resync` for `BadFrame`.
 * - *Acknowledgements* are not events, and left out.
 * - *A late joiner* (`Resync` with `JoinedLate`) need not have seen what came
 *   before.
 *
 * Takes time in proportion to the log and the events.
 *
 * **Gotchas**
 *
 * Equal messages on one connection can only be told apart by their order, so a
 * fault among them may be counted under another name. `Workload` numbers its
 * texts for that reason.
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
 *   ...[1, 2, 3].map((version) => ({
 *     ...{ _tag: "Sent", seq: 1 + version, at: 0, connection: 1, emission: version } as const,
 *     ...{ message: update(version), as: "text", delivered: true } as const
 *   }))
 * ]
 * const report = Audit.compare(log, [{ _tag: "Connected", epoch: 1, at: 0 }, update(1), update(3)])
 * console.log(report.lostWhileConnected, report.unmarkedGaps, Audit.isClean(report)) // 1 1 false
 * ```
 *
 * @category auditing
 * @since 0.1.0
 */
export const compare = (log: ServerLog, events: Iterable<MeshEvent>, options?: Options): Report => {
  const connectionOf = options?.connectionOf ?? ((epoch) => epoch)
  const { connections, emissions } = Transcript.read(log, options?.only ?? (() => true))
  const sessions: Array<Session> = []
  const seen = new Set<string>()
  const counts = { duplicates: 0, outOfOrder: 0, unexpected: 0, unmarkedReconnects: 0, received: 0 }

  const enter = (epoch: number): void => {
    const connection = connections.get(connectionOf(epoch) ?? 0) ?? Transcript.emptyConnection()
    sessions.push({
      connection,
      follower: Follower.make(connection),
      marked: sessions.length === 0,
      judged: false,
      sawClose: false
    })
  }

  /** The sessions that began after the last event of the server, newest first. */
  const fresh = function* (): Iterable<Session> {
    for (let i = sessions.length - 1; i >= 0; i--) {
      const session = sessions[i]
      if (session === undefined || session.judged) return
      yield session
    }
  }

  const see = (message: Data): void => {
    counts.received++
    // The first message of a connection settles whether the reconnects before it were marked.
    for (const session of fresh()) {
      session.judged = true
      if (!session.marked) counts.unmarkedReconnects++
    }
    const key = fingerprint(message)
    const found = sessions.at(-1)?.follower.see(key)
    if (found === "late") counts.outOfOrder++
    else if (found === undefined) {
      // Before the stragglers: what went to two connections and was seen on one is no straggler of the other.
      if (seen.has(key)) counts.duplicates++
      else if (sessions.some(({ follower }) => follower.seeStraggler(key))) counts.outOfOrder++
      else counts.unexpected++
    }
    seen.add(key)
  }

  for (const event of events) {
    switch (event._tag) {
      case "Connected":
        enter(event.epoch)
        break
      case "Disconnected": {
        const session = sessions.at(-1)
        if (session === undefined || !event.opened || event.reason._tag !== "ConnectionClosed") break
        session.sawClose = event.reason.code === session.connection.closeCode
        break
      }
      case "Resync": {
        // Who joins a connection that is open is not told `Connected`.
        if (event.reason._tag === "JoinedLate") enter(event.epoch)
        const follower = sessions.at(-1)?.follower
        if (event.reason._tag === "BadFrame") follower?.markBadFrame()
        else follower?.mark({ joinedLate: event.reason._tag === "JoinedLate" })
        if (marksAll(event)) for (const session of fresh()) session.marked = true
        break
      }
      default:
        see(event)
    }
  }
  return {
    ...settle(sessions, emissions),
    ...counts,
    sent: sessions.reduce((sum, { connection }) => sum + connection.slots.filter(isMessage).length, 0),
    epochs: sessions.length
  }
}

/** Whether a mark says that anything may have been missed, as it must after a reconnect, and not this or that. */
const marksAll = ({ reason, taskId }: Resync): boolean => reason._tag !== "BadFrame" && taskId === undefined

/** A connection of the consumer. */
interface Session {
  readonly connection: Transcript.Connection
  readonly follower: Follower.Follower
  /** Whether a `Resync` came between its beginning and its first event; true of the first, which needs none. */
  marked: boolean
  /** Whether an event of the server came after its beginning, so that a missing mark is a fault. */
  judged: boolean
  /** Whether the consumer saw the server's close frame, and so everything before it. */
  sawClose: boolean
}

const isMessage = ({ key }: Transcript.Slot): boolean => key !== Transcript.badFrameKey

/** Counts what is missing, once everything that may still come late has come. */
const settle = (
  sessions: ReadonlyArray<Session>,
  emissions: ReadonlyArray<Transcript.Emission>
): Pick<Report, "lostWhileConnected" | "unmarkedGaps" | "missedWhileAway" | "inFlight"> => {
  const counts = { lostWhileConnected: 0, unmarkedGaps: 0, missedWhileAway: 0, inFlight: 0 }
  let feed = Feed.make()
  for (const [i, { connection, follower, sawClose }] of sessions.entries()) {
    for (const { slot, marked } of follower.passedOver()) {
      if (isMessage(slot)) counts.lostWhileConnected++
      if (!marked) counts.unmarkedGaps++
    }
    // A connection on which nothing was asked for leaves the consumer wanting what it wanted before.
    if (connection.firstRequest !== undefined) feed = connection.feed

    const tail = follower.tail().filter(isMessage)
    const excused = connection.faulty && !sawClose
    const next = sessions[i + 1]
    if (next === undefined) {
      if (sawClose) counts.lostWhileConnected += tail.length
      else counts.inFlight += tail.length
      continue
    }
    // Until the next connection asks for something, whatever is emitted is missed; afterwards it has its own slots.
    const until = next.connection.firstRequest ?? next.connection.ended ?? Number.POSITIVE_INFINITY
    const again = new Set(next.connection.slots.map(({ emission }) => emission))
    const gone = tail.filter(({ place, emission }) => place < until && !again.has(emission)).length
    const away = between(emissions, connection.ended ?? Number.POSITIVE_INFINITY, until).filter(
      ({ emission, message }) => feed.wants(message) && !again.has(emission)
    ).length
    counts.missedWhileAway += away
    if (excused) counts.missedWhileAway += gone
    else counts.lostWhileConnected += gone
    if (next.judged && !next.marked) counts.unmarkedGaps += gone + away
  }
  return counts
}

/** The emissions after one place in the log and before another. */
const between = (
  emissions: ReadonlyArray<Transcript.Emission>,
  from: number,
  to: number
): ReadonlyArray<Transcript.Emission> => {
  const found: Array<Transcript.Emission> = []
  for (let i = firstAfter(emissions, from); i < emissions.length; i++) {
    const emission = emissions[i]
    if (emission === undefined || emission.place >= to) break
    found.push(emission)
  }
  return found
}

const firstAfter = (emissions: ReadonlyArray<Transcript.Emission>, place: number): number => {
  let low = 0
  let high = emissions.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((emissions[middle]?.place ?? Number.POSITIVE_INFINITY) <= place) low = middle + 1
    else high = middle
  }
  return low
}

/**
 * Whether a report holds nothing that must not be.
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
  report.unmarkedReconnects === 0

/**
 * A report in one line, for a person.
 *
 * **Details**
 *
 * The counts before the semicolon add up to the messages that the consumer had
 * asked for: those that were sent to it, and those that were emitted while it
 * had no connection, which are not in `sent`.
 *
 * **Example** (Three of six messages arrived)
 *
 * ```ts
 * import * as Audit from "@makima-stream/test-kit/Audit"
 *
 * const report = { ...Audit.compare([], []), sent: 4, received: 3, missedWhileAway: 3 }
 * console.log(Audit.format(report).split(";")[0])
 * // Of 6 messages 3 arrived, 3 were missed while away, 0 were on their way at the end, 0 were lost while connected
 * ```
 *
 * @category auditing
 * @since 0.1.0
 */
export const format = (report: Report): string => {
  const { duplicates, inFlight, lostWhileConnected, missedWhileAway, outOfOrder, received, unexpected } = report
  const arrived = received - duplicates - unexpected
  return (
    `Of ${arrived + missedWhileAway + inFlight + lostWhileConnected} messages ${arrived} arrived, ` +
    `${missedWhileAway} were missed while away, ${inFlight} were on their way at the end, ` +
    `${lostWhileConnected} were lost while connected; ` +
    `${duplicates} came twice, ${outOfOrder} out of order, ${unexpected} unexpected; ` +
    `${report.unmarkedGaps} missing messages and ${report.unmarkedReconnects} reconnects were not marked.`
  )
}

/**
 * Finds the connection of each epoch by time: the last one that the server had
 * opened when the consumer said `Connected`.
 *
 * **When to use**
 *
 * Use as `connectionOf` where a handshake may fail after the server has
 * answered it, as when the server is killed at any moment: the server has then
 * counted a connection that the consumer has not.
 *
 * **Gotchas**
 *
 * The server and the consumer must tell time by one clock and run in one
 * process, and the consumer must be the only client. Of two processes the
 * client's may be online before the server's has come to write that down.
 *
 * **Example** (The server counted one that never came to be)
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
