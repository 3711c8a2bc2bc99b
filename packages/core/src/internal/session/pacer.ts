/**
 * A token bucket: how many requests may leave now. No Effect, no clock: the
 * caller passes monotonic milliseconds in.
 */
import type { PaceSettings } from "./options.ts"

export interface Pacer {
  /** How many requests may leave at `now`. */
  readonly available: (now: number) => number
  /** Counts requests that have left. */
  readonly spend: (count: number) => void
  /** How many milliseconds after `now` the next request may leave; 0 if it may leave at once. */
  readonly wait: (now: number) => number
}

export const make = ({ burst, requestsPerSecond }: PaceSettings, start: number): Pacer => {
  let tokens = burst
  let filledAt = start

  const fill = (now: number): void => {
    tokens = Math.min(burst, tokens + ((now - filledAt) / 1000) * requestsPerSecond)
    filledAt = now
  }

  // Sums of fractions end slightly below a whole number.
  const whole = (): number => Math.floor(tokens + 1e-6)

  return {
    available(now) {
      fill(now)
      return whole()
    },
    spend(count) {
      tokens -= count
    },
    wait(now) {
      fill(now)
      return whole() >= 1 ? 0 : ((1 - tokens) / requestsPerSecond) * 1000
    }
  }
}
