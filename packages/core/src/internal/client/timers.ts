/**
 * One fiber for all timers of the client: idle subscriptions, the idle connection,
 * ended and stale tasks, stalled consumers. Times are monotonic milliseconds.
 */
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"

/**
 * Performs the actions of a part of the client that are due, and calls `wakeAt` for the
 * next one. May be called early. Returns an effect for actions that are not synchronous.
 */
export type Sweep = (now: number) => Effect.Effect<void> | void

export interface Timers {
  /** Every part is swept at this time, or before. */
  readonly wakeAt: (time: number) => void
  /** Sweeps the parts. Never ends. */
  readonly run: (sweeps: ReadonlyArray<Sweep>) => Effect.Effect<never>
}

export const make = (now: () => number): Timers => {
  const earlier = Latch.makeUnsafe(false)
  let next = Infinity
  return {
    wakeAt(time) {
      if (time > next) return
      next = time
      earlier.openUnsafe()
    },
    run: (sweeps) =>
      Effect.forever(
        Effect.suspend(() => {
          earlier.closeUnsafe()
          const time = now()
          // Whole milliseconds: a sleep that ends slightly too early because of rounding would be followed by a sleep of 0
          // ms, repeatedly if the clock stands still.
          const sleep = next === Infinity ? Effect.never : Effect.sleep(Math.ceil(next - time))
          if (next > time) return Effect.raceFirst(sleep, earlier.await)
          next = Infinity
          return Effect.forEach(sweeps, (sweep) => sweep(time) ?? Effect.void, { discard: true })
        })
      )
  }
}
