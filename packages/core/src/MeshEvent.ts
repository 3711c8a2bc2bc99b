/**
 * What a consumer of the feed sees: the server's data messages, and the
 * connection's own `Connected`, `Disconnected` and `Resync`, in one order.
 *
 * The server replays nothing, so a gap is an element: wherever events may have
 * been missed, a `Resync` stands at the very place. A program that keeps a
 * total, an audit trail or a cache treats a `Resync` as "what I knew may be out
 * of date", and asks the server's other interfaces where that matters.
 *
 * `ServerMessage` is the wire's vocabulary; `MeshStream` makes these events.
 *
 * @since 0.1.0
 */
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import { DecodeError } from "./DecodeError.ts"
import { ConnectionReason } from "./MeshError.ts"
import * as ServerMessage from "./ServerMessage.ts"
import { TaskId } from "./TaskId.ts"

/**
 * A connection is open and the interest has been sent on it.
 *
 * **Details**
 *
 * `epoch` counts the connections of one stream from 1, and `at` is the clock's
 * time in milliseconds since 1970.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Connected = Schema.TaggedStruct("Connected", {
  epoch: Schema.Int,
  at: Schema.Finite
})

/**
 * A connection is open: see the schema of the same name.
 *
 * @category models
 * @since 0.1.0
 */
export interface Connected extends Schema.Schema.Type<typeof Connected> {}

/**
 * A connection ended, or an attempt at one failed.
 *
 * **Details**
 *
 * - `epoch`: of the connection that ended, or of the last one before the
 *   attempt that failed; 0 where there was none yet.
 * - `opened`: whether a connection ended (`true`) or an attempt at one failed
 *   (`false`).
 * - `reason`: why.
 * - `attempt`: how many of these there have been in a row since the last stable
 *   connection, from 1.
 * - `retryInMillis`: how long until the next attempt. Absent where there is
 *   none: the stream then fails at its next pull.
 * - `at`: the clock's time in milliseconds since 1970.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Disconnected = Schema.TaggedStruct("Disconnected", {
  epoch: Schema.Int,
  opened: Schema.Boolean,
  attempt: Schema.Int,
  reason: ConnectionReason,
  retryInMillis: Schema.optionalKey(Schema.Finite),
  at: Schema.Finite
})

/**
 * A connection ended: see the schema of the same name.
 *
 * @category models
 * @since 0.1.0
 */
export interface Disconnected extends Schema.Schema.Type<typeof Disconnected> {}

/**
 * Why events may have been missed.
 *
 * **Details**
 *
 * - `Reconnected`: nobody was connected for `downMillis` milliseconds.
 * - `BadFrame`: a frame could not be read, as `error` tells; what it said is lost.
 * - `VersionGap`: an update's `version` jumped from `lastVersion` to `version`
 *   (see `MeshStream.markGaps`).
 * - `Overflow`: the consumer was too slow for the policy that it declared, and
 *   `dropped` events did not reach it.
 * - `JoinedLate`: the consumer joined a connection that was already open.
 *
 * @category schemas
 * @since 0.1.0
 */
export const ResyncReason = Schema.TaggedUnion({
  Reconnected: { downMillis: Schema.Finite },
  BadFrame: { error: DecodeError },
  VersionGap: { lastVersion: Schema.Int, version: Schema.Int },
  Overflow: { dropped: Schema.Int },
  JoinedLate: {}
})

/**
 * Why events may have been missed: see the schema of the same name.
 *
 * @category models
 * @since 0.1.0
 */
export type ResyncReason = typeof ResyncReason.Type

/**
 * Events may have been missed at this place, for the `reason` given, on the
 * connection that is the `epoch`-th. `taskId` names the task where only one is
 * concerned and that is known; without it any task may be.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Resync = Schema.TaggedStruct("Resync", {
  epoch: Schema.Int,
  taskId: Schema.optionalKey(TaskId),
  reason: ResyncReason
})

/**
 * Events may have been missed: see the schema of the same name.
 *
 * @category models
 * @since 0.1.0
 */
export interface Resync extends Schema.Schema.Type<typeof Resync> {}

/**
 * What the connection says of itself.
 *
 * @category models
 * @since 0.1.0
 */
export type Lifecycle = Connected | Disconnected | Resync

/**
 * What the server said.
 *
 * @category models
 * @since 0.1.0
 */
export type Data =
  | ServerMessage.TaskUpdated
  | ServerMessage.TaskOutput
  | ServerMessage.ServerError
  | ServerMessage.UnknownMessage

/**
 * Every event, as `_tag`ged data. Its codec is for keeping events (an audit
 * log, a recording); the wire has the codec of `ServerMessage`.
 *
 * @category schemas
 * @since 0.1.0
 */
export const MeshEvent = Schema.Union([
  Schema.toType(ServerMessage.TaskUpdated),
  Schema.toType(ServerMessage.TaskOutput),
  Schema.toType(ServerMessage.ServerError),
  Schema.toType(ServerMessage.UnknownMessage),
  Connected,
  Disconnected,
  Resync
])

/**
 * An element of the feed.
 *
 * @category models
 * @since 0.1.0
 */
export type MeshEvent = Data | Lifecycle

/**
 * Whether an event is the connection's own.
 *
 * **Example** (Keeping the lifecycle apart)
 *
 * ```ts
 * import { MeshEvent } from "@makima-stream/core"
 *
 * console.log(MeshEvent.isLifecycle({ _tag: "Connected", epoch: 1, at: 0 })) // true
 * ```
 *
 * @category guards
 * @since 0.1.0
 */
export const isLifecycle = <E extends MeshEvent>(event: E): event is Extract<E, Lifecycle> =>
  Predicate.isTagged(event, "Connected") ||
  Predicate.isTagged(event, "Disconnected") ||
  Predicate.isTagged(event, "Resync")
