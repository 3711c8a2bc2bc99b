/**
 * The frames that have arrived and were not pulled yet.
 *
 * Text frames stay bytes until they are pulled: the buffer keeps the chunk from
 * the network and the bounds of its frames. Strings that are made earlier and
 * wait are copied by V8 at each collection of the young generation. Measured:
 * 20 instead of 50 MB above idle (`docs/performance.md`).
 *
 * Invariants: frames are taken in the order in which they were added, each
 * once; `bytes` is 0 exactly if the buffer is empty; adding a text frame
 * allocates nothing but the first of a chunk.
 */
import type { NonEmptyArray } from "effect/Array"
import { textOf, type Frame } from "./payload.ts"

/** Consecutive text frames of one chunk: `bounds[from]` to `bounds[to - 1]` are their starts and ends, in turns. */
interface Texts {
  readonly chunk: Buffer
  readonly from: number
  to: number
}

export interface FrameBuffer {
  /** Adds a frame of this size in bytes. */
  readonly add: (frame: Frame, size: number) => void
  /** Adds the text frame from `start` to `end` of a chunk, which is kept until it is taken. */
  readonly addText: (chunk: Buffer, start: number, end: number) => void
  /** The number of frames. */
  readonly count: () => number
  /** What the frames take up, in bytes. A chunk counts as a whole until the buffer is empty. */
  readonly bytes: () => number
  /** Takes the first `size` frames, of which there must be as many. */
  readonly take: (size: number) => NonEmptyArray<Frame>
}

/** The cost of a frame besides its payload, so that a flood of empty frames fills the buffer too. */
const frameOverhead = 32

export const make = (): FrameBuffer => {
  let entries: Array<Frame | Texts> = []
  // The last entry, while it grows.
  let texts: Texts | undefined
  // Kept when the buffer is emptied, so that a frame allocates nothing.
  const bounds: Array<number> = []
  let boundsHeld = 0
  let framesHeld = 0
  // How many entries, and how many bounds, have been taken.
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
      // In its final size from the beginning: an array that grows is copied several times.
      frames.length = size
      let count = 0
      while (count < size) {
        // Within bounds, which the type of an index does not say. The same holds for `bounds` below.
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
