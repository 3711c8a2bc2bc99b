/** What the fibers of a relay share, and how they call the log. */
import * as Effect from "effect/Effect"
import type * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import type { LogError } from "../../LogError.ts"
import type { Service } from "../../MeshLog.ts"
import type { Status } from "../../Relay.ts"
import type { Inbox } from "./inbox.ts"
import type { Holder, RelayState, Waiting } from "./state.ts"
import * as Writer from "./writer.ts"

export interface Settings {
  /** The name of the lease. */
  readonly lease: string
  /** The name of the relay in the ids of its events. */
  readonly relay: string
  /** Times in milliseconds. */
  readonly timeToLive: number
  readonly skew: number
  readonly capacity: number
  readonly status: SubscriptionRef.SubscriptionRef<Status> | undefined
}

export interface Parts {
  readonly log: Service
  readonly settings: Settings
  readonly state: RelayState
  readonly inbox: Inbox
  /** One fiber at a time changes the role, or appends. */
  readonly lock: Semaphore.Semaphore
}

/** How many events one append has. */
const batchSize = 500
/** The time between two attempts after a temporary failure of the log. */
export const retryMillis = 200

/** Retries temporary failures. */
export const persist = <A>(effect: Effect.Effect<A, LogError>): Effect.Effect<A, LogError> =>
  effect.pipe(
    Effect.catch((error) =>
      error.isRetryable
        ? Effect.logDebug(`The relay waits for the log: ${error.message}`).pipe(
            Effect.andThen(Effect.sleep(retryMillis)),
            Effect.andThen(Effect.suspend(() => persist(effect)))
          )
        : Effect.fail(error)
    )
  )

/** Reads the end of the log: its position, and the state of its last connection. */
export const readEnd = (
  log: Service
): Effect.Effect<{ readonly log: Writer.LogState; readonly cursor: number }, LogError> =>
  Effect.gen(function* () {
    const { first, last } = yield* log.bounds
    let state: Writer.LogState = { isEmpty: last === 0, isOpen: false, epoch: 0, closedAt: undefined }
    // Lifecycle elements that name no task.
    yield* log.read({ from: { _tag: "Beginning" }, filter: { tasks: [], keep: "lifecycle" } }).pipe(
      Stream.runForEachArray((entries) =>
        Effect.sync(() => {
          for (const { at, event, position } of entries) if (position <= last) state = Writer.after(state, event, at)
        })
      )
    )
    // Retention has removed the `Connected` of a connection that has not ended.
    if (first > 1 && first <= last && state.epoch === 0 && state.closedAt === undefined) {
      state = { ...state, isOpen: true }
    }
    return { log: state, cursor: last }
  })

/** Appends the pending events. The holder becomes a standby if it has lost the lease. Returns the role afterwards. */
export const flush = Effect.fnUntraced(function* (
  { log, settings, state }: Parts,
  holder: Holder
): Effect.fn.Return<Holder | Waiting, LogError> {
  const { lease, pending } = holder
  while (pending.length > 0) {
    if (!(yield* lease.isHeld)) return state.stepDown(holder)
    const batch = pending.slice(0, batchSize)
    const result = yield* log.append(batch, { lease }).pipe(
      // After a longer time the lease may have been lost.
      Effect.timeoutOption(settings.timeToLive),
      Effect.result
    )
    if (result._tag === "Failure") {
      if (result.failure.reason._tag === "Fenced") return state.stepDown(holder)
      if (!result.failure.isRetryable) return yield* result.failure
      yield* Effect.logDebug(`The relay could not append: ${result.failure.message}`)
      yield* Effect.sleep(retryMillis)
    } else if (result.success._tag === "Some") {
      state.appended(holder, batch.length, result.success.value)
    }
  }
  return holder
})

/** Sets the status of the relay, if it has changed. */
export const publish = ({ settings, state }: Parts): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (settings.status === undefined) return Effect.void
    const { status } = state
    const { isAligned, isConnected, role, term } = SubscriptionRef.getUnsafe(settings.status)
    const isSame =
      isAligned === status.isAligned &&
      isConnected === status.isConnected &&
      role === status.role &&
      term === status.term
    return isSame ? Effect.void : SubscriptionRef.set(settings.status, status)
  })
