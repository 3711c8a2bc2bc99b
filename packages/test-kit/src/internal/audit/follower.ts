/**
 * Matches the events of one consumer with the frames of one connection, and
 * records the skipped frames.
 *
 * Invariants:
 *
 * 1. A frame is matched at most once.
 * 2. For a consumer that sees all frames in order, from the first, no frame is
 *    skipped, whatever they contain.
 * 3. The running time is proportional to the number of frames and events, even if
 *    many are equal.
 */
import { badFrameKey, type Connection, type Slot } from "./transcript.ts"

/** How an event was matched: with the next equal frame, at its place in the log; or with a frame that was skipped before. */
export type Match = { readonly _tag: "InOrder"; readonly place: number } | { readonly _tag: "Late" }

export interface Follower {
  /** Matches an event of the consumer. Returns `undefined` if no frame is left for it. */
  readonly see: (key: string) => Match | undefined
  /**
   * Matches an event that came after the end of the connection. Returns whether a
   * frame was left for it. Only for events that have not been seen on any connection.
   */
  readonly seeStraggler: (key: string) => boolean
  /** Matches a `BadFrame` mark with a frame that cannot be decoded. Each mark matches one frame. */
  readonly seeBadFrame: () => Match | undefined
  /** The consumer joined late: frames before its next event are not expected. */
  readonly joinLate: () => void
  /** The frames that were skipped and never seen. */
  readonly skipped: () => ReadonlyArray<Slot>
  /** The frames after the last one that was seen. */
  readonly tail: () => ReadonlyArray<Slot>
}

export const make = ({ slots }: Connection): Follower => {
  let cursor = 0
  let joinedLate = false
  const skipped: Array<number> = []
  /** Frames that were matched out of order. */
  const late = new Set<number>()
  /** Skipped frames by key, oldest first; `next` is the first that has not been matched. */
  const skippedByKey = new Map<string, { readonly positions: Array<number>; next: number }>()
  let index: Map<string, ReadonlyArray<number>> | undefined

  /** The positions of a key's frames. Computed at the first event that is not the next frame. */
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

  const skip = (at: number, { key }: Slot): void => {
    if (joinedLate) return
    skipped.push(at)
    const same = skippedByKey.get(key)
    if (same === undefined) skippedByKey.set(key, { positions: [at], next: 0 })
    else same.positions.push(at)
  }

  /** Moves on to the next frame of a key, if there is one. */
  const advance = (key: string): Match | undefined => {
    const at = slots[cursor]?.key === key ? cursor : firstFrom(positions(key), cursor)
    const slot = at === undefined ? undefined : slots[at]
    if (at === undefined || slot === undefined) return undefined
    for (; cursor < at; cursor++) {
      const passed = slots[cursor]
      if (passed !== undefined) skip(cursor, passed)
    }
    cursor++
    joinedLate = false
    return { _tag: "InOrder", place: slot.place }
  }

  const seeLate = (key: string): boolean => {
    const same = skippedByKey.get(key)
    const at = same?.positions[same.next]
    if (same === undefined || at === undefined) return false
    same.next++
    late.add(at)
    return true
  }

  return {
    see: (key) => advance(key) ?? (seeLate(key) ? { _tag: "Late" } : undefined),
    seeStraggler(key) {
      if (seeLate(key)) return true
      const at = positions(key).find((at) => at >= cursor && !late.has(at))
      if (at !== undefined) late.add(at)
      return at !== undefined
    },
    seeBadFrame: () => advance(badFrameKey),
    joinLate() {
      joinedLate = true
    },
    skipped: () =>
      skipped.flatMap((at) => {
        const slot = slots[at]
        return slot === undefined || late.has(at) ? [] : [slot]
      }),
    // A consumer that joined late and saw nothing may have joined after the last frame.
    tail: () => (joinedLate ? [] : slots.filter((_, at) => at >= cursor && !late.has(at)))
  }
}

/** The first of ascending numbers that is at least `from`. */
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
