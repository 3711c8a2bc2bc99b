/**
 * What a server did and what happened to it, in one order.
 *
 * A log is what a test compares a consumer with: `Audit` does that for whole
 * runs. `MockMeshServer` keeps one; whatever else plays the server in a test may
 * keep one too.
 *
 * @since 0.1.0
 */
import type { ClientMessage } from "@makima-stream/core/ClientMessage"
import type { DecodeError } from "@makima-stream/core/DecodeError"
import type { ServerMessage } from "@makima-stream/core/ServerMessage"

/**
 * What every entry has: its number in the log, from 1 and without a gap, and
 * the clock's time in milliseconds since 1970.
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
 * A handshake is left without an answer.
 *
 * @category models
 * @since 0.1.0
 */
export interface Stalled extends Stamp {
  readonly _tag: "Stalled"
}

/**
 * A request came, and has been carried out.
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
 * A frame came that is no request.
 *
 * @category models
 * @since 0.1.0
 */
export interface Unreadable extends Stamp {
  readonly _tag: "Unreadable"
  /** The number of the connection. */
  readonly connection: number
  /** Why it is none. */
  readonly error: DecodeError
}

/**
 * How a frame travels: as text, as bytes that hold the same, or as text in
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
 * - `emission` is the same for all connections that one message went to, and
 *   grows from one message to the next.
 * - `delivered` is `false` while the frame is retained because the connection
 *   is frozen; should the connection thaw, the entry becomes `true`. A frame that
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
 * A frame was sent on a connection as it is: a message or not. For the members
 * see `Sent`.
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
 * A message was emitted that no connection wanted: it is gone.
 *
 * @category models
 * @since 0.1.0
 */
export interface Unheard extends Stamp {
  readonly _tag: "Unheard"
  /** The number of the message among all that were emitted. */
  readonly emission: number
  /** The message. */
  readonly message: ServerMessage
}

/**
 * No frame leaves the connection, and nothing that comes is read.
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
 * A connection was closed: by the server, at the moment when it said so, or by
 * the client, at the moment when the server saw it. `code` is 1006 where a
 * client left without a close frame.
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
