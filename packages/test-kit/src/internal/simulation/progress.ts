/**
 * How far a consumer has followed the reference.
 *
 * A late consumer may begin at any element, and a `Resync` for `Overflow` stands for
 * up to as many elements as it counts. So there may be several positions: all that
 * agree with the events so far.
 */
import type { MeshEvent } from "@makima-stream/core/MeshEvent"
import * as Reference from "./reference.ts"

export interface Options {
  readonly reference: Reference.Reference
  /** Which elements of the reference the consumer must see. */
  readonly admits: (element: Reference.Element) => boolean
  /** The positions at which the consumer may begin. Called at its first event. */
  readonly beginnings: () => ReadonlySet<number>
}

export interface Progress {
  /** Follows an event. Returns the elements that were expected instead if it is wrong. */
  readonly follow: (event: MeshEvent) => ReadonlyArray<Reference.Element> | undefined
  /** Whether the consumer would pass `element`, the number of an element, only later, at every position. */
  readonly isBefore: (element: number) => boolean
  /** How many elements the consumer has not seen yet. */
  readonly behind: () => number
}

export const make = ({ admits, beginnings, reference }: Options): Progress => {
  const { elements } = reference
  let positions: ReadonlySet<number> | undefined

  const nextAdmitted = (from: number): number => {
    let next = from
    for (;;) {
      const element = elements[next]
      if (element === undefined || admits(element)) return next
      next++
    }
  }

  /** The positions after at most `count` elements. */
  const skip = (from: ReadonlySet<number>, count: number): ReadonlySet<number> => {
    const reached = new Set(from)
    for (let position of from) {
      for (let n = 0; n < count; n++) {
        position = nextAdmitted(position)
        if (position >= elements.length) break
        reached.add(++position)
      }
    }
    return reached
  }

  const after = (from: ReadonlySet<number>, event: MeshEvent): ReadonlySet<number> => {
    if (event._tag === "Resync" && event.reason._tag === "Overflow") return skip(from, event.reason.dropped)
    // Other marks are not part of the reference.
    if (event._tag === "Resync" && event.reason._tag !== "BadFrame") return from
    const reached = new Set<number>()
    for (const position of from) {
      const next = nextAdmitted(position)
      const element = elements[next]
      if (element !== undefined && Reference.matches(element, event)) reached.add(next + 1)
    }
    return reached
  }

  const remaining = (position: number): number => {
    let count = 0
    for (let at = nextAdmitted(position); at < elements.length; at = nextAdmitted(at + 1)) count++
    return count
  }

  return {
    follow(event) {
      const before = positions ?? beginnings()
      const reached = after(before, event)
      if (reached.size === 0) return [...before].flatMap((position) => elements[nextAdmitted(position)] ?? [])
      positions = reached
      return undefined
    },
    isBefore: (element) => [...(positions ?? beginnings())].every((position) => nextAdmitted(position) < element),
    behind: () => (positions === undefined ? 0 : Math.min(...[...positions].map(remaining)))
  }
}
