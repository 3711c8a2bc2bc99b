/**
 * The options of `NodeMeshSocket`, and the only place that checks them.
 *
 * `normalise` turns them into `Settings`: defaults are filled in, durations are
 * milliseconds, bounds are whole numbers, and invalid header values are refused. The
 * rest of the package uses only settings.
 */
import type { Query } from "@makima-stream/core/MeshSocket"
import * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Agent } from "node:http"
import { http } from "./builtin.ts"
import * as Proxy from "./proxy.ts"
import { version } from "./version.ts"

/**
 * How a silent peer is detected.
 *
 * @category options
 * @since 0.1.0
 */
export interface HeartbeatOptions {
  /**
   * The time between two pings. At least 10 milliseconds; zero, a negative number and
   * `NaN` mean the default. Defaults to 15 seconds.
   */
  readonly interval?: Duration.Input | undefined
  /**
   * How long the client waits for any byte from the server after a ping. A dead peer is
   * detected within `interval` plus `deadline` after its last byte. Zero, a negative
   * number and `NaN` mean the default. Defaults to 10 seconds.
   */
  readonly deadline?: Duration.Input | undefined
  /**
   * Called with the round trip of each answered ping, when the heartbeat next wakes. Its
   * failures are ignored.
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
   * The trusted certificates, in PEM, instead of those of Node: a private CA, or a
   * server's self-signed certificate.
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
   * `false` accepts any certificate, so anyone on the network path can read the feed and
   * the key. Only for tests. Defaults to `true`.
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
   * Additional headers of the handshake, such as a trace id or a tenant. A `Redacted`
   * value never appears in an error. Headers that the toolkit or the WebSocket protocol
   * sets are refused. Defaults to none. Since 0.2.0.
   */
  readonly headers?: { readonly [name: string]: string | Redacted.Redacted | undefined } | undefined
  /**
   * Parameters that are added to the URL, for a gateway that needs them. An effect runs
   * in each attempt to connect, so that a position can change; if it fails or takes longer
   * than `connectTimeout`, the attempt fails with `CredentialsFailed` and is repeated. Servers
   * and proxies log URLs, so do not put a secret here. Defaults to none. Since 0.2.0.
   */
  readonly query?: Query | Effect.Effect<Query, unknown> | undefined
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
   * The time limit of one attempt to connect, once for the credentials and once for the
   * connection. Zero, a negative number and `NaN` mean the default. Defaults to 10
   * seconds.
   */
  readonly connectTimeout?: Duration.Input | undefined
  /** How a silent peer is detected. `false` turns this off. Defaults to on. */
  readonly heartbeat?: HeartbeatOptions | false | undefined
  /**
   * The largest accepted frame, in bytes after decompression. A larger frame ends the
   * connection with `FrameTooLarge`. Fractions are rounded down, and a number below 1 or
   * `NaN` counts as 1. Defaults to 16 MiB.
   */
  readonly maxFrameBytes?: number | undefined
  /**
   * How many bytes of frames may wait to be pulled before reads are paused. The buffer
   * can exceed this by what Node has read ahead, at most 128 KiB. A slow reader receives
   * at most 64 frames with each pull. The same rules as for `maxFrameBytes` apply.
   * Defaults to 64 KiB.
   */
  readonly highWaterBytes?: number | undefined
  /** How a `wss` server is verified. Defaults to Node's own rules. */
  readonly tls?: TlsOptions | undefined
  /**
   * Whether to offer `permessage-deflate` to the server. Frames of this feed are small, so
   * compression saves bandwidth but takes time. Defaults to `false`.
   */
  readonly compression?: boolean | undefined
}

/**
 * The proxy of a connection.
 *
 * **Details**
 *
 * - `"environment"`: `HTTPS_PROXY` for a `wss` server, `HTTP_PROXY` for a `ws`
 *   server, in lower case or upper case, unless `NO_PROXY` excludes the server.
 *   They are read in each attempt, through Effect's `ConfigProvider`.
 * - a URL with `http://` or `https://`: this proxy; the environment is ignored. A user
 *   and a password in the URL are sent as `Proxy-Authorization`; make such a URL
 *   `Redacted`.
 * - `false`: no proxy.
 *
 * @category options
 * @since 0.2.0
 */
export type ProxyOption = "environment" | string | Redacted.Redacted | false

/**
 * An option is invalid. The code of the program must be changed.
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
 * // The option headers.x-tenant is invalid: it has characters that are not allowed in an HTTP header
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
  /** A description of the problem. Does not contain the value of the option. */
  detail: Schema.String
}) {
  /** One line that names the option. */
  override get message(): string {
    return `The option ${this.option} is invalid: ${this.detail}`
  }
}

/** The options after the checks. */
export interface Settings {
  /** `user-agent` and the additional headers, as plain text. */
  readonly headers: { readonly [name: string]: string }
  /** The header values that must not appear in an error. */
  readonly secrets: ReadonlyArray<string>
  readonly query: Query | Effect.Effect<Query, unknown> | undefined
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

/** The header with the key. */
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
      query: options.query,
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

// `ws`, `node:http` and this package set these headers. A second value would break the handshake or send another key.
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
        // The name is not part of the error, because it may contain any characters.
        return yield* Result.fail(
          new InvalidOption({ option: "headers", detail: "a name is not a valid HTTP header name" })
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

/** The value of a header, without surrounding white space and byte order marks. */
const headerValue = (option: string, value: string): Result.Result<string, InvalidOption> => {
  const trimmed = value.trim()
  return isHeaderValue(trimmed)
    ? Result.succeed(trimmed)
    : Result.fail(new InvalidOption({ option, detail: "it has characters that are not allowed in an HTTP header" }))
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
    http().validateHeaderName(name)
    return true
  } catch {
    return false
  }
}

/** Whether a text can be the value of a header. */
export const isHeaderValue = (value: string): boolean => {
  try {
    http().validateHeaderValue(keyHeader, value)
    return true
  } catch {
    return false
  }
}
