/**
 * Sessions in a row under a policy: the loop behind `MeshStream.connect` and
 * `MeshClient`.
 *
 * One value, `pull`, drives everything, so that nothing happens behind a
 * consumer's back: it reads from the session while there is one, and dials when
 * there is none. The loop is a state machine of three states:
 *
 * - `Offline`: no connection; the next pull waits until `dialAt`, then dials.
 * - `Online`: a session, in a scope of its own.
 * - `Failed`: over; every pull fails with the same error.
 *
 * Invariants: at most one session is open; a session's scope is closed before
 * `Disconnected` is given; `Connected` and what follows it carry the session's
 * epoch, and epochs only grow; a `Resync` follows `Connected` whenever an
 * earlier epoch had one.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Latch from "effect/Latch"
import * as Metric from "effect/Metric"
import * as Pull from "effect/Pull"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Socket from "effect/socket/Socket"
import * as MeshError from "../../MeshError.ts"
import * as MeshMetrics from "../../MeshMetrics.ts"
import type { Disconnected, MeshEvent, Resync } from "../../MeshEvent.ts"
import * as MeshSession from "../../MeshSession.ts"
import * as ReconnectPolicy from "../../ReconnectPolicy.ts"
import type { Subscriptions } from "./subscriptions.ts"
import type { Skippable } from "../pushdown.ts"

export interface Options extends MeshSession.Options {
  readonly subscriptions: Subscriptions
  readonly policy?: ReconnectPolicy.Options | undefined
  /** Of every session: see `MeshSession.makeWith`. */
  readonly skip?: ((frame: string) => Skippable | undefined) | undefined
  /** The epoch of the last connection that an earlier loop had. Default: 0. */
  readonly epoch?: number
  /** Told of each dial, by how many have failed or ended in a row before it. */
  readonly onDial?: (attempt: number) => Effect.Effect<void>
}

export interface Connection {
  readonly pull: Effect.Effect<Batch, MeshError.MeshError>
  /** Gives up the connection that there is, or the wait for the next one, and dials at the next pull. */
  readonly reconnect: Effect.Effect<void>
}

type Batch = NonEmptyReadonlyArray<MeshEvent>

type State =
  | { readonly _tag: "Offline"; readonly dialAt: number; readonly lostAt: number | undefined }
  | {
      readonly _tag: "Online"
      readonly pull: Effect.Effect<Batch, MeshError.MeshError>
      readonly scope: Scope.Closeable
    }
  | { readonly _tag: "Failed"; readonly error: MeshError.MeshError }

/** A resilient feed. The scope that it is made in owns whatever is open. */
export const make = Effect.fnUntraced(function* (
  options: Options
): Effect.fn.Return<Connection, never, Socket.Socket | Scope.Scope> {
  const policy = ReconnectPolicy.resolve(options.policy)
  const { minDelayMillis: minDelay, stableAfterMillis: stableAfter, maxRetryAfterMillis: maxRetryAfter } = policy
  const scope = yield* Effect.scope
  const socket = yield* Socket.Socket
  const clock = yield* Clock.Clock
  const context = yield* Effect.context<never>()

  let state: State = { _tag: "Offline", dialAt: 0, lostAt: undefined }
  let epoch = options.epoch ?? 0
  let attempt = 0
  let wasOnline = false
  // Set between a request to reconnect and the dial that it leads to.
  let requested = false
  const hurry = Latch.makeUnsafe(false)
  let step = yield* Schedule.toStep(policy.schedule)

  /** How long to wait before the next attempt, or the error to give up with. */
  const decide = (reason: MeshError.ConnectionReason, now: number): Effect.Effect<number | MeshError.MeshError> => {
    // Somebody is waiting for it: neither a delay nor a step of the schedule.
    if (reason._tag === "ReconnectRequested") return Effect.succeed(0)
    if (policy.classify(reason, { wasOnline }) === "fail") return Effect.succeed(new MeshError.MeshError({ reason }))
    return Pull.matchEffect(step(now, reason), {
      onSuccess: ([, duration]) =>
        Effect.succeed(Math.max(minDelay, Duration.toMillis(duration)) + retryAfter(reason, maxRetryAfter)),
      onFailure: Effect.failCause,
      onDone: () =>
        Effect.succeed(
          new MeshError.MeshError({ reason: new MeshError.RetriesExhausted({ attempts: attempt, last: reason }) })
        )
    })
  }

  const ended = Effect.fnUntraced(function* (
    reason: MeshError.ConnectionReason,
    opened: boolean,
    lostAt: number | undefined
  ) {
    const now = clock.currentTimeMillisUnsafe()
    attempt++
    // A request that came during the dial was about that dial.
    hurry.closeUnsafe()
    const decision = yield* decide(reason, now)
    const retry = typeof decision === "number"
    state = retry ? { _tag: "Offline", dialAt: now + decision, lostAt } : { _tag: "Failed", error: decision }
    const disconnected: Disconnected = {
      _tag: "Disconnected",
      epoch,
      opened,
      attempt,
      reason,
      ...(retry ? { retryInMillis: decision } : {}),
      at: now
    }
    yield* Metric.update(Metric.withAttributes(MeshMetrics.disconnects, { reason: reason._tag }), 1)
    yield* Effect.logDebug("Disconnected from the task feed", reason.message).pipe(
      Effect.annotateLogs({ epoch, attempt })
    )
    return [disconnected] as const
  })

  const open = Effect.fnUntraced(function* (
    session: MeshSession.MeshSession<Resync>,
    sessionScope: Scope.Closeable,
    lostAt: number | undefined
  ): Effect.fn.Return<Batch> {
    const openedAt = clock.currentTimeMillisUnsafe()
    epoch++
    const onEnd = Effect.fnUntraced(function* (error: MeshError.MeshError) {
      yield* Scope.close(sessionScope, Exit.void)
      const now = clock.currentTimeMillisUnsafe()
      const heard = (yield* session.received) > 0
      wasOnline ||= heard
      // Only a server that talks, on a connection that lasts, earns a fresh start.
      if (heard && now - openedAt >= stableAfter) {
        step = yield* Schedule.toStep(policy.schedule)
        attempt = 0
      }
      return yield* ended(requested ? new MeshError.ReconnectRequested() : connectionReason(error), true, now)
    }, Effect.uninterruptible)
    state = { _tag: "Online", pull: Effect.catch(session.pull, onEnd), scope: sessionScope }
    yield* Effect.makeSpanScoped("makima.session", { kind: "client", attributes: { "makima.epoch": epoch } }).pipe(
      Scope.provide(sessionScope)
    )
    yield* Metric.update(MeshMetrics.epoch, epoch)
    yield* Metric.modify(MeshMetrics.connectionsOpen, 1)
    yield* Scope.addFinalizer(sessionScope, Metric.modify(MeshMetrics.connectionsOpen, -1))
    yield* Effect.logDebug("Connected to the task feed").pipe(Effect.annotateLogs({ epoch, attempt }))
    const connected: MeshEvent = { _tag: "Connected", epoch, at: openedAt }
    if (lostAt === undefined) return [connected]
    const downMillis = openedAt - lostAt
    yield* Metric.update(MeshMetrics.downtime, downMillis)
    MeshMetrics.recordGap("Reconnected", context)
    return [connected, { _tag: "Resync", epoch, reason: { _tag: "Reconnected", downMillis } }]
  })

  const dial = (dialAt: number, lostAt: number | undefined): Effect.Effect<Batch, MeshError.MeshError> =>
    Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        const wait = dialAt - clock.currentTimeMillisUnsafe()
        if (wait > 0) yield* restore(Effect.raceFirst(Effect.sleep(wait), hurry.await))
        requested = false
        if (options.onDial !== undefined) yield* options.onDial(attempt)
        const sessionScope = yield* Scope.fork(scope)
        const nextEpoch = epoch + 1
        yield* Metric.update(MeshMetrics.dials, 1)
        const exit = yield* MeshSession.makeWith({
          ...options,
          toBad: (error): Resync => ({ _tag: "Resync", epoch: nextEpoch, reason: { _tag: "BadFrame", error } })
        }).pipe(
          Scope.provide(sessionScope),
          Effect.provideService(Socket.Socket, socket),
          Effect.withSpan("makima.dial", {
            kind: "client",
            attributes: { "makima.epoch": nextEpoch, "makima.attempt": attempt }
          }),
          restore,
          Effect.result,
          Effect.onError((cause) => Scope.close(sessionScope, Exit.failCause(cause)))
        )
        if (exit._tag === "Success") return yield* open(exit.success, sessionScope, lostAt)
        yield* Scope.close(sessionScope, Exit.void)
        return yield* ended(connectionReason(exit.failure), false, lostAt)
      })
    )

  return {
    pull: Effect.suspend(() => {
      switch (state._tag) {
        case "Online":
          return state.pull
        case "Offline":
          return dial(state.dialAt, state.lostAt)
        case "Failed":
          return Effect.fail(state.error)
      }
    }),
    reconnect: Effect.suspend(() => {
      if (state._tag === "Online") {
        requested = true
        return Scope.close(state.scope, Exit.void)
      }
      // A loop that is over does not look at it.
      hurry.openUnsafe()
      return Effect.void
    })
  }
})

/** What a session failed with is always a reason of its own connection. */
const connectionReason = ({ reason }: MeshError.MeshError): MeshError.ConnectionReason =>
  MeshError.isConnectionReason(reason) ? reason : new MeshError.ConnectionLost({ cause: reason })

/**
 * A refused handshake's `Retry-After` comes before the scheduled delay and not
 * instead of it: clients that were refused together are told the same time, and
 * the schedule's jitter is what keeps them from coming back together.
 */
const retryAfter = (reason: MeshError.ConnectionReason, max: number): number =>
  reason._tag === "HandshakeRejected" ? Math.min(Math.max(0, reason.retryAfterMillis ?? 0), max) : 0
