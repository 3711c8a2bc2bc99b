/**
 * A clock that stands still while the consumer does not wait. Acknowledgements
 * are timed by it, so that a consumer that is slow to pull causes no timeout:
 * what has arrived is read before the clock goes on.
 */
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"

export interface ReadingClock {
  /** Milliseconds during which the consumer waited. */
  readonly now: () => number
  /** Called when the consumer begins to wait. */
  readonly start: () => void
  /** Called when the consumer no longer waits. */
  readonly stop: () => void
  /** Waits until `now` may have reached `time`. May return early. */
  readonly waitUntil: (time: number) => Effect.Effect<void>
}

export const make = (monotonic: () => number): ReadingClock => {
  let elapsed = 0
  let startedAt: number | undefined
  const started = Latch.makeUnsafe(false)

  const now = (): number => elapsed + (startedAt === undefined ? 0 : monotonic() - startedAt)

  return {
    now,
    start() {
      startedAt = monotonic()
      started.openUnsafe()
    },
    stop() {
      elapsed = now()
      startedAt = undefined
      started.closeUnsafe()
    },
    // Whole milliseconds: a sleep that ends a rounding error early would be followed by a sleep of no time at all.
    waitUntil: (time) =>
      Effect.andThen(
        started.await,
        Effect.suspend(() => Effect.sleep(Math.max(0, Math.ceil(time - now()))))
      )
  }
}
