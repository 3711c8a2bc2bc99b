/**
 * A clock that runs only while the consumer waits. Timeouts of acknowledgements use
 * it, so that a slow consumer causes none: frames that have arrived are read before
 * the clock runs again.
 */
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"

export interface ReadingClock {
  /** The milliseconds during which the consumer has waited. */
  readonly now: () => number
  /** Waits until the consumer waits. */
  readonly started: Effect.Effect<void>
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
    started: started.await,
    start() {
      startedAt = monotonic()
      started.openUnsafe()
    },
    stop() {
      elapsed = now()
      startedAt = undefined
      started.closeUnsafe()
    },
    // Whole milliseconds: a sleep that ends slightly too early because of rounding would be followed by a sleep of 0 ms.
    waitUntil: (time) =>
      Effect.andThen(
        started.await,
        Effect.suspend(() => Effect.sleep(Math.max(0, Math.ceil(time - now()))))
      )
  }
}
