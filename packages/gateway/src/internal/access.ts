/**
 * Who may use the gateway. Pure, except for the random numbers that `make` draws.
 *
 * - Every request names a `Host` of the list. This stops a page of another site whose name resolves to this machine.
 * - A *login URL* has a token that works once. It is exchanged for a cookie (`HttpOnly`, `SameSite=Strict`), which scripts
 *   cannot read and other sites cannot use.
 * - Programs send the bearer token: in `Authorization`, or in `x-makima-api-key` as clients of the server do.
 * - An `Origin` must be one of this gateway, or of the list. A cookie counts for a WebSocket only together with an
 *   `Origin`, which every browser sends.
 */
import { createHash, randomBytes, timingSafeEqual } from "node:crypto"
import type { IncomingHttpHeaders } from "node:http"

export interface Options {
  readonly scheme: "http" | "https"
  readonly port: number
  /** Host names without a port match any port. */
  readonly hosts: ReadonlyArray<string>
  readonly origins: ReadonlyArray<string>
  /** The URL at which browsers reach the gateway, if it is not its own. */
  readonly publicUrl: URL | undefined
  readonly token: string | undefined
}

export interface Request {
  readonly headers: IncomingHttpHeaders
}

export type Refusal = "host" | "origin" | "credentials"

export interface Access {
  /** The bearer token. */
  readonly token: string
  /** Makes a token that can be exchanged once. Calls `onSpent` once it cannot be exchanged any more. */
  readonly loginToken: (onSpent?: () => void) => string
  /**
   * Exchanges the token of a request for the value of `Set-Cookie`; `undefined` for a token that is unknown or used.
   */
  readonly exchange: (loginToken: string, request: Request) => string | undefined
  readonly checkHost: (request: Request) => Refusal | undefined
  /** Checks everything that a request needs. */
  readonly check: (request: Request) => Refusal | undefined
  /** Checks everything that a WebSocket needs. */
  readonly checkUpgrade: (request: Request) => Refusal | undefined
}

/** The most login tokens, and the most sessions, that are valid at a time. The oldest is removed first. */
const maxSecrets = 1000

const random = (): string => randomBytes(32).toString("base64url")

const digest = (text: string): Buffer => createHash("sha256").update(text).digest()

const isEqual = (a: string, b: string): boolean => timingSafeEqual(digest(a), digest(b))

/** A bounded set of secrets. Contains only their hashes, so a lookup takes as long for any wrong secret. */
const secrets = () => {
  /** The hashes, oldest first, each with the function to call when it is removed. */
  const hashes = new Map<string, (() => void) | undefined>()
  const hash = (secret: string): string => digest(secret).toString("base64")
  const remove = (hash: string): boolean => {
    const onRemoved = hashes.get(hash)
    const wasPresent = hashes.delete(hash)
    onRemoved?.()
    return wasPresent
  }
  return {
    add(secret: string, onRemoved?: () => void): void {
      hashes.set(hash(secret), onRemoved)
      const [oldest] = hashes.keys()
      if (hashes.size > maxSecrets && oldest !== undefined) remove(oldest)
    },
    has: (secret: string): boolean => hashes.has(hash(secret)),
    take: (secret: string): boolean => remove(hash(secret))
  }
}

const cookie = (headers: IncomingHttpHeaders, name: string): string | undefined => {
  for (const part of (headers.cookie ?? "").split(";")) {
    const at = part.indexOf("=")
    if (at > 0 && part.slice(0, at).trim() === name) return part.slice(at + 1).trim()
  }
  return undefined
}

const bearer = ({ authorization, ...headers }: IncomingHttpHeaders): string | undefined => {
  const match = /^Bearer +(\S+) *$/i.exec(authorization ?? "")
  if (match !== null) return match[1]
  const key = headers["x-makima-api-key"]
  return typeof key === "string" ? key : undefined
}

export const make = ({ hosts, origins, port, publicUrl, scheme, token = random() }: Options): Access => {
  const allowedHosts = new Set(hosts.map((host) => host.toLowerCase()))
  const allowedOrigins = new Set(origins.map((origin) => origin.toLowerCase()))
  if (publicUrl !== undefined) {
    allowedHosts.add(publicUrl.host)
    allowedOrigins.add(publicUrl.origin)
  }
  const logins = secrets()
  const sessions = secrets()
  // Cookies do not belong to a port, so gateways on one machine need different names.
  const name = `makima-gateway-${port}`

  const isAllowedHost = (host: string | undefined): boolean => {
    if (host === undefined) return false
    const given = host.toLowerCase()
    return allowedHosts.has(given) || allowedHosts.has(given.replace(/:\d+$/, ""))
  }

  const checkHost: Access["checkHost"] = ({ headers }) => (isAllowedHost(headers.host) ? undefined : "host")

  const checkOrigin = ({ headers }: Request): Refusal | undefined => {
    const origin = headers.origin?.toLowerCase()
    if (origin === undefined || allowedOrigins.has(origin)) return undefined
    // The page that this gateway has served. `Host` was checked before.
    return origin === `${scheme}://${headers.host?.toLowerCase()}` ? undefined : "origin"
  }

  const hasBearer = ({ headers }: Request): boolean => {
    const given = bearer(headers)
    return given !== undefined && isEqual(given, token)
  }

  const hasSession = ({ headers }: Request): boolean => {
    const session = cookie(headers, name)
    return session !== undefined && sessions.has(session)
  }

  return {
    token,
    loginToken(onSpent) {
      const login = random()
      logins.add(login, onSpent)
      return login
    },
    exchange(login, { headers }) {
      if (!logins.take(login)) return undefined
      const session = random()
      sessions.add(session)
      const isPublic = publicUrl !== undefined && headers.host?.toLowerCase() === publicUrl.host
      const secure = (isPublic ? publicUrl.protocol === "https:" : scheme === "https") ? "; Secure" : ""
      return `${name}=${session}; HttpOnly; SameSite=Strict; Path=/${secure}`
    },
    checkHost,
    check(request) {
      const refusal = checkHost(request) ?? checkOrigin(request)
      if (refusal !== undefined) return refusal
      return hasBearer(request) || hasSession(request) ? undefined : "credentials"
    },
    checkUpgrade(request) {
      const refusal = checkHost(request) ?? checkOrigin(request)
      if (refusal !== undefined) return refusal
      if (hasBearer(request)) return undefined
      return request.headers.origin !== undefined && hasSession(request) ? undefined : "credentials"
    }
  }
}

/** The headers of every answer. */
export const securityHeaders: Readonly<Record<string, string>> = {
  "content-security-policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; " +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cross-origin-resource-policy": "same-origin",
  "cross-origin-opener-policy": "same-origin",
  "cache-control": "no-store"
}

const loopback = new Set(["127.0.0.1", "::1", "localhost"])

/** Whether an address can be reached only from this machine. */
export const isLoopback = (host: string): boolean => loopback.has(host) || /^127(\.\d{1,3}){3}$/.test(host)
