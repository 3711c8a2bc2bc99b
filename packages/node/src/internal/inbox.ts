/**
 * The frames of one connection that were not pulled yet, and the one fiber that pulls
 * them. `connection.ts` adds the frames.
 *
 * Frames that arrive in one tick are pulled as one batch: the reader is woken in a
 * microtask. Reads are paused while the buffer contains `highWaterBytes` or more.
 *
 * Invariants: frames are pulled in the order in which they were added, each once; the
 * end is reported after the last frame.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import type * as Socket from "effect/socket/Socket"
import { WebSocket } from "ws"
import * as FrameBuffer from "./frameBuffer.ts"
import type { Frame } from "./payload.ts"

/** The next frames. For one fiber at a time. */
export type Pull = Effect.Effect<NonEmptyReadonlyArray<Frame>, Socket.SocketError>

export interface Options {
  readonly highWaterBytes: number
  /** Monotonic clock, in milliseconds. */
  readonly now: () => number
}

/** The WebSocket that is paused and resumed. */
export type Pausable = Pick<WebSocket, "readyState" | "pause" | "resume" | "terminate">

/**
 * The most frames that a late reader receives at once. They become strings, and then
 * messages, which stay in memory until the reader has handled the last one.
 */
const lateBatch = 64

/** Keeps frames until they are pulled, and pauses reads. */
export interface Inbox {
  readonly add: (frame: Frame, size: number) => void
  readonly addText: (chunk: Buffer, start: number, end: number) => void
  readonly pull: Pull
  /** Wakes the reader because of frames or the end. */
  readonly wake: () => void
  /** Called when this side begins to close. */
  readonly close: () => void
  readonly isPaused: () => boolean
  readonly resumedAt: () => number
}

export const make = (
  ws: Pausable,
  { highWaterBytes, now }: Options,
  end: () => Socket.SocketError | undefined
): Inbox => {
  const buffer = FrameBuffer.make()
  let waiter: ((effect: Pull) => void) | undefined
  let isScheduled = false
  // Whether the reader did not take the last frames in time.
  let isLate = false
  let isPaused = false
  let resumedAt = Number.NEGATIVE_INFINITY
  let isClosing = false

  const wake = () => {
    if (waiter === undefined) return
    const resume = waiter
    waiter = undefined
    // The frames are taken when the pull runs, so a fiber that is interrupted before leaves the buffer unchanged.
    resume(pull)
  }

  const deliver = () => {
    isScheduled = false
    wake()
    // A reader that is fast enough has already taken everything.
    isLate = buffer.count() > 0
    if (buffer.bytes() < highWaterBytes || isPaused) return
    if (ws.readyState === WebSocket.OPEN) {
      isPaused = true
      ws.pause()
    } else if (ws.readyState === WebSocket.CLOSING && isClosing) {
      // `ws` cannot pause a connection while it closes it. If the peer continues to send, the connection is cut.
      ws.terminate()
    }
  }
  const schedule = () => {
    if (isScheduled) return
    isScheduled = true
    queueMicrotask(deliver)
  }

  const take = Effect.sync(() => {
    const frames = buffer.take(isLate ? Math.min(buffer.count(), lateBatch) : buffer.count())
    if (buffer.count() === 0 && isPaused) {
      isPaused = false
      resumedAt = now()
      ws.resume()
    }
    return frames
  })
  const wait = Effect.callback<NonEmptyReadonlyArray<Frame>, Socket.SocketError>((resume) => {
    waiter = resume
    return Effect.sync(() => {
      if (waiter === resume) waiter = undefined
    })
  })
  const pull: Pull = Effect.suspend(() => {
    if (buffer.count() > 0) return take
    const error = end()
    return error === undefined ? wait : Effect.fail(error)
  })

  return {
    add(frame, size) {
      buffer.add(frame, size)
      schedule()
    },
    addText(chunk, start, end) {
      buffer.addText(chunk, start, end)
      schedule()
    },
    pull,
    wake,
    close() {
      isClosing = true
    },
    isPaused: () => isPaused,
    resumedAt: () => resumedAt
  }
}
