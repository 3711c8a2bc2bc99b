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
import type { Data, MeshEvent } from "@makima-stream/core/MeshEvent"
import type { TaskId } from "@makima-stream/core/TaskId"
import * as TaskStatus from "@makima-stream/core/TaskStatus"
import * as Marks from "./internal/audit/marks.ts"
import * as Missing from "./internal/audit/missing.ts"
import * as Transcript from "./internal/audit/transcript.ts"
import * as Walk from "./internal/audit/walk.ts"
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
  const walk = Walk.follow(connections, events, options?.connectionOf ?? ((epoch) => epoch))
  const { sessions } = walk
  const unreported = Walk.judgeUnreported(connections, walk, options?.connections ?? (() => true))
  const counts = Missing.settle(sessions, emissions, options?.wants)
  const sentOn = (connection: Transcript.Connection): number => connection.slots.filter(Transcript.isMessage).length
  return {
    lostWhileConnected: counts.lostWhileConnected + unreported.lost,
    duplicates: walk.duplicates,
    outOfOrder: walk.outOfOrder,
    unexpected: walk.unexpected,
    unmarkedGaps: counts.unmarkedGaps,
    unmarkedConnections: sessions.filter(Marks.isUnmarked).length,
    unreported: unreported.count,
    unheard: counts.unheard,
    missedWhileAway: counts.missedWhileAway,
    inFlight: counts.inFlight,
    sent: sessions.reduce((sum, { connection }) => sum + sentOn(connection), unreported.lost),
    received: walk.received,
    epochs: sessions.length
  }
}

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
