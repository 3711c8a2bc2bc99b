/**
 * The elements of the feed, in one order: the server's data messages, the lifecycle
 * elements of the connection (`Connected`, `Disconnected` and `Resync`), and the
 * elements of a `Repair` (`Restated`, `Repaired` and `RepairFailed`).
 *
 * The server replays nothing, so a gap is an element. A `Resync` opens every complete
 * stretch: for the tasks and kinds that it names, the stream contains everything that
 * the server sent from this place on, in order, once, until the next `Disconnected` or
 * the next `Resync` that names them. Events before it are true, but some may be
 * missing.
 *
 * `ServerMessage` is the wire's vocabulary; `MeshStream` and `MeshClient` produce
 * these events.
 *
 * @since 0.1.0
 */
import { dual } from "effect/Function"
import * as Schema from "effect/Schema"
import * as Struct from "effect/Struct"
import { DecodeError } from "./DecodeError.ts"
import { ConnectionReason } from "./MeshError.ts"
import * as ServerMessage from "./ServerMessage.ts"
import { TaskId } from "./TaskId.ts"

/**
 * A connection is open and the interest has been sent on it. The server has not
 * confirmed the interest yet: the next `Resync` marks the place of the confirmation.
 *
 * **Details**
 *
 * `epoch` counts the connections of one stream, starting at 1. `at` is the wall-clock
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
 * A connection is open. See the schema of the same name.
 *
 * @category models
 * @since 0.1.0
 */
export interface Connected extends Schema.Schema.Type<typeof Connected> {}

/**
 * A connection ended, or an attempt to connect failed.
 *
 * **Details**
 *
 * - `epoch`: the connection that ended, or the last connection before the failed
 *   attempt; 0 if there was none yet.
 * - `opened`: `true` if a connection ended, `false` if an attempt to connect
 *   failed.
 * - `reason`: why it ended or failed.
 * - `attempt`: the number of consecutive failures since the last stable
 *   connection, starting at 1.
 * - `retryInMillis`: milliseconds until the next attempt. Absent if there is no next
 *   attempt: the stream fails at its next pull.
 * - `at`: the wall-clock time in milliseconds since 1970.
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
 * A connection ended. See the schema of the same name.
 *
 * @category models
 * @since 0.1.0
 */
export interface Disconnected extends Schema.Schema.Type<typeof Disconnected> {}

/**
 * The reason of a `Resync`.
 *
 * **Details**
 *
 * Marks that open a complete stretch at the server's confirmation:
 *
 * - `Started`: the interest of the first connection is confirmed. Names the whole
 *   interest.
 * - `Reconnected`: the interest of a later connection is confirmed. Names the
 *   whole interest. `downMillis` is the time in milliseconds since the previous
 *   connection ended, measured up to this place on the monotonic clock.
 * - `Subscribed`: one more key is confirmed, because the interest grew, a task
 *   was discovered, or a request was repeated. Names the `kind` of the `Resync`'s
 *   `taskId`, or all updates if there is none.
 * - `JoinedLate`: a consumer joined a connection that was already open, and its keys
 *   (the subscriptions that it wants) are confirmed. Names the keys of that consumer.
 *
 * Marks of a hole on an open connection:
 *
 * - `BadFrame`: a frame could not be decoded, for the reason in `error`. Its
 *   content is lost.
 * - `VersionGap`: an update's `version` jumped from `lastVersion` to `version`
 *   (see `MeshStream.markGaps`).
 * - `Overflow`: the consumer was too slow for its overflow policy, and `dropped`
 *   events did not reach it. If an `Overflow` is lost, its `dropped` is added. Other
 *   lost marks count as 0, so `dropped` can be 0.
 *
 * Marks of a source that merges several feeds, or that reads a kept feed:
 *
 * - `Unaligned`: two connections could not be aligned, and the stream continues
 *   from one of them (see `Merge`). `cause` says why: `lost` (both connections
 *   were lost), `window` (a bound of the comparison was exceeded), `ambiguous`
 *   (repeated content leaves several places) or `disagreement` (the connections
 *   delivered different events). Events from before it may come again behind it.
 * - `LogTruncated`: a log does not contain the positions `from` to `to` any more,
 *   both included.
 *
 * @category schemas
 * @since 0.1.0
 */
export const ResyncReason = Schema.TaggedUnion({
  Started: {},
  Reconnected: { downMillis: Schema.Finite },
  Subscribed: { kind: Schema.Literals(["updates", "output"]) },
  JoinedLate: {},
  BadFrame: { error: DecodeError },
  VersionGap: { lastVersion: Schema.Int, version: Schema.Int },
  Overflow: { dropped: Schema.Int },
  Unaligned: { cause: Schema.Literals(["lost", "window", "ambiguous", "disagreement"]) },
  LogTruncated: { from: Schema.Int, to: Schema.Int }
})

/**
 * The reason of a `Resync`. See the schema of the same name.
 *
 * @category models
 * @since 0.1.0
 */
export type ResyncReason = typeof ResyncReason.Type

/**
 * Opens a complete stretch. Earlier knowledge may be out of date.
 *
 * **Details**
 *
 * - `epoch`: the connection of the mark.
 * - `taskId`: the task, if the mark names only one task. Without it, the mark names
 *   every task of the interest.
 * - `reason`: why the mark is there.
 * - `unconfirmed`: how many of the keys that it names the server had not confirmed
 *   within `ackTimeout`. Their stretch is not complete yet. Each emits its own
 *   `Subscribed` once confirmed. Absent if all are confirmed.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Resync = Schema.TaggedStruct("Resync", {
  epoch: Schema.Int,
  taskId: Schema.optionalKey(TaskId),
  reason: ResyncReason,
  unconfirmed: Schema.optionalKey(Schema.Int)
})

/**
 * Opens a complete stretch. See the schema of the same name.
 *
 * @category models
 * @since 0.1.0
 */
export interface Resync extends Schema.Schema.Type<typeof Resync> {}

/**
 * The tag of a `ResyncReason`.
 *
 * @category schemas
 * @since 0.2.0
 */
export const ResyncReasonTag = Schema.Literals(Struct.keys(ResyncReason.cases))

/**
 * The tag of a `ResyncReason`.
 *
 * @category models
 * @since 0.2.0
 */
export type ResyncReasonTag = typeof ResyncReasonTag.Type

/**
 * The state of a task in a snapshot, if it is newer than the feed. Emitted by `Repair`,
 * not by the server.
 *
 * **Details**
 *
 * It is knowledge of the task, like an update: fold it, compare its version and read
 * its status in the same way. Filters of tasks, of updates and of statuses keep it.
 *
 * - `version`, `status`, `updatedFields`: as in `TaskUpdated`. Absent if the
 *   snapshot does not have them.
 * - `costUsd`: the cost of the task so far, in US dollars.
 * - `gone`: `true` if the task does not exist any more. Its `version` is the highest
 *   version that was seen, so only a newer event revives the task. Absent otherwise.
 *
 * @category schemas
 * @since 0.2.0
 */
export const Restated = Schema.TaggedStruct("Restated", {
  taskId: TaskId,
  version: Schema.optionalKey(Schema.Int),
  status: Schema.optionalKey(Schema.String),
  updatedFields: Schema.optionalKey(Schema.Array(Schema.String)),
  costUsd: Schema.optionalKey(Schema.Finite),
  gone: Schema.optionalKey(Schema.Literal(true))
})

/**
 * The state of a task in a snapshot. See the schema of the same name.
 *
 * @category models
 * @since 0.2.0
 */
export interface Restated extends Schema.Schema.Type<typeof Restated> {}

/**
 * A snapshot closed the gaps of updates before it. Follows the `Restated` of the
 * same snapshot.
 *
 * **Details**
 *
 * - `epoch`: the connection on which the fetch began.
 * - `reasons`: the tag of each `Resync` that it repairs, each tag once, in the order
 *   of the marks. The fetch began after these marks. Empty if the fetch was a
 *   periodic one.
 * - `restated`: the number of `Restated` elements of the snapshot.
 * - `unconfirmed`: how many keys of the repaired marks the server had not confirmed
 *   (see `Resync`). Their updates after the fetch may be missing. Each emits its own
 *   `Subscribed` once confirmed, which is then repaired too.
 * - `absent`: how many known live tasks the fetch requested and the snapshot did not
 *   contain. Their gaps are not closed. 0 if the snapshot was complete: then such tasks
 *   are `gone`.
 * - `open`: how many marks before this element the snapshot does not repair: each
 *   `Disconnected`, and each `Resync` of updates, since the fetch began. If it is 0, no
 *   gap of updates before this element is open.
 *
 * Output cannot be repaired.
 *
 * @category schemas
 * @since 0.2.0
 */
export const Repaired = Schema.TaggedStruct("Repaired", {
  epoch: Schema.Int,
  reasons: Schema.Array(ResyncReasonTag),
  restated: Schema.Int,
  unconfirmed: Schema.Int,
  absent: Schema.Int,
  open: Schema.Int
})

/**
 * A snapshot closed the gaps of updates before it. See the schema of the same name.
 *
 * @category models
 * @since 0.2.0
 */
export interface Repaired extends Schema.Schema.Type<typeof Repaired> {}

/**
 * No snapshot could be fetched, so gaps stay open. The next fetch includes them.
 *
 * **Details**
 *
 * - `epoch`: the connection on which the fetch began.
 * - `reasons`: the tag of each `Resync` that stays open, each tag once.
 * - `attempts`: how often the fetch was tried.
 * - `error`: the tag or the name of the last error, and its message.
 *
 * @category schemas
 * @since 0.2.0
 */
export const RepairFailed = Schema.TaggedStruct("RepairFailed", {
  epoch: Schema.Int,
  reasons: Schema.Array(ResyncReasonTag),
  attempts: Schema.Int,
  error: Schema.String
})

/**
 * No snapshot could be fetched. See the schema of the same name.
 *
 * @category models
 * @since 0.2.0
 */
export interface RepairFailed extends Schema.Schema.Type<typeof RepairFailed> {}

/**
 * The elements that a `Repair` adds. Without them, its output equals its input.
 *
 * @category models
 * @since 0.2.0
 */
export type RepairElement = Restated | Repaired | RepairFailed

/**
 * The elements that describe the connection and the completeness of the feed.
 *
 * @category models
 * @since 0.1.0
 */
export type Lifecycle = Connected | Disconnected | Resync | Repaired | RepairFailed

/**
 * The elements that the server sent.
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
 * Every event, as `_tag`ged data. Use this codec to store events, for example in an
 * audit log. The codec of the wire is `ServerMessage`.
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
  Resync,
  Restated,
  Repaired,
  RepairFailed
])

/**
 * An element of the feed.
 *
 * @category models
 * @since 0.1.0
 */
export type MeshEvent = Data | Restated | Lifecycle

/** A guard for one tag. Narrows to the members of `E` that have it. */
const guard =
  <Tag extends MeshEvent["_tag"]>(tag: Tag) =>
  <E extends MeshEvent>(event: E): event is Extract<E, { readonly _tag: Tag }> =>
    event._tag === tag

/**
 * Returns `true` for an update of a task.
 *
 * @category guards
 * @since 0.2.0
 */
export const isTaskUpdated = guard("TaskUpdated")

/**
 * Returns `true` for output of a task's agent.
 *
 * @category guards
 * @since 0.2.0
 */
export const isTaskOutput = guard("TaskOutput")

/**
 * Returns `true` for an error that the server reported.
 *
 * @category guards
 * @since 0.2.0
 */
export const isServerError = guard("ServerError")

/**
 * Returns `true` for a message of a type that this version does not know.
 *
 * @category guards
 * @since 0.2.0
 */
export const isUnknownMessage = guard("UnknownMessage")

/**
 * Returns `true` for a `Connected`.
 *
 * @category guards
 * @since 0.2.0
 */
export const isConnected = guard("Connected")

/**
 * Returns `true` for a `Disconnected`.
 *
 * @category guards
 * @since 0.2.0
 */
export const isDisconnected = guard("Disconnected")

/**
 * Returns `true` for a `Resync`.
 *
 * **Example** (Keeping the marks)
 *
 * ```ts
 * import * as MeshEvent from "@makima-stream/core/MeshEvent"
 *
 * console.log(MeshEvent.isResync({ _tag: "Resync", epoch: 1, reason: { _tag: "Started" } })) // true
 * ```
 *
 * @category guards
 * @since 0.2.0
 */
export const isResync = guard("Resync")

/**
 * Returns `true` for a `Restated`.
 *
 * @category guards
 * @since 0.2.0
 */
export const isRestated = guard("Restated")

/**
 * Returns `true` for a `Repaired`.
 *
 * @category guards
 * @since 0.2.0
 */
export const isRepaired = guard("Repaired")

/**
 * Returns `true` for a `RepairFailed`.
 *
 * @category guards
 * @since 0.2.0
 */
export const isRepairFailed = guard("RepairFailed")

/**
 * Returns `true` for an element that a `Repair` added: `Restated`, `Repaired` or
 * `RepairFailed`.
 *
 * **Example** (Taking out what a repair added)
 *
 * ```ts
 * import * as MeshEvent from "@makima-stream/core/MeshEvent"
 * import * as TaskId from "@makima-stream/core/TaskId"
 *
 * console.log(MeshEvent.isRepairElement({ _tag: "Restated", taskId: TaskId.make("7f1c"), status: "done" })) // true
 * ```
 *
 * @category guards
 * @since 0.2.0
 */
export const isRepairElement = <E extends MeshEvent>(event: E): event is Extract<E, RepairElement> =>
  event._tag === "Restated" || event._tag === "Repaired" || event._tag === "RepairFailed"

/**
 * Returns `true` for an element that describes the connection or the completeness of
 * the feed.
 *
 * **Example** (Separating the lifecycle from the data)
 *
 * ```ts
 * import * as MeshEvent from "@makima-stream/core/MeshEvent"
 *
 * console.log(MeshEvent.isLifecycle({ _tag: "Connected", epoch: 1, at: 0 })) // true
 * ```
 *
 * @category guards
 * @since 0.1.0
 */
export const isLifecycle = <E extends MeshEvent>(event: E): event is Extract<E, Lifecycle> =>
  event._tag === "Connected" ||
  event._tag === "Disconnected" ||
  event._tag === "Resync" ||
  event._tag === "Repaired" ||
  event._tag === "RepairFailed"

/**
 * Returns `true` for an element that the server sent.
 *
 * **Details**
 *
 * A `Restated` comes from a snapshot, so it is neither data nor lifecycle.
 *
 * **Example** (Keeping the data)
 *
 * ```ts
 * import * as MeshEvent from "@makima-stream/core/MeshEvent"
 *
 * console.log(MeshEvent.isData({ _tag: "ServerError", code: "ERROR", message: "" })) // true
 * ```
 *
 * @category guards
 * @since 0.2.0
 */
export const isData = <E extends MeshEvent>(event: E): event is Exclude<E, Restated | Lifecycle> =>
  event._tag !== "Restated" && !isLifecycle(event)

/**
 * One function for each element, by its tag.
 *
 * @category pattern matching
 * @since 0.2.0
 */
export type Cases<E extends MeshEvent, Z> = {
  readonly [Tag in E["_tag"]]: (event: Extract<E, { readonly _tag: Tag }>) => Z
}

/**
 * Calls the function for the event's tag and returns its result. A missing tag is
 * a type error.
 *
 * **Example** (One line for each event)
 *
 * ```ts
 * import * as MeshEvent from "@makima-stream/core/MeshEvent"
 *
 * const line = MeshEvent.match({
 *   TaskUpdated: ({ status }) => `update: ${status}`,
 *   TaskOutput: ({ content }) => content,
 *   ServerError: ({ message }) => `error: ${message}`,
 *   UnknownMessage: () => "unknown message",
 *   Connected: ({ epoch }) => `connection ${epoch}`,
 *   Disconnected: ({ reason }) => reason.message,
 *   Resync: ({ reason }) => `resync: ${reason._tag}`,
 *   Restated: ({ status }) => `restated: ${status}`,
 *   Repaired: ({ restated }) => `repaired: ${restated} tasks`,
 *   RepairFailed: ({ error }) => `not repaired: ${error}`
 * })
 * console.log(line({ _tag: "Connected", epoch: 1, at: 0 })) // connection 1
 * ```
 *
 * @category pattern matching
 * @since 0.2.0
 */
export const match: {
  /** Returns a function that calls the case of an event's tag. */
  <Z>(cases: Cases<MeshEvent, Z>): (event: MeshEvent) => Z
  /** Calls the case of the event's tag. */
  <E extends MeshEvent, Z>(event: E, cases: Cases<E, Z>): Z
} = dual(2, (event: MeshEvent, cases: Cases<MeshEvent, unknown>): unknown =>
  // The case of a tag accepts events of that tag, but the type of an index does not say so.
  (cases[event._tag] as (event: MeshEvent) => unknown)(event)
)
