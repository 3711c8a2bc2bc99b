/**
 * Decides when the connections of a feed request boundaries (`boundarySocket.ts`):
 * often while an input is not aligned, since boundaries align it, and rarely while
 * an input is behind, to detect that the server has skipped messages for it.
 */
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import { kinds } from "./inputs.ts"
import type { Kind } from "./sequence.ts"

/**
 * The time between two rounds of requests in milliseconds: it grows from `firstWait`
 * to `lastWait` while an input is not aligned, and is `idleWait` otherwise.
 */
const firstWait = 100
const lastWait = 2000
const idleWait = 10_000

export interface Options {
  /** Whether boundaries of a kind would align an input. */
  readonly isJoining: (kind: Kind) => boolean
  /** Whether an input is behind in a kind. */
  readonly isLagging: (kind: Kind) => boolean
  /** Requests a boundary of a kind on every connection. */
  readonly request: (kind: Kind) => Effect.Effect<void>
  /** Runs after the requests of each round. */
  readonly afterRound: Effect.Effect<void>
}

export interface BoundaryRequests {
  /** Requests boundaries until it is interrupted. */
  readonly run: Effect.Effect<never>
  /** Ends a long wait: boundaries may be needed now. */
  readonly wake: () => void
}

export const make = ({ afterRound, isJoining, isLagging, request }: Options): BoundaryRequests => {
  const needed = Latch.makeUnsafe(false)
  const idle = Effect.raceFirst(Effect.sleep(idleWait), needed.await)
  const run = Effect.suspend(() => {
    let wait = firstWait
    let wasJoining = false
    const round = Effect.suspend(() => {
      needed.closeUnsafe()
      const joining = kinds.filter(isJoining)
      const requested = kinds.filter((kind) => joining.includes(kind) || isLagging(kind))
      if (joining.length > 0 !== wasJoining) wait = firstWait
      wasJoining = joining.length > 0
      // The answer to a request wakes this as well. Without a pause, an input that stays behind would be asked at once again.
      const pause = Effect.sleep(wait)
      const next = requested.length === 0 ? idle : wasJoining ? pause : Effect.andThen(pause, idle)
      wait = requested.length === 0 ? firstWait : Math.min(wait * 2, lastWait)
      return Effect.forEach(requested, request, { discard: true }).pipe(
        Effect.andThen(afterRound),
        Effect.andThen(next)
      )
    })
    return Effect.forever(round)
  })
  return { run, wake: () => needed.openUnsafe() }
}
