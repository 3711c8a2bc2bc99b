/**
 * Every metric of the toolkit: name, unit, and when it is recorded.
 *
 * `MeshStream`, `MeshClient` and the transports always record them, into the
 * application's `Metric.MetricRegistry`, once for each batch of messages. Every
 * exporter of Effect's metrics exports them. Use the handles of this module to read
 * them in the program. Metrics in milliseconds or bytes have the attribute `unit`,
 * which Effect's exporters use.
 *
 * **Example** (Reading a counter)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Metric from "effect/Metric"
 * import * as MeshMetrics from "@makima-stream/core/MeshMetrics"
 *
 * const frames = Effect.runSync(Metric.value(MeshMetrics.framesReceived))
 * console.log(frames.count) // 0
 * ```
 *
 * @since 0.1.0
 */
import type * as Context from "effect/Context"
import * as Metric from "effect/Metric"
import type { Data, Resync } from "./MeshEvent.ts"

/**
 * `makima.connections.open`: connections that are open now. Unit: connections.
 * Recorded when a connection opens or ends.
 *
 * @category connection
 * @since 0.1.0
 */
export const connectionsOpen: Metric.Gauge<number> = /*#__PURE__*/ Metric.gauge("makima.connections.open", {
  description: "Open connections"
})

/**
 * `makima.connections.aligned`: the connections of a feed with several that can
 * replace the others without a gap. Unit: connections. Recorded when it may have
 * changed.
 *
 * @category connection
 * @since 0.2.0
 */
export const connectionsAligned: Metric.Gauge<number> = /*#__PURE__*/ Metric.gauge("makima.connections.aligned", {
  description: "Connections of one feed that can replace each other"
})

/**
 * `makima.merge.disagreements`: how often two connections of one feed delivered
 * different messages, or one was too far behind to be compared. Unit: disagreements.
 * Recorded once for each batch.
 *
 * @category connection
 * @since 0.2.0
 */
export const mergeDisagreements: Metric.Counter<number> = /*#__PURE__*/ Metric.counter("makima.merge.disagreements", {
  description: "Disagreements between connections of one feed",
  incremental: true
})

/**
 * `makima.connection.epoch`: the number of the newest connection, starting at 1.
 * Unit: none. Recorded when a connection opens.
 *
 * @category connection
 * @since 0.1.0
 */
export const epoch: Metric.Gauge<number> = /*#__PURE__*/ Metric.gauge("makima.connection.epoch", {
  description: "Newest connection"
})

/**
 * `makima.connection.dials`: attempts to connect. Unit: dials. Recorded before each
 * attempt.
 *
 * @category connection
 * @since 0.1.0
 */
export const dials: Metric.Counter<number> = /*#__PURE__*/ Metric.counter("makima.connection.dials", {
  description: "Dials",
  incremental: true
})

/**
 * `makima.connection.disconnects`: connections that ended and dials that failed, by
 * the tag of the reason in the attribute `reason`. Unit: disconnects. Recorded when
 * the connection ends or the dial fails.
 *
 * @category connection
 * @since 0.1.0
 */
export const disconnects: Metric.Counter<number> = /*#__PURE__*/ Metric.counter("makima.connection.disconnects", {
  description: "Disconnects",
  incremental: true
})

/**
 * `makima.connection.downtime`: the time from the end of a connection to the
 * confirmation of the interest on a later one: the `downMillis` of `Reconnected`.
 * Unit: milliseconds. Recorded at that mark.
 *
 * @category connection
 * @since 0.1.0
 */
export const downtime: Metric.Histogram<number> = /*#__PURE__*/ Metric.histogram("makima.connection.downtime", {
  description: "Downtime of the feed",
  attributes: { unit: "milliseconds" },
  boundaries: [100, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000, 300_000]
})

/**
 * `makima.heartbeat.round_trip`: the time from a ping to its answer. Unit:
 * milliseconds. Recorded by transports with a heartbeat, unless reading was paused
 * meanwhile.
 *
 * @category connection
 * @since 0.1.0
 */
export const heartbeatRoundTrip: Metric.Histogram<number> = /*#__PURE__*/ Metric.histogram(
  "makima.heartbeat.round_trip",
  {
    description: "Time from a ping to its answer",
    attributes: { unit: "milliseconds" },
    boundaries: [1, 5, 10, 25, 50, 100, 250, 500, 1000, 5000]
  }
)

/**
 * `makima.frames.received`: frames received. Unit: frames. Recorded once for each
 * batch.
 *
 * @category traffic
 * @since 0.1.0
 */
export const framesReceived: Metric.Counter<number> = /*#__PURE__*/ Metric.counter("makima.frames.received", {
  description: "Frames received",
  incremental: true
})

/**
 * `makima.bytes.received`: the size of the frames received. Unit: bytes; for text
 * frames UTF-16 code units, which is the same for ASCII. Recorded once for each
 * batch.
 *
 * @category traffic
 * @since 0.1.0
 */
export const bytesReceived: Metric.Counter<number> = /*#__PURE__*/ Metric.counter("makima.bytes.received", {
  description: "Bytes received",
  attributes: { unit: "bytes" },
  incremental: true
})

/**
 * `makima.frames.undecodable`: frames that could not be decoded. Unit: frames.
 * Recorded for each of them.
 *
 * @category traffic
 * @since 0.1.0
 */
export const decodeFailures: Metric.Counter<number> = /*#__PURE__*/ Metric.counter("makima.frames.undecodable", {
  description: "Undecodable frames",
  incremental: true
})

/**
 * `makima.events`: data events, by their tag in the attribute `kind`. Unit: events.
 * Recorded once for each batch.
 *
 * @category traffic
 * @since 0.1.0
 */
export const events: Metric.Counter<number> = /*#__PURE__*/ Metric.counter("makima.events", {
  description: "Events",
  incremental: true
})

/**
 * `makima.gaps`: places where events may have been missed, by the tag of the reason
 * in the attribute `reason`. Unit: gaps. Recorded with the mark: once for a mark of
 * the connection, and once for each consumer for `Overflow`, `JoinedLate` and
 * `VersionGap` (see `MeshStream.markGaps`).
 *
 * @category traffic
 * @since 0.1.0
 */
export const gaps: Metric.Counter<number> = /*#__PURE__*/ Metric.counter("makima.gaps", {
  description: "Possible gaps",
  incremental: true
})

/**
 * `makima.client.queue.depth`: the size of the fullest queue among those that
 * received the newest batch of a `MeshClient`. Unit: events. Recorded once for each
 * batch.
 *
 * @category consumers
 * @since 0.1.0
 */
export const queueDepth: Metric.Gauge<number> = /*#__PURE__*/ Metric.gauge("makima.client.queue.depth", {
  description: "Fullest queue"
})

/**
 * `makima.events.dropped`: events that did not reach a consumer because of its
 * overflow policy, or that `MeshStream.sheddingBuffer` or `conflateUpdates` dropped.
 * Unit: events. Recorded when they are dropped.
 *
 * @category consumers
 * @since 0.1.0
 */
export const eventsDropped: Metric.Counter<number> = /*#__PURE__*/ Metric.counter("makima.events.dropped", {
  description: "Events dropped",
  incremental: true
})

/**
 * `makima.consumer.stalls`: how often a consumer with a full queue blocked the other
 * consumers of its `MeshClient` for longer than `stallWarning`. Unit: stalls.
 * Recorded when that time is over.
 *
 * @category consumers
 * @since 0.2.0
 */
export const consumerStalls: Metric.Counter<number> = /*#__PURE__*/ Metric.counter("makima.consumer.stalls", {
  description: "Consumer stalls",
  incremental: true
})

/**
 * `makima.discovery.tasks`: live tasks whose output a consumer of
 * `MeshClient.everything` follows; with several consumers, the largest number. Unit:
 * tasks. Recorded when the number changes.
 *
 * @category consumers
 * @since 0.2.0
 */
export const discoveredTasks: Metric.Gauge<number> = /*#__PURE__*/ Metric.gauge("makima.discovery.tasks", {
  description: "Tasks followed"
})

/**
 * `makima.discovery.forgotten`: live tasks that are no longer followed, by the
 * attribute `reason`: `stale` if they were silent for `staleAfter` after a reconnect,
 * `evicted` if there were more than `maxTasks`. Unit: tasks. Recorded when a task is
 * forgotten.
 *
 * @category consumers
 * @since 0.2.0
 */
export const forgottenTasks: Metric.Counter<number> = /*#__PURE__*/ Metric.counter("makima.discovery.forgotten", {
  description: "Tasks forgotten",
  incremental: true
})

/**
 * `makima.subscriptions.wanted`: subscriptions that are wanted now. Unit:
 * subscriptions. Recorded when the interest changes.
 *
 * @category subscriptions
 * @since 0.1.0
 */
export const subscriptionsWanted: Metric.Gauge<number> = /*#__PURE__*/ Metric.gauge("makima.subscriptions.wanted", {
  description: "Subscriptions wanted"
})

/**
 * `makima.subscriptions.confirmed`: subscriptions that the server has confirmed on
 * the open connection. Unit: subscriptions. Recorded when the number changes.
 *
 * @category subscriptions
 * @since 0.1.0
 */
export const subscriptionsConfirmed: Metric.Gauge<number> = /*#__PURE__*/ Metric.gauge(
  "makima.subscriptions.confirmed",
  {
    description: "Subscriptions confirmed"
  }
)

const eventsOf = (kind: Data["_tag"]): Metric.Counter<number> => Metric.withAttributes(events, { kind })

const kinds = {
  TaskUpdated: eventsOf("TaskUpdated"),
  TaskOutput: eventsOf("TaskOutput"),
  ServerError: eventsOf("ServerError"),
  UnknownMessage: eventsOf("UnknownMessage")
} satisfies Record<Data["_tag"], unknown>

/** The marks that count as gaps. `Started` and `Subscribed` only mark where the feed becomes complete. */
type GapReason = Exclude<Resync["reason"]["_tag"], "Started" | "Subscribed">

/**
 * Records data events of one kind.
 *
 * @internal
 */
export const recordEvents = (kind: Data["_tag"], count: number, context: Context.Context<never>): void => {
  if (count > 0) kinds[kind].updateUnsafe(count, context)
}

/**
 * Records a gap.
 *
 * @internal
 */
export const recordGap = (reason: GapReason, context: Context.Context<never>): void =>
  Metric.withAttributes(gaps, { reason }).updateUnsafe(1, context)

/**
 * Records the number of subscriptions.
 *
 * @internal
 */
export const recordSubscriptions = (
  { confirmed, wanted }: { readonly confirmed: number; readonly wanted: number },
  context: Context.Context<never>
): void => {
  subscriptionsWanted.updateUnsafe(wanted, context)
  subscriptionsConfirmed.updateUnsafe(confirmed, context)
}

/**
 * Records a live task that is no longer followed.
 *
 * @internal
 */
export const recordForgotten = (reason: "stale" | "evicted", context: Context.Context<never>): void =>
  Metric.withAttributes(forgottenTasks, { reason }).updateUnsafe(1, context)
