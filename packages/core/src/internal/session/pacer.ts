/**
 * A token bucket that limits the rate of requests. No Effect, no clock: the caller
 * passes monotonic milliseconds in.
 */
import type { PaceSettings } from "./options.ts"

export interface Pacer {
  /** How many requests may be sent at `now`. */
  readonly available: (now: number) => number
  /** Counts sent requests. */
  readonly spend: (count: number) => void
  /** How many milliseconds after `now` the next request may be sent; 0 if at once. */
  readonly wait: (now: number) => number
}

const unlimited: PaceSettings = { burst: Infinity, requestsPerSecond: 0 }

/** Without a pace, there is no limit. */
export const make = ({ burst, requestsPerSecond }: PaceSettings = unlimited, start: number): Pacer => {
  let tokens = burst
  let filledAt = start

  const fill = (now: number): void => {
    tokens = Math.min(burst, tokens + ((now - filledAt) / 1000) * requestsPerSecond)
    filledAt = now
  }

  return {
    available(now) {
      fill(now)
      // Because of rounding, a sum can be slightly below a whole number.
      return Math.floor(tokens + 1e-6)
    },
    spend(count) {
      tokens -= count
    },
    wait(now) {
      fill(now)
      return Math.max(0, ((1 - tokens) / requestsPerSecond) * 1000)
    }
  }
}
