/**
 * What waits for one client, within a bound in bytes. A client without room never delays another one:
 *
 * - With marks, it *overflows*: events are dropped and counted until half of the bound is free. Then an `Overflow` stands at
 *   the place of the dropped events.
 * - Without marks, it is too slow at once, because it could not see the gap.
 * - A client that takes nothing for `stallMillis` is too slow in both cases.
 *
 * Frames wait here, where each is one reference to bytes that all clients share. At most `chunkBytes` at a time are with the
 * socket, which needs objects of its own for each of them.
 *
 * Invariants: what was delivered and not dropped is written in order, each `Overflow` at the place of what it counts; at most
 * one `write` waits for its `written`.
 */
import type { Resync } from "@makima-stream/core/MeshEvent"

export interface Options {
  readonly marks: boolean
  readonly maxBufferedBytes: number
  readonly stallMillis: number
  /** The time in milliseconds. */
  readonly now: () => number
  /** Writes frames. `written` must be called once, when the network has taken the last one. */
  readonly write: (frames: ReadonlyArray<string | Buffer>) => void
  /** Returns the frame of a mark. */
  readonly mark: (overflow: Resync) => string
  /** Called with the number of events that were dropped. */
  readonly onDropped: (count: number) => void
  /** Called when the client must be closed. */
  readonly onTooSlow: (reason: string) => void
}

export interface Backlog {
  /** Writes an event, or drops it. */
  readonly deliver: (frame: string | Buffer) => void
  /** Writes a frame that must not be dropped. */
  readonly control: (frame: string) => void
  /** Writes a frame without a bound, for a source that waits for room. */
  readonly append: (frame: string | Buffer) => void
  /** Whether half of the bound is free. */
  readonly hasRoom: () => boolean
  /** Calls back once when half of the bound is free, or nothing is written any more. One call at a time. */
  readonly onRoom: (callback: () => void) => void
  /** The network has taken the frames of the last `write`. */
  readonly written: () => void
  /** Reports a client that has taken nothing for too long. */
  readonly check: () => void
  /** When the network last took something from a client for which something waits; `undefined` if nothing waits. */
  readonly waitingSince: () => number | undefined
  /** Nothing is written any more. What waits is dropped, or written first. */
  readonly end: (waiting: "drop" | "write") => void
}

/** How many bytes are with the socket at a time. A client that takes so many within `stallMillis` is not too slow. */
const chunkBytes = 64 * 1024

const tooSlow = "The client is too slow"

export const make = (options: Options): Backlog => {
  const { mark, marks, maxBufferedBytes, now, onDropped, onTooSlow, stallMillis } = options
  /** How many events were dropped since the buffer was full; `undefined` while there is room. */
  let dropped: number | undefined
  let waitingSince: number | undefined
  /** The frames that wait, oldest first. Those before `head` have been written. */
  let queue: Array<string | Buffer> = []
  let head = 0
  /** The size of the frames that wait, and of those that the network has not taken yet. */
  let queued = 0
  let writing = 0
  let hasEnded = false
  let whenRoom: (() => void) | undefined

  const buffered = (): number => writing + queued

  const hasRoom = (): boolean => hasEnded || buffered() <= maxBufferedBytes / 2

  const signalRoom = (): void => {
    if (whenRoom === undefined || !hasRoom()) return
    const callback = whenRoom
    whenRoom = undefined
    callback()
  }

  const write = (frame: string | Buffer): void => {
    if (writing === 0) {
      waitingSince = now()
      writing = frame.length
      options.write([frame])
    } else {
      queue.push(frame)
      queued += frame.length
    }
  }

  /** Writes the next frames that wait. */
  const flush = (): void => {
    const frames: Array<string | Buffer> = []
    while (writing < chunkBytes && head < queue.length) {
      // The index is within bounds, but the type does not say so.
      const frame = queue[head++] as string | Buffer
      frames.push(frame)
      writing += frame.length
    }
    queued -= writing
    if (head === queue.length) {
      queue = []
      head = 0
    } else if (head > 1024 && head * 2 > queue.length) {
      queue = queue.slice(head)
      head = 0
    }
    if (frames.length > 0) options.write(frames)
  }

  const written = (): void => {
    writing = 0
    if (hasEnded) return
    waitingSince = queued === 0 ? undefined : now()
    flush()
    signalRoom()
    if (dropped === undefined || buffered() > maxBufferedBytes / 2) return
    const count = dropped
    dropped = undefined
    // A client sets the epoch itself: that of the connection on which it receives the mark.
    write(mark({ _tag: "Resync", epoch: 0, reason: { _tag: "Overflow", dropped: count } }))
  }

  const drop = (): void => {
    if (!marks) return onTooSlow(tooSlow)
    dropped = (dropped ?? 0) + 1
    onDropped(1)
  }

  return {
    deliver(frame) {
      if (hasEnded) return
      // A frame that is larger than the bound is written when nothing else waits.
      const bytes = buffered()
      if (dropped !== undefined || (bytes > 0 && bytes + frame.length > maxBufferedBytes)) drop()
      else write(frame)
    },
    control(frame) {
      if (hasEnded) return
      // What must not be dropped is bounded too: requests and marks are small, but a client can send any number.
      if (buffered() + frame.length > 2 * maxBufferedBytes) return onTooSlow(tooSlow)
      write(frame)
    },
    append(frame) {
      if (!hasEnded) write(frame)
    },
    written,
    hasRoom,
    onRoom(callback) {
      whenRoom = callback
      signalRoom()
    },
    check() {
      if (hasEnded || waitingSince === undefined || now() - waitingSince < stallMillis) return
      onTooSlow("The client has taken nothing for too long")
    },
    waitingSince: () => waitingSince,
    end(waiting) {
      if (!hasEnded && waiting === "write" && head < queue.length) options.write(queue.slice(head))
      hasEnded = true
      queue = []
      signalRoom()
    }
  }
}
