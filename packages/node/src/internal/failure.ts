/**
 * From what Node and `ws` report to the typed reasons of core's `MeshError`.
 *
 * A reason travels as the `cause` of a `SocketError`; `MeshError.fromSocketError`
 * takes it out again. Errors of the platform are copied, never passed on: what
 * hangs on them (a raw packet, a certificate, a server that repeats a header in
 * its answer) may hold the key.
 */
import * as MeshError from "@makima-stream/core/MeshError"
import * as Socket from "effect/socket/Socket"

/** Takes the secret out of a text. */
export type Scrub = (text: string) => string

export const scrubber = (secret: string | undefined): Scrub =>
  secret === undefined || secret === "" ? (text) => text : (text) => text.replaceAll(secret, "<redacted>")

const property = (error: unknown, name: string): unknown =>
  typeof error === "object" && error !== null && name in error ? Reflect.get(error, name) : undefined

const codeOf = (error: unknown): string | undefined => {
  const code = property(error, "code")
  return typeof code === "string" && /^\w+$/.test(code) ? code : undefined
}

const messageOf = (error: unknown): string => {
  const message = property(error, "message")
  if (typeof message === "string" && message !== "") return message
  // A name that has several addresses fails with all their errors, and no text of its own.
  const errors = property(error, "errors")
  return Array.isArray(errors) ? errors.map(messageOf).join(", ") : String(codeOf(error) ?? "")
}

/** The platform's error with nothing on it but its text and its code. */
const copyOf = (error: unknown, scrub: Scrub): Error => {
  const copy = new Error(scrub(messageOf(error)))
  const code = codeOf(error)
  return code === undefined ? copy : Object.assign(copy, { code })
}

// OpenSSL's verdicts on a certificate, as Node spells them, and the errors of the TLS library itself.
const tlsCode =
  /^(CERT_|CRL_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|ERROR_IN_C|ERR_TLS_|ERR_SSL_|ERR_OSSL_|HOSTNAME_MISMATCH$|INVALID_CA$|INVALID_PURPOSE$|PATH_LENGTH_EXCEEDED$|EPROTO$)/

export const openFailed = (reason: MeshError.ConnectionReason): Socket.SocketError =>
  new Socket.SocketError({
    reason: new Socket.SocketOpenError({ kind: reason._tag === "DialTimeout" ? "Timeout" : "Unknown", cause: reason })
  })

/** An error before the connection was open. */
export const fromDialError = (error: unknown, scrub: Scrub): Socket.SocketError => {
  const code = codeOf(error)
  const cause = copyOf(error, scrub)
  return openFailed(
    code !== undefined && tlsCode.test(code)
      ? new MeshError.TlsFailed({ code, cause })
      : new MeshError.DialFailed({ cause })
  )
}

export const readFailed = (reason: MeshError.ConnectionReason): Socket.SocketError =>
  new Socket.SocketError({ reason: new Socket.SocketReadError({ cause: reason }) })

// The last is of a frame in more fragments than `ws` puts together.
const tooLarge = new Set([
  "WS_ERR_UNSUPPORTED_MESSAGE_LENGTH",
  "WS_ERR_UNSUPPORTED_DATA_PAYLOAD_LENGTH",
  "WS_ERR_TOO_MANY_BUFFERED_PARTS"
])

/** An error on the open connection. */
export const fromReadError = (error: unknown, maxFrameBytes: number, scrub: Scrub): Socket.SocketError => {
  const code = codeOf(error)
  return readFailed(
    code !== undefined && tooLarge.has(code)
      ? new MeshError.FrameTooLarge({ maxFrameBytes })
      : new MeshError.ConnectionLost({ cause: copyOf(error, scrub) })
  )
}

/** The end of an open connection, after its last frame. */
export const fromClose = (code: number, reason: string, error: unknown, scrub: Scrub): Socket.SocketError =>
  // 1006 says that there was no close frame; what the network said instead is worth more than the number.
  code === 1006 && error !== undefined
    ? readFailed(new MeshError.ConnectionLost({ cause: copyOf(error, scrub) }))
    : new Socket.SocketError({
        reason: new Socket.SocketCloseError({ code, closeReason: reason === "" ? undefined : scrub(reason) })
      })

/** A write on a connection that has ended. It carries the end's own reason, so that neither hides the other. */
export const writeFailed = (end: Socket.SocketError): Socket.SocketError =>
  new Socket.SocketError({ reason: new Socket.SocketWriteError({ cause: MeshError.fromSocketError(end) }) })

/** A write that was no valid one. */
export const badWrite = (error: unknown): Socket.SocketError =>
  new Socket.SocketError({ reason: new Socket.SocketWriteError({ cause: error }) })

/**
 * `Retry-After` in milliseconds from `now`: seconds, or a date (RFC 9110,
 * section 10.2.3). Whatever is neither is as good as absent.
 */
export const retryAfterMillis = (header: string | undefined, now: number): number | undefined => {
  const value = header?.trim() ?? ""
  if (/^\d+$/.test(value)) {
    const millis = Number(value) * 1000
    return Number.isFinite(millis) ? millis : undefined
  }
  // `Date.parse` takes nearly anything for a date; an HTTP date begins with its day.
  if (!/^[A-Z][a-z]{2,8},? /.test(value)) return undefined
  const date = Date.parse(value.endsWith("GMT") ? value : `${value} GMT`)
  return Number.isNaN(date) ? undefined : Math.max(0, date - now)
}
