/**
 * The server of the gateway on `node:http` and `ws`: listens, hands connections to their parts, and drains.
 */
import * as Http from "node:http"
import * as Https from "node:https"
import type { AddressInfo } from "node:net"
import type { Duplex } from "node:stream"
import { WebSocketServer, type WebSocket } from "ws"
import * as GatewayMessages from "@makima-stream/core/GatewayMessages"
import type { Access } from "./access.ts"
import * as Routes from "./http.ts"

export interface Tls {
  /** The certificate chain, in PEM. */
  readonly cert: string | Uint8Array
  /** The private key, in PEM. */
  readonly key: string | Uint8Array
}

export interface Handlers {
  readonly access: Access
  readonly onRequest: (request: Http.IncomingMessage, response: Http.ServerResponse) => void
  /** Whether no further client is accepted. */
  readonly isFull: () => boolean
  /** Whether the gateway understands the parameters of a client. */
  readonly isValid: (url: URL) => boolean
  readonly onClient: (ws: WebSocket, options: { readonly marks: boolean; readonly url: URL }) => void
}

/** The largest request of a client in bytes. A request is a type and an id. */
const maxRequestBytes = 64 * 1024

export interface Server {
  readonly listen: (
    host: string,
    port: number,
    onListening: (port: number) => void,
    onError: (e: Error) => void
  ) => void
  /** Sets what handles requests. Called once the port is known. */
  readonly start: (handlers: Handlers) => void
  /** Accepts nothing any more. Calls back when all connections have ended. */
  readonly close: (onClosed: () => void) => void
  /** Cuts all connections. */
  readonly cut: () => void
}

export const make = (tls: Tls | undefined): Server => {
  let handlers: Handlers | undefined
  const sockets = new Set<Duplex>()
  const onRequest = (request: Http.IncomingMessage, response: Http.ServerResponse): void => {
    if (handlers === undefined) return void response.writeHead(503).end()
    handlers.onRequest(request, response)
  }
  // The certificate and the key are passed as they are: `node:tls` accepts a Buffer, not every Uint8Array.
  const server =
    tls === undefined
      ? Http.createServer(onRequest)
      : Https.createServer({ cert: toPem(tls.cert), key: toPem(tls.key) }, onRequest)
  const webSockets = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    maxPayload: maxRequestBytes,
    perMessageDeflate: false,
    handleProtocols: (offered) => (offered.has(GatewayMessages.subprotocol) ? GatewayMessages.subprotocol : false)
  })

  server.on("connection", (socket: Duplex) => {
    sockets.add(socket)
    socket.once("close", () => sockets.delete(socket))
  })
  server.on("upgrade", (request: Http.IncomingMessage, socket: Duplex, head: Buffer) => {
    const onError = () => socket.destroy()
    socket.on("error", onError)
    const url = Routes.urlOf(request)
    const refusal = handlers === undefined ? "full" : refuse(handlers, request, url)
    if (handlers === undefined || url === undefined || refusal !== undefined) {
      socket.end(Routes.refusedUpgrade(refusal ?? "path"))
      return
    }
    const { onClient } = handlers
    webSockets.handleUpgrade(request, socket, head, (ws) => {
      socket.off("error", onError)
      const marks =
        ws.protocol === GatewayMessages.subprotocol ||
        url.searchParams.get("marks") === "1" ||
        request.headers["x-makima-marks"] === "1"
      onClient(ws, { marks, url })
    })
  })

  return {
    listen(host, port, onListening, onError) {
      server.once("error", onError)
      server.listen(port, host, () => {
        server.off("error", onError)
        server.on("error", () => {})
        // A server on a port has an address with a port.
        onListening((server.address() as AddressInfo).port)
      })
    },
    start(next) {
      handlers = next
    },
    close(onClosed) {
      server.close(onClosed)
      server.closeIdleConnections()
    },
    cut() {
      for (const socket of sockets) socket.destroy()
    }
  }
}

const toPem = (pem: string | Uint8Array): string | Buffer => (typeof pem === "string" ? pem : Buffer.from(pem))

const refuse = ({ access, isFull, isValid }: Handlers, request: Http.IncomingMessage, url: URL | undefined) => {
  const refusal = access.checkUpgrade(request)
  if (refusal !== undefined) return refusal
  if (url?.pathname !== Routes.feedPath) return "path"
  if (!isValid(url)) return "parameters"
  return isFull() ? "full" : undefined
}
