/**
 * One connection of the mock server, without Effect: what is sent on it, how it is
 * frozen and thawed, and its end. `mockServer` has one for each accepted handshake.
 *
 * It is `open`, then possibly `closing` (it was closed while frozen, and its close
 * frame leaves at the thaw), and then `ended`.
 *
 * Invariants: nothing is sent on it after the server has closed or cut it; its end is
 * logged once.
 */
import type { Clock } from "effect/Clock"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import type { IncomingMessage } from "node:http"
import type { Duplex } from "node:stream"
import type { RawData, WebSocket } from "ws"
import * as ServerMessage from "@makima-stream/core/ServerMessage"
import type { Encoding } from "../ServerLog.ts"
import * as AcceptedSocket from "./acceptedSocket.ts"
import type * as DelayLine from "./delayLine.ts"
import type { Recorder } from "./recorder.ts"
import * as RequestHandler from "./requestHandler.ts"

export const keyHeader = "x-makima-api-key"

/** The server of a connection. */
export interface Host {
  readonly clock: Clock
  readonly schedule: DelayLine.Schedule
  readonly settings: RequestHandler.Settings
  readonly recorder: Recorder
  /** Returns the number of the next emission. */
  readonly nextEmission: () => number
  /** Called when a connection has ended. */
  readonly onEnd: (connection: Connection) => void
}

/** What a frame is in the log. */
export type Content =
  | { readonly _tag: "Sent"; readonly emission: number; readonly message: ServerMessage.ServerMessage }
  | { readonly _tag: "SentRaw"; readonly emission: number; readonly raw: string | Uint8Array }

// Throws for a value that is not a message, which is a mistake in the test.
export const encode = (message: ServerMessage.ServerMessage): string =>
  Result.getOrThrow(ServerMessage.encodeFrame(message))

const toBytes = (data: RawData): Buffer =>
  Array.isArray(data) ? Buffer.concat(data) : data instanceof ArrayBuffer ? Buffer.from(data) : data

export class Connection {
  readonly id: number
  readonly headers: Readonly<Record<string, string>>
  readonly apiKey: Redacted.Redacted | undefined
  readonly requests: RequestHandler.RequestHandler
  readonly socket: AcceptedSocket.AcceptedSocket
  readonly #host: Host
  #state: "open" | "closing" | "ended" = "open"
  /** The places in the log of the frames that a freeze retains. */
  readonly #retained: Array<number> = []

  constructor(id: number, host: Host, webSocket: WebSocket, request: IncomingMessage, socket: Duplex) {
    const { clock, recorder, schedule, settings } = host
    const { [keyHeader]: key, ...headers } = request.headersDistinct
    this.id = id
    this.#host = host
    this.headers = Object.fromEntries(
      Object.entries(headers).map(([name, values]) => [name, (values ?? []).join(", ")])
    )
    this.apiKey = key === undefined ? undefined : Redacted.make(key.join(", "))
    this.socket = AcceptedSocket.make(webSocket, socket)
    this.requests = RequestHandler.make({
      connection: id,
      clock,
      schedule,
      settings,
      recorder,
      isOpen: () => this.isOpen,
      send: (message) => this.send(encode(message), "text", { _tag: "Sent", emission: host.nextEmission(), message }),
      close: (code, reason) => this.close(code, reason),
      onReceived: () => {}
    })
    webSocket.on("message", (data, isBinary) => {
      const bytes = toBytes(data)
      this.requests.receive(isBinary ? bytes : bytes.toString())
    })
    // An error ends the connection, which is logged below.
    webSocket.on("error", () => {})
    webSocket.on("close", (code, reason) => this.#onClose(code, reason.toString()))
  }

  get isOpen(): boolean {
    return this.#state === "open"
  }

  /** Sends a frame, and logs it. */
  send(frame: string | Uint8Array, as: Encoding, content: Content): void {
    const delivered = !this.socket.isFrozen()
    const place = this.#host.recorder.append({ ...content, connection: this.id, as, delivered })
    if (!delivered && place !== undefined) this.#retained.push(place)
    this.socket.send(frame, as)
  }

  close(code: number, reason: string): void {
    if (this.#state !== "open") return
    // Throws if the code or the reason cannot be sent, before anything has changed.
    this.socket.close(code, reason)
    if (this.socket.isFrozen()) this.#state = "closing"
    else this.#end()
    this.#host.recorder.append({ _tag: "Closed", connection: this.id, by: "server", code, reason })
  }

  kill(): void {
    if (this.#state === "ended") return
    this.#logKill()
    this.#end()
    this.socket.kill()
  }

  /** The server stops, and destroys the socket itself. */
  stop(): void {
    this.#logKill()
    this.#end()
  }

  freeze(): void {
    if (this.#state === "ended" || this.socket.isFrozen()) return
    this.#host.recorder.append({ _tag: "Frozen", connection: this.id })
    this.socket.freeze()
  }

  thaw(): void {
    if (this.#state === "ended" || !this.socket.isFrozen()) return
    this.#host.recorder.deliver(this.#retained.splice(0))
    this.#host.recorder.append({ _tag: "Thawed", connection: this.id })
    this.socket.thaw()
    if (this.#state === "closing") this.#end()
  }

  #onClose(code: number, reason: string): void {
    if (this.#state === "ended") return
    // A connection that the server has closed is logged already.
    const isByClient = this.#state === "open"
    this.#end()
    if (isByClient) this.#host.recorder.append({ _tag: "Closed", connection: this.id, by: "client", code, reason })
  }

  #logKill(): void {
    if (this.#state === "open") this.#host.recorder.append({ _tag: "Killed", connection: this.id })
  }

  #end(): void {
    this.#state = "ended"
    this.#host.onEnd(this)
  }
}
