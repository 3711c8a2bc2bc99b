/**
 * A client on a WebSocket: reads its requests, and sends what the hub delivers within a bound.
 *
 * The bound is on the bytes that this process has not handed to the network (`bufferedAmount`). A client without room never
 * delays another one:
 *
 * - With marks, it *overflows*: events are dropped and counted until half of the bound is free. Then an `Overflow` stands at
 *   the place of the dropped events.
 * - Without marks, it is closed with 1013, because it could not see the hole.
 * - A client that takes nothing for `stallMillis` is closed with 1013 in both cases.
 */
import * as ClientMessage from "@makima-stream/core/ClientMessage"
import * as GatewayMessages from "@makima-stream/core/GatewayMessages"
import type { WebSocket } from "ws"
import type { Client } from "./hub.ts"
import { encodeMessage } from "./messages.ts"

export interface Options {
  readonly marks: boolean
  readonly maxBufferedBytes: number
  readonly stallMillis: number
  readonly now: () => number
  /** Called with each request. */
  readonly onRequest: (client: WebSocketClient, message: ClientMessage.ClientMessage) => void
  /** Called once, when nothing can be sent any more. */
  readonly onEnd: (client: WebSocketClient) => void
  /** Called when events were dropped, with their number. */
  readonly onDropped: (count: number) => void
  /** Called when the client is closed because it is too slow. */
  readonly onTooSlow: () => void
}

export interface WebSocketClient extends Client {
  /** Closes a client that has taken nothing for too long, and one that has not answered the last ping. Pings the others. */
  readonly check: () => void
  /** Whether its buffer is nearly empty. */
  readonly isIdle: () => boolean
  /** Cuts the connection. */
  readonly terminate: () => void
}

/** How long a client may take to answer a close frame, in milliseconds. */
const closeMillis = 2000

/** The interval of pings, in milliseconds. */
const pingMillis = 15_000

/** The most frames in a row that cannot be decoded. */
const maxBadFrames = 20

const isAlreadyEnding = ({ CLOSED, CLOSING, readyState }: WebSocket): boolean =>
  readyState === CLOSING || readyState === CLOSED

export const make = (ws: WebSocket, options: Options): WebSocketClient => {
  const { marks, maxBufferedBytes, now, onDropped, onEnd, onRequest, onTooSlow, stallMillis } = options
  /** How many events were dropped since the buffer was full; `undefined` while there is room. */
  let dropped: number | undefined
  /** When the network last took bytes, or when bytes began to wait; `undefined` while nothing waits. */
  let waitingSince: number | undefined
  let badFrames = 0
  let hasEnded = false
  let pingedAt = now()
  let isAlive = true

  const ended = (): void => {
    if (hasEnded) return
    hasEnded = true
    onEnd(self)
  }

  const close = (code: number, reason: string): void => {
    if (hasEnded) return
    ended()
    if (!isAlreadyEnding(ws)) ws.close(code, reason)
    // A client that does not read never answers.
    const timer = setTimeout(() => ws.terminate(), closeMillis)
    ws.once("close", () => clearTimeout(timer))
  }

  const tooSlow = (reason: string): void => {
    if (hasEnded) return
    onTooSlow()
    close(1013, reason)
  }

  const onWritten = (): void => {
    const { bufferedAmount } = ws
    waitingSince = bufferedAmount === 0 ? undefined : now()
    if (dropped === undefined || bufferedAmount > maxBufferedBytes / 2 || hasEnded) return
    const count = dropped
    dropped = undefined
    // The client's extension sets the epoch.
    write(GatewayMessages.encodeFrame({ _tag: "Resync", epoch: 0, reason: { _tag: "Overflow", dropped: count } }))
  }

  const text = { binary: false }

  const write = (frame: string | Buffer): void => {
    waitingSince ??= now()
    ws.send(frame, text, onWritten)
  }

  const drop = (): void => {
    if (!marks) return tooSlow("The client is too slow")
    dropped = (dropped ?? 0) + 1
    onDropped(1)
  }

  const self: WebSocketClient = {
    marks,
    deliver({ bytes }) {
      if (hasEnded) return
      if (dropped !== undefined || (ws.bufferedAmount > 0 && ws.bufferedAmount + bytes.length > maxBufferedBytes))
        drop()
      else write(bytes)
    },
    control(frame) {
      if (hasEnded) return
      // What must not be dropped is bounded too: requests and marks are small, but a client can send any number.
      if (ws.bufferedAmount + frame.length > 2 * maxBufferedBytes) return tooSlow("The client is too slow")
      write(frame)
    },
    close,
    check() {
      if (hasEnded) return
      const time = now()
      if (waitingSince !== undefined && time - waitingSince >= stallMillis) {
        return tooSlow("The client has taken nothing for too long")
      }
      if (time - pingedAt < pingMillis) return
      if (!isAlive) {
        ended()
        return ws.terminate()
      }
      pingedAt = time
      isAlive = false
      ws.ping()
    },
    isIdle: () => ws.bufferedAmount < maxBufferedBytes / 2,
    terminate() {
      ended()
      ws.terminate()
    }
  }

  ws.on("message", (data, isBinary) => {
    if (hasEnded) return
    // `ws` passes a Buffer, because `binaryType` is the default.
    const bytes = data as Buffer
    const decoded = ClientMessage.decodeFrame(isBinary ? bytes : bytes.toString())
    isAlive = true
    if (decoded._tag === "Success") {
      badFrames = 0
      return onRequest(self, decoded.success)
    }
    badFrames++
    if (badFrames > maxBadFrames) return close(1008, "Too many invalid requests")
    self.control(encodeMessage({ _tag: "ServerError", code: "BAD_REQUEST", message: decoded.failure.message }))
  })
  ws.on("pong", () => void (isAlive = true))
  ws.on("close", ended)
  // A `close` follows.
  ws.on("error", () => {})
  return self
}
