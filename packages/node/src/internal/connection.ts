/**
 * One WebSocket of `ws`, as a buffer that one fiber pulls from.
 *
 * Frames that come in one tick are collected and delivered as one batch, in one
 * microtask; a frame costs two numbers and an addition. Whole text frames are taken
 * past `ws` (`frames.ts`). Reads are paused
 * while the buffer holds `highWaterBytes` or more that nobody has taken.
 *
 * Invariants: frames are pulled in the order in which they came, each once; the
 * end is reported once, after the last frame; after `release` no listener is
 * left but one that does nothing, which keeps a late error from ending the
 * process.
 */
import * as MeshError from "@makima-stream/core/MeshError"
import type { NonEmptyArray, NonEmptyReadonlyArray } from "effect/Array"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import { constVoid } from "effect/Function"
import * as Socket from "effect/socket/Socket"
import { isUtf8 } from "node:buffer"
import type { ClientRequest, IncomingMessage } from "node:http"
import type { Socket as NetSocket } from "node:net"
import { WebSocket, type ClientOptions, type RawData } from "ws"
import * as Failure from "./failure.ts"
import * as Frames from "./frames.ts"

export type Frame = string | Uint8Array

/**
 * Text frames that nobody has taken yet: a chunk from the network, and which of the bounds are theirs. Their strings are
 * made when they are taken: before, V8 would copy them from one half of its young generation to the other, and make it
 * larger, for as long as the consumer is busy.
 */
interface Texts {
  readonly chunk: Buffer
  readonly from: number
  to: number
}

export interface Options {
  readonly url: string
  readonly headers: { [key: string]: string }
  readonly scrub: Failure.Scrub
  readonly maxFrameBytes: number
  readonly highWaterBytes: number
  readonly compression: boolean
  readonly tls: TlsOptions
  /** Wall clock, in milliseconds: what a `Retry-After` that is a date is measured from. */
  readonly wallMillis: () => number
  /** Monotonic clock, in milliseconds. */
  readonly now: () => number
  /** Called once, at the end. */
  readonly onEnd: (connection: Connection) => void
}

/** What `tls.connect` is given. */
export interface TlsOptions {
  readonly ca?: string | Buffer | Array<string | Buffer>
  readonly cert?: string | Buffer | Array<string | Buffer>
  readonly key?: string | Buffer
  readonly passphrase?: string
  readonly servername?: string
  readonly rejectUnauthorized?: boolean
}

export interface Connection {
  /** Waits for the handshake. */
  readonly opened: Effect.Effect<void, Socket.SocketError>
  /** Waits for the end. */
  readonly ended: Effect.Effect<void>
  /** The next frames. For one fiber at a time. */
  readonly pull: Effect.Effect<NonEmptyReadonlyArray<Frame>, Socket.SocketError>
  readonly write: (chunk: Frame | Socket.CloseEvent) => Effect.Effect<void, Socket.SocketError>
  readonly writeAll: (chunks: ReadonlyArray<Frame>) => Effect.Effect<void, Socket.SocketError>
  readonly ping: () => void
  /** When the last pong came, in the time of `now`. */
  readonly lastPongAt: () => number
  /** How much the network has brought: a frame that is still on its way counts as well. */
  readonly bytesRead: () => number
  /** Whether reads are held back at this moment. */
  readonly isPaused: () => boolean
  /** When reads were last taken up again, in the time of `now`. */
  readonly resumedAt: () => number
  /** Ends the connection with this reason, and drops the socket without waiting for anything. */
  readonly abandon: (error: Socket.SocketError) => void
  /** Closes with code 1000, or aborts the handshake, and lets go without waiting. */
  readonly release: () => void
}

/**
 * How long the peer may take to answer a close frame, in milliseconds of real
 * time: a process that is done is held up by no more than this.
 */
const closeTimeout = 1000

/** What a frame costs besides its payload, so that a flood of empty ones fills the buffer too. */
const frameOverhead = 32

/**
 * How many frames a reader that comes late is given at once. What it is given becomes strings, and then messages, all of
 * which live until it is done with the last of them.
 */
const lateBatch = 64

// `toString` writes U+FFFD wherever the bytes are no UTF-8, and looking for one is cheaper than looking at every byte
// before. Bytes that are none stay bytes: to judge a frame is the decoder's business, to end a connection is not.
const textOf = (data: Buffer, start: number, end: number): Frame => {
  const text = data.toString("utf8", start, end)
  if (!text.includes("\uFFFD")) return text
  const bytes = data.subarray(start, end)
  return isUtf8(bytes) ? text : bytesOf(bytes)
}

// A view of a larger buffer is copied: it would keep up to 64 KiB of neighbours alive.
const bytesOf = (data: Buffer): Uint8Array =>
  data.length === data.buffer.byteLength ? new Uint8Array(data.buffer) : new Uint8Array(data)

/** Dials. Throws what `ws` throws for options that it cannot use. */
export const make = (options: Options): Connection => {
  const { scrub, maxFrameBytes, highWaterBytes, now } = options
  // The types of `ws` do not know all of its options yet.
  const wsOptions: ClientOptions & { readonly closeTimeout: number; readonly servername?: string } = {
    headers: options.headers,
    // To `ws` a number is one of 32 bits, and no frame of more fits into a string.
    maxPayload: Math.min(Math.floor(maxFrameBytes), 2 ** 31 - 1),
    // See `onPing`.
    autoPong: false,
    perMessageDeflate: options.compression,
    skipUTF8Validation: true,
    followRedirects: false,
    closeTimeout,
    ...options.tls
  }
  const ws = new WebSocket(options.url, wsOptions)
  const opened = Deferred.makeUnsafe<void, Socket.SocketError>()
  const ended = Deferred.makeUnsafe<void>()

  let socket: NetSocket | undefined
  let socketError: unknown
  let isOpen = false
  // Whether this side has begun to close.
  let isClosing = false
  let end: Socket.SocketError | undefined

  let held: Array<Frame | Texts> = []
  // The last of what is held, while it grows.
  let texts: Texts | undefined
  // Where the texts that are held start and end, in turns. Kept when it is emptied, so that a frame allocates nothing.
  const bounds: Array<number> = []
  let boundsHeld = 0
  let framesHeld = 0
  // What has been taken of them: entries as a whole, and bounds.
  let next = 0
  let boundsTaken = 0
  // Whether the reader was away when something came for it.
  let isLate = false
  let bytes = 0
  let scheduled = false
  let paused = false
  let resumedAt = Number.NEGATIVE_INFINITY
  let lastPongAt = Number.NEGATIVE_INFINITY
  let waiter: ((effect: Connection["pull"]) => void) | undefined
  let splitter: Frames.Splitter | undefined

  const wake = () => {
    if (waiter === undefined) return
    const resume = waiter
    waiter = undefined
    // Nothing is taken yet: a fiber that is interrupted before it runs leaves the buffer as it was.
    resume(pull)
  }

  const deliver = () => {
    scheduled = false
    wake()
    // A reader that keeps up has taken everything by now.
    isLate = framesHeld > 0
    if (bytes < highWaterBytes || paused) return
    if (ws.readyState === WebSocket.OPEN) {
      paused = true
      ws.pause()
    } else if (ws.readyState === WebSocket.CLOSING && isClosing) {
      // `ws` cannot hold back what it closes. One that goes on instead of answering is heard no further.
      ws.terminate()
    }
  }

  const finish = (error: Socket.SocketError) => {
    if (end !== undefined) return
    end = error
    Deferred.doneUnsafe(opened, Effect.fail(error))
    Deferred.doneUnsafe(ended, Effect.void)
    options.onEnd(self)
    wake()
  }

  const onUpgrade = (response: IncomingMessage) => {
    socket = response.socket
    socket.on("error", onSocketError)
  }
  const onSocketError = (error: Error) => {
    socketError = error
  }
  const onUnexpectedResponse = (_: ClientRequest, response: IncomingMessage) => {
    const retryAfterMillis = Failure.retryAfterMillis(response.headers["retry-after"], options.wallMillis())
    finish(
      Failure.openFailed(
        new MeshError.HandshakeRejected({
          status: response.statusCode ?? 0,
          ...(retryAfterMillis === undefined ? {} : { retryAfterMillis })
        })
      )
    )
  }
  const onOpen = () => {
    isOpen = true
    if (socket !== undefined && ws.extensions === "") splitter = splitOff(socket)
    Deferred.doneUnsafe(opened, Effect.void)
  }
  /** Stands between the socket and the one listener that `ws` has put on it. Where that is not so, `ws` is left alone. */
  const splitOff = (from: NetSocket): Frames.Splitter | undefined => {
    const [listener, ...others] = from.listeners("data")
    if (listener === undefined || others.length > 0) return undefined
    // What listens to "data" takes a chunk.
    const wsOnData = listener as (this: NetSocket, chunk: Buffer) => void
    const own = Frames.make({
      maxFrameBytes,
      onText: receiveText,
      pass: (chunk) => wsOnData.call(from, chunk),
      onHandOver: () => {
        from.on("data", wsOnData)
        from.off("data", own.write)
        from.off("end", own.handOver)
        from.off("close", own.handOver)
      }
    })
    from.on("data", own.write)
    from.off("data", wsOnData)
    // Before `ws` closes its parser.
    from.prependListener("end", own.handOver)
    from.prependListener("close", own.handOver)
    return own
  }
  const onMessage = (data: RawData, isBinary: boolean) => {
    // `binaryType` is "nodebuffer", with which `ws` hands out nothing else.
    const payload = data as Buffer
    receive(isBinary ? bytesOf(payload) : textOf(payload, 0, payload.length), payload.length)
  }
  const receive = (frame: Frame, size: number) => {
    texts = undefined
    held.push(frame)
    framesHeld++
    bytes += size + frameOverhead
    schedule()
  }
  const receiveText = (chunk: Buffer, start: number, end: number) => {
    if (texts === undefined || texts.chunk !== chunk) {
      texts = { chunk, from: boundsHeld, to: boundsHeld }
      held.push(texts)
      bytes += chunk.length
    }
    bounds[boundsHeld] = start
    bounds[boundsHeld + 1] = end
    texts.to = boundsHeld += 2
    framesHeld++
    bytes += frameOverhead
    schedule()
  }
  const schedule = () => {
    if (scheduled) return
    scheduled = true
    queueMicrotask(deliver)
  }
  // The pings that wait behind a pause are all read at once. `ws` takes more than 60 of them for an attack and ends the
  // connection, where one answer to the last is enough (RFC 6455, section 5.5.3).
  let lastPing: Buffer | undefined
  const onPing = (data: Buffer) => {
    if (lastPing === undefined) queueMicrotask(answer)
    lastPing = data
  }
  const answer = () => {
    const data = lastPing
    lastPing = undefined
    // A peer that does not take what it is sent is sent no more.
    if (ws.readyState === WebSocket.OPEN && socket?.writableNeedDrain !== true) ws.pong(data)
  }
  const onPong = () => {
    lastPongAt = now()
  }
  const onError = (error: Error) => {
    finish(isOpen ? Failure.fromReadError(error, maxFrameBytes, scrub) : Failure.fromDialError(error, scrub))
  }
  const onClose = (code: number, reason: Buffer) => {
    finish(Failure.fromClose(code, reason.toString(), socketError, scrub))
  }

  ws.on("error", constVoid)
  ws.on("upgrade", onUpgrade)
  ws.on("unexpected-response", onUnexpectedResponse)
  ws.on("open", onOpen)
  ws.on("message", onMessage)
  ws.on("ping", onPing)
  ws.on("pong", onPong)
  ws.on("error", onError)
  ws.on("close", onClose)

  const detach = () => {
    ws.off("upgrade", onUpgrade)
    ws.off("unexpected-response", onUnexpectedResponse)
    ws.off("open", onOpen)
    ws.off("message", onMessage)
    ws.off("ping", onPing)
    ws.off("pong", onPong)
    ws.off("error", onError)
    ws.off("close", onClose)
    socket?.off("error", onSocketError)
  }

  const unpause = () => {
    if (!paused) return
    paused = false
    resumedAt = now()
    ws.resume()
  }

  const take = Effect.sync(() => {
    const size = isLate ? Math.min(framesHeld, lateBatch) : framesHeld
    // In its size from the beginning: an array that grows is copied several times over.
    const frames: Array<Frame> = []
    frames.length = size
    let count = 0
    while (count < size) {
      // Within bounds, as what follows is, which the type of an index does not say.
      const entry = held[next] as Frame | Texts
      if (typeof entry === "string" || entry instanceof Uint8Array) {
        frames[count++] = entry
        next++
        continue
      }
      const { chunk, to } = entry
      let from = Math.max(entry.from, boundsTaken)
      for (; from < to && count < size; from += 2) {
        frames[count++] = textOf(chunk, bounds[from] as number, bounds[from + 1] as number)
      }
      boundsTaken = from
      if (from === to) next++
    }
    framesHeld -= size
    if (framesHeld === 0) {
      held = []
      next = 0
      texts = undefined
      boundsHeld = 0
      boundsTaken = 0
      bytes = 0
      unpause()
    }
    // `pull` has seen that something is held, and nobody else takes from it.
    return frames as NonEmptyArray<Frame>
  })

  const wait = Effect.callback<NonEmptyReadonlyArray<Frame>, Socket.SocketError>((resume) => {
    waiter = resume
    return Effect.sync(() => {
      if (waiter === resume) waiter = undefined
    })
  })

  const pull: Connection["pull"] = Effect.suspend(() =>
    framesHeld > 0 ? take : end === undefined ? wait : Effect.fail(end)
  )

  /** Runs a write, or fails it with the reason of the connection's end. */
  const whenOpen = (write: () => void): Effect.Effect<void, Socket.SocketError> =>
    Effect.suspend(() => {
      if (end !== undefined) return Effect.fail(Failure.writeFailed(end))
      // Closing takes a round trip, at the end of which the reason is known.
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
    pull,
    write: (chunk) =>
      whenOpen(() => {
        if (Socket.isCloseEvent(chunk)) {
          isClosing = true
          ws.close(chunk.code, chunk.reason)
        } else {
          ws.send(chunk, { compress: false })
        }
      }),
    writeAll: (chunks) =>
      whenOpen(() => {
        // One write to the kernel for all of them.
        socket?.cork()
        try {
          for (const chunk of chunks) ws.send(chunk, { compress: false })
        } finally {
          socket?.uncork()
        }
      }),
    ping: () => ws.ping(),
    lastPongAt: () => lastPongAt,
    bytesRead: () => socket?.bytesRead ?? 0,
    isPaused: () => paused,
    resumedAt: () => resumedAt,
    abandon(error) {
      finish(error)
      ws.terminate()
    },
    release() {
      finish(new Socket.SocketError({ reason: new Socket.SocketCloseError({ code: 1006, closeReason: undefined }) }))
      detach()
      splitter?.handOver()
      // `ws` cannot resume what never opened.
      if (!isOpen) return ws.terminate()
      // The peer's answer is only read when reads go on; frames that come before it fall on the floor.
      ws.resume()
      if (ws.readyState === WebSocket.OPEN) ws.close(1000)
    }
  }

  return self
}
