/** The fiber of a relay that seeks the lease: becomes the holder, steps down when the lease is lost, and begins again. */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { LogError } from "../../LogError.ts"
import type { Lease } from "../../MeshLog.ts"
import { flush, type Parts, persist, publish } from "./parts.ts"

/** How long a relay whose feed ended waits for another one to take the lease. */
const handOverMillis = 1000

/** Repeatedly waits for the lease. */
export const seek = (parts: Parts): Effect.Effect<never, LogError> =>
  Effect.forever(persist(Effect.andThen(seekOnce(parts), writeEnd(parts))))

/** Waits for the lease while the feed is confirmed, and holds it until it is lost. */
const seekOnce = (parts: Parts): Effect.Effect<void, LogError> => {
  const { lock, log, settings, state } = parts
  return Effect.scoped(
    Effect.gen(function* () {
      yield* state.confirmed.await
      const lease = yield* Effect.raceFirst(
        log.lease(settings.lease, {
          timeToLive: settings.timeToLive,
          delay: (renewedAt) => state.delay(renewedAt),
          behind: () => state.behind,
          onComplete: (time) => state.holderWasComplete(time)
        }),
        Effect.as(state.disconnected.await, undefined)
      )
      if (lease === undefined) return
      const isHolder = yield* lock.withPermit(takeOver(parts, lease))
      yield* publish(parts)
      if (!isHolder) return
      yield* lease.awaitLost
      yield* lock.withPermit(
        Effect.sync(() => {
          const { current } = state
          if (current.role === "holder" && current.lease === lease) state.stepDown(current)
        })
      )
      yield* publish(parts)
    })
  )
}

/** This relay acquired the lease: reads the log to its end, and appends what it lacks. Returns whether it did. */
const takeOver = Effect.fnUntraced(function* (parts: Parts, lease: Lease) {
  const { log, state } = parts
  const standing = state.current
  if (standing.role === "holder" || !state.confirmed.isOpen()) return false
  // No other relay can append any more, so the end of the log is final.
  yield* log.read({ from: { _tag: "After", position: state.cursor } }).pipe(
    Stream.runForEachArray((entries) =>
      Effect.sync(() => {
        for (const entry of entries) state.receiveEntry(standing, entry)
      })
    )
  )
  const holder = state.takeOver(standing, lease)
  yield* publish(parts)
  yield* flush(parts, holder)
  return true
})

/** Appends the end of the feed's connection, if no other relay has taken the lease within a second. */
const writeEnd = (parts: Parts): Effect.Effect<void, LogError> => {
  const { lock, log, settings, state } = parts
  return Effect.scoped(
    Effect.gen(function* () {
      if (state.current.role === "holder" || state.current.unwritten === undefined || state.confirmed.isOpen()) return
      const isConfirmed = yield* Effect.raceFirst(
        Effect.as(Effect.sleep(handOverMillis), false),
        Effect.as(state.confirmed.await, true)
      )
      if (isConfirmed) return
      const lease = yield* Effect.timeoutOption(
        log.lease(settings.lease, { timeToLive: settings.timeToLive }),
        handOverMillis / 2
      )
      if (lease._tag === "None") return
      yield* lock.withPermit(writeRest(parts, lease.value))
      yield* lease.value.release
    })
  )
}

/** Appends what this relay had not written, if it also has the term after its last one. */
const writeRest = Effect.fnUntraced(function* (parts: Parts, lease: Lease): Effect.fn.Return<void, LogError> {
  const { state } = parts
  const { current } = state
  if (current.role === "holder") return
  const { unwritten } = current
  if (unwritten === undefined || unwritten.term + 1 !== lease.term) {
    current.unwritten = undefined
    return
  }
  const left = yield* flush(parts, state.continueWriting(unwritten, lease))
  if (left.role === "holder") state.stepDown(left)
})
