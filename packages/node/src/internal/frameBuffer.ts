/**
 * Frames that have arrived and were not pulled yet.
 *
 * Text frames stay bytes until they are pulled: the buffer keeps the chunk from the
 * network and the bounds of its frames. If they were strings, V8 would copy waiting
 * strings at each collection of the young generation. Measured: 20 instead of 50 MB
 * above idle (`docs/performance.md`).
 *
 * Invariants: frames are taken in the order in which they were added, each once;
 * `bytes` is 0 exactly if the buffer is empty; only the first text frame of a chunk
 * allocates memory.
 */
import type { NonEmptyArray } from "effect/Array"
import { textOf, type Frame } from "./payload.ts"

/** Consecutive text frames of one chunk: `bounds[from]` to `bounds[to - 1]` are alternately their starts and ends. */
interface Texts {
  readonly chunk: Buffer
  readonly from: number
  to: number
}

export interface FrameBuffer {
  /** Adds a frame of this size in bytes. */
  readonly add: (frame: Frame, size: number) => void
  /** Adds the text frame from `start` to `end` of a chunk. The chunk is kept until the frame is taken. */
  readonly addText: (chunk: Buffer, start: number, end: number) => void
  /** The number of frames. */
  readonly count: () => number
  /** The size of the frames in bytes. A chunk counts as a whole until the buffer is empty. */
  readonly bytes: () => number
  /** Takes the first `size` frames. There must be at least as many. */
  readonly take: (size: number) => NonEmptyArray<Frame>
}

/** The size that is added for each frame, so that a flood of empty frames fills the buffer too. */
const frameOverhead = 32

export const make = (): FrameBuffer => {
  let entries: Array<Frame | Texts> = []
  // The last entry, while frames are added to it.
  let texts: Texts | undefined
  // Reused after the buffer was emptied, so that a frame allocates nothing.
  const bounds: Array<number> = []
  let boundsHeld = 0
  let framesHeld = 0
  // The number of entries and the number of bounds that have been taken.
  let next = 0
  let boundsTaken = 0
  let bytes = 0

  const clear = () => {
    entries = []
    texts = undefined
    boundsHeld = 0
    next = 0
    boundsTaken = 0
    bytes = 0
  }

  return {
    count: () => framesHeld,
    bytes: () => bytes,
    add(frame, size) {
      texts = undefined
      entries.push(frame)
      framesHeld++
      bytes += size + frameOverhead
    },
    addText(chunk, start, end) {
      if (texts === undefined || texts.chunk !== chunk) {
        texts = { chunk, from: boundsHeld, to: boundsHeld }
        entries.push(texts)
        bytes += chunk.length
      }
      bounds[boundsHeld] = start
      bounds[boundsHeld + 1] = end
      texts.to = boundsHeld += 2
      framesHeld++
      bytes += frameOverhead
    },
    take(size) {
      const frames: Array<Frame> = []
      // Created with its final size, because a growing array is copied several times.
      frames.length = size
      let count = 0
      while (count < size) {
        // `next` is within bounds, but the type does not say so. The same applies to `bounds` below.
        const entry = entries[next] as Frame | Texts
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
      if (framesHeld === 0) clear()
      // `size` is at least 1.
      return frames as NonEmptyArray<Frame>
    }
  }
}
