/**
 * Follows one consumer along the frames of one connection: each thing that the
 * consumer saw is matched with a frame, and what is passed over is noted.
 *
 * Invariants:
 *
 * 1. A frame is matched at most once.
 * 2. A consumer that sees the frames one after the other, from the first, never
 *    passes one over, whatever they hold.
 * 3. Time is in proportion to the frames and the events, also where many are
 *    equal.
 */
import { badFrameKey, type Connection, type Slot } from "./transcript.ts"

/** A frame that the consumer passed over, or never came to. */
export interface Missed {
  readonly slot: Slot
  /** Whether a `Resync` stood between its neighbours. */
  readonly marked: boolean
}

export interface Follower {
  /** The consumer saw this: the next such frame, one that it had passed over before, or neither. */
  readonly see: (key: string) => "inOrder" | "late" | undefined
  /**
   * As `see`, for what comes when the connection is over: whatever of it has not
   * been seen is late. To be asked only for what has not been seen anywhere.
   */
  readonly seeStraggler: (key: string) => boolean
  /** The consumer was told that it may have missed something; or that it came late and had to. */
  readonly mark: (options: { readonly joinedLate: boolean }) => void
  /** The consumer was told of a frame that is no message: of one, so that each needs its own. */
  readonly markBadFrame: () => void
  /** What the consumer passed over and never saw. */
  readonly passedOver: () => ReadonlyArray<Missed>
  /** What comes after the last frame that it saw. */
  readonly tail: () => ReadonlyArray<Slot>
}

export const make = ({ slots }: Connection): Follower => {
  let cursor = 0
  // What the consumer was told since the last message: anything at all, not only of a bad frame, that it came late.
  let told = false
  let marked = false
  let joinedLate = false
  /** Where the frames are that were passed over, and which of them, or of the tail, came late. */
  const missed: Array<{ readonly at: number; readonly marked: boolean }> = []
  const late = new Set<number>()
  /** `missed` by key, oldest first; `next` is the first that has not come late. */
  const missedByKey = new Map<string, { readonly positions: Array<number>; next: number }>()
  let index: Map<string, ReadonlyArray<number>> | undefined

  /** Where the frames of a key are. Needed for the first time when something is not as it should be. */
  const positions = (key: string): ReadonlyArray<number> => {
    if (index === undefined) {
      const all = new Map<string, Array<number>>()
      for (const [position, { key }] of slots.entries()) {
        const same = all.get(key)
        if (same === undefined) all.set(key, [position])
        else same.push(position)
      }
      index = all
    }
    return index.get(key) ?? []
  }

  const passOver = (at: number, { key }: Slot): void => {
    if (joinedLate) return
    missed.push({ at, marked: key === badFrameKey ? marked : told })
    const same = missedByKey.get(key)
    if (same === undefined) missedByKey.set(key, { positions: [at], next: 0 })
    else same.positions.push(at)
  }

  /** Moves on to the next frame of a key, if there is one. */
  const advance = (key: string): boolean => {
    const at = slots[cursor]?.key === key ? cursor : firstFrom(positions(key), cursor)
    if (at === undefined) return false
    for (; cursor < at; cursor++) {
      const passed = slots[cursor]
      if (passed !== undefined) passOver(cursor, passed)
    }
    cursor++
    return true
  }

  const seeLate = (key: string): boolean => {
    const same = missedByKey.get(key)
    const at = same?.positions[same.next]
    if (same === undefined || at === undefined) return false
    same.next++
    late.add(at)
    return true
  }

  return {
    see(key) {
      const found = advance(key) ? "inOrder" : seeLate(key) ? "late" : undefined
      told = false
      marked = false
      joinedLate = false
      return found
    },
    seeStraggler(key) {
      if (seeLate(key)) return true
      const at = positions(key).find((at) => at >= cursor)
      if (at !== undefined) late.add(at)
      return at !== undefined
    },
    mark(options) {
      told = true
      marked = true
      joinedLate ||= options.joinedLate
    },
    markBadFrame() {
      told = true
      advance(badFrameKey)
    },
    passedOver: () =>
      missed.flatMap(({ at, marked }) => {
        const slot = slots[at]
        return slot === undefined || late.has(at) ? [] : [{ slot, marked }]
      }),
    // Who joined late and saw nothing may have joined after all of it.
    tail: () => (joinedLate ? [] : slots.filter((_, at) => at >= cursor && !late.has(at)))
  }
}

/** The first of ascending numbers that is not below `from`. */
const firstFrom = (numbers: ReadonlyArray<number>, from: number): number | undefined => {
  let low = 0
  let high = numbers.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((numbers[middle] ?? 0) < from) low = middle + 1
    else high = middle
  }
  return numbers[low]
}
