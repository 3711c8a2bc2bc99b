/**
 * The one error of this toolkit: a wrapper with a tagged `reason`.
 *
 * A `Socket` reports its failures as `SocketError`, which knows neither the
 * HTTP status of a refused handshake nor a silent peer. A transport that knows
 * more puts one of the reasons of this module into the `cause` of the
 * `SocketOpenError` or `SocketReadError`; `fromSocketError` takes it out again.
 * `ReconnectPolicy` decides from the reason whether to try again.
 *
 * Recover by reason with `Effect.catchReason("MeshError", "HandshakeRejected", …)`.
 *
 * @since 0.1.0
 */
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import type * as Socket from "effect/socket/Socket"
import { DecodeError } from "./DecodeError.ts"

/** A tagged error of this module, under an identifier that no other package has. */
const TaggedError =
  <Self>() =>
  <const Tag extends string, const Fields extends Schema.Struct.Fields>(tag: Tag, fields: Fields) =>
    Schema.TaggedError<Self>(`@makima-stream/core/MeshError/${tag}`)(tag, fields)

/**
 * The server could not be reached: a name that does not resolve, a refused
 * connection, a network that is down.
 *
 * @category reasons
 * @since 0.1.0
 */
export class DialFailed extends TaggedError<DialFailed>()("DialFailed", {
  /** What the platform said. */
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
  /** How long the dial was given, in milliseconds, where the transport says so. */
  timeoutMillis: Schema.optionalKey(Schema.Finite)
}) {
  /** What happened, in one line. */
  override get message(): string {
    return this.timeoutMillis === undefined
      ? "The connection did not open in time"
      : `The connection did not open within ${this.timeoutMillis} ms`
  }
}

/**
 * The server answered the upgrade with an HTTP status instead of a WebSocket.
 *
 * @category reasons
 * @since 0.1.0
 */
export class HandshakeRejected extends TaggedError<HandshakeRejected>()("HandshakeRejected", {
  /** The HTTP status. */
  status: Schema.Int,
  /** The server's `Retry-After`, in milliseconds from the answer. */
  retryAfterMillis: Schema.optionalKey(Schema.Finite)
}) {
  /** What happened, in one line. */
  override get message(): string {
    const meaning =
      this.status === 401 || this.status === 403
        ? ": the API key was refused"
        : this.status === 404
          ? ": there is no task feed at this URL"
          : ""
    return `The server refused the connection with HTTP status ${this.status}${meaning}`
  }
}

/**
 * The server's certificate was not accepted, or TLS could not be agreed on.
 *
 * @category reasons
 * @since 0.1.0
 */
export class TlsFailed extends TaggedError<TlsFailed>()("TlsFailed", {
  /** The TLS library's code, such as `SELF_SIGNED_CERT_IN_CHAIN`. */
  code: Schema.String,
  /** What the platform said. */
  cause: Schema.Defect()
}) {
  /** What happened, in one line. */
  override get message(): string {
    return `The server's TLS certificate was not accepted (${this.code})`
  }
}

/**
 * The credentials could not be had for this attempt.
 *
 * @category reasons
 * @since 0.1.0
 */
export class CredentialsFailed extends TaggedError<CredentialsFailed>()("CredentialsFailed", {
  /** What the effect failed with. */
  cause: Schema.Defect()
}) {
  /** What happened, in one line. The cause's own text is left out: it may name the secret. */
  override get message(): string {
    return "The credentials for the connection could not be read"
  }
}

/**
 * The connection broke off without a close frame.
 *
 * @category reasons
 * @since 0.1.0
 */
export class ConnectionLost extends TaggedError<ConnectionLost>()("ConnectionLost", {
  /** What the platform said, where it said anything. */
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
  /** The text of the close frame, where it has one. */
  closeReason: Schema.optionalKey(Schema.String)
}) {
  /** What happened, in one line. */
  override get message(): string {
    const said = this.closeReason === undefined || this.closeReason === "" ? "" : `: ${this.closeReason}`
    return `The server closed the connection with code ${this.code}${said}`
  }
}

/**
 * Nothing came from the server for too long, so the connection was abandoned.
 *
 * @category reasons
 * @since 0.1.0
 */
export class HeartbeatTimeout extends TaggedError<HeartbeatTimeout>()("HeartbeatTimeout", {
  /** How long a ping went without any answer, in milliseconds. */
  deadlineMillis: Schema.Finite
}) {
  /** What happened, in one line. */
  override get message(): string {
    return `The server has been silent: no answer to a ping within ${this.deadlineMillis} ms`
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
  maxFrameBytes: Schema.Int
}) {
  /** What happened, in one line. */
  override get message(): string {
    return `The server sent a frame of more than ${this.maxFrameBytes} bytes`
  }
}

/**
 * A frame was no message, and the program asked to fail on one.
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
 * So many frames in a row were no messages that the connection was given up:
 * what is at the other end does not speak this protocol, or no longer does.
 *
 * @category reasons
 * @since 0.1.0
 */
export class TooManyBadFrames extends TaggedError<TooManyBadFrames>()("TooManyBadFrames", {
  /** How many. */
  count: Schema.Int,
  /** What was wrong with the last one. */
  last: DecodeError
}) {
  /** What happened, in one line. */
  override get message(): string {
    return `${this.count} frames in a row were no messages. ${this.last.message}`
  }
}

/**
 * The program itself asked for a new connection.
 *
 * @category reasons
 * @since 0.1.0
 */
export class ReconnectRequested extends TaggedError<ReconnectRequested>()("ReconnectRequested", {}) {
  /** What happened, in one line. */
  override get message(): string {
    return "The program asked for a new connection"
  }
}

/**
 * The client was closed: it serves no more consumers.
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
 * A consumer that chose to fail rather than to slow or to lose could not keep
 * up.
 *
 * @category reasons
 * @since 0.1.0
 */
export class ConsumerOverflow extends TaggedError<ConsumerOverflow>()("ConsumerOverflow", {
  /** The consumer's bound, in events. */
  capacity: Schema.Int
}) {
  /** What happened, in one line. */
  override get message(): string {
    return `The consumer fell more than ${this.capacity} events behind`
  }
}

/**
 * Why one connection, or the attempt at one, ended.
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
 * Why one connection, or the attempt at one, ended.
 *
 * @category reasons
 * @since 0.1.0
 */
export type ConnectionReason = typeof ConnectionReason.Type

/**
 * The schedule ended: no further attempt is made.
 *
 * @category reasons
 * @since 0.1.0
 */
export class RetriesExhausted extends TaggedError<RetriesExhausted>()("RetriesExhausted", {
  /** How many times in a row a connection, or the attempt at one, ended. */
  attempts: Schema.Int,
  /** Why the last one ended. */
  last: ConnectionReason
}) {
  /** What happened, in one line. */
  override get message(): string {
    return `Gave up after ${this.attempts} ${this.attempts === 1 ? "attempt" : "attempts"}. ${this.last.message}`
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
 * What a feed fails with. `reason` says why, and can be matched by its `_tag`.
 *
 * **Example** (Telling a refused key from everything else)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { MeshError } from "@makima-stream/core"
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
  reason: MeshErrorReason
}) {
  /** The reason's own line. */
  override get message(): string {
    return this.reason.message
  }
}

/** @internal */
export const isConnectionReason = Schema.is(ConnectionReason)

/**
 * The reason behind a socket's error.
 *
 * **Details**
 *
 * A reason of this module in the error's `cause` is taken as it is: that is how
 * a transport says what `SocketError` has no words for. Close code 1006 stands
 * for a connection that ended without a close frame (RFC 6455, section 7.1.5).
 *
 * **Example** (A close frame)
 *
 * ```ts
 * import { Socket } from "effect/socket"
 * import { MeshError } from "@makima-stream/core"
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
    return reason.code === 1006
      ? new ConnectionLost({})
      : new ConnectionClosed({
          code: reason.code,
          ...(reason.closeReason === undefined ? {} : { closeReason: reason.closeReason })
        })
  }
  if (isConnectionReason(reason.cause)) return reason.cause
  switch (reason._tag) {
    case "SocketOpenError":
      return reason.kind === "Timeout" ? new DialTimeout({}) : new DialFailed({ cause: reason.cause })
    case "SocketUpgradeError":
      return new DialFailed({ cause: reason.cause })
    case "SocketReadError":
    case "SocketWriteError":
      return new ConnectionLost({ cause: reason.cause })
  }
}

/** What a platform's error says, where it says anything: an `Error`, or the error event of a WebSocket. */
function detail(cause: unknown): string {
  return Predicate.hasProperty(cause, "message") && Predicate.isString(cause.message) && cause.message !== ""
    ? `: ${cause.message}`
    : ""
}
