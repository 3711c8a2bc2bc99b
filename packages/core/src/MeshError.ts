/**
 * The error of this toolkit, with a tagged `reason`.
 *
 * A `Socket` reports its failures as `SocketError`, which has no field for the
 * HTTP status of a refused handshake or for a silent peer. A transport with more
 * information puts one of the reasons of this module into the `cause` of the
 * `SocketOpenError` or `SocketReadError`; `fromSocketError` extracts it.
 * `ReconnectPolicy` decides from the reason whether to connect again.
 *
 * Recover by reason with `Effect.catchReason("MeshError", "HandshakeRejected", …)`.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import type * as Socket from "effect/socket/Socket"
import { DecodeError } from "./DecodeError.ts"

/** A tagged error whose identifier names this module, so that it is unique across packages. */
const TaggedError =
  <Self>() =>
  <const Tag extends string, const Fields extends Schema.Struct.Fields>(tag: Tag, fields: Fields) =>
    Schema.TaggedError<Self>(`@makima-stream/core/MeshError/${tag}`)(tag, fields)

/**
 * The server could not be reached: its name does not resolve, the connection was
 * refused, the network is down, or the TLS handshake failed for a reason other than
 * the server's certificate.
 *
 * @category reasons
 * @since 0.1.0
 */
export class DialFailed extends TaggedError<DialFailed>()("DialFailed", {
  /** The platform's error. */
  cause: Schema.Defect()
}) {
  /** What happened, in one line. */
  override get message(): string {
    return `The server could not be reached${detail(this.cause)}`
  }
}

/**
 * The connection did not open in time.
 *
 * @category reasons
 * @since 0.1.0
 */
export class DialTimeout extends TaggedError<DialTimeout>()("DialTimeout", {
  /** The time limit in milliseconds, if the transport reports it. */
  timeoutMillis: Schema.optionalKey(Schema.Finite)
}) {
  /** What happened, in one line. */
  override get message(): string {
    return `The connection did not open ${this.timeoutMillis === undefined ? "in time" : `within ${this.timeoutMillis} ms`}`
  }
}

/**
 * The server answered the upgrade with an HTTP status instead of a WebSocket.
 *
 * **Details**
 *
 * The transport determines which fields are present in addition to `status`. A browser
 * reports none of them, not even the status. `NodeMeshSocket` removes the key from
 * every text.
 *
 * **Gotchas**
 *
 * `message` does not contain `body`, since a body may have many lines and any content.
 * Show it where a person looks for the cause.
 *
 * @category reasons
 * @since 0.1.0
 */
export class HandshakeRejected extends TaggedError<HandshakeRejected>()("HandshakeRejected", {
  /** The HTTP status. */
  status: Schema.Int,
  /** The text after the status, such as `Forbidden`. Since 0.2.0. */
  statusText: Schema.optionalKey(Schema.String),
  /** The server's `Retry-After`, in milliseconds from the answer. */
  retryAfterMillis: Schema.optionalKey(Schema.Finite),
  /** The target of a redirect, without credentials, query and fragment. Redirects are not followed. Since 0.2.0. */
  location: Schema.optionalKey(Schema.String),
  /** The id under which the server, or a proxy, logged the request. Since 0.2.0. */
  requestId: Schema.optionalKey(Schema.String),
  /** The first KiB of the response body, if that is text or JSON. Since 0.2.0. */
  body: Schema.optionalKey(Schema.String),
  /**
   * `true` if the transport obtains new credentials for each attempt. A feed that was
   * refused with 401 then connects once more before it fails. Since 0.2.0.
   */
  credentialsMayChange: Schema.optionalKey(Schema.Boolean)
}) {
  /** What happened, in one line. */
  override get message(): string {
    return (
      `The server refused the connection with HTTP status ${this.status}` +
      oneLine(" (", this.statusText, ")") +
      statusMeaning(this.status) +
      oneLine(". It redirects to ", this.location) +
      oneLine(". Request id: ", this.requestId)
    )
  }
}

const statusMeaning = (status: number): string => {
  if (status === 401 || status === 403) return ": the API key was refused"
  if (status === 404) return ": no task feed at this URL"
  if (status === 426 || status === 505) return ": unsupported version of the protocol"
  return ""
}

/**
 * The server's certificate was not accepted.
 *
 * **Details**
 *
 * Other failures of the TLS handshake are `DialFailed`, because they may be temporary.
 *
 * @category reasons
 * @since 0.1.0
 */
export class TlsFailed extends TaggedError<TlsFailed>()("TlsFailed", {
  /** The TLS library's code, such as `SELF_SIGNED_CERT_IN_CHAIN`. */
  code: Schema.String,
  /** The platform's error. */
  cause: Schema.Defect()
}) {
  /** What happened, in one line. */
  override get message(): string {
    return `The server's certificate was not accepted (${this.code})`
  }
}

/**
 * The credentials for this attempt could not be obtained.
 *
 * @category reasons
 * @since 0.1.0
 */
export class CredentialsFailed extends TaggedError<CredentialsFailed>()("CredentialsFailed", {
  /** The cause. `NodeMeshSocket` includes no text of the effect's error, since that may contain the secret. */
  cause: Schema.Defect(),
  /** A description by the transport, without the secret. Since 0.2.0. */
  detail: Schema.optionalKey(Schema.String),
  /**
   * `true` if the next attempt would fail in the same way, because the key is a fixed
   * value that cannot be sent. The feed then fails at once. Since 0.2.0.
   */
  isFinal: Schema.optionalKey(Schema.Boolean)
}) {
  /** What happened, in one line. Does not contain the text of the cause, which may contain the secret. */
  override get message(): string {
    return `The credentials could not be read${oneLine(": ", this.detail)}`
  }
}

/**
 * The connection ended without a close frame.
 *
 * @category reasons
 * @since 0.1.0
 */
export class ConnectionLost extends TaggedError<ConnectionLost>()("ConnectionLost", {
  /** The platform's error, if there is one. */
  cause: Schema.optionalKey(Schema.Defect())
}) {
  /** What happened, in one line. */
  override get message(): string {
    return `The connection was lost${detail(this.cause)}`
  }
}

/**
 * The server closed the connection with a close frame.
 *
 * @category reasons
 * @since 0.1.0
 */
export class ConnectionClosed extends TaggedError<ConnectionClosed>()("ConnectionClosed", {
  /** The close code of RFC 6455, section 7.4, or of the application (4000 to 4999). */
  code: Schema.Int,
  /** The text of the close frame, if it has one. */
  closeReason: Schema.optionalKey(Schema.String),
  /**
   * `true` if the transport obtains new credentials for each attempt. A feed that was
   * closed with 4401 or 3000 then connects once more before it fails. Since 0.2.0.
   */
  credentialsMayChange: Schema.optionalKey(Schema.Boolean)
}) {
  /** What happened, in one line. */
  override get message(): string {
    return `The server closed the connection with code ${this.code}${oneLine(": ", this.closeReason)}`
  }
}

/**
 * The server sent nothing for too long, so the client ended the connection.
 *
 * @category reasons
 * @since 0.1.0
 */
export class HeartbeatTimeout extends TaggedError<HeartbeatTimeout>()("HeartbeatTimeout", {
  /** How long the transport waited for an answer to a ping, in milliseconds. */
  deadlineMillis: Schema.Finite
}) {
  /** What happened, in one line. */
  override get message(): string {
    return `The server did not answer a ping within ${this.deadlineMillis} ms`
  }
}

/**
 * A frame was larger than the transport accepts.
 *
 * @category reasons
 * @since 0.1.0
 */
export class FrameTooLarge extends TaggedError<FrameTooLarge>()("FrameTooLarge", {
  /** The largest frame accepted, in bytes. */
  maxFrameBytes: Schema.Int,
  /** The largest number of fragments accepted. Present if the frame had too many fragments, not too many bytes. Since 0.2.0. */
  maxFragments: Schema.optionalKey(Schema.Int)
}) {
  /** What happened, in one line. */
  override get message(): string {
    return `The server sent a frame of more than ${
      this.maxFragments === undefined ? `${this.maxFrameBytes} bytes` : `${this.maxFragments} fragments`
    }`
  }
}

/**
 * A frame could not be decoded, and the option `onBadFrame` is `fail`.
 *
 * @category reasons
 * @since 0.1.0
 */
export class BadFrame extends TaggedError<BadFrame>()("BadFrame", {
  /** What was wrong with the frame. */
  error: DecodeError
}) {
  /** What happened, in one line. */
  override get message(): string {
    return this.error.message
  }
}

/**
 * Too many consecutive frames could not be decoded, so the client ended the connection.
 * Probably the server uses another protocol.
 *
 * @category reasons
 * @since 0.1.0
 */
export class TooManyBadFrames extends TaggedError<TooManyBadFrames>()("TooManyBadFrames", {
  /** The number of frames. */
  count: Schema.Int,
  /** What was wrong with the last one. */
  last: DecodeError
}) {
  /** What happened, in one line. */
  override get message(): string {
    return `${this.count} consecutive frames could not be decoded. ${this.last.message}`
  }
}

/**
 * The program requested a new connection.
 *
 * @category reasons
 * @since 0.1.0
 */
export class ReconnectRequested extends TaggedError<ReconnectRequested>()("ReconnectRequested", {}) {
  /** What happened, in one line. */
  override get message(): string {
    return "The program requested a new connection"
  }
}

/**
 * The client was closed and accepts no more consumers.
 *
 * @category reasons
 * @since 0.1.0
 */
export class ClientClosed extends TaggedError<ClientClosed>()("ClientClosed", {}) {
  /** What happened, in one line. */
  override get message(): string {
    return "The client was closed"
  }
}

/**
 * A consumer fell behind, and its overflow policy is to fail.
 *
 * @category reasons
 * @since 0.1.0
 */
export class ConsumerOverflow extends TaggedError<ConsumerOverflow>()("ConsumerOverflow", {
  /** The capacity of the consumer's queue, in events. */
  capacity: Schema.Int
}) {
  /** What happened, in one line. */
  override get message(): string {
    return `The consumer fell more than ${this.capacity} events behind`
  }
}

/**
 * Why a connection ended, or an attempt to connect failed.
 *
 * @category reasons
 * @since 0.1.0
 */
export const ConnectionReason = Schema.Union([
  DialFailed,
  DialTimeout,
  HandshakeRejected,
  TlsFailed,
  CredentialsFailed,
  ConnectionLost,
  ConnectionClosed,
  HeartbeatTimeout,
  FrameTooLarge,
  BadFrame,
  TooManyBadFrames,
  ReconnectRequested
])

/**
 * Why a connection ended, or an attempt to connect failed.
 *
 * @category reasons
 * @since 0.1.0
 */
export type ConnectionReason = typeof ConnectionReason.Type

/**
 * The schedule of reconnects ended, so no further attempt is made.
 *
 * @category reasons
 * @since 0.1.0
 */
export class RetriesExhausted extends TaggedError<RetriesExhausted>()("RetriesExhausted", {
  /** The number of consecutive failures. */
  attempts: Schema.Int,
  /** Why the last one ended. */
  last: ConnectionReason
}) {
  /** What happened, in one line. */
  override get message(): string {
    return `Gave up after ${attempts(this.attempts)}. ${this.last.message}`
  }
}

/**
 * No snapshot could be fetched, and the repair has `onFailure: "fail"`.
 *
 * @category reasons
 * @since 0.2.0
 */
export class SnapshotFailed extends TaggedError<SnapshotFailed>()("SnapshotFailed", {
  /** How often the fetch was tried. */
  attempts: Schema.Int,
  /** What the last attempt failed with. */
  cause: Schema.Defect()
}) {
  /** What happened, in one line. */
  override get message(): string {
    return `No snapshot could be fetched in ${attempts(this.attempts)}`
  }
}

/**
 * Every reason of a `MeshError`.
 *
 * @category reasons
 * @since 0.1.0
 */
export const MeshErrorReason = Schema.Union([
  ...ConnectionReason.members,
  RetriesExhausted,
  SnapshotFailed,
  ConsumerOverflow,
  ClientClosed
])

/**
 * Every reason of a `MeshError`.
 *
 * @category reasons
 * @since 0.1.0
 */
export type MeshErrorReason = typeof MeshErrorReason.Type

/**
 * The error that a feed fails with. `reason` says why, and can be matched by its `_tag`.
 *
 * **Example** (Recovering from a refused key)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as MeshError from "@makima-stream/core/MeshError"
 *
 * const program = Effect.fail(
 *   new MeshError.MeshError({ reason: new MeshError.HandshakeRejected({ status: 401 }) })
 * ).pipe(
 *   Effect.catchReason("MeshError", "HandshakeRejected", ({ status }) => Effect.succeed(`refused: ${status}`))
 * )
 * console.log(Effect.runSync(program)) // refused: 401
 * ```
 *
 * @category errors
 * @since 0.1.0
 */
export class MeshError extends TaggedError<MeshError>()("MeshError", {
  /** The reason. */
  reason: MeshErrorReason
}) {
  /** The reason's message. */
  override get message(): string {
    return this.reason.message
  }
}

/** @internal */
export const isConnectionReason = Schema.is(ConnectionReason)

/**
 * Returns the reason of a socket's error.
 *
 * **Details**
 *
 * If the error's `cause` is a reason of this module, it is returned unchanged:
 * transports use this for reasons that `SocketError` cannot express. Close code 1006
 * means that the connection ended without a close frame (RFC 6455, section 7.1.5), and
 * becomes `ConnectionLost`.
 *
 * **Example** (A close frame)
 *
 * ```ts
 * import * as Socket from "effect/socket/Socket"
 * import * as MeshError from "@makima-stream/core/MeshError"
 *
 * const error = new Socket.SocketError({ reason: new Socket.SocketCloseError({ code: 1008 }) })
 * console.log(MeshError.fromSocketError(error)._tag) // ConnectionClosed
 * ```
 *
 * @category conversions
 * @since 0.1.0
 */
export const fromSocketError = (error: Socket.SocketError): ConnectionReason => {
  const { reason } = error
  if (reason._tag === "SocketCloseError") {
    const { closeReason, code } = reason
    return code === 1006
      ? new ConnectionLost({})
      : new ConnectionClosed({ code, ...(closeReason === undefined ? {} : { closeReason }) })
  }
  const { cause } = reason
  if (isConnectionReason(cause)) return cause
  if (reason._tag === "SocketReadError" || reason._tag === "SocketWriteError") return new ConnectionLost({ cause })
  return "kind" in reason && reason.kind === "Timeout" ? new DialTimeout({}) : new DialFailed({ cause })
}

function attempts(count: number): string {
  return `${count} attempt${count === 1 ? "" : "s"}`
}

/** The message of the platform's error: an `Error`, or the error event of a WebSocket. */
function detail(cause: unknown): string {
  const { message }: { readonly message?: unknown } = Object(cause)
  return oneLine(": ", message)
}

/**
 * Text from the network or the platform, with line breaks and control characters replaced by spaces, between two other
 * texts. Without such a text, returns nothing of them.
 */
function oneLine(before: string, text: unknown, after = ""): string {
  return typeof text === "string" && text !== "" ? before + text.replaceAll(/[\p{Cc}\s]+/gu, " ").trim() + after : ""
}
