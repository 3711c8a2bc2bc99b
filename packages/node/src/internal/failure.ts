/**
 * Maps what Node and `ws` report to the reasons of core's `MeshError`.
 *
 * A reason travels as the `cause` of a `SocketError`; `MeshError.fromSocketError`
 * extracts it. Errors of the platform are copied without their other members (a raw
 * packet, a certificate, the request's headers), which may contain the key.
 */
import * as MeshError from "@makima-stream/core/MeshError"
import * as Socket from "effect/socket/Socket"

/** Removes secrets from a text. */
export type Scrub = (text: string) => string

/** Returns a function that removes each secret, and its spellings in JSON and in a URL. */
export const scrubber = (secrets: ReadonlyArray<string>): Scrub => {
  const spellings = [
    ...new Set(
      secrets
        .filter((secret) => secret !== "")
        .flatMap((secret) => [secret, JSON.stringify(secret).slice(1, -1), encodeURIComponent(secret)])
    )
  ]
  if (spellings.length === 0) return (text) => text
  // The longest first, because a secret may be a part of another one.
  spellings.sort((a, b) => b.length - a.length)
  const pattern = new RegExp(spellings.map((spelling) => spelling.replaceAll(/[^\w\s]/g, "\\$&")).join("|"), "g")
  return (text) => text.replaceAll(pattern, "<redacted>")
}

const property = (error: unknown, name: string): unknown =>
  typeof error === "object" && error !== null && name in error ? Reflect.get(error, name) : undefined

const text = (error: unknown, name: string): string | undefined => {
  const value = property(error, name)
  return typeof value === "string" && value !== "" ? value : undefined
}

// OpenSSL's names of alerts contain a slash: `ERR_SSL_SSL/TLS_ALERT_HANDSHAKE_FAILURE`.
const codeOf = (error: unknown): string | undefined => {
  const code = text(error, "code")
  return code !== undefined && /^[\w/]+$/.test(code) ? code : undefined
}

const messageOf = (error: unknown): string => {
  const message = text(error, "message")
  if (message !== undefined) return message
  // A name with several addresses fails with an `AggregateError` that has no message.
  const errors = property(error, "errors")
  return Array.isArray(errors) ? errors.map(messageOf).join(", ") : String(codeOf(error) ?? "")
}

/** A copy of the platform's error with only its message and its code. */
const copyOf = (error: unknown, scrub: Scrub, message = messageOf(error)): Error => {
  const copy = new Error(scrub(message))
  const code = codeOf(error)
  return code === undefined ? copy : Object.assign(copy, { code })
}

// Node's codes for a certificate that OpenSSL does not accept.
const certificateCode =
  /^(CERT_|CRL_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|ERROR_IN_C|ERR_TLS_CERT_|HOSTNAME_MISMATCH$|INVALID_CA$|INVALID_PURPOSE$|PATH_LENGTH_EXCEEDED$)/

// The certificates of the options cannot be used, so no server was reached.
const localCode = /^(ERR_OSSL_|ERR_CRYPTO_)/

const alertNumber = /SSL alert number (\d+)/

/** Describes why a TLS handshake failed. `undefined` for an error that is not a TLS error. */
const tlsMessage = (error: unknown): string | undefined => {
  const code = codeOf(error) ?? ""
  if (!code.startsWith("ERR_SSL_") && code !== "EPROTO") return undefined
  const message = messageOf(error)
  const why = text(error, "reason") ?? /:SSL routines:[^:]*:([^:]+):/.exec(message)?.[1] ?? code
  const alert = alertNumber.exec(message)?.[1]
  if (alert !== undefined) return `the server ended the TLS handshake with alert ${alert} (${why})`
  return /wrong version number|packet length too long|record layer failure|http request/i.test(why)
    ? `the server does not answer with TLS on this port (${why})`
    : `the TLS handshake failed (${why})`
}

export const openFailed = (reason: MeshError.ConnectionReason): Socket.SocketError =>
  new Socket.SocketError({
    reason: new Socket.SocketOpenError({ kind: reason._tag === "DialTimeout" ? "Timeout" : "Unknown", cause: reason })
  })

/** An error before the connection was open. */
export const fromDialError = (error: unknown, scrub: Scrub): Socket.SocketError => {
  const code = codeOf(error)
  return openFailed(
    code !== undefined && (certificateCode.test(code) || localCode.test(code))
      ? new MeshError.TlsFailed({ code, cause: copyOf(error, scrub) })
      : new MeshError.DialFailed({ cause: copyOf(error, scrub, tlsMessage(error)) })
  )
}

export const readFailed = (reason: MeshError.ConnectionReason): Socket.SocketError =>
  new Socket.SocketError({ reason: new Socket.SocketReadError({ cause: reason }) })

/** The most fragments of one frame that `ws` accepts. */
const maxFragments = 16 * 1024

/** An error on the open connection. */
export const fromReadError = (error: unknown, maxFrameBytes: number, scrub: Scrub): Socket.SocketError => {
  switch (codeOf(error)) {
    case "WS_ERR_UNSUPPORTED_MESSAGE_LENGTH":
    case "WS_ERR_UNSUPPORTED_DATA_PAYLOAD_LENGTH":
      return readFailed(new MeshError.FrameTooLarge({ maxFrameBytes }))
    case "WS_ERR_TOO_MANY_BUFFERED_PARTS":
      return readFailed(new MeshError.FrameTooLarge({ maxFrameBytes, maxFragments }))
    default:
      return readFailed(new MeshError.ConnectionLost({ cause: copyOf(error, scrub) }))
  }
}

/** The close codes with which a server refuses a key. */
const unauthorized: ReadonlySet<number> = new Set([3000, 4401])

export interface Close {
  readonly code: number
  readonly reason: string
  /** The socket's error, if there was one. */
  readonly error: unknown
  /** Whether the key came from an effect: see `ConnectionClosed.credentialsMayChange`. */
  readonly credentialsMayChange: boolean
}

/** The end of an open connection, after its last frame. */
export const fromClose = (close: Close, scrub: Scrub): Socket.SocketError => {
  const { code, credentialsMayChange, error } = close
  // 1006 means that there was no close frame. The network's error is more specific than the code.
  if (code === 1006 && error !== undefined) {
    return readFailed(new MeshError.ConnectionLost({ cause: copyOf(error, scrub) }))
  }
  const closeReason = close.reason === "" ? undefined : scrub(close.reason)
  if (credentialsMayChange && unauthorized.has(code)) {
    return readFailed(
      new MeshError.ConnectionClosed({
        code,
        ...(closeReason === undefined ? {} : { closeReason }),
        credentialsMayChange
      })
    )
  }
  return new Socket.SocketError({ reason: new Socket.SocketCloseError({ code, closeReason }) })
}

/** The error of a write on an ended connection. Its cause is the reason of that end. */
export const writeFailed = (end: Socket.SocketError): Socket.SocketError =>
  new Socket.SocketError({ reason: new Socket.SocketWriteError({ cause: MeshError.fromSocketError(end) }) })

/** The error of a write that `ws` did not accept. */
export const badWrite = (error: unknown): Socket.SocketError =>
  new Socket.SocketError({ reason: new Socket.SocketWriteError({ cause: error }) })
