/**
 * Values over time with a bounded number of points: when there are more, two neighbours become one, so the series always
 * reaches back to its start.
 */

/** How the values of one point are combined: their sum (events), or the last one (a total). */
export type Mode = "sum" | "last"

export interface Series {
  /** Adds a value at a time in milliseconds. A time before the newest point counts as that of the newest point. */
  readonly add: (at: number, value: number) => void
  /** The width of a point in milliseconds. */
  readonly width: () => number
  /**
   * The points up to `now`: the time at which each begins, and its value. A time without values has 0 for a sum, and the value
   * before it for a total.
   */
  readonly points: (now: number) => { readonly times: ReadonlyArray<number>; readonly values: ReadonlyArray<number> }
}

export const make = (mode: Mode, options: { readonly width: number; readonly maxPoints: number }): Series => {
  let width = options.width
  let start: number | undefined
  let values: Array<number> = []

  const empty = (): number => (mode === "sum" ? 0 : (values.at(-1) ?? 0))

  const halve = (): void => {
    const half: Array<number> = []
    for (let i = 0; i < values.length; i += 2) {
      const [a = 0, b] = [values[i], values[i + 1]]
      half.push(mode === "sum" ? a + (b ?? 0) : (b ?? a))
    }
    values = half
    width *= 2
  }

  /** The index of the point of a time. Makes the points up to it. */
  const reach = (at: number): number => {
    start ??= Math.floor(at / width) * width
    while (Math.floor((at - start) / width) >= options.maxPoints) halve()
    const index = Math.max(Math.floor((at - start) / width), values.length - 1, 0)
    while (values.length <= index) values.push(empty())
    return index
  }

  return {
    add(at, value) {
      const index = reach(at)
      values[index] = mode === "sum" ? (values[index] ?? 0) + value : value
    },
    width: () => width,
    points(now) {
      if (start === undefined) return { times: [], values: [] }
      reach(now)
      const from = start
      return { times: values.map((_, index) => from + index * width), values: [...values] }
    }
  }
}

/** The rate of events over the last seconds. */
export interface Meter {
  readonly add: (at: number, events: number) => void
  /** Events a second at the time `now`. */
  readonly rate: (now: number) => number
}

/** Measures over `seconds` whole seconds, without the current one. */
export const meter = (seconds = 5): Meter => {
  const counts = new Map<number, number>()
  const secondOf = (at: number): number => Math.floor(at / 1000)
  const prune = (now: number): void => {
    for (const second of counts.keys())
      if (second < secondOf(now) - seconds || second > secondOf(now)) counts.delete(second)
  }
  return {
    add(at, events) {
      counts.set(secondOf(at), (counts.get(secondOf(at)) ?? 0) + events)
      if (counts.size > seconds + 1) prune(at)
    },
    rate(now) {
      prune(now)
      let sum = 0
      for (const [second, events] of counts) if (second !== secondOf(now)) sum += events
      return sum / seconds
    }
  }
}
