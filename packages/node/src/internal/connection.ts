/**
 * One WebSocket of `ws`, from which one fiber pulls frames.
 *
 * Its parts: `dial.ts` (the options for `ws`), `frames.ts` (text frames that bypass
 * `ws`), `inbox.ts` (frames that were not pulled yet), `pong.ts` (answers to pings),
 * `refusal.ts` (an HTTP response instead of a WebSocket), `failure.ts` (the reasons).
 *
 * Invariants: the end is reported once; after `release` only an empty listener is left,
 * which prevents a late error from ending the process.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import { constVoid } from "effect/Function"
import * as Socket from "effect/socket/Socket"
import type { ClientRequest, IncomingMessage } from "node:http"
import type { Socket as NetSocket } from "node:net"
import { WebSocket, type RawData } from "ws"
import * as ClientFrames from "./clientFrames.ts"
import * as Dial from "./dial.ts"
import * as Failure from "./failure.ts"
import * as Frames from "./frames.ts"
import * as Inbox from "./inbox.ts"
import { bytesOf, textOf, type Frame } from "./payload.ts"
import * as Pong from "./pong.ts"
import * as Refusal from "./refusal.ts"

export interface Options extends Dial.Options, Omit<Refusal.Options, "url">, Inbox.Options {
  /** Called once, at the end. */
  readonly onEnd: (connection: Connection) => void
}

export interface Connection {
  /** Waits for the handshake. */
  readonly opened: Effect.Effect<void, Socket.SocketError>
  /** Waits for the end. */
  readonly ended: Effect.Effect<void>
  readonly pull: Inbox.Pull
  readonly write: (chunk: Frame | Socket.CloseEvent) => Effect.Effect<void, Socket.SocketError>
  readonly writeAll: (chunks: ReadonlyArray<Frame>) => Effect.Effect<void, Socket.SocketError>
  readonly ping: () => void
  /** When the last pong arrived, in the time of `now`. */
  readonly lastPongAt: () => number
  /** The number of bytes that were read from the network, including parts of an incomplete frame. */
  readonly bytesRead: () => number
  /** Whether reads are paused. */
  readonly isPaused: () => boolean
  /** When reads were last resumed, in the time of `now`. */
  readonly resumedAt: () => number
  /** Ends the connection with this reason, and destroys the socket without waiting. */
  readonly abandon: (error: Socket.SocketError) => void
  /** Closes with code 1000, or aborts the handshake, without waiting. */
  readonly release: () => void
}

/** Dials. Throws the error of `ws` for invalid options. */
export const make = (options: Options): Connection => {
  const { scrub, now } = options
  const dial = Dial.make(options)
  const ws = new WebSocket(options.url, dial.wsOptions)
  const opened = Deferred.makeUnsafe<void, Socket.SocketError>()
  const ended = Deferred.makeUnsafe<void>()

  let socket: NetSocket | undefined
  let socketError: unknown
  let splitter: Frames.Splitter | undefined
  let isOpen = false
  let end: Socket.SocketError | undefined
  let lastPongAt = Number.NEGATIVE_INFINITY

  const finish = (error: Socket.SocketError) => {
    if (end !== undefined) return
    end = error
    Deferred.doneUnsafe(opened, Effect.fail(error))
    Deferred.doneUnsafe(ended, Effect.void)
    options.onEnd(self)
    inbox.wake()
  }
  const inbox = Inbox.make(ws, options, () => end)

  /** Runs a write. Fails with the reason of the connection's end if it has ended. */
  const whenOpen = (write: () => void): Effect.Effect<void, Socket.SocketError> =>
    Effect.suspend(() => {
      if (end !== undefined) return Effect.fail(Failure.writeFailed(end))
      // Closing takes a round trip, after which the reason is known.
      if (ws.readyState !== WebSocket.OPEN) return Effect.andThen(Deferred.await(ended), whenOpen(write))
      try {
        write()
        return Effect.void
      } catch (error) {
        return Effect.fail(Failure.badWrite(error))
      }
    })

  const self: Connection = {
    opened: Deferred.await(opened),
    ended: Deferred.await(ended),
    pull: inbox.pull,
    write: (chunk) =>
      whenOpen(() => {
        if (Socket.isCloseEvent(chunk)) {
          inbox.close()
          ws.close(chunk.code, chunk.reason)
        } else {
          ws.send(chunk, { compress: false })
        }
      }),
    // Past `ws`, which queues nothing, because it compresses nothing. A socket that is open is known since its upgrade.
    writeAll: (chunks) => whenOpen(() => void socket?.write(ClientFrames.encode(chunks))),
    ping: () => ws.ping(),
    lastPongAt: () => lastPongAt,
    bytesRead: () => socket?.bytesRead ?? 0,
    isPaused: inbox.isPaused,
    resumedAt: inbox.resumedAt,
    abandon(error) {
      finish(error)
      ws.terminate()
    },
    release() {
      finish(new Socket.SocketError({ reason: new Socket.SocketCloseError({ code: 1006, closeReason: undefined }) }))
      unlisten()
      splitter?.handOver()
      dial.abort()
      // `ws` cannot resume a connection that never opened.
      if (!isOpen) return ws.terminate()
      // The peer's answer arrives only if reads continue. Frames before it are dropped.
      ws.resume()
      if (ws.readyState === WebSocket.OPEN) ws.close(1000)
    }
  }

  const onSocketError = (error: Error) => {
    socketError = error
  }
  const offListeners = listen(ws, {
    upgrade(response: IncomingMessage) {
      socket = response.socket
      socket.on("error", onSocketError)
    },
    "unexpected-response": (_: ClientRequest, response: IncomingMessage) => {
      // Runs in the fiber that waits for `opened`.
      const refused = Effect.flatMap(Refusal.read(response, options), (rejected) => {
        const error = Failure.openFailed(rejected)
        finish(error)
        return Effect.fail(error)
      })
      Deferred.doneUnsafe(opened, refused)
    },
    open() {
      isOpen = true
      if (socket !== undefined && ws.extensions === "") {
        splitter = Frames.attach(socket, { maxFrameBytes: options.maxFrameBytes, onText: inbox.addText })
      }
      Deferred.doneUnsafe(opened, Effect.void)
    },
    message(data: RawData, isBinary: boolean) {
      // `binaryType` is "nodebuffer", with which `ws` uses no other type.
      const payload = data as Buffer
      inbox.add(isBinary ? bytesOf(payload) : textOf(payload, 0, payload.length), payload.length)
    },
    ping: Pong.coalesce((payload) => {
      // Nothing more is sent to a peer that does not read.
      if (ws.readyState === WebSocket.OPEN && socket?.writableNeedDrain !== true) ws.pong(payload)
    }),
    pong() {
      lastPongAt = now()
    },
    error(error: Error) {
      finish(isOpen ? Failure.fromReadError(error, options.maxFrameBytes, scrub) : Failure.fromDialError(error, scrub))
    },
    close(code: number, reason: Buffer) {
      const { credentialsMayChange } = options
      finish(Failure.fromClose({ code, reason: reason.toString(), error: socketError, credentialsMayChange }, scrub))
    }
  })
  const unlisten = () => {
    offListeners()
    socket?.off("error", onSocketError)
  }

  return self
}

/** The events of `ws` that a connection listens to. */
interface Listeners {
  readonly upgrade: (response: IncomingMessage) => void
  readonly "unexpected-response": (request: ClientRequest, response: IncomingMessage) => void
  readonly open: () => void
  readonly message: (data: RawData, isBinary: boolean) => void
  readonly ping: (data: Buffer) => void
  readonly pong: () => void
  readonly error: (error: Error) => void
  readonly close: (code: number, reason: Buffer) => void
}

/** Adds the listeners, and an empty error listener that stays. Returns a function that removes the listeners. */
const listen = (ws: WebSocket, listeners: Listeners): (() => void) => {
  ws.on("error", constVoid)
  const entries = Object.entries(listeners)
  for (const [event, listener] of entries) ws.on(event, listener)
  return () => {
    for (const [event, listener] of entries) ws.off(event, listener)
  }
}
