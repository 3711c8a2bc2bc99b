/**
 * Consumers whose streams end when the effect that runs them is interrupted, so that
 * they can handle their queued events: see `MeshClient.drainOnInterrupt`.
 */
import * as Context from "effect/Context"

/** The consumers that an effect runs. */
export interface Drain {
  /** Adds a consumer: `end` ends its stream. Returns a function that removes the consumer. */
  readonly add: (end: () => void) => () => void
  /** Ends all of its consumers, and each one that is added later. */
  readonly start: () => void
}

export const make = (): Drain => {
  const ends = new Set<() => void>()
  let isStarted = false
  return {
    add(end) {
      if (isStarted) end()
      else ends.add(end)
      return () => void ends.delete(end)
    },
    start() {
      isStarted = true
      const started = Array.from(ends)
      ends.clear()
      for (const end of started) end()
    }
  }
}

/** The drain of the effect that runs a consumer, if it has one. */
export const Current: Context.Reference<Drain | undefined> = Context.Reference<Drain | undefined>(
  "@makima-stream/core/MeshClient/Drain",
  { defaultValue: () => undefined }
)
