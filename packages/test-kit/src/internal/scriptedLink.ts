/**
 * One connection of a scripted mesh, without Effect: what arrives on it, and how it is
 * frozen, thawed and ended. `scriptedServer` has one for each dial that it accepts.
 *
 * Invariants:
 *
 * 1. Sends and requests on a frozen connection are retained and take effect at the
 *    thaw, in order. A cut, and a close by the client, take effect at once.
 * 2. A connection ends once, and nothing is sent on it afterwards. Frames that
 *    arrived before the end can still be taken, until the client releases it.
 */
import type { Clock } from "effect/Clock"
import * as Result from "effect/Result"
import type { SocketError } from "effect/socket/Socket"
import type { ClientMessage } from "@makima-stream/core/ClientMessage"
import * as ServerMessage from "@makima-stream/core/ServerMessage"
import type * as DelayLine from "./delayLine.ts"
import type { Recorder } from "./recorder.ts"
import * as RequestHandler from "./requestHandler.ts"
import * as SocketErrors from "./socketErrors.ts"

export type Frame = string | Uint8Array

/**
 * A frame that the server sent to a connection. `ScriptedMesh` exports it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Sent {
  /** The number of the connection. */
  readonly connection: number
  /** The message in the frame. */
  readonly message: ServerMessage.ServerMessage | undefined
  /** The frame: text as a string, binary as bytes. */
  readonly frame: Frame
}

export type EndedBy = "client" | "close" | "kill" | "heartbeat"

/** The server of a connection. */
export interface Host {
  readonly clock: Clock
  readonly schedule: DelayLine.Schedule
  readonly settings: RequestHandler.Settings
  readonly recorder: Recorder
  /** Returns the number of the next emission. */
  readonly nextEmission: () => number
  readonly onSent: (sent: Sent) => void
  /** Called after a request has taken effect. */
  readonly onReceived: (connection: number, message: ClientMessage) => void
  /** Called after every change. */
  readonly changed: () => void
}

export class Link {
  readonly id: number
  readonly requests: RequestHandler.RequestHandler
  readonly #host: Host
  /** Frames that have arrived and have not been pulled. */
  inbox: Array<Sent> = []
  frozen = false
  open = true
  /** Whether the program has released it. */
  released = false
  endedBy: EndedBy | undefined
  closeCode: number | undefined
  error: SocketError | undefined
  /** Resumes the suspended pull, if there is one. */
  notify: (() => void) | undefined
  /** Actions that run at the thaw. */
  #retained: Array<() => void> = []
  /** The places in the log of the frames that a freeze retains. */
  #retainedPlaces: Array<number> = []

  constructor(id: number, host: Host) {
    const { clock, recorder, schedule, settings } = host
    this.id = id
    this.#host = host
    this.requests = RequestHandler.make({
      connection: id,
      clock,
      schedule,
      settings,
      recorder,
      isOpen: () => this.open,
      send: (message) => this.send(message),
      close: (code, reason) => this.close(code, reason),
      onReceived: (message) => host.onReceived(id, message)
    })
  }

  // ---------------------------------------------------------------------------
  // the server's side
  // ---------------------------------------------------------------------------

  send(message: ServerMessage.ServerMessage, emission: number = this.#host.nextEmission()): void {
    this.deliver(Result.getOrThrow(ServerMessage.encodeFrame(message)), emission, message)
  }

  /** Sends a frame, and logs its message if it has one. */
  deliver(frame: Frame, emission: number, message?: ServerMessage.ServerMessage): void {
    if (!this.open) return
    const sent: Sent = { connection: this.id, message, frame }
    this.#host.onSent(sent)
    const body = {
      connection: this.id,
      emission,
      as: typeof frame === "string" ? "text" : "binary",
      delivered: !this.frozen
    } as const
    const place = this.#host.recorder.append(
      message === undefined ? { _tag: "SentRaw", ...body, raw: frame } : { _tag: "Sent", ...body, message }
    )
    if (this.frozen && place !== undefined) this.#retainedPlaces.push(place)
    this.#whenThawed(() => {
      this.inbox.push(sent)
      this.notify?.()
    })
    this.#host.changed()
  }

  close(code: number, reason: string | undefined): void {
    this.#whenThawed(() => this.#end("close", SocketErrors.closed(code, reason), code, reason))
  }

  /** Cuts the connection. `drop` discards what has arrived. */
  kill(drop: boolean): void {
    if (drop) this.inbox = []
    this.#end("kill", SocketErrors.closed(1006))
  }

  freeze(): void {
    if (this.frozen) return
    this.frozen = true
    this.#host.recorder.append({ _tag: "Frozen", connection: this.id })
    this.#host.changed()
  }

  thaw(): void {
    if (!this.frozen) return
    const { changed, recorder } = this.#host
    this.frozen = false
    recorder.append({ _tag: "Thawed", connection: this.id })
    recorder.deliver(this.#retainedPlaces.splice(0))
    for (const happen of this.#retained.splice(0)) if (this.open) happen()
    changed()
  }

  // ---------------------------------------------------------------------------
  // the client's side
  // ---------------------------------------------------------------------------

  receive(frame: Frame): void {
    this.#whenThawed(() => this.requests.receive(frame))
  }

  /** The client closes the connection. */
  hangUp(code: number, reason: string | undefined): void {
    if (this.open) this.closeCode = code
    this.#end("client", SocketErrors.closed(code, reason), code, reason)
  }

  /** The client abandons the connection after its heartbeat failed. */
  abandon(error: SocketError): void {
    this.#end("heartbeat", error)
  }

  /** The client does not read the connection any more. */
  release(): void {
    this.hangUp(1000, undefined)
    this.released = true
    this.notify?.()
  }

  /** Takes what has arrived, `n` frames at most. */
  take(n: number): ReadonlyArray<Sent> {
    if (this.released) return []
    return this.inbox.splice(0, n)
  }

  #whenThawed(happen: () => void): void {
    if (this.frozen) this.#retained.push(happen)
    else happen()
  }

  #end(endedBy: EndedBy, error: SocketError, code = 1006, reason = ""): void {
    if (!this.open) return
    this.#host.recorder.append(
      endedBy === "kill"
        ? { _tag: "Killed", connection: this.id }
        : { _tag: "Closed", connection: this.id, by: endedBy === "close" ? "server" : "client", code, reason }
    )
    this.open = false
    this.endedBy = endedBy
    this.error = error
    this.#retained = []
    this.notify?.()
    this.#host.changed()
  }
}
