/**
 * The options of `NodeMeshSocket`, and the one place that checks them.
 *
 * `normalise` turns them into `Settings`: every default is filled in, durations
 * are milliseconds, bounds are whole numbers, and everything that a header
 * cannot hold has been refused. The rest of the package sees settings only.
 */
import * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { validateHeaderName, validateHeaderValue, type Agent } from "node:http"
import * as Proxy from "./proxy.ts"
import { version } from "./version.ts"

/**
 * How a silent peer is noticed.
 *
 * @category options
 * @since 0.1.0
 */
export interface HeartbeatOptions {
  /**
   * How often a ping is sent. At least 10 milliseconds; zero, a negative number
   * and `NaN` count as the default. Defaults to 15 seconds.
   */
  readonly interval?: Duration.Input | undefined
  /**
   * How long the client waits for any byte from the server after a ping. A dead
   * peer is noticed within `interval` plus `deadline` of its last sign of life.
   * Zero, a negative number and `NaN` count as the default. Defaults to 10
   * seconds.
   */
  readonly deadline?: Duration.Input | undefined
  /**
   * Called with the round trip of each ping that was answered, when the
   * heartbeat next wakes. Its failures are ignored.
   */
  readonly onRoundTrip?: ((roundTrip: Duration.Duration) => Effect.Effect<void>) | undefined
}

/**
 * How a `wss` server is verified, and how this client identifies itself to it.
 *
 * @category options
 * @since 0.1.0
 */
export interface TlsOptions {
  /**
   * The certificates to trust, in PEM, instead of those that come with Node: a
   * private CA, or a server's self-signed certificate.
   */
  readonly ca?: string | Buffer | ReadonlyArray<string | Buffer> | undefined
  /** This client's own certificate chain, in PEM, if the server asks for one. */
  readonly cert?: string | Buffer | ReadonlyArray<string | Buffer> | undefined
  /** The key of `cert`, in PEM. */
  readonly key?: Redacted.Redacted<string | Buffer> | undefined
  /** The passphrase of `key`. */
  readonly passphrase?: Redacted.Redacted | undefined
  /** The name that the server's certificate must be for. Defaults to the URL's host. */
  readonly servername?: string | undefined
  /**
   * `false` accepts any certificate, and so any machine in between: for tests
   * only. Defaults to `true`.
   */
  readonly rejectUnauthorized?: boolean | undefined
}

/**
 * Options of the socket without its URL and its key.
 *
 * @category options
 * @since 0.1.0
 */
export interface ConnectionOptions {
  /** The `user-agent` header. White space around it is removed. Defaults to `makima-stream/<version>`. */
  readonly userAgent?: string | undefined
  /**
   * Headers of the handshake besides those of the protocol, such as a trace id
   * or a tenant. A value may be `Redacted`; it then appears in no error. Names
   * that the toolkit or the WebSocket protocol sets are refused. Defaults to
   * none. Since 0.2.0.
   */
  readonly headers?: { readonly [name: string]: string | Redacted.Redacted | undefined } | undefined
  /**
   * The HTTP proxy to connect through, by `CONNECT`. See `ProxyOption`. Defaults
   * to `"environment"`. Since 0.2.0.
   */
  readonly proxy?: ProxyOption | undefined
  /**
   * The agent that makes the connection: an `https.Agent` for `wss`, an
   * `http.Agent` for `ws`. It replaces `proxy`. Defaults to none. Since 0.2.0.
   */
  readonly agent?: Agent | undefined
  /**
   * The time limit of one attempt, once for the credentials and once for the
   * connection. Zero, a negative number and `NaN` count as the default. Defaults
   * to 10 seconds.
   */
  readonly connectTimeout?: Duration.Input | undefined
  /** How a silent peer is noticed. `false` turns this off. Defaults to on. */
  readonly heartbeat?: HeartbeatOptions | false | undefined
  /**
   * The largest frame accepted, in bytes, after decompression. A larger one
   * ends the connection with `FrameTooLarge`. A whole number of at least 1:
   * fractions are cut off, and a number below 1 or `NaN` counts as 1. Defaults
   * to 16 MiB.
   */
  readonly maxFrameBytes?: number | undefined
  /**
   * How many bytes of frames may wait to be pulled before reads are paused. The
   * buffer can exceed this by what Node has read ahead, 128 KiB at most. A
   * reader that comes late receives 64 frames a pull. A whole number of at least
   * 1, with the same rules as `maxFrameBytes`. Defaults to 64 KiB.
   */
  readonly highWaterBytes?: number | undefined
  /** How a `wss` server is verified. Defaults to Node's own rules. */
  readonly tls?: TlsOptions | undefined
  /**
   * Offers `permessage-deflate` to the server. Frames of this feed are small:
   * compression saves bandwidth and costs time. Defaults to `false`.
   */
  readonly compression?: boolean | undefined
}

/**
 * Which proxy a connection goes through.
 *
 * **Details**
 *
 * - `"environment"`: `HTTPS_PROXY` for a `wss` server, `HTTP_PROXY` for a `ws`
 *   server, in lower case or upper case, unless `NO_PROXY` excludes the server.
 *   They are read in each attempt, through Effect's `ConfigProvider`.
 * - a URL, `http://` or `https://`: this proxy, whatever the environment says. A
 *   user and a password in it are sent as `Proxy-Authorization`; make it
 *   `Redacted` if it has them.
 * - `false`: no proxy.
 *
 * @category options
 * @since 0.2.0
 */
export type ProxyOption = "environment" | string | Redacted.Redacted | false

/**
 * An option that cannot be used. The program's own code has to change.
 *
 * **Example** (A header that cannot be sent)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as NodeMeshSocket from "@makima-stream/node/NodeMeshSocket"
 *
 * const options = { url: "http://localhost:8080", headers: { "x-tenant": "a\nb" } }
 * const error = Effect.runSync(Effect.flip(NodeMeshSocket.make(options)))
 * console.log(error.message)
 * // The option headers.x-tenant is invalid: it holds characters that an HTTP header cannot hold
 * ```
 *
 * @category errors
 * @since 0.2.0
 */
export class InvalidOption extends Schema.TaggedError<InvalidOption>(
  "@makima-stream/node/NodeMeshSocket/InvalidOption"
)("InvalidOption", {
  /** The option's name. */
  option: Schema.String,
  /** What is wrong, in words. Holds nothing of the option's value. */
  detail: Schema.String
}) {
  /** One line that names the option. */
  override get message(): string {
    return `The option ${this.option} is invalid: ${this.detail}`
  }
}

/** The options after the checks. */
export interface Settings {
  /** `user-agent`, and the program's own headers, in clear. */
  readonly headers: { readonly [name: string]: string }
  /** The values among the headers that must not appear in an error. */
  readonly secrets: ReadonlyArray<string>
  readonly proxy: Proxy.Setting
  readonly agent: Agent | undefined
  readonly connectTimeoutMillis: number
  readonly heartbeat: HeartbeatSettings | undefined
  readonly maxFrameBytes: number
  readonly highWaterBytes: number
  readonly compression: boolean
  readonly tls: TlsOptions
}

/** The heartbeat's options after the checks. */
export interface HeartbeatSettings {
  readonly intervalMillis: number
  readonly deadlineMillis: number
  readonly onRoundTrip: ((roundTrip: Duration.Duration) => Effect.Effect<void>) | undefined
}

/** The header that carries the key. */
export const keyHeader = "x-makima-api-key"

const minIntervalMillis = 10

/** Checks the options and fills in the defaults. */
export const normalise = (options: ConnectionOptions): Result.Result<Settings, InvalidOption> =>
  Result.gen(function* () {
    const { headers, secrets } = yield* headersOf(options)
    const proxy = yield* proxyOf(options.proxy)
    return {
      headers,
      secrets,
      proxy,
      agent: options.agent,
      connectTimeoutMillis: positiveMillis(options.connectTimeout, 10_000),
      heartbeat: heartbeatOf(options.heartbeat),
      maxFrameBytes: atLeastOne(options.maxFrameBytes ?? 16 * 1024 * 1024),
      highWaterBytes: atLeastOne(options.highWaterBytes ?? 64 * 1024),
      compression: options.compression ?? false,
      tls: options.tls ?? {}
    }
  })

const heartbeatOf = (heartbeat: HeartbeatOptions | false | undefined): HeartbeatSettings | undefined =>
  heartbeat === false
    ? undefined
    : {
        intervalMillis: Math.max(minIntervalMillis, positiveMillis(heartbeat?.interval, 15_000)),
        deadlineMillis: positiveMillis(heartbeat?.deadline, 10_000),
        onRoundTrip: heartbeat?.onRoundTrip
      }

/** A duration in milliseconds, or the default if it is missing or not positive. */
const positiveMillis = (input: Duration.Input | undefined, otherwise: number): number => {
  if (input === undefined) return otherwise
  const millis = Duration.toMillis(input)
  return millis > 0 ? millis : otherwise
}

/** A bound in whole bytes. Comparisons with `NaN` are false, so `NaN` becomes 1. */
const atLeastOne = (bytes: number): number => (bytes >= 1 ? Math.floor(bytes) : 1)

// `ws` and `node:http` set these; a second value would break the handshake, or let the key travel unnoticed.
const reservedHeaders: ReadonlySet<string> = new Set([
  "connection",
  "content-length",
  "host",
  keyHeader,
  "transfer-encoding",
  "upgrade",
  "user-agent"
])

const headersOf = ({ headers = {}, userAgent }: ConnectionOptions) =>
  Result.gen(function* () {
    const secrets: Array<string> = []
    const result: { [name: string]: string } = {
      "user-agent": yield* headerValue("userAgent", userAgent ?? `makima-stream/${version}`)
    }
    for (const [name, value] of Object.entries(headers)) {
      if (value === undefined) continue
      const option = `headers.${name}`
      const lowerCase = name.toLowerCase()
      if (!isHeaderName(name)) {
        // The name is left out of the error: it may hold line breaks, or anything else.
        return yield* Result.fail(
          new InvalidOption({ option: "headers", detail: "a name is not that of an HTTP header" })
        )
      }
      if (reservedHeaders.has(lowerCase) || lowerCase.startsWith("sec-websocket-")) {
        return yield* Result.fail(new InvalidOption({ option, detail: "the toolkit sets this header itself" }))
      }
      const clear = yield* headerValue(option, Redacted.isRedacted(value) ? Redacted.value(value) : value)
      if (Redacted.isRedacted(value)) secrets.push(clear)
      result[lowerCase] = clear
    }
    return { headers: result, secrets }
  })

/** The value as it is sent, without white space (and byte order marks) around it. */
const headerValue = (option: string, value: string): Result.Result<string, InvalidOption> => {
  const trimmed = value.trim()
  return isHeaderValue(trimmed)
    ? Result.succeed(trimmed)
    : Result.fail(new InvalidOption({ option, detail: "it holds characters that an HTTP header cannot hold" }))
}

const proxyOf = (option: ProxyOption = "environment"): Result.Result<Proxy.Setting, InvalidOption> => {
  if (option === "environment" || option === false) return Result.succeed(option)
  const proxy = Proxy.parse(Redacted.isRedacted(option) ? Redacted.value(option) : option)
  return proxy === undefined
    ? Result.fail(
        new InvalidOption({ option: "proxy", detail: "it must be a URL that begins with http:// or https://" })
      )
    : Result.succeed(proxy)
}

const isHeaderName = (name: string): boolean => {
  try {
    validateHeaderName(name)
    return true
  } catch {
    return false
  }
}

/** Whether a text can be the value of a header. */
export const isHeaderValue = (value: string): boolean => {
  try {
    validateHeaderValue(keyHeader, value)
    return true
  } catch {
    return false
  }
}
