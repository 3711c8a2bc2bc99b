/**
 * One accepted WebSocket, and what can be done to it.
 *
 * Invariants: a frozen one neither sends nor reads; what was sent on it while
 * it was frozen leaves in order when it thaws, and is gone when it ends; whoever
 * waits for it to drain is let go when it ends or freezes, since it never will.
 */
import type { Duplex } from "node:stream"
import type { WebSocket } from "ws"
import type { Encoding } from "../ServerLog.ts"

export interface AcceptedSocket {
  /** Whether frames may be sent on it: neither side has begun to close it. */
  readonly isOpen: () => boolean
  readonly isFrozen: () => boolean
  /** How many bytes wait in this process for the network to take them. */
  readonly buffered: () => number
  readonly send: (frame: string | Uint8Array, as: Encoding) => void
  readonly freeze: () => void
  readonly thaw: () => void
  /** Ends it without a close frame. */
  readonly kill: () => void
  /** Begins the closing handshake. */
  readonly close: (code: number, reason: string) => void
  /** Calls back once, when no more than `limit` bytes are buffered. Gives a function that calls this off. */
  readonly onDrained: (limit: number, callback: () => void) => () => void
}

export const make = (webSocket: WebSocket, socket: Duplex): AcceptedSocket => {
  let frozen = false
  const waiting = new Set<{ readonly limit: number; readonly callback: () => void }>()

  /** Nothing leaves any more, or not until a thaw. */
  const isHopeless = (): boolean => frozen || webSocket.readyState === webSocket.CLOSED

  const flushed = (): void => {
    for (const waiter of waiting) {
      if (!isHopeless() && webSocket.bufferedAmount > waiter.limit) continue
      waiting.delete(waiter)
      waiter.callback()
    }
  }
  webSocket.on("close", flushed)

  return {
    isOpen: () => webSocket.readyState === webSocket.OPEN,
    isFrozen: () => frozen,
    buffered: () => webSocket.bufferedAmount,
    send(frame, as) {
      if (as !== "fragmented") {
        webSocket.send(frame, { binary: as === "binary" }, flushed)
        return
      }
      const bytes = Buffer.from(frame)
      const binary = typeof frame !== "string"
      const third = Math.ceil(bytes.length / 3)
      // Cut by bytes: a character may lie in two fragments, as the protocol allows.
      webSocket.send(bytes.subarray(0, third), { binary, fin: false })
      webSocket.send(bytes.subarray(third, 2 * third), { binary, fin: false })
      webSocket.send(bytes.subarray(2 * third), { binary, fin: true }, flushed)
    },
    freeze() {
      if (frozen) return
      frozen = true
      // Paused, it sees no ping and so answers none; corked, the socket keeps what is written to it.
      webSocket.pause()
      socket.cork()
      flushed()
    },
    thaw() {
      if (!frozen) return
      frozen = false
      socket.uncork()
      webSocket.resume()
    },
    kill: () => webSocket.terminate(),
    close: (code, reason) => webSocket.close(code, reason),
    onDrained(limit, callback) {
      if (isHopeless() || webSocket.bufferedAmount <= limit) {
        callback()
        return () => {}
      }
      const waiter = { limit, callback }
      waiting.add(waiter)
      return () => waiting.delete(waiter)
    }
  }
}
