/**
 * The mock server without Effect: `node:http` and `ws`, the state of each
 * connection, the faults, the log. `MockMeshServer` puts Effects around it.
 *
 * Invariants:
 *
 * 1. Everything that a verb does to the server's own state is done when it
 *    returns: the next `emit` sees it, and so does the log. Only the network is
 *    late.
 * 2. A connection that was killed or closed by the server is never sent to
 *    again, and is logged as ended once.
 * 3. Faults of handshakes form one queue: each upgrade on the feed's path takes
 *    the oldest.
 */
import * as Http from "node:http"
import type { Duplex } from "node:stream"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import { WebSocketServer, type RawData, type ServerOptions, type WebSocket } from "ws"
import * as ClientMessage from "@makima-stream/core/ClientMessage"
import * as ServerMessage from "@makima-stream/core/ServerMessage"
import type { Encoding } from "../ServerLog.ts"
import * as AcceptedSocket from "./acceptedSocket.ts"
import * as Feed from "./feed.ts"
import type { Recorder } from "./recorder.ts"

export interface Options {
  readonly path: string
  readonly apiKey: Redacted.Redacted | undefined
  readonly acknowledge: boolean
  readonly nameTasks: boolean
  readonly perMessageDeflate: boolean
  readonly recorder: Recorder
}

/** A connection, also after its end. */
export interface Connection {
  readonly id: number
  readonly headers: Readonly<Record<string, string>>
  readonly apiKey: Redacted.Redacted | undefined
  readonly feed: Feed.Feed
  readonly socket: AcceptedSocket.AcceptedSocket
  /** Where in the log the frames are that a freeze holds back. */
  readonly held: Array<number>
}

export interface MockServer {
  /** Listens, and calls back with the port that it got. */
  readonly listen: (port: number, onListening: (port: number) => void, onError: (error: Error) => void) => void
  /** Cuts every connection, and calls back when the port is free. */
  readonly stop: (onStopped: () => void) => void
  /** The connections that are open, oldest first. */
  readonly connections: () => ReadonlyArray<Connection>
  /** The same, and the frozen ones that were closed: they can still be thawed, or killed. */
  readonly reachable: () => ReadonlyArray<Connection>
  /** A connection by its number, open or not. */
  readonly get: (id: number) => Connection
  /** Sends a message to whoever wants it. Gives the number of connections. */
  readonly emit: (message: ServerMessage.ServerMessage, as: Encoding) => number
  /** Sends a frame to everybody. Gives the number of connections. */
  readonly emitRaw: (raw: string | Uint8Array, as: Encoding) => number
  readonly kill: (connection: Connection) => void
  readonly close: (connection: Connection, code: number, reason: string) => void
  readonly freeze: (connection: Connection) => void
  readonly thaw: (connection: Connection) => void
  /** What happens to the next handshakes, oldest first. */
  readonly faults: Array<Fault>
}

export type Fault =
  | { readonly _tag: "Stall" }
  | { readonly _tag: "Refuse"; readonly status: number; readonly headers: Readonly<Record<string, string>> }

const keyHeader = "x-makima-api-key"

export const make = (options: Options): MockServer => {
  const { recorder } = options
  const http = Http.createServer((_, response) => response.writeHead(404).end())
  // The types of `ws` do not know all of its options yet.
  const upgraderOptions: ServerOptions & { readonly maxPendingAutoPongs: number } = {
    noServer: true,
    // Pings that came while a connection was frozen are read at once, and are no attack.
    maxPendingAutoPongs: 0,
    clientTracking: false,
    perMessageDeflate: options.perMessageDeflate
  }
  const upgrader = new WebSocketServer(upgraderOptions)
  const sockets = new Set<Duplex>()
  const known: Array<Connection> = []
  const open = new Map<number, Connection>()
  // Of those, the frozen ones that this side has closed: what a freeze holds back is still to leave.
  const closing = new Set<Connection>()
  const faults: Array<Fault> = []
  let emissions = 0

  http.on("connection", (socket) => {
    sockets.add(socket)
    socket.on("close", () => sockets.delete(socket))
  })

  http.on("upgrade", (request, socket, head) => {
    // A client may cut a handshake short at any time.
    socket.on("error", () => {})
    if (request.url?.split("?", 1)[0] !== options.path) return refuse(socket, 404, {})
    const fault = faults.shift()
    if (fault?._tag === "Stall") {
      recorder.append({ _tag: "Stalled" })
      return
    }
    if (fault?._tag === "Refuse") return refuse(socket, fault.status, fault.headers)
    if (options.apiKey !== undefined && request.headers[keyHeader] !== Redacted.value(options.apiKey)) {
      return refuse(socket, 401, {})
    }
    upgrader.handleUpgrade(request, socket, head, (webSocket) => accept(webSocket, request, socket))
  })

  const refuse = (socket: Duplex, status: number, headers: Readonly<Record<string, string>>): void => {
    recorder.append({ _tag: "Refused", status })
    const lines = Object.entries({ connection: "close", "content-length": "0", ...headers })
    socket.end(
      [
        `HTTP/1.1 ${status} ${Http.STATUS_CODES[status] ?? "Refused"}`,
        ...lines.map(([name, value]) => `${name}: ${value}`),
        "",
        ""
      ].join("\r\n")
    )
  }

  const accept = (webSocket: WebSocket, request: Http.IncomingMessage, socket: Duplex): void => {
    const { [keyHeader]: key, ...headers } = request.headersDistinct
    const connection: Connection = {
      id: known.length + 1,
      headers: Object.fromEntries(Object.entries(headers).map(([name, values]) => [name, (values ?? []).join(", ")])),
      apiKey: key === undefined ? undefined : Redacted.make(key.join(", ")),
      feed: Feed.make(),
      socket: AcceptedSocket.make(webSocket, socket),
      held: []
    }
    known.push(connection)
    open.set(connection.id, connection)
    recorder.append({ _tag: "Opened", connection: connection.id })
    webSocket.on("message", (data, isBinary) => receive(connection, data, isBinary))
    // What goes wrong on a connection ends it, which is logged as its end.
    webSocket.on("error", () => {})
    webSocket.on("close", (code, reason) => {
      if (!open.delete(connection.id) || closing.delete(connection)) return
      recorder.append({ _tag: "Closed", connection: connection.id, by: "client", code, reason: reason.toString() })
    })
  }

  const receive = (connection: Connection, data: RawData, isBinary: boolean): void => {
    if (!open.has(connection.id)) return
    const bytes = toBytes(data)
    const decoded = ClientMessage.decodeFrame(isBinary ? bytes : bytes.toString())
    if (Result.isFailure(decoded)) {
      recorder.append({ _tag: "Unreadable", connection: connection.id, error: decoded.failure })
      answer(connection, { _tag: "ServerError", code: "BAD_REQUEST", message: decoded.failure.message })
      return
    }
    const acknowledgements = connection.feed.handle(decoded.success)
    recorder.append({ _tag: "Received", connection: connection.id, message: decoded.success })
    if (!options.acknowledge) return
    for (const message of acknowledgements) answer(connection, options.nameTasks ? message : { _tag: message._tag })
  }

  const answer = (connection: Connection, message: ServerMessage.ServerMessage): void => {
    const emission = ++emissions
    write(connection, encode(message), "text", { _tag: "Sent", emission, message })
  }

  const write = (
    connection: Connection,
    frame: string | Uint8Array,
    as: Encoding,
    what:
      | { readonly _tag: "Sent"; readonly emission: number; readonly message: ServerMessage.ServerMessage }
      | { readonly _tag: "SentRaw"; readonly emission: number; readonly raw: string | Uint8Array }
  ): void => {
    const delivered = !connection.socket.isFrozen()
    const place = recorder.append({ ...what, connection: connection.id, as, delivered })
    if (!delivered && place !== undefined) connection.held.push(place)
    connection.socket.send(frame, as)
  }

  return {
    listen(port, onListening, onError) {
      http.once("error", onError)
      http.listen(port, "127.0.0.1", () => {
        http.off("error", onError)
        const address = http.address()
        onListening(typeof address === "object" && address !== null ? address.port : port)
      })
    },
    stop(onStopped) {
      for (const connection of open.values()) {
        if (!closing.has(connection)) recorder.append({ _tag: "Killed", connection: connection.id })
      }
      open.clear()
      http.close(onStopped)
      for (const socket of sockets) socket.destroy()
    },
    connections: () => [...open.values()].filter((connection) => !closing.has(connection)),
    reachable: () => [...open.values()],
    get(id) {
      const connection = known[id - 1]
      if (connection === undefined) throw new RangeError(`There has been no connection ${id}`)
      return connection
    },
    emit(message, as) {
      const emission = ++emissions
      let frame: string | undefined
      let count = 0
      for (const connection of open.values()) {
        if (!connection.feed.wants(message) || !connection.socket.isOpen()) continue
        frame ??= encode(message)
        write(connection, frame, as, { _tag: "Sent", emission, message })
        count++
      }
      if (count === 0) recorder.append({ _tag: "Unheard", emission, message })
      return count
    },
    emitRaw(raw, as) {
      const emission = ++emissions
      let count = 0
      for (const connection of open.values()) {
        if (!connection.socket.isOpen()) continue
        write(connection, raw, as, { _tag: "SentRaw", emission, raw })
        count++
      }
      return count
    },
    kill(connection) {
      if (!open.delete(connection.id)) return
      if (!closing.delete(connection)) recorder.append({ _tag: "Killed", connection: connection.id })
      connection.socket.kill()
    },
    close(connection, code, reason) {
      if (!open.has(connection.id) || closing.has(connection)) return
      // Throws where the code or the reason cannot be sent, and nothing has changed then.
      connection.socket.close(code, reason)
      if (connection.socket.isFrozen()) closing.add(connection)
      else open.delete(connection.id)
      recorder.append({ _tag: "Closed", connection: connection.id, by: "server", code, reason })
    },
    freeze(connection) {
      if (!open.has(connection.id) || connection.socket.isFrozen()) return
      recorder.append({ _tag: "Frozen", connection: connection.id })
      connection.socket.freeze()
    },
    thaw(connection) {
      if (!open.has(connection.id) || !connection.socket.isFrozen()) return
      recorder.deliver(connection.held.splice(0))
      recorder.append({ _tag: "Thawed", connection: connection.id })
      connection.socket.thaw()
      if (closing.delete(connection)) open.delete(connection.id)
    },
    faults
  }
}

// A value that is no message is a mistake of the test, and thrown as such.
const encode = (message: ServerMessage.ServerMessage): string => Result.getOrThrow(ServerMessage.encodeFrame(message))

const toBytes = (data: RawData): Buffer =>
  Array.isArray(data) ? Buffer.concat(data) : data instanceof ArrayBuffer ? Buffer.from(data) : data
