/**
 * Converts an HTTP response that the server sent instead of a WebSocket into a
 * `HandshakeRejected`: status, `Retry-After`, the target of a redirect, the request id,
 * and the start of the body. The key is removed from every text.
 */
import * as MeshError from "@makima-stream/core/MeshError"
import * as Effect from "effect/Effect"
import type { IncomingMessage } from "node:http"
import type { Scrub } from "./failure.ts"

export interface Options {
  readonly url: string
  readonly scrub: Scrub
  /** The length of the longest secret, in characters. */
  readonly secretLength: number
  /** Wall clock, in milliseconds, since a `Retry-After` may be a date. */
  readonly wallMillis: () => number
  readonly credentialsMayChange: boolean
}

/** The most bytes of a body that are kept. */
const maxBody = 1024

/** How long to wait for the rest of a body, in milliseconds. */
const bodyTimeout = 1000

/** The headers under which servers and proxies report a request's id. */
const requestIdHeaders = [
  "x-request-id",
  "request-id",
  "x-correlation-id",
  "x-amzn-requestid",
  "x-amzn-trace-id",
  "x-amz-cf-id",
  "cf-ray",
  "x-cloud-trace-context",
  "fly-request-id",
  "x-vercel-id"
]

/** The longest text of a header that is kept. */
const maxHeader = 256

/** Reads the response. Waits briefly for the body, and only if it is text or JSON. */
export const read = (response: IncomingMessage, options: Options): Effect.Effect<MeshError.HandshakeRejected> =>
  Effect.map(bodyOf(response, options), (body) => fromParts(response, body, options))

const fromParts = (
  response: IncomingMessage,
  body: string | undefined,
  { credentialsMayChange, scrub, url, wallMillis }: Options
): MeshError.HandshakeRejected => {
  const short = (text: string | undefined) =>
    text === undefined || text.trim() === "" ? undefined : scrub(text.trim()).slice(0, maxHeader)
  return new MeshError.HandshakeRejected({
    status: response.statusCode ?? 0,
    ...present({
      statusText: short(response.statusMessage),
      retryAfterMillis: retryAfterMillis(response.headers["retry-after"], wallMillis()),
      location: short(targetOf(response.headers.location, url)),
      requestId: short(
        requestIdHeaders
          .map((name) => response.headers[name])
          .find((id) => typeof id === "string")
          ?.toString()
      ),
      body: body === undefined || body.trim() === "" ? undefined : body,
      credentialsMayChange: credentialsMayChange ? true : undefined
    })
  })
}

type Present<A> = { [Key in keyof A]?: Exclude<A[Key], undefined> }

/** Removes members that are `undefined`. */
const present = <A extends object>(members: A): Present<A> =>
  // The cast describes the effect of the filter, which the type of `Object.fromEntries` does not.
  Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined)) as Present<A>

/** The target of a redirect without its possibly secret parts: user, password, query and fragment. */
export const targetOf = (location: string | undefined, base: string): string | undefined => {
  if (location === undefined) return undefined
  try {
    const url = new URL(location, base.replace(/^ws/, "http"))
    url.username = ""
    url.password = ""
    url.search = ""
    url.hash = ""
    return url.href
  } catch {
    return undefined
  }
}

const isText = (contentType: string | undefined): boolean =>
  contentType !== undefined &&
  /^(text\/|application\/(\w[\w.-]*\+)?json\b|application\/problem\b)/i.test(contentType.trim())

const bodyOf = (response: IncomingMessage, { scrub, secretLength }: Options): Effect.Effect<string | undefined> => {
  // A compressed body is not text.
  if (!isText(response.headers["content-type"]) || response.headers["content-encoding"] !== undefined) {
    return Effect.undefined
  }
  const chunks: Array<Buffer> = []
  let size = 0
  // Reads more than is kept, so that a secret that starts before the end is read as a whole and can be found.
  const wanted = maxBody + 6 * secretLength
  const received = Effect.callback<void>((resume) => {
    const onEnd = () => resume(Effect.void)
    const onData = (chunk: Buffer) => {
      chunks.push(chunk)
      size += chunk.length
      if (size >= wanted) onEnd()
    }
    response.on("data", onData)
    // "close" follows "error" and "aborted" too.
    response.once("end", onEnd)
    response.once("close", onEnd)
    return Effect.sync(() => {
      response.off("data", onData)
      response.off("end", onEnd)
      response.off("close", onEnd)
    })
  })
  return Effect.timeoutOption(received, bodyTimeout).pipe(
    Effect.map(() => {
      // The streaming mode of the decoder drops an incomplete character at the end.
      const text = (bytes: Buffer) => new TextDecoder().decode(bytes, { stream: true })
      return text(Buffer.from(scrub(text(Buffer.concat(chunks)))).subarray(0, maxBody))
    })
  )
}

/**
 * `Retry-After` in milliseconds from `now`: seconds, or a date (RFC 9110,
 * section 10.2.3). Anything else counts as absent.
 */
export const retryAfterMillis = (header: string | undefined, now: number): number | undefined => {
  const value = header?.trim() ?? ""
  if (/^\d+$/.test(value)) {
    const millis = Number(value) * 1000
    return Number.isFinite(millis) ? millis : undefined
  }
  // `Date.parse` accepts nearly anything. An HTTP date begins with its day.
  if (!/^[A-Z][a-z]{2,8},? /.test(value)) return undefined
  const date = Date.parse(value.endsWith("GMT") ? value : `${value} GMT`)
  return Number.isNaN(date) ? undefined : Math.max(0, date - now)
}
