/**
 * The log of a test server: what it did and what happened to it, in one order.
 *
 * `Audit` compares a log with the events of a consumer. `MockMeshServer` and
 * `ScriptedMesh` keep one; another test server can keep one in the same format.
 *
 * @since 0.1.0
 */
import type { ClientMessage } from "@makima-stream/core/ClientMessage"
import type { DecodeError } from "@makima-stream/core/DecodeError"
import type { ServerMessage } from "@makima-stream/core/ServerMessage"

/**
 * The members of every entry: its number in the log, from 1 without a gap, and its
 * wall-clock time.
 *
 * @category models
 * @since 0.1.0
 */
export interface Stamp {
  /** Its number in the log. */
  readonly seq: number
  /** When, in milliseconds since 1970. */
  readonly at: number
}

/**
 * A handshake was answered with 101. `connection` counts these from 1, over the
 * life of the server.
 *
 * @category models
 * @since 0.1.0
 */
export interface Opened extends Stamp {
  readonly _tag: "Opened"
  readonly connection: number
}

/**
 * A handshake was refused with an HTTP status: as a fault, for its key (401) or
 * for its path (404).
 *
 * @category models
 * @since 0.1.0
 */
export interface Refused extends Stamp {
  readonly _tag: "Refused"
  /** The HTTP status. */
  readonly status: number
}

/**
 * A handshake is never answered.
 *
 * @category models
 * @since 0.1.0
 */
export interface Stalled extends Stamp {
  readonly _tag: "Stalled"
}

/**
 * A request was received and has taken effect.
 *
 * @category models
 * @since 0.1.0
 */
export interface Received extends Stamp {
  readonly _tag: "Received"
  /** The number of the connection. */
  readonly connection: number
  /** The request. */
  readonly message: ClientMessage
}

/**
 * A received frame is not a request.
 *
 * @category models
 * @since 0.1.0
 */
export interface Unreadable extends Stamp {
  readonly _tag: "Unreadable"
  /** The number of the connection. */
  readonly connection: number
  /** Why it cannot be decoded. */
  readonly error: DecodeError
}

/**
 * How a frame travels: as text, as binary with the same content, or as text in
 * three fragments.
 *
 * @category models
 * @since 0.1.0
 */
export type Encoding = "text" | "binary" | "fragmented"

/**
 * A message was sent on a connection.
 *
 * **Details**
 *
 * - `emission` numbers the emitted messages. It is the same on all connections to
 *   which one message was sent.
 * - `delivered` is `false` while the frame is retained because the connection
 *   is frozen, and becomes `true` if the connection thaws. A frame that
 *   was delivered has been handed to the network, which may still lose it when
 *   the connection is killed.
 *
 * @category models
 * @since 0.1.0
 */
export interface Sent extends Stamp {
  readonly _tag: "Sent"
  /** The number of the connection. */
  readonly connection: number
  readonly emission: number
  /** The message. */
  readonly message: ServerMessage
  /** How the frame travels. */
  readonly as: Encoding
  readonly delivered: boolean
}

/**
 * A raw frame was sent on a connection. For the members see `Sent`.
 *
 * @category models
 * @since 0.1.0
 */
export interface SentRaw extends Stamp {
  readonly _tag: "SentRaw"
  /** The number of the connection. */
  readonly connection: number
  readonly emission: number
  /** The frame. */
  readonly raw: string | Uint8Array
  /** How the frame travels. */
  readonly as: Encoding
  readonly delivered: boolean
}

/**
 * A message was emitted to which no connection had subscribed. It is lost.
 *
 * @category models
 * @since 0.1.0
 */
export interface Unheard extends Stamp {
  readonly _tag: "Unheard"
  /** The number of the message among all emitted messages. */
  readonly emission: number
  /** The message. */
  readonly message: ServerMessage
}

/**
 * A connection was frozen: it neither sends nor reads.
 *
 * @category models
 * @since 0.1.0
 */
export interface Frozen extends Stamp {
  readonly _tag: "Frozen"
  /** The number of the connection. */
  readonly connection: number
}

/**
 * A frozen connection resumed: the retained frames have been sent.
 *
 * @category models
 * @since 0.1.0
 */
export interface Thawed extends Stamp {
  readonly _tag: "Thawed"
  /** The number of the connection. */
  readonly connection: number
}

/**
 * A connection was closed: by the server, when it sent its close frame, or by the
 * client, when the server noticed. `code` is 1006 if the client left without a
 * close frame.
 *
 * @category models
 * @since 0.1.0
 */
export interface Closed extends Stamp {
  readonly _tag: "Closed"
  /** The number of the connection. */
  readonly connection: number
  /** Who closed it. */
  readonly by: "client" | "server"
  readonly code: number
  /** The reason in the close frame; empty if it has none. */
  readonly reason: string
}

/**
 * The server ended a connection without a close frame.
 *
 * @category models
 * @since 0.1.0
 */
export interface Killed extends Stamp {
  readonly _tag: "Killed"
  /** The number of the connection. */
  readonly connection: number
}

/**
 * An entry of the log.
 *
 * @category models
 * @since 0.1.0
 */
export type Entry =
  | Opened
  | Refused
  | Stalled
  | Received
  | Unreadable
  | Sent
  | SentRaw
  | Unheard
  | Frozen
  | Thawed
  | Closed
  | Killed

/**
 * A log: its entries, oldest first.
 *
 * @category models
 * @since 0.1.0
 */
export type ServerLog = ReadonlyArray<Entry>
