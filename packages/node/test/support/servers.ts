/** Servers on free ports of 127.0.0.1 for one test each: they end, with every connection, with the test's scope. */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import { createHash } from "node:crypto"
import { readFileSync } from "node:fs"
import * as http from "node:http"
import * as https from "node:https"
import * as net from "node:net"
import { WebSocketServer, type ServerOptions, type WebSocket } from "ws"

/** One connection, seen from the server. */
export interface Peer {
  readonly ws: WebSocket
  readonly request: http.IncomingMessage
  /** The next message from the client. */
  readonly receive: Effect.Effect<string | Buffer>
  /** Waits for the next ping from the client. */
  readonly pinged: Effect.Effect<void>
  /** The code and the reason of the close. 1006 if there was no close frame. */
  readonly closed: Effect.Effect<{ readonly code: number; readonly reason: string }>
}

export interface Server {
  readonly url: string
  readonly port: number
}

export interface WebSocketPeers extends Server {
  /** The next connection. */
  readonly accept: Effect.Effect<Peer>
}

const listen = (server: net.Server, protocol: string): Effect.Effect<Server, never, Scope.Scope> =>
  Effect.gen(function* () {
    const sockets = new Set<net.Socket>()
    server.on("connection", (socket: net.Socket) => {
      sockets.add(socket)
      socket.on("error", () => {})
      socket.on("close", () => sockets.delete(socket))
    })
    yield* Effect.acquireRelease(
      Effect.callback<void>((resume) => {
        server.listen(0, "127.0.0.1", () => resume(Effect.void))
      }),
      () =>
        Effect.callback<void>((resume) => {
          server.close(() => resume(Effect.void))
          for (const socket of sockets) socket.destroy()
        })
    )
    const address = server.address()
    if (address === null || typeof address === "string") return yield* Effect.die("no port")
    return { url: `${protocol}://127.0.0.1:${address.port}`, port: address.port }
  })

const fixture = (name: string) => readFileSync(new URL(`../fixtures/${name}`, import.meta.url))

export const ca = fixture("ca.pem")

/** A WebSocket server; with `tls`, one that shows that certificate. */
export const webSocketServer = (
  options?: ServerOptions & { readonly tls?: "server.pem" | "elsewhere.pem" }
): Effect.Effect<WebSocketPeers, never, Scope.Scope> =>
  Effect.gen(function* () {
    const { tls, ...wsOptions } = options ?? {}
    const server =
      tls === undefined ? http.createServer() : https.createServer({ key: fixture("server.key"), cert: fixture(tls) })
    const peers = yield* Queue.unbounded<Peer>()
    const webSockets = new WebSocketServer({ ...wsOptions, server })
    webSockets.on("connection", (ws, request) => {
      const messages = Effect.runSync(Queue.unbounded<string | Buffer>())
      const pings = Effect.runSync(Queue.unbounded<void>())
      const closed = Deferred.makeUnsafe<{ readonly code: number; readonly reason: string }>()
      ws.on("message", (data: Buffer, isBinary) => Queue.offerUnsafe(messages, isBinary ? data : data.toString()))
      ws.on("ping", () => Queue.offerUnsafe(pings, undefined))
      ws.on("close", (code, reason) => Deferred.doneUnsafe(closed, Effect.succeed({ code, reason: reason.toString() })))
      ws.on("error", () => {})
      Queue.offerUnsafe(peers, {
        ws,
        request,
        receive: Queue.take(messages),
        pinged: Queue.take(pings),
        closed: Deferred.await(closed)
      })
    })
    const { url, port } = yield* listen(server, tls === undefined ? "ws" : "wss")
    return { url, port, accept: Queue.take(peers) }
  })

/** An HTTP server that answers an upgrade as any other request. */
export const httpServer = (handler: http.RequestListener): Effect.Effect<Server, never, Scope.Scope> =>
  listen(http.createServer(handler), "ws")

/** A TCP server. */
export const netServer = (handler: (socket: net.Socket) => void): Effect.Effect<Server, never, Scope.Scope> =>
  listen(net.createServer(handler), "ws")

/** Completes the handshake, then leaves the socket to the test. It answers no ping. */
export interface RawPeer {
  readonly socket: net.Socket
  readonly closed: Effect.Effect<void>
}

export const rawServer: Effect.Effect<Server & { readonly accept: Effect.Effect<RawPeer> }, never, Scope.Scope> =
  Effect.gen(function* () {
    const peers = yield* Queue.unbounded<RawPeer>()
    const server = yield* netServer((socket) => {
      const closed = Deferred.makeUnsafe<void>()
      socket.on("close", () => Deferred.doneUnsafe(closed, Effect.void))
      let head = ""
      const onData = (data: Buffer) => {
        head += data.toString("latin1")
        if (!head.includes("\r\n\r\n")) return
        socket.off("data", onData)
        socket.resume()
        const key = /^sec-websocket-key: (.*)$/im.exec(head)?.[1]?.trim() ?? ""
        const accept = createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64")
        socket.write(
          `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`
        )
        Queue.offerUnsafe(peers, { socket, closed: Deferred.await(closed) })
      }
      socket.on("data", onData)
    })
    return { ...server, accept: Queue.take(peers) }
  })

/** One frame as a server sends it: not masked. */
export const frame = (opcode: number, payload: Buffer | string, options?: { readonly fin?: boolean }): Buffer => {
  const data = Buffer.from(payload)
  const first = (options?.fin === false ? 0 : 0x80) | opcode
  const header =
    data.length < 126
      ? Buffer.from([first, data.length])
      : data.length < 65536
        ? Buffer.from([first, 126, data.length >> 8, data.length & 255])
        : Buffer.from([first, 127, 0, 0, 0, 0, ...[24, 16, 8, 0].map((shift) => (data.length >>> shift) & 255)])
  return Buffer.concat([header, data])
}

/** One turn of the event loop: timers that are due, then sockets. */
export const turn = Effect.callback<void>((resume) => {
  setImmediate(() => resume(Effect.void))
})

/** Turns the event loop until a value has stayed the same for a hundred turns. */
export const settled = <A>(read: () => A): Effect.Effect<A> =>
  Effect.gen(function* () {
    let last = read()
    for (let same = 0; same < 100; same++) {
      yield* turn
      const next = read()
      if (next !== last) same = 0
      last = next
    }
    return last
  })

/** Turns the event loop until a condition holds. */
export const until = (condition: () => boolean): Effect.Effect<void> =>
  Effect.suspend(() => (condition() ? Effect.void : Effect.flatMap(turn, () => until(condition))))

/** A forward proxy as companies have them: `CONNECT` and nothing else. */
export interface ForwardProxy extends Server {
  /** What it was asked to connect to, and the credentials that were sent. */
  readonly requests: ReadonlyArray<{ readonly target: string; readonly authorization: string | undefined }>
}

/** Refuses with `status` if that is not 200. */
export const forwardProxy = (status = 200): Effect.Effect<ForwardProxy, never, Scope.Scope> =>
  Effect.gen(function* () {
    const requests: Array<ForwardProxy["requests"][number]> = []
    const server = http.createServer((_, response) => response.writeHead(405).end())
    server.on("connect", (request, socket) => {
      const target = request.url ?? ""
      requests.push({ target, authorization: request.headers["proxy-authorization"] })
      socket.on("error", () => {})
      if (status !== 200) return void socket.end(`HTTP/1.1 ${status} No\r\n\r\n`)
      const { hostname, port } = new URL(`http://${target}`)
      const upstream = net.connect(Number(port), hostname, () => {
        socket.write("HTTP/1.1 200 Connection established\r\n\r\n")
        upstream.pipe(socket).pipe(upstream)
      })
      upstream.on("error", () => socket.destroy())
      socket.on("close", () => upstream.destroy())
    })
    return { ...(yield* listen(server, "http")), requests }
  })
