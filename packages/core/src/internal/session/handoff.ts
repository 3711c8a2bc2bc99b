/**
 * Passes batches from the fiber that reads a connection to the consumer that pulls.
 * The reader reads only while the consumer waits, so backpressure reaches the
 * transport.
 *
 * Invariants: an offered batch is pulled exactly once, even if the pull that waited
 * for it was interrupted; the end is pulled after all batches.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import { isNonEmpty } from "../nonEmpty.ts"

export interface Handoff<A, E> {
  /** The consumer's side. For one fiber at a time. */
  readonly pull: Effect.Effect<NonEmptyReadonlyArray<A>, E>
  /** Waits until the consumer waits for a batch. */
  readonly demand: Effect.Effect<void>
  /** Whether the consumer waits. */
  readonly isWaiting: () => boolean
  /** Passes elements on. Wakes the consumer, unless there are none. */
  readonly offer: (elements: ReadonlyArray<A>) => void
  /** Ends the feed. Later calls change nothing. */
  readonly end: (cause: Cause.Cause<E>) => void
}

export interface Hooks {
  /** Called when the consumer begins to wait. */
  readonly onWait: () => void
  /** Called when the consumer no longer waits. */
  readonly onDone: () => void
}

export const make = <A, E>(hooks: Hooks): Handoff<A, E> => {
  let ready: Array<A> | undefined
  let ended: Cause.Cause<E> | undefined
  let consumer: ((pull: Effect.Effect<NonEmptyReadonlyArray<A>, E>) => void) | undefined
  let reader: ((go: Effect.Effect<void>) => void) | undefined

  const take = (): Effect.Effect<NonEmptyReadonlyArray<A>, E> | undefined => {
    if (ready !== undefined && isNonEmpty(ready)) {
      const batch = ready
      ready = undefined
      return Effect.succeed(batch)
    }
    return ended === undefined ? undefined : Effect.failCause(ended)
  }

  const stopWaiting = (): typeof consumer => {
    const waiting = consumer
    if (waiting === undefined) return undefined
    consumer = undefined
    hooks.onDone()
    return waiting
  }

  const wake = (): void => {
    // The elements are taken when the pull runs, so a pull that is interrupted before loses nothing.
    stopWaiting()?.(pull)
  }

  const wait = Effect.callback<NonEmptyReadonlyArray<A>, E>((resume) => {
    consumer = resume
    hooks.onWait()
    const go = reader
    reader = undefined
    go?.(Effect.void)
    return Effect.sync(() => {
      if (consumer === resume) stopWaiting()
    })
  })

  const pull: Handoff<A, E>["pull"] = Effect.suspend(() => take() ?? wait)

  return {
    pull,
    demand: Effect.callback((resume) => {
      if (consumer !== undefined) return resume(Effect.void)
      reader = resume
    }),
    isWaiting: () => consumer !== undefined,
    offer(elements) {
      if (elements.length === 0) return
      // The common case passes the array itself on.
      ready = ready === undefined ? (elements as Array<A>) : [...ready, ...elements]
      wake()
    },
    end(cause) {
      ended ??= cause
      wake()
    }
  }
}
