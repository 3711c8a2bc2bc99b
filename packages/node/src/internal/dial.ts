/** Makes the options with which `ws` dials from the settings. */
import * as Redacted from "effect/Redacted"
import type { Agent } from "node:http"
import * as net from "node:net"
import type { ConnectionOptions as TlsConnectionOptions } from "node:tls"
import type { ClientOptions } from "ws"
import type { TlsOptions } from "./options.ts"
import type { Proxy } from "./proxy.ts"
import * as Tunnel from "./tunnel.ts"

export interface Options {
  readonly url: string
  readonly headers: { readonly [name: string]: string }
  readonly maxFrameBytes: number
  readonly compression: boolean
  readonly tls: TlsOptions
  readonly agent: Agent | undefined
  readonly proxy: Proxy | undefined
}

/**
 * How long the peer may take to answer a close frame, in milliseconds of real time. It
 * limits how long the process stays alive after its work is done.
 */
const closeTimeout = 1000

/** `ws` has more options than its types. */
type WsOptions = ClientOptions & { readonly closeTimeout: number; readonly servername?: string }

export interface Dial {
  readonly wsOptions: WsOptions
  /** Aborts a connection through a proxy that is not established yet. */
  readonly abort: () => void
}

export const make = (options: Options): Dial => {
  const tls = reveal(options.tls)
  const base: WsOptions = {
    headers: { ...options.headers },
    // `ws` keeps this number in 32 bits, and no larger frame fits into a string.
    maxPayload: Math.min(options.maxFrameBytes, 2 ** 31 - 1),
    // See `pong.ts`.
    autoPong: false,
    perMessageDeflate: options.compression,
    skipUTF8Validation: true,
    followRedirects: false,
    closeTimeout,
    ...tls
  }
  if (options.agent !== undefined) return { wsOptions: { ...base, agent: options.agent }, abort: () => {} }
  const { proxy } = options
  if (proxy === undefined) return { wsOptions: base, abort: () => {} }
  let abort = () => {}
  const createConnection = (_: object, onSocket: Tunnel.OnSocket): undefined => {
    abort = Tunnel.connect({ proxy, ...target(options.url, tls), userAgent: options.headers["user-agent"] }, onSocket)
  }
  return {
    // Node accepts a connection through the callback, but the type only has the returned one.
    wsOptions: { ...base, createConnection: createConnection as unknown as typeof net.connect },
    abort: () => abort()
  }
}

/** The target of the tunnel, and the TLS options inside it. */
const target = (feed: string, tls: TlsConnectionOptions): Pick<Tunnel.Options, "host" | "port" | "tls"> => {
  const url = new URL(feed)
  const isSecure = url.protocol === "wss:"
  const host = url.hostname.replace(/^\[(.*)\]$/, "$1")
  return {
    host,
    port: url.port === "" ? (isSecure ? 443 : 80) : Number(url.port),
    // A server name is never an IP address (RFC 6066); the certificate is then checked against `host`.
    tls: isSecure ? { host, servername: net.isIP(host) === 0 ? host : "", ...tls } : undefined
  }
}

/** The TLS options with secrets as plain text. They are not kept after the dial. */
const reveal = ({ ca, cert, key, passphrase, rejectUnauthorized, servername }: TlsOptions) => ({
  ...(ca === undefined ? {} : { ca: mutable(ca) }),
  ...(cert === undefined ? {} : { cert: mutable(cert) }),
  ...(key === undefined ? {} : { key: Redacted.value(key) }),
  ...(passphrase === undefined ? {} : { passphrase: Redacted.value(passphrase) }),
  ...(servername === undefined ? {} : { servername }),
  ...(rejectUnauthorized === undefined ? {} : { rejectUnauthorized })
})

const mutable = (pem: string | Buffer | ReadonlyArray<string | Buffer>): string | Buffer | Array<string | Buffer> =>
  typeof pem === "string" || Buffer.isBuffer(pem) ? pem : [...pem]
