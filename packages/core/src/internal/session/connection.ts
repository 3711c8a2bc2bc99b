/**
 * Runs consecutive sessions under a reconnect policy: the loop of
 * `MeshStream.connect` and `MeshClient`.
 *
 * `pull` drives the loop, so nothing happens while the consumer does not pull: it
 * reads from the current session, or dials if there is none. The loop is a state
 * machine of three states:
 *
 * - `Offline`: no connection. The next pull waits until `dialAt`, then dials.
 * - `Online`: a session, in its own scope.
 * - `Failed`: final. Every pull fails with the same error.
 *
 * Invariants: at most one session is open; a session's scope is closed before
 * its `Disconnected` is pulled; `Connected` and what follows it carry the
 * session's epoch, and epochs only grow; each `Connected` is followed by at most
 * one `Started` or `Reconnected`, where the replay is confirmed or overdue. A
 * dial that is interrupted counts as an attempt that failed.
 *
 * All durations are measured on the monotonic clock.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Cause from "effect/Cause"
import * as Exit from "effect/Exit"
import * as Latch from "effect/Latch"
import * as Metric from "effect/Metric"
import * as Scope from "effect/Scope"
import * as Socket from "effect/socket/Socket"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as MeshError from "../../MeshError.ts"
import type { Disconnected, MeshEvent, Resync } from "../../MeshEvent.ts"
import * as MeshMetrics from "../../MeshMetrics.ts"
import type * as ReconnectPolicy from "../../ReconnectPolicy.ts"
import { resync } from "../resync.ts"
import { monotonicMillis } from "../time.ts"
import * as Backoff from "./backoff.ts"
import type { Extension } from "./extension.ts"
import * as Session from "./session.ts"
import type { Snapshot } from "./subscriptions.ts"

/** The subscriptions of the newest connection. See `MeshSession.SubscriptionState`. */
export interface State extends Snapshot {
  readonly epoch: number
}

export interface Options<Extra> extends Pick<
  Session.Options<Resync, Extra>,
  "mayBeWanted" | "onConfirmed" | "onReplay" | "settings" | "subscriptions"
> {
  readonly policy?: ReconnectPolicy.Options | undefined
  /** Decodes messages that the protocol does not define. Defaults to none. */
  readonly extension?: Extension | undefined
  /** The epoch of the last connection of an earlier loop. Defaults to 0. */
  readonly epoch?: number
  /** Called before each dial with the number of consecutive failures. */
  readonly onDial?: (attempt: number) => Effect.Effect<void>
  /** Set to the requested and confirmed subscriptions whenever they change, but not for every key of a replay. */
  readonly subscriptionState?: SubscriptionRef.SubscriptionRef<State> | undefined
}

export interface Connection<Extra> {
  readonly pull: Effect.Effect<Batch<Extra>, MeshError.MeshError>
  /**
   * Ends the connection, or the wait for the next one. The next pull dials at once,
   * but not within `reconnectFloor` of the last dial, and not before the server's
   * `Retry-After`.
   */
  readonly reconnect: Effect.Effect<void>
}

/** The shortest time between a dial and a dial that `reconnect` requests, in milliseconds. */
export const reconnectFloor = 1000

/** The number of consecutive failures after which a warning is logged. */
const warnAfter = 3

type Batch<Extra> = NonEmptyReadonlyArray<MeshEvent | Extra>

type LoopState<Extra> =
  | { readonly _tag: "Offline"; dialAt: number; readonly retryAfterUntil: number }
  | {
      readonly _tag: "Online"
      readonly pull: Effect.Effect<Batch<Extra>, MeshError.MeshError>
      readonly scope: Scope.Closeable
    }
  | { readonly _tag: "Failed"; readonly error: MeshError.MeshError }

/** Makes a resilient feed. The current scope owns the connection. */
export const make = Effect.fnUntraced(function* <Extra = never>(
  options: Options<Extra>
): Effect.fn.Return<Connection<Extra>, never, Socket.Socket | Scope.Scope> {
  const feedScope = yield* Effect.scope
  const socket = yield* Socket.Socket
  const clock = yield* Clock.Clock
  const context = yield* Effect.context<never>()
  const backoff = yield* Backoff.make(options.policy)
  const { onDial = () => Effect.void, subscriptionState, subscriptions } = options
  const now = () => monotonicMillis(clock)

  let state: LoopState<Extra> = { _tag: "Offline", dialAt: -Infinity, retryAfterUntil: -Infinity }
  let epoch = options.epoch ?? 0
  let { settings } = options
  let earliestReconnect = -Infinity
  // When the last complete stretch ended. `undefined` before the first connection and during a complete stretch.
  let incompleteSince: number | undefined
  // Set between a call of `reconnect` and the dial that it causes.
  let isRequested = false
  // The element for the next pull, from a dial that was interrupted.
  let queued: Batch<Extra> | undefined
  let publishedRevision = -1
  const dialNow = Latch.makeUnsafe(false)
  // Closed while `reconnect` closes a connection. The next dial waits for it.
  const closing = Latch.makeUnsafe(true)

  // ---------------------------------------------------------------------------
  // what is visible of the subscriptions
  // ---------------------------------------------------------------------------

  const publish = (connection: number): Effect.Effect<void> =>
    subscriptionState === undefined
      ? Effect.void
      : // Read where it is set: two fibers publish, and the older state must not replace the newer one.
        SubscriptionRef.update(subscriptionState, () => {
          publishedRevision = subscriptions.revision()
          return { epoch: connection, ...subscriptions.current() }
        })

  const hasChanges = (): boolean =>
    subscriptionState !== undefined && !subscriptions.isReplaying() && subscriptions.revision() !== publishedRevision

  // ---------------------------------------------------------------------------
  // offline
  // ---------------------------------------------------------------------------

  /** Handles the end of a connection, or of an attempt at one. */
  const onEnd = Effect.fnUntraced(function* (reason: MeshError.ConnectionReason, opened: boolean, isTooFast: boolean) {
    const at = now()
    const decision = yield* backoff.next(reason, at, isTooFast, earliestReconnect)
    const attempt = backoff.attempt()
    const retries = typeof decision === "number"
    state = retries
      ? { _tag: "Offline", dialAt: at + decision, retryAfterUntil: at + backoff.retryAfter(reason) }
      : { _tag: "Failed", error: decision }
    Metric.withAttributes(MeshMetrics.disconnects, { reason: reason._tag }).updateUnsafe(1, context)
    yield* (
      retries && attempt === warnAfter
        ? Effect.logWarning("The task feed cannot be reached; retrying", reason.message)
        : Effect.logDebug("Disconnected from the task feed", reason.message)
    ).pipe(Effect.annotateLogs({ epoch, attempt }))
    const disconnected: Disconnected = {
      _tag: "Disconnected",
      epoch,
      opened,
      attempt,
      reason,
      ...(retries ? { retryInMillis: decision } : {}),
      at: clock.currentTimeMillisUnsafe()
    }
    return [disconnected] as const
  })

  /** Waits until `dialAt`, which `reconnect` may bring forward. */
  const awaitDial: Effect.Effect<void> = Effect.suspend(() => {
    const wait = state._tag === "Offline" ? Math.ceil(state.dialAt - now()) : 0
    if (wait <= 0) return Effect.void
    dialNow.closeUnsafe()
    return Effect.andThen(Effect.raceFirst(Effect.sleep(wait), dialNow.await), awaitDial)
  })

  // ---------------------------------------------------------------------------
  // online
  // ---------------------------------------------------------------------------

  const openSession = (next: number) =>
    Session.make<Resync, MeshEvent | Extra>({
      ...options,
      settings,
      epoch: next,
      onChanged: Effect.suspend(() => (hasChanges() ? publish(next) : Effect.void)),
      toBad: (error) => resync(next, { _tag: "BadFrame", error }),
      onReplayEnd
    }).pipe(
      Effect.provideService(Socket.Socket, socket),
      Effect.withSpan("makima.dial", {
        kind: "client",
        attributes: { "makima.epoch": next, "makima.attempt": backoff.attempt() }
      })
    )

  /** Returns the reason of the mark of a confirmed replay: a complete stretch begins. */
  const onReplayEnd = (): Resync["reason"] => {
    if (incompleteSince === undefined) return { _tag: "Started" }
    const downMillis = now() - incompleteSince
    incompleteSince = undefined
    MeshMetrics.recordGap("Reconnected", context)
    MeshMetrics.downtime.updateUnsafe(downMillis, context)
    return { _tag: "Reconnected", downMillis }
  }

  const onOpen = Effect.fnUntraced(function* (session: Session.Session<MeshEvent | Extra>, scope: Scope.Closeable) {
    const openedAt = now()
    epoch++
    state = {
      _tag: "Online",
      scope,
      pull: session.pull.pipe(
        Effect.tap(() => (hasChanges() ? publish(epoch) : Effect.void)),
        Effect.catch((end) => Effect.uninterruptible(onSessionEnd(session, scope, openedAt, end)))
      )
    }
    yield* Effect.makeSpanScoped("makima.session", { kind: "client", attributes: { "makima.epoch": epoch } }).pipe(
      Scope.provide(scope)
    )
    MeshMetrics.epoch.updateUnsafe(epoch, context)
    yield* Metric.modify(MeshMetrics.connectionsOpen, 1)
    yield* Scope.addFinalizer(scope, Metric.modify(MeshMetrics.connectionsOpen, -1))
    yield* Effect.logDebug("Connected to the task feed").pipe(
      Effect.annotateLogs({ epoch, attempt: backoff.attempt() })
    )
    yield* publish(epoch)
    return [{ _tag: "Connected", epoch, at: clock.currentTimeMillisUnsafe() }] as const
  })

  const onSessionEnd = Effect.fnUntraced(function* (
    session: Session.Session<MeshEvent | Extra>,
    scope: Scope.Closeable,
    openedAt: number,
    end: MeshError.ConnectionReason
  ) {
    yield* Scope.close(scope, Exit.void)
    yield* closing.await
    const at = now()
    incompleteSince ??= at
    if (session.received() > 0) yield* backoff.received(at - openedAt)
    yield* publish(epoch)
    const reason = isRequested ? new MeshError.ReconnectRequested() : end
    // Whether the server closed it because of the requests that were just sent.
    const pace = isRateLimit(reason) ? session.slowerPace() : undefined
    if (pace !== undefined) settings = { ...settings, pace }
    return yield* onEnd(reason, true, pace !== undefined)
  })

  const dial: Effect.Effect<Batch<Extra>, MeshError.MeshError> = Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      yield* restore(awaitDial)
      isRequested = false
      earliestReconnect = now() + reconnectFloor
      yield* onDial(backoff.attempt())
      const scope = yield* Scope.fork(feedScope)
      MeshMetrics.dials.updateUnsafe(1, context)
      const exit = yield* Effect.exit(restore(Scope.provide(openSession(epoch + 1), scope)))
      if (exit._tag === "Success") return yield* onOpen(exit.value, scope)
      yield* Scope.close(scope, exit)
      const failure = Cause.findError(exit.cause)
      if (failure._tag === "Success") return yield* onEnd(failure.success, false, false)
      // A dial that was interrupted is a failed attempt. Its `Disconnected` waits for the next pull.
      queued = yield* onEnd(new MeshError.DialTimeout({}), false, false)
      return yield* Effect.failCause(failure.failure)
    })
  )

  return {
    pull: Effect.suspend(() => {
      const batch = queued
      queued = undefined
      if (batch !== undefined) return Effect.succeed(batch)
      if (state._tag === "Online") return state.pull
      return state._tag === "Offline" ? dial : Effect.fail(state.error)
    }),
    reconnect: Effect.suspend(() => {
      if (state._tag === "Online") {
        isRequested = true
        closing.closeUnsafe()
        return Effect.ensuring(Scope.close(state.scope, Exit.void), closing.open)
      }
      if (state._tag === "Offline") {
        state.dialAt = Math.min(state.dialAt, Math.max(earliestReconnect, state.retryAfterUntil))
      }
      dialNow.openUnsafe()
      return Effect.void
    })
  }
})

/** Whether a close code means that the client sent too many requests. */
const isRateLimit = (reason: MeshError.ConnectionReason): boolean =>
  reason._tag === "ConnectionClosed" && [1008, 4429].includes(reason.code)
