/**
 * An accepted WebSocket, and the faults that can be injected into it.
 *
 * Invariants: a frozen socket neither sends nor reads. Frames that were sent while
 * it was frozen leave in order at the thaw, and are lost if it ends. `onDrained`
 * also calls back when the socket ends or freezes, since it would never drain.
 */
import type { Duplex } from "node:stream"
import type { WebSocket } from "ws"
import type { Encoding } from "../ServerLog.ts"

export interface AcceptedSocket {
  /** Whether frames may be sent on it: neither side has begun to close it. */
  readonly isOpen: () => boolean
  readonly isFrozen: () => boolean
  /** The number of bytes that this process has not passed to the network yet. */
  readonly buffered: () => number
  readonly send: (frame: string | Uint8Array, as: Encoding) => void
  readonly freeze: () => void
  readonly thaw: () => void
  /** Ends the connection without a close frame. */
  readonly kill: () => void
  /** Begins the closing handshake. */
  readonly close: (code: number, reason: string) => void
  /** Calls back once, when no more than `limit` bytes are buffered. Returns a function that cancels it. */
  readonly onDrained: (limit: number, callback: () => void) => () => void
}

export const make = (webSocket: WebSocket, socket: Duplex): AcceptedSocket => {
  let frozen = false
  const waiting = new Set<{ readonly limit: number; readonly callback: () => void }>()

  /** Nothing can be sent, at least until a thaw. */
  const isStuck = (): boolean => frozen || webSocket.readyState === webSocket.CLOSED

  const flushed = (): void => {
    for (const waiter of waiting) {
      if (!isStuck() && webSocket.bufferedAmount > waiter.limit) continue
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
      // Split by bytes: a character may be in two fragments, as the protocol allows.
      webSocket.send(bytes.subarray(0, third), { binary, fin: false })
      webSocket.send(bytes.subarray(third, 2 * third), { binary, fin: false })
      webSocket.send(bytes.subarray(2 * third), { binary, fin: true }, flushed)
    },
    freeze() {
      if (frozen) return
      frozen = true
      // A paused WebSocket reads no ping and sends no pong. A corked socket buffers its writes.
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
      if (isStuck() || webSocket.bufferedAmount <= limit) {
        callback()
        return () => {}
      }
      const waiter = { limit, callback }
      waiting.add(waiter)
      return () => waiting.delete(waiter)
    }
  }
}
