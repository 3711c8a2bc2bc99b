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
import type { ReadingClock } from "./readingClock.ts"

export interface Handoff<A, E> {
  /** The consumer's side. For one fiber at a time. */
  readonly pull: Effect.Effect<NonEmptyReadonlyArray<A>, E>
  /** Passes elements on. Wakes the consumer, unless there are none. */
  readonly offer: (elements: ReadonlyArray<A>) => void
  /** Ends the feed. Later calls change nothing. */
  readonly end: (cause: Cause.Cause<E>) => void
}

/** `reading` is started when the consumer begins to wait, and stopped when it no longer waits. */
export const make = <A, E>(reading: Pick<ReadingClock, "start" | "stop">): Handoff<A, E> => {
  let ready: NonEmptyReadonlyArray<A> | undefined
  let ended: Cause.Cause<E> | undefined
  let consumer: ((pull: Effect.Effect<NonEmptyReadonlyArray<A>, E>) => void) | undefined

  const stopWaiting = (): void => {
    consumer = undefined
    reading.stop()
  }

  const wake = (): void => {
    const resume = consumer
    if (resume === undefined) return
    stopWaiting()
    // The elements are taken when the pull runs, so a pull that is interrupted before loses nothing.
    resume(pull)
  }

  const wait = Effect.callback<NonEmptyReadonlyArray<A>, E>((resume) => {
    consumer = resume
    reading.start()
    return Effect.sync(() => {
      if (consumer === resume) stopWaiting()
    })
  })

  const pull = Effect.suspend(() => {
    const batch = ready
    ready = undefined
    if (batch !== undefined) return Effect.succeed(batch)
    return ended === undefined ? wait : Effect.failCause(ended)
  })

  return {
    pull,
    offer(elements) {
      if (!isNonEmpty(elements)) return
      // The common case passes the array itself on.
      ready = ready === undefined ? elements : [...ready, ...elements]
      wake()
    },
    end(cause) {
      ended ??= cause
      wake()
    }
  }
}
