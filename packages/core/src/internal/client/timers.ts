/**
 * One fiber for everything in the client that is due at some time: idle
 * subscriptions, the idle connection, ended and stale tasks, stalled consumers.
 * Times are monotonic milliseconds.
 */
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"

/** Something that is due at some time. */
export interface Timed {
  /** When `sweep` has something to do next; `undefined` if it has nothing. */
  readonly next: () => number | undefined
  /** Does what is due. Returns an effect for what cannot be done synchronously. */
  readonly sweep: (now: number) => Effect.Effect<void> | void
}

export interface Timers {
  /** Call this when the `next` of something may have become earlier. */
  readonly changed: () => void
  /** Sweeps whatever is due, for ever. */
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
    const next = Math.min(...timed.map((each) => each.next() ?? Infinity))
    if (next === Infinity) return changes.await
    // Whole milliseconds: a sleep that ends a rounding error too early would be followed by a sleep of no time, again and
    // again on a clock that stands still.
    const wait = Math.ceil(Math.max(0, next - now()))
    return Effect.andThen(Effect.raceFirst(Effect.sleep(wait), changes.await), sweep)
  })

  return { changed: () => changes.openUnsafe(), run: Effect.forever(step) }
}
