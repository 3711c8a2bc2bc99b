/**
 * One fiber for all timers of the client: idle subscriptions, the idle connection,
 * ended and stale tasks, stalled consumers. Times are monotonic milliseconds.
 */
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"

/** A part of the client with timers. */
export interface Timed {
  /** The time at which `sweep` must run next; `Infinity` if it has nothing to do. */
  readonly next: () => number
  /** Performs the actions that are due. Returns an effect for actions that are not synchronous. */
  readonly sweep: (now: number) => Effect.Effect<void> | void
}

export interface Timers {
  /** Must be called when the `next` of a part may have become earlier. */
  readonly changed: () => void
  /** Sweeps each part at its time. Never ends. */
  readonly run: Effect.Effect<never>
}

export const make = (now: () => number, timed: ReadonlyArray<Timed>): Timers => {
  const changes = Latch.makeUnsafe(false)

  const sweep = Effect.suspend(() => {
    const time = now()
    const effects = timed.map((each) => each.sweep(time)).filter((effect) => effect !== undefined)
    return Effect.all(effects, { discard: true })
  })

  const step = Effect.suspend(() => {
    changes.closeUnsafe()
    const next = Math.min(...timed.map((each) => each.next()))
    if (next === Infinity) return changes.await
    // Whole milliseconds: a sleep that ends slightly too early because of rounding would be followed by a sleep of 0 ms,
    // repeatedly if the clock stands still.
    const wait = Math.ceil(Math.max(0, next - now()))
    return Effect.andThen(Effect.raceFirst(Effect.sleep(wait), changes.await), sweep)
  })

  return { changed: () => changes.openUnsafe(), run: Effect.forever(step) }
}
