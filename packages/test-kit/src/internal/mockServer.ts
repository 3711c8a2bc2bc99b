/**
 * The mock server without Effect: `node:http` and `ws`, the state of each
 * connection, the faults, the log. `MockMeshServer` wraps it in Effects.
 *
 * Invariants:
 *
 * 1. When a verb returns, the server's own state and the log have changed: the next
 *    `emit` sees it. Only the network may take longer.
 * 2. Nothing is sent on a connection that the server has killed or closed. Its
 *    end is logged once.
 * 3. Faults of handshakes form one queue: each upgrade on the feed's path takes
 *    the oldest.
 */
import type { IncomingMessage } from "node:http"
import type { Duplex } from "node:stream"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import { WebSocketServer, type RawData, type ServerOptions, type WebSocket } from "ws"
import type { Clock } from "effect/Clock"
import * as ServerMessage from "@makima-stream/core/ServerMessage"
import type { Encoding } from "../ServerLog.ts"
import * as AcceptedSocket from "./acceptedSocket.ts"
import type * as DelayLine from "./delayLine.ts"
import * as MessageFaults from "./messageFaults.ts"
import type { Recorder } from "./recorder.ts"
import * as RequestHandler from "./requestHandler.ts"
import * as Verbs from "./verbs.ts"

export interface Options {
  readonly path: string
  readonly apiKey: Redacted.Redacted | undefined
  readonly settings: RequestHandler.Settings
  readonly clock: Clock
  readonly schedule: DelayLine.Schedule
  readonly perMessageDeflate: boolean
  readonly recorder: Recorder
}

/** A connection, open or ended. */
export interface Connection {
  readonly id: number
  readonly headers: Readonly<Record<string, string>>
  readonly apiKey: Redacted.Redacted | undefined
  readonly requests: RequestHandler.RequestHandler
  readonly socket: AcceptedSocket.AcceptedSocket
  /** The places in the log of the frames that a freeze retains. */
  readonly retained: Array<number>
}

export interface MockServer {
  /** Listens, and calls back with the port. */
  readonly listen: (
    host: string,
    port: number,
    onListening: (port: number) => void,
    onError: (error: Error) => void
  ) => void
  /** Cuts every connection, and calls back when the port is free. */
  readonly stop: (onStopped: () => void) => void
  /** The connections that are open, oldest first. */
  readonly connections: () => ReadonlyArray<Connection>
  /** The open connections, and those that were closed while frozen: they can still be thawed or killed. */
  readonly reachable: () => ReadonlyArray<Connection>
  /** A connection by its number, open or not. */
  readonly get: (id: number) => Connection
  /** Sends a message to every connection that subscribed to it. Returns the number of sends. */
  readonly emit: (message: ServerMessage.ServerMessage, as: Encoding) => number
  /** Faults of the next emitted messages. */
  readonly messages: MessageFaults.MessageFaults
  /** Sends the next `n` acknowledgements that `manual` retains, on each connection. */
  readonly acknowledge: (n: number) => void
  /** Thaws every connection and ends all delays of requests. */
  readonly healConnections: () => void
  /** Sends a frame to every connection. Returns the number of connections. */
  readonly emitRaw: (raw: string | Uint8Array, as: Encoding) => number
  readonly kill: (connection: Connection) => void
  readonly close: (connection: Connection, code: number, reason: string) => void
  readonly freeze: (connection: Connection) => void
  readonly thaw: (connection: Connection) => void
  /** Faults of the next handshakes. */
  readonly dials: Verbs.Dials
}

const keyHeader = "x-makima-api-key"

export const make = (options: Options): MockServer => {
  const { recorder } = options
  const { createServer, STATUS_CODES } = process.getBuiltinModule("node:http")
  const http = createServer((_, response) => response.writeHead(404).end())
  // The types of `ws` do not know all of its options yet.
  const upgraderOptions: ServerOptions & { readonly maxPendingAutoPongs: number } = {
    noServer: true,
    // At a thaw, many pings are read at once. They are not an attack.
    maxPendingAutoPongs: 0,
    clientTracking: false,
    perMessageDeflate: options.perMessageDeflate
  }
  const upgrader = new WebSocketServer(upgraderOptions)
  const sockets = new Set<Duplex>()
  const known: Array<Connection> = []
  const open = new Map<number, Connection>()
  // Open connections that were closed while frozen: their close frame leaves at the thaw.
  const closing = new Set<Connection>()
  const dials: Verbs.Dials = { faults: [], delayMillis: 0 }
  let encoding: Encoding = "text"
  let emissions = 0

  http.on("connection", (socket) => {
    sockets.add(socket)
    socket.on("close", () => sockets.delete(socket))
  })

  http.on("upgrade", (request, socket, head) => {
    // A client may abort a handshake at any time.
    socket.on("error", () => {})
    if (request.url?.split("?", 1)[0] !== options.path) return refuse(socket, 404, {})
    if (dials.delayMillis === 0) answerDial(request, socket, head)
    else options.schedule(dials.delayMillis, () => socket.destroyed || answerDial(request, socket, head))
  })

  const answerDial = (request: IncomingMessage, socket: Duplex, head: Buffer): void => {
    const fault = Verbs.takeFault(dials)
    if (fault?._tag === "Stall") {
      recorder.append({ _tag: "Stalled" })
      return
    }
    if (fault?._tag === "Refuse") return refuse(socket, fault.status, fault.headers)
    if (options.apiKey !== undefined && request.headers[keyHeader] !== Redacted.value(options.apiKey)) {
      return refuse(socket, 401, {})
    }
    upgrader.handleUpgrade(request, socket, head, (webSocket) => accept(webSocket, request, socket))
  }

  const refuse = (socket: Duplex, status: number, headers: Readonly<Record<string, string>>): void => {
    recorder.append({ _tag: "Refused", status })
    const lines = Object.entries({ connection: "close", "content-length": "0", ...headers })
    socket.end(
      [
        `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? "Refused"}`,
        ...lines.map(([name, value]) => `${name}: ${value}`),
        "",
        ""
      ].join("\r\n")
    )
  }

  const accept = (webSocket: WebSocket, request: IncomingMessage, socket: Duplex): void => {
    const { [keyHeader]: key, ...headers } = request.headersDistinct
    const id = known.length + 1
    const connection: Connection = {
      id,
      headers: Object.fromEntries(Object.entries(headers).map(([name, values]) => [name, (values ?? []).join(", ")])),
      apiKey: key === undefined ? undefined : Redacted.make(key.join(", ")),
      requests: RequestHandler.make({
        connection: id,
        clock: options.clock,
        schedule: options.schedule,
        settings: options.settings,
        recorder,
        isOpen: () => open.has(id) && !closing.has(connection),
        send: (message) => answer(connection, message),
        close: (code, reason) => close(connection, code, reason),
        onReceived: () => {}
      }),
      socket: AcceptedSocket.make(webSocket, socket),
      retained: []
    }
    known.push(connection)
    open.set(connection.id, connection)
    recorder.append({ _tag: "Opened", connection: connection.id })
    webSocket.on("message", (data, isBinary) => {
      const bytes = toBytes(data)
      connection.requests.receive(isBinary ? bytes : bytes.toString())
    })
    // An error ends the connection, which is logged below.
    webSocket.on("error", () => {})
    webSocket.on("close", (code, reason) => {
      if (!open.delete(connection.id) || closing.delete(connection)) return
      recorder.append({ _tag: "Closed", connection: connection.id, by: "client", code, reason: reason.toString() })
    })
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
    if (!delivered && place !== undefined) connection.retained.push(place)
    connection.socket.send(frame, as)
  }

  const reachable = (): ReadonlyArray<Connection> => [...open.values()]

  const broadcast = (message: ServerMessage.ServerMessage): number => {
    const emission = ++emissions
    let frame: string | undefined
    let count = 0
    for (const connection of open.values()) {
      if (!connection.requests.feed.wants(message) || !connection.socket.isOpen()) continue
      frame ??= encode(message)
      write(connection, frame, encoding, { _tag: "Sent", emission, message })
      count++
    }
    if (count === 0) recorder.append({ _tag: "Unheard", emission, message })
    return count
  }
  const messages = MessageFaults.make(broadcast)

  const close = (connection: Connection, code: number, reason: string): void => {
    if (!open.has(connection.id) || closing.has(connection)) return
    // Throws if the code or the reason cannot be sent, before anything has changed.
    connection.socket.close(code, reason)
    if (connection.socket.isFrozen()) closing.add(connection)
    else open.delete(connection.id)
    recorder.append({ _tag: "Closed", connection: connection.id, by: "server", code, reason })
  }

  const thaw = (connection: Connection): void => {
    if (!open.has(connection.id) || !connection.socket.isFrozen()) return
    recorder.deliver(connection.retained.splice(0))
    recorder.append({ _tag: "Thawed", connection: connection.id })
    connection.socket.thaw()
    if (closing.delete(connection)) open.delete(connection.id)
  }

  return {
    listen(host, port, onListening, onError) {
      http.once("error", onError)
      http.listen(port, host, () => {
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
    reachable,
    get(id) {
      const connection = known[id - 1]
      if (connection === undefined) throw new RangeError(`There is no connection ${id}`)
      return connection
    },
    emit(message, as) {
      encoding = as
      return messages.emit(message)
    },
    messages,
    acknowledge(n) {
      for (const connection of reachable()) connection.requests.acknowledge(n)
    },
    healConnections() {
      for (const connection of reachable()) {
        thaw(connection)
        connection.requests.flush()
      }
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
    close,
    freeze(connection) {
      if (!open.has(connection.id) || connection.socket.isFrozen()) return
      recorder.append({ _tag: "Frozen", connection: connection.id })
      connection.socket.freeze()
    },
    thaw,
    dials
  }
}

// Throws for a value that is not a message, which is a mistake in the test.
const encode = (message: ServerMessage.ServerMessage): string => Result.getOrThrow(ServerMessage.encodeFrame(message))

const toBytes = (data: RawData): Buffer =>
  Array.isArray(data) ? Buffer.concat(data) : data instanceof ArrayBuffer ? Buffer.from(data) : data
