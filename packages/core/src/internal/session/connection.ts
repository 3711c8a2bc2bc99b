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
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Duration from "effect/Duration"
import * as Latch from "effect/Latch"
import * as Metric from "effect/Metric"
import type * as Pull from "effect/Pull"
import type { Extension } from "./extension.ts"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Socket from "effect/socket/Socket"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as Interest from "../../Interest.ts"
import * as MeshError from "../../MeshError.ts"
import type { Disconnected, MeshEvent, Resync } from "../../MeshEvent.ts"
import * as MeshMetrics from "../../MeshMetrics.ts"
import * as ReconnectPolicy from "../../ReconnectPolicy.ts"
import type { MayBeWanted } from "../wire/decodeText.ts"
import { resync } from "../resync.ts"
import { monotonicMillis } from "../time.ts"
import { halvePace, type Settings } from "./options.ts"
import * as Session from "./session.ts"
import type { Key, Snapshot, Subscriptions } from "./subscriptions.ts"

/** The subscriptions of the newest connection. See `MeshSession.SubscriptionState`. */
export interface State extends Snapshot {
  readonly epoch: number
}

export const noState: State = {
  epoch: 0,
  requested: Interest.empty,
  confirmed: Interest.empty,
  unconfirmed: Interest.empty
}

export interface Options<Extra> {
  readonly settings: Settings
  readonly subscriptions: Subscriptions
  readonly policy?: ReconnectPolicy.Options | undefined
  /** See `session.ts`. */
  readonly mayBeWanted?: MayBeWanted | undefined
  /** Decodes messages that the protocol does not define. Defaults to none. */
  readonly extension?: Extension | undefined
  /** The epoch of the last connection of an earlier loop. Defaults to 0. */
  readonly epoch?: number
  /** Called before each dial with the number of consecutive failures. */
  readonly onDial?: (attempt: number) => Effect.Effect<void>
  /** Returns an element for the place at which a key is confirmed. Emitted before the mark of the confirmation. */
  readonly onConfirmed?: ((key: Key, epoch: number) => Extra) | undefined
  /** Called when the replay of a connection has been taken from the table. */
  readonly onReplay?: (() => void) | undefined
  /** Set to the requested and confirmed subscriptions whenever they change, but not for every key of a replay. */
  readonly subscriptionState?: SubscriptionRef.SubscriptionRef<State> | undefined
}

export interface Connection<Extra> {
  readonly pull: Effect.Effect<NonEmptyReadonlyArray<MeshEvent | Extra>, MeshError.MeshError>
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

/** A rate-limit close within this time after the last request slows down the next connection, in milliseconds. */
const paceWindow = 1000

/** Makes a resilient feed. The current scope owns the connection. */
export const make = Effect.fnUntraced(function* <Extra = never>(
  options: Options<Extra>
): Effect.fn.Return<Connection<Extra>, never, Socket.Socket | Scope.Scope> {
  const loop = new Loop<Extra>(options, {
    scope: yield* Effect.scope,
    socket: yield* Socket.Socket,
    clock: yield* Clock.Clock,
    context: yield* Effect.context<never>()
  })
  yield* loop.resetSchedule
  return { pull: loop.pull, reconnect: loop.reconnect }
})

interface Parts {
  readonly scope: Scope.Scope
  readonly socket: Socket.Socket
  readonly clock: Clock.Clock
  readonly context: Context.Context<never>
}

type Batch<Extra> = NonEmptyReadonlyArray<MeshEvent | Extra>

type LoopState<Extra> =
  | { readonly _tag: "Offline"; readonly dialAt: number; readonly retryAfterUntil: number }
  | {
      readonly _tag: "Online"
      readonly pull: Effect.Effect<Batch<Extra>, MeshError.MeshError>
      readonly scope: Scope.Closeable
    }
  | { readonly _tag: "Failed"; readonly error: MeshError.MeshError }

/** How a connection, or an attempt at one, ended. */
interface End {
  readonly reason: MeshError.ConnectionReason
  readonly opened: boolean
  /** Whether the server closed it because of the requests that were just sent. */
  readonly tooFast: boolean
}

class Loop<Extra> {
  #state: LoopState<Extra> = { _tag: "Offline", dialAt: -Infinity, retryAfterUntil: -Infinity }
  #epoch: number
  #attempt = 0
  #wasOnline = false
  /** When the last complete stretch ended. `undefined` before the first connection and during a complete stretch. */
  #incompleteSince: number | undefined
  /** Set between a call of `reconnect` and the dial that it causes. */
  #requested = false
  #lastDialAt = -Infinity
  /** Whether a retry with fresh credentials has been made since the feed was last online. */
  #triedFreshCredentials = false
  #pace: Settings["pace"]
  /** Elements for the next pull, from a dial that was interrupted. */
  #queued: Batch<Extra> | undefined
  #step: ScheduleStep | undefined
  #publishedRevision = -1
  readonly #dialNow = Latch.makeUnsafe(false)
  /** Closed while `reconnect` closes a connection. The next dial waits for it. */
  readonly #closing = Latch.makeUnsafe(true)
  readonly #policy: ReconnectPolicy.ReconnectPolicy
  readonly #options: Options<Extra>
  readonly #parts: Parts

  constructor(options: Options<Extra>, parts: Parts) {
    this.#options = options
    this.#parts = parts
    this.#epoch = options.epoch ?? 0
    this.#pace = options.settings.pace
    this.#policy = ReconnectPolicy.make(options.policy)
  }

  readonly pull: Effect.Effect<Batch<Extra>, MeshError.MeshError> = Effect.suspend(() => {
    if (this.#queued !== undefined) {
      const batch = this.#queued
      this.#queued = undefined
      return Effect.succeed(batch)
    }
    switch (this.#state._tag) {
      case "Online":
        return this.#state.pull
      case "Offline":
        return this.#dial(this.#state.dialAt)
      case "Failed":
        return Effect.fail(this.#state.error)
    }
  })

  readonly reconnect: Effect.Effect<void> = Effect.suspend(() => {
    if (this.#state._tag === "Online") {
      this.#requested = true
      this.#closing.closeUnsafe()
      return Effect.ensuring(Scope.close(this.#state.scope, Exit.void), this.#closing.open)
    }
    if (this.#state._tag === "Offline") {
      const { dialAt, retryAfterUntil } = this.#state
      this.#state = { ...this.#state, dialAt: Math.min(dialAt, Math.max(this.#earliestReconnect(), retryAfterUntil)) }
    }
    this.#dialNow.openUnsafe()
    return Effect.void
  })

  readonly resetSchedule: Effect.Effect<void> = Effect.suspend(() =>
    Effect.map(Schedule.toStep(this.#policy.schedule), (step) => {
      this.#step = step
      this.#attempt = 0
    })
  )

  #now(): number {
    return monotonicMillis(this.#parts.clock)
  }

  #earliestReconnect(): number {
    return this.#lastDialAt + reconnectFloor
  }

  // ---------------------------------------------------------------------------
  // dialling
  // ---------------------------------------------------------------------------

  /** Waits until `dialAt`, which `reconnect` may bring forward. */
  #awaitDial(): Effect.Effect<void> {
    return Effect.suspend(() => {
      const wait = this.#state._tag === "Offline" ? this.#state.dialAt - this.#now() : 0
      if (wait <= 0) return Effect.void
      this.#dialNow.closeUnsafe()
      return Effect.andThen(Effect.raceFirst(Effect.sleep(Math.ceil(wait)), this.#dialNow.await), this.#awaitDial())
    })
  }

  #dial(dialAt: number): Effect.Effect<Batch<Extra>, MeshError.MeshError> {
    return Effect.uninterruptibleMask((restore) =>
      Effect.gen({ self: this }, function* () {
        if (dialAt > this.#now()) yield* restore(this.#awaitDial())
        this.#requested = false
        this.#lastDialAt = this.#now()
        if (this.#options.onDial !== undefined) yield* this.#options.onDial(this.#attempt)
        const scope = yield* Scope.fork(this.#parts.scope)
        yield* Metric.update(MeshMetrics.dials, 1)
        const exit = yield* this.#openSession(scope).pipe(
          restore,
          Effect.result,
          Effect.onError((cause) =>
            Effect.andThen(
              Scope.close(scope, Exit.failCause(cause)),
              Effect.suspend(() => this.#onInterruptedDial)
            )
          )
        )
        if (exit._tag === "Success") return yield* this.#onOpen(exit.success, scope)
        yield* Scope.close(scope, Exit.void)
        return yield* this.#onEnd({ reason: connectionReason(exit.failure), opened: false, tooFast: false })
      })
    )
  }

  #openSession(scope: Scope.Closeable) {
    const epoch = this.#epoch + 1
    const { extension, mayBeWanted, onConfirmed, onReplay, settings, subscriptions } = this.#options
    return Session.make<Resync, MeshEvent | Extra>({
      settings: { ...settings, pace: this.#pace },
      subscriptions,
      epoch,
      mayBeWanted,
      extend: extension === undefined ? undefined : ({ raw }, size) => extension.decode(raw, epoch, size),
      onReplay,
      onChanged: this.#publishChanges,
      onConfirmed: onConfirmed === undefined ? undefined : (key) => onConfirmed(key, epoch),
      toBad: (error) => resync(epoch, { _tag: "BadFrame", error }),
      toReplayMark: (unconfirmed) => this.#onReplayEnd(unconfirmed)
    }).pipe(
      Scope.provide(scope),
      Effect.provideService(Socket.Socket, this.#parts.socket),
      Effect.withSpan("makima.dial", {
        kind: "client",
        attributes: { "makima.epoch": epoch, "makima.attempt": this.#attempt }
      })
    )
  }

  /** Counts a dial that was interrupted as a failed attempt. Its `Disconnected` waits for the next pull. */
  readonly #onInterruptedDial: Effect.Effect<void> = Effect.suspend(() =>
    Effect.map(
      this.#onEnd({ reason: new MeshError.DialTimeout({}), opened: false, tooFast: false }),
      (batch) => void (this.#queued = batch)
    )
  )

  // ---------------------------------------------------------------------------
  // online
  // ---------------------------------------------------------------------------

  #onOpen(session: Session.Session<MeshEvent | Extra>, scope: Scope.Closeable): Effect.Effect<Batch<Extra>> {
    return Effect.gen({ self: this }, function* () {
      const openedAt = this.#now()
      this.#epoch++
      const epoch = this.#epoch
      const pull = Effect.flatMap(session.pull, (batch) => this.#published(batch))
      const ended = (error: MeshError.MeshError) => this.#onSessionEnd(session, scope, openedAt, error)
      this.#state = { _tag: "Online", pull: Effect.catch(pull, ended), scope }
      yield* Effect.makeSpanScoped("makima.session", { kind: "client", attributes: { "makima.epoch": epoch } }).pipe(
        Scope.provide(scope)
      )
      yield* Metric.update(MeshMetrics.epoch, epoch)
      yield* Metric.modify(MeshMetrics.connectionsOpen, 1)
      yield* Scope.addFinalizer(scope, Metric.modify(MeshMetrics.connectionsOpen, -1))
      yield* Effect.logDebug("Connected to the task feed").pipe(Effect.annotateLogs({ epoch, attempt: this.#attempt }))
      yield* this.#publish
      return [{ _tag: "Connected", epoch, at: this.#parts.clock.currentTimeMillisUnsafe() }] as const
    })
  }

  /** Makes the mark of a confirmed replay: a complete stretch begins. */
  #onReplayEnd(unconfirmed: number): Resync {
    const epoch = this.#epoch + (this.#state._tag === "Online" ? 0 : 1)
    const since = this.#incompleteSince
    this.#incompleteSince = undefined
    if (since === undefined) return resync(epoch, { _tag: "Started" }, unconfirmed)
    const downMillis = this.#now() - since
    MeshMetrics.recordGap("Reconnected", this.#parts.context)
    MeshMetrics.downtime.updateUnsafe(downMillis, this.#parts.context)
    return resync(epoch, { _tag: "Reconnected", downMillis }, unconfirmed)
  }

  readonly #onSessionEnd = Effect.fnUntraced(
    function* (
      this: Loop<Extra>,
      session: Session.Session<MeshEvent | Extra>,
      scope: Scope.Closeable,
      openedAt: number,
      error: MeshError.MeshError
    ) {
      yield* Scope.close(scope, Exit.void)
      yield* this.#closing.await
      const now = this.#now()
      const requests = session.requests()
      this.#incompleteSince ??= now
      if ((yield* session.received) > 0) {
        this.#wasOnline = true
        this.#triedFreshCredentials = false
        // Only a server that sends messages, on a connection that lasts, resets the schedule.
        if (now - openedAt >= Duration.toMillis(this.#policy.stableAfter)) yield* this.resetSchedule
      }
      yield* this.#publish
      const reason = this.#requested ? new MeshError.ReconnectRequested() : connectionReason(error)
      const tooFast = isRateLimit(reason) && now - requests.lastAt <= paceWindow && this.#slowDown(requests.sent)
      return yield* this.#onEnd({ reason, opened: true, tooFast })
    },
    (effect) => Effect.uninterruptible(effect)
  )

  /** Halves the pace of the next connection. Returns `false` if that is not possible. */
  #slowDown(sent: number): boolean {
    const slower = halvePace(this.#pace, sent)
    if (slower === undefined) return false
    this.#pace = slower
    return true
  }

  // ---------------------------------------------------------------------------
  // offline
  // ---------------------------------------------------------------------------

  #onEnd({ opened, reason, tooFast }: End): Effect.Effect<Batch<Extra>> {
    return Effect.gen({ self: this }, function* () {
      const now = this.#now()
      this.#attempt++
      const attempt = this.#attempt
      const epoch = this.#epoch
      const decision = yield* this.#decide(reason, tooFast, now)
      const retry = typeof decision === "number"
      this.#state = retry
        ? { _tag: "Offline", dialAt: now + decision, retryAfterUntil: now + this.#retryAfter(reason) }
        : { _tag: "Failed", error: decision }
      yield* Metric.update(Metric.withAttributes(MeshMetrics.disconnects, { reason: reason._tag }), 1)
      const log = retry && attempt === warnAfter ? Effect.logWarning : Effect.logDebug
      const what =
        retry && attempt === warnAfter ? "The task feed cannot be reached; retrying" : "Disconnected from the task feed"
      yield* log(what, reason.message).pipe(Effect.annotateLogs({ epoch, attempt }))
      const disconnected: Disconnected = {
        _tag: "Disconnected",
        epoch,
        opened,
        attempt,
        reason,
        ...(retry ? { retryInMillis: decision } : {}),
        at: this.#parts.clock.currentTimeMillisUnsafe()
      }
      return [disconnected] as const
    })
  }

  /** How many milliseconds to wait before the next attempt, or the error to give up with. */
  #decide(
    reason: MeshError.ConnectionReason,
    tooFast: boolean,
    now: number
  ): Effect.Effect<number | MeshError.MeshError> {
    // The program requested it, so there is neither a scheduled delay nor a step of the schedule.
    if (reason._tag === "ReconnectRequested") return Effect.succeed(Math.max(0, this.#earliestReconnect() - now))
    const { classify, minDelay } = this.#policy
    const minDelayMillis = Duration.toMillis(minDelay)
    if (!tooFast && classify(reason, { wasOnline: this.#wasOnline }) === "fail") {
      if (!ReconnectPolicy.mayNeedFreshCredentials(reason) || this.#triedFreshCredentials) {
        return Effect.succeed(new MeshError.MeshError({ reason }))
      }
      this.#triedFreshCredentials = true
      return Effect.succeed(minDelayMillis)
    }
    const step = this.#step
    if (step === undefined) return Effect.succeed(minDelayMillis)
    return Effect.match(step(now, reason), {
      onSuccess: ([, duration]) => Math.max(minDelayMillis, Duration.toMillis(duration)) + this.#retryAfter(reason),
      // The schedule has ended.
      onFailure: () =>
        new MeshError.MeshError({ reason: new MeshError.RetriesExhausted({ attempts: this.#attempt, last: reason }) })
    })
  }

  /**
   * The loop waits for the `Retry-After` of a refused handshake in addition to the
   * scheduled delay: clients that were refused together get the same `Retry-After`,
   * and the jitter of the schedule spreads them.
   */
  #retryAfter(reason: MeshError.ConnectionReason): number {
    return reason._tag === "HandshakeRejected"
      ? Math.min(Math.max(0, reason.retryAfterMillis ?? 0), Duration.toMillis(this.#policy.maxRetryAfter))
      : 0
  }

  // ---------------------------------------------------------------------------
  // what is visible of the subscriptions
  // ---------------------------------------------------------------------------

  #published(batch: Batch<Extra>): Effect.Effect<Batch<Extra>> {
    return this.#hasChanges() ? Effect.as(this.#publish, batch) : Effect.succeed(batch)
  }

  #hasChanges(): boolean {
    const { subscriptionState, subscriptions } = this.#options
    return (
      subscriptionState !== undefined &&
      !subscriptions.isReplaying() &&
      subscriptions.revision() !== this.#publishedRevision
    )
  }

  /** Publishes what has changed without an element. */
  readonly #publishChanges: Effect.Effect<void> = Effect.suspend(() =>
    this.#state._tag === "Online" && this.#hasChanges() ? this.#publish : Effect.void
  )

  readonly #publish: Effect.Effect<void> = Effect.suspend(() => {
    const { subscriptionState, subscriptions } = this.#options
    if (subscriptionState === undefined) return Effect.void
    // Read where it is set: two fibers publish, and the older state must not replace the newer one.
    return SubscriptionRef.update(subscriptionState, () => {
      this.#publishedRevision = subscriptions.revision()
      return { epoch: this.#epoch, ...subscriptions.current() }
    })
  })
}

type ScheduleStep = (
  now: number,
  reason: MeshError.ConnectionReason
) => Pull.Pull<[unknown, Duration.Duration], never, unknown>

/** Whether a close code means that the client sent too many requests. */
const isRateLimit = (reason: MeshError.ConnectionReason): boolean =>
  reason._tag === "ConnectionClosed" && (reason.code === 1008 || reason.code === 4429)

/** The reason of a failed session, which always belongs to its own connection. */
const connectionReason = ({ reason }: MeshError.MeshError): MeshError.ConnectionReason =>
  MeshError.isConnectionReason(reason) ? reason : new MeshError.ConnectionLost({ cause: reason })
