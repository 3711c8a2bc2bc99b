/**
 * Renews the connections of a feed at the request of the program: one after the
 * other, so that nothing is missing.
 *
 * A connection that is not aligned cannot replace another one, so it is dialled at
 * once. Each aligned connection is ended when the one before it is aligned again, or
 * after `patience`: the program may have asked because all connections are half-open.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

export interface Renewable {
  readonly reconnect: Effect.Effect<void>
  /** How often it has connected. */
  readonly epoch: () => number
  readonly isAligned: () => boolean
}

/** How long to wait for a new connection to be aligned, in milliseconds, and how often to look. */
const patience = 10_000
const interval = 100

/** Waits until a connection has connected again and is aligned. The epoch is read now. */
const renewed = ({ epoch, isAligned }: Renewable): Effect.Effect<void> => {
  const before = epoch()
  const check: Effect.Effect<void> = Effect.suspend(() =>
    epoch() > before && isAligned() ? Effect.void : Effect.andThen(Effect.sleep(interval), check)
  )
  return Effect.raceFirst(check, Effect.sleep(patience))
}

/** Makes the effect that renews all connections. The scope owns what it does after it returns. One renewal runs at a time. */
export const make = (connections: () => ReadonlyArray<Renewable>, scope: Scope.Scope): Effect.Effect<void> => {
  let isRunning = false
  return Effect.suspend(() => {
    const [aligned, others] = [
      connections().filter(({ isAligned }) => isAligned()),
      connections().filter(({ isAligned }) => !isAligned())
    ]
    const dialled = Effect.forEach(others, ({ reconnect }) => reconnect, { discard: true })
    if (isRunning || aligned.length === 0) return dialled
    isRunning = true
    const standIn = others.slice(0, 1).map(renewed)
    const steps = aligned.map((connection) =>
      Effect.suspend(() => {
        const back = renewed(connection)
        return Effect.andThen(connection.reconnect, back)
      })
    )
    return Effect.all([...standIn, ...steps], { discard: true }).pipe(
      Effect.ensuring(Effect.sync(() => void (isRunning = false))),
      Effect.forkIn(scope, { startImmediately: true }),
      Effect.andThen(dialled)
    )
  })
}
