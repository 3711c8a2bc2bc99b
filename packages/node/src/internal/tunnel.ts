/**
 * A connection through an HTTP proxy: `CONNECT`, and then TLS to the server if the URL
 * is `wss`.
 *
 * It does not use a library, because a proxy agent hides the socket (an aborted dial
 * would leave it open while the proxy is silent), and does not report whether a 403 came
 * from the proxy or from the server. See `docs/decisions/050-proxy-tunnel.md`.
 */
import * as https from "node:https"
import type { Socket } from "node:net"
import * as tls from "node:tls"
import { http } from "./builtin.ts"
import type { Proxy } from "./proxy.ts"

export interface Options {
  readonly proxy: Proxy
  readonly host: string
  readonly port: number
  /** The options of the TLS connection to the server. `undefined` for a `ws` URL. */
  readonly tls: tls.ConnectionOptions | undefined
  readonly userAgent: string | undefined
}

/** Called once, with the error or with the socket. */
export type OnSocket = (error: Error | null, socket?: Socket) => void

/** The proxy answered with a status other than 200. */
export class ProxyRefused extends Error {
  readonly status: number
  constructor(status: number) {
    super(
      status === 407
        ? "the proxy did not accept the credentials (HTTP status 407)"
        : `the proxy refused to connect to the server (HTTP status ${status})`
    )
    this.status = status
  }
}

/** Connects. The returned function aborts the attempt. It has no effect once there is a socket. */
export const connect = (options: Options, onSocket: OnSocket): (() => void) => {
  const { host, port, proxy } = options
  const authority = `${host.includes(":") ? `[${host}]` : host}:${port}`
  let isDone = false
  const finish: OnSocket = (error, socket) => {
    if (isDone) return
    isDone = true
    onSocket(error, socket)
  }

  const request = (proxy.secure ? https : http()).request({
    method: "CONNECT",
    host: proxy.host,
    port: proxy.port,
    path: authority,
    // A separate connection, which no agent keeps.
    agent: false,
    headers: {
      host: authority,
      ...(options.userAgent === undefined ? {} : { "user-agent": options.userAgent }),
      ...(proxy.authorization === undefined ? {} : { "proxy-authorization": proxy.authorization })
    }
  })
  request.on("error", (error) =>
    finish(Object.assign(new Error(`the proxy could not be reached: ${error.message}`), { code: codeOf(error) }))
  )
  request.on("connect", (response, socket: Socket, head: Buffer) => {
    if (isDone) return void socket.destroy()
    if (response.statusCode !== 200) {
      socket.destroy()
      return finish(new ProxyRefused(response.statusCode ?? 0))
    }
    // Returns bytes to the socket that the server sent before the client's first byte.
    if (head.length > 0) socket.unshift(head)
    // From here on the request owns the socket and receives its errors, including those of TLS.
    finish(null, options.tls === undefined ? socket : tls.connect({ ...options.tls, socket }))
  })
  request.end()

  return () => {
    if (isDone) return
    isDone = true
    request.destroy()
  }
}

const codeOf = (error: Error): unknown => Reflect.get(error, "code")
