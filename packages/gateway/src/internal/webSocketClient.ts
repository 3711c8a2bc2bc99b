/** A client on a WebSocket: reads its requests, and sends what the hub delivers (see `backlog`). */
import * as ClientMessage from "@makima-stream/core/ClientMessage"
import * as GatewayMessages from "@makima-stream/core/GatewayMessages"
import type { WebSocket } from "ws"
import * as Backlog from "./backlog.ts"
import type { Client } from "./hub.ts"
import { encodeMessage, type Message } from "./messages.ts"

/** What all clients share. */
export interface ClientOptions extends Pick<Backlog.Options, "maxBufferedBytes" | "stallMillis" | "now" | "onDropped"> {
  /** Runs the callback after a time, unless the returned function is called before. */
  readonly after: (millis: number, callback: () => void) => () => void
  /** Called once, when nothing can be sent any more. */
  readonly onEnd: (client: OpenClient) => void
  /** Called when the client is closed because it is too slow. */
  readonly onTooSlow: () => void
}

/** A client that the gateway looks after. */
export interface OpenClient extends Client {
  /** Closes a client that has taken nothing for too long or is dead, and keeps the others alive. Called every second. */
  readonly check: () => void
  /** Sends a message without a bound, for a source that waits for room. */
  readonly append: (message: Message) => void
  /** See `Backlog`. */
  readonly hasRoom: () => boolean
  /** See `Backlog`. */
  readonly onRoom: (callback: () => void) => void
}

export interface Options extends ClientOptions {
  readonly marks: boolean
  /** Called with each request. */
  readonly onRequest: (client: OpenClient, message: ClientMessage.ClientMessage) => void
}

/** How long a client may take to answer a close, in milliseconds. */
export const closeMillis = 2000

/** The interval of pings, in milliseconds. */
export const pingMillis = 15_000

/** The most frames in a row that cannot be decoded. */
const maxBadFrames = 20

const isEnding = ({ CLOSED, CLOSING, readyState }: WebSocket): boolean =>
  readyState === CLOSING || readyState === CLOSED

export const make = (ws: WebSocket, options: Options): OpenClient => {
  const { after, marks, now, onEnd, onRequest, onTooSlow } = options
  let badFrames = 0
  let hasEnded = false
  let pingedAt = now()
  /** Whether the client has shown life since the last ping. */
  let isAlive = true

  const ended = (waiting: "drop" | "write" = "drop"): void => {
    if (hasEnded) return
    hasEnded = true
    backlog.end(waiting)
    onEnd(self)
  }

  const close = (code: number, reason: string): void => {
    if (hasEnded) return
    // A client that sees a close frame has received everything before it, unless it was too slow.
    ended(code === 1013 || isEnding(ws) ? "drop" : "write")
    if (!isEnding(ws)) ws.close(code, reason)
    // A client that does not read never answers.
    ws.once(
      "close",
      after(closeMillis, () => ws.terminate())
    )
  }

  const asText = { binary: false }
  // One function for all frames: this is the hot path.
  const onWritten = (): void => {
    isAlive = true
    backlog.written()
  }

  const backlog = Backlog.make({
    ...options,
    write(frames) {
      const last = frames.length - 1
      for (const [i, frame] of frames.entries()) {
        if (i === last) ws.send(frame, asText, onWritten)
        else ws.send(frame, asText)
      }
    },
    mark: GatewayMessages.encodeFrame,
    onTooSlow(reason) {
      onTooSlow()
      close(1013, reason)
    }
  })

  const self: OpenClient = {
    marks,
    deliver: ({ bytes }) => backlog.deliver(bytes),
    control: ({ text }) => backlog.control(text),
    acknowledge: (message) => backlog.control(encodeMessage(message)),
    close,
    append: ({ bytes }) => backlog.append(bytes),
    hasRoom: () => backlog.hasRoom(),
    onRoom: (callback) => backlog.onRoom(callback),
    check() {
      backlog.check()
      const time = now()
      if (hasEnded || time - pingedAt < pingMillis) return
      if (!isAlive) {
        ended()
        return ws.terminate()
      }
      pingedAt = time
      isAlive = false
      ws.ping()
    }
  }

  ws.on("message", (data, isBinary) => {
    if (hasEnded) return
    isAlive = true
    // `ws` passes a Buffer, because `binaryType` is the default.
    const bytes = data as Buffer
    const decoded = ClientMessage.decodeFrame(isBinary ? bytes : bytes.toString())
    if (decoded._tag === "Success") {
      badFrames = 0
      return onRequest(self, decoded.success)
    }
    badFrames++
    if (badFrames > maxBadFrames) return close(1008, "Too many invalid requests")
    backlog.control(encodeMessage({ _tag: "ServerError", code: "BAD_REQUEST", message: decoded.failure.message }))
  })
  ws.on("pong", () => void (isAlive = true))
  ws.on("close", () => ended())
  // A `close` follows.
  ws.on("error", () => {})
  return self
}
