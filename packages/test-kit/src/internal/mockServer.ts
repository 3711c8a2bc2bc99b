/**
 * The mock server without Effect: `node:http` and `ws`, its connections
 * (`mockConnection`), its handshakes (`handshake`), its faults and its log.
 * `MockMeshServer` wraps it in Effects.
 *
 * Invariant: when a verb returns, the server's own state and the log have changed, so
 * the next `emit` sees it. Only the network may take longer.
 */
import type { Clock } from "effect/Clock"
import type * as Redacted from "effect/Redacted"
import type { Server } from "node:http"
import type { Duplex } from "node:stream"
import { WebSocketServer, type ServerOptions } from "ws"
import type { ServerMessage } from "@makima-stream/core/ServerMessage"
import type { Encoding } from "../ServerLog.ts"
import type * as DelayLine from "./delayLine.ts"
import * as Handshake from "./handshake.ts"
import * as MessageFaults from "./messageFaults.ts"
import { Connection, encode, type Content, type Host } from "./mockConnection.ts"
import type { Recorder } from "./recorder.ts"
import type * as RequestHandler from "./requestHandler.ts"
import type * as Verbs from "./verbs.ts"

export interface Options {
  readonly path: string
  readonly apiKey: Redacted.Redacted | undefined
  readonly settings: RequestHandler.Settings
  readonly clock: Clock
  readonly schedule: DelayLine.Schedule
  readonly perMessageDeflate: boolean
  readonly recorder: Recorder
}

export class MockServer {
  readonly #http: Server
  readonly #recorder: Recorder
  readonly #sockets = new Set<Duplex>()
  /** All connections, by their numbers from 1. */
  readonly #known: Array<Connection> = []
  /** The connections that have not ended, oldest first. */
  readonly #reachable = new Set<Connection>()
  #encoding: Encoding = "text"
  #emissions = 0
  /** Faults of the next handshakes. */
  readonly dials: Verbs.Dials = { faults: [], delayMillis: 0 }
  /** Faults of the next emitted messages. */
  readonly messages = MessageFaults.make((message) => this.#broadcast(message))

  constructor(options: Options) {
    const { createServer, STATUS_CODES } = process.getBuiltinModule("node:http")
    const host: Host = {
      ...options,
      nextEmission: () => ++this.#emissions,
      onEnd: (connection) => this.#reachable.delete(connection)
    }
    // The types of `ws` do not know all of its options yet.
    const upgraderOptions: ServerOptions & { readonly maxPendingAutoPongs: number } = {
      noServer: true,
      // At a thaw, many pings are read at once. They are not an attack.
      maxPendingAutoPongs: 0,
      clientTracking: false,
      perMessageDeflate: options.perMessageDeflate
    }
    const upgrader = new WebSocketServer(upgraderOptions)
    const handshake = Handshake.make({
      ...options,
      dials: this.dials,
      reasons: STATUS_CODES,
      accept: (request, socket, head) =>
        upgrader.handleUpgrade(request, socket, head, (webSocket) => {
          const connection = new Connection(this.#known.length + 1, host, webSocket, request, socket)
          this.#known.push(connection)
          this.#reachable.add(connection)
          // Last, because it resumes a test that waits for the connection.
          this.#recorder.append({ _tag: "Opened", connection: connection.id })
        })
    })
    this.#recorder = options.recorder
    this.#http = createServer((_, response) => response.writeHead(404).end())
    this.#http.on("connection", (socket) => {
      this.#sockets.add(socket)
      socket.on("close", () => this.#sockets.delete(socket))
    })
    this.#http.on("upgrade", handshake)
  }

  /** Listens, and calls back with the port. */
  listen(host: string, port: number, onListening: (port: number) => void, onError: (error: Error) => void): void {
    this.#http.once("error", onError)
    this.#http.listen(port, host, () => {
      this.#http.off("error", onError)
      const address = this.#http.address()
      onListening(typeof address === "object" && address !== null ? address.port : port)
    })
  }

  /** Cuts every connection, and calls back when the port is free. */
  stop(onStopped: () => void): void {
    for (const connection of this.reachable()) connection.stop()
    this.#http.close(onStopped)
    for (const socket of this.#sockets) socket.destroy()
  }

  /** The connections that are open, oldest first. */
  connections(): ReadonlyArray<Connection> {
    return this.reachable().filter(({ isOpen }) => isOpen)
  }

  /** The open connections, and those that were closed while frozen: they can still be thawed or killed. */
  reachable(): ReadonlyArray<Connection> {
    return [...this.#reachable]
  }

  /** A connection by its number, open or not. */
  get(id: number): Connection {
    const connection = this.#known[id - 1]
    if (connection === undefined) throw new RangeError(`There is no connection ${id}`)
    return connection
  }

  /** Sends a message to every connection that subscribed to it. Returns the number of sends. */
  emit(message: ServerMessage, as: Encoding): number {
    this.#encoding = as
    return this.messages.emit(message)
  }

  /** Sends a frame to every connection. Returns the number of connections. */
  emitRaw(raw: string | Uint8Array, as: Encoding): number {
    const content: Content = { _tag: "SentRaw", emission: ++this.#emissions, raw }
    let count = 0
    for (const connection of this.#reachable) {
      if (!connection.socket.isOpen()) continue
      connection.send(raw, as, content)
      count++
    }
    return count
  }

  #broadcast(message: ServerMessage): number {
    const content: Content = { _tag: "Sent", emission: ++this.#emissions, message }
    let frame: string | undefined
    let count = 0
    for (const connection of this.#reachable) {
      if (!connection.requests.feed.wants(message) || !connection.socket.isOpen()) continue
      frame ??= encode(message)
      connection.send(frame, this.#encoding, content)
      count++
    }
    if (count === 0) this.#recorder.append({ _tag: "Unheard", emission: content.emission, message })
    return count
  }

  /** Sends the next `n` acknowledgements that `manual` retains, on each connection. */
  acknowledge(n: number): void {
    for (const connection of this.reachable()) connection.requests.acknowledge(n)
  }

  /** Thaws every connection and ends all delays of requests. */
  healConnections(): void {
    for (const connection of this.reachable()) {
      connection.thaw()
      connection.requests.flush()
    }
  }
}
