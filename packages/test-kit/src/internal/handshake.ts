/**
 * How the mock server answers the handshakes of clients: the path, the key, and the
 * faults of dials.
 *
 * Invariant: faults form one queue; each upgrade on the feed's path takes the oldest.
 */
import type { IncomingMessage } from "node:http"
import type { Duplex } from "node:stream"
import * as Redacted from "effect/Redacted"
import type * as DelayLine from "./delayLine.ts"
import { keyHeader } from "./mockConnection.ts"
import type { Recorder } from "./recorder.ts"
import * as Verbs from "./verbs.ts"

export interface Options {
  readonly path: string
  readonly apiKey: Redacted.Redacted | undefined
  readonly schedule: DelayLine.Schedule
  readonly recorder: Recorder
  readonly dials: Verbs.Dials
  /** The reason phrase of each HTTP status. */
  readonly reasons: Readonly<Record<number, string | undefined>>
  /** Called for a handshake that becomes a connection. */
  readonly accept: (request: IncomingMessage, socket: Duplex, head: Buffer) => void
}

/** Returns the listener of `upgrade`. */
export const make = (options: Options) => {
  const { accept, apiKey, dials, path, reasons, recorder, schedule } = options

  const refuse = (socket: Duplex, status: number, headers: Readonly<Record<string, string>>): void => {
    recorder.append({ _tag: "Refused", status })
    const lines = Object.entries({ connection: "close", "content-length": "0", ...headers })
    socket.end(
      [
        `HTTP/1.1 ${status} ${reasons[status] ?? "Refused"}`,
        ...lines.map(([name, value]) => `${name}: ${value}`),
        "",
        ""
      ].join("\r\n")
    )
  }

  const answer = (request: IncomingMessage, socket: Duplex, head: Buffer): void => {
    const fault = Verbs.takeFault(dials)
    if (fault?._tag === "Stall") {
      recorder.append({ _tag: "Stalled" })
      return
    }
    if (fault?._tag === "Refuse") return refuse(socket, fault.status, fault.headers)
    if (apiKey !== undefined && request.headers[keyHeader] !== Redacted.value(apiKey)) return refuse(socket, 401, {})
    accept(request, socket, head)
  }

  return (request: IncomingMessage, socket: Duplex, head: Buffer): void => {
    // A client may abort a handshake at any time.
    socket.on("error", () => {})
    if (request.url?.split("?", 1)[0] !== path) return refuse(socket, 404, {})
    if (dials.delayMillis === 0) answer(request, socket, head)
    else schedule(dials.delayMillis, () => socket.destroyed || answer(request, socket, head))
  }
}
