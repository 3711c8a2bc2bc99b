/**
 * The feed as a resilient `Stream` of events.
 *
 * `connect` is the source: each run of the stream has its own connection, which
 * reconnects by itself and whose lifecycle is part of the stream. The operators of this
 * module filter and transform events. Use `MeshClient` to share one connection between
 * many parts of a program.
 *
 * @since 0.1.0
 */
import * as Channel from "effect/Channel"
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import type * as Socket from "effect/socket/Socket"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import type { Interest } from "./Interest.ts"
import * as Connection from "./internal/session/connection.ts"
import type { Connections } from "./internal/session/connections.ts"
import type { Extension } from "./internal/session/extension.ts"
import * as Settings from "./internal/session/options.ts"
import * as Subscriptions from "./internal/session/subscriptions.ts"
import * as Pushdown from "./internal/pushdown.ts"
import type { MeshError } from "./MeshError.ts"
import type { MeshEvent } from "./MeshEvent.ts"
import type * as MeshSession from "./MeshSession.ts"
import type * as ReconnectPolicy from "./ReconnectPolicy.ts"

/**
 * Options of `connect`.
 *
 * @category options
 * @since 0.1.0
 */
export interface ConnectOptions extends MeshSession.Options {
  /**
   * The subscriptions: a value, or a `SubscriptionRef` if they change while the stream
   * runs. The session sends each change. After a reconnect the whole current value is
   * requested.
   */
  readonly interest: Interest | SubscriptionRef.SubscriptionRef<Interest>
  /** How to reconnect. Defaults to `ReconnectPolicy.defaults`. */
  readonly policy?: ReconnectPolicy.Options | undefined
  /**
   * Several connections instead of one, so that the loss of one leaves no gap: see
   * `Merge.connections`. Defaults to one connection.
   */
  readonly connections?: Connections | undefined
  /**
   * Decodes messages that the protocol does not define into elements of the stream, for example
   * the marks of a gateway: `GatewayMessages.extension`. Defaults to
   * none: such a message is an `UnknownMessage`.
   *
   * @since 0.2.0
   */
  readonly extension?: Extension | undefined
  /**
   * A reference that the stream sets to the requested and confirmed subscriptions of the
   * newest connection. Use it to find subscriptions that the server never confirms. For
   * one run of the stream at a time. Defaults to none.
   */
  readonly subscriptions?: SubscriptionRef.SubscriptionRef<MeshSession.SubscriptionState> | undefined
}

/**
 * Connects and stays connected: the feed as a stream of events.
 *
 * **Details**
 *
 * - On every connection the whole interest is sent before the first pull.
 * - `Connected`, `Disconnected` and `Resync` are elements at their places. One `Resync`
 *   is at the place where the server has confirmed the whole interest: `Started` on the
 *   first connection, `Reconnected` on later ones. From there on the stream is complete.
 *   Events between `Connected` and this mark are true, but some may be missing.
 * - If the interest grows, a `Subscribed` is at the place where the server has confirmed
 *   the new subscription.
 * - If an acknowledgement does not arrive within `ackTimeout`, the mark says how
 *   many keys are `unconfirmed`. They are requested again with growing waits, and
 *   each emits a `Subscribed` once it is confirmed.
 * - The policy determines the delays and when to give up. A permanent failure fails the
 *   stream with its reason; the end of the schedule fails it with `RetriesExhausted`. In
 *   both cases the last element is a `Disconnected` without `retryInMillis`.
 * - After three consecutive failures a warning is logged.
 * - Nothing is queued: a consumer that does not pull stops the socket's reads (on a
 *   transport that can pause). Without pulls there is no dial either. An interrupted
 *   dial, for example by a timeout on a pull, counts as a failed attempt.
 * - The stream's scope owns the socket, the timers and the fibers.
 *
 * **Gotchas**
 *
 * Do not add `Stream.retry`: it resets its schedule at the first element, which here is
 * a `Connected` or a `Disconnected`. Use `policy`.
 *
 * **Example** (Printing the status changes of every task)
 *
 * ```ts
 * import * as Console from "effect/Console"
 * import * as Stream from "effect/Stream"
 * import * as Interest from "@makima-stream/core/Interest"
 * import * as MeshStream from "@makima-stream/core/MeshStream"
 *
 * // Effect<void, MeshError, Socket>
 * const program = MeshStream.connect({ interest: Interest.all }).pipe(
 *   Stream.runForEach((event) =>
 *     event._tag === "TaskUpdated" ? Console.log(event.taskId, event.status) : Console.log(event._tag)
 *   )
 * )
 * console.log(typeof program) // object
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const connect = (options: ConnectOptions): Stream.Stream<MeshEvent, MeshError, Socket.Socket> =>
  Pushdown.source(({ isWanted, mayBeWanted }) => {
    const events = feed(options, mayBeWanted)
    return isWanted === undefined ? events : Stream.filter(events, isWanted)
  })

const feed = (
  options: ConnectOptions,
  mayBeWanted: Pushdown.MayBeWanted | undefined
): Stream.Stream<MeshEvent, MeshError, Socket.Socket> =>
  Stream.fromChannel(
    Channel.fromTransform((_, scope) =>
      Effect.gen(function* () {
        const settings = Settings.settings(options)
        const { make, subscriptions } = options.connections?.group(settings.ackTimeout) ?? {
          make: Connection.make,
          subscriptions: Subscriptions.make(settings.ackTimeout)
        }
        yield* follow(options.interest, subscriptions, scope)
        const { pull } = yield* make({
          ...options,
          settings,
          subscriptions,
          mayBeWanted,
          subscriptionState: options.subscriptions
        })
        return pull
      }).pipe(Scope.provide(scope))
    )
  )

/** Sets the interest of a connection, and follows its changes. */
const follow = (
  interest: ConnectOptions["interest"],
  subscriptions: Subscriptions.Subscriptions,
  scope: Scope.Scope
): Effect.Effect<void> => {
  if (!isRef(interest)) return Effect.sync(() => subscriptions.setInterest(interest))
  subscriptions.setInterest(SubscriptionRef.getUnsafe(interest))
  return SubscriptionRef.changes(interest).pipe(
    Stream.runForEach((value) => Effect.sync(() => subscriptions.setInterest(value))),
    Effect.forkIn(scope),
    Effect.asVoid
  )
}

const isRef = (interest: ConnectOptions["interest"]): interest is SubscriptionRef.SubscriptionRef<Interest> =>
  SubscriptionRef.isSubscriptionRef(interest)

export * from "./operators/end.ts"
export * from "./operators/filterTask.ts"
export * from "./operators/groupByTask.ts"
export * from "./operators/joinPartials.ts"
export * from "./operators/lines.ts"
export * from "./operators/kinds.ts"
export * from "./operators/members.ts"
export type { KeepOptions, RestartOptions, Selector } from "./operators/options.ts"
export * from "./operators/order.ts"
export type { PieceOptions, UnfinishedReason } from "./operators/pieces.ts"
export * from "./operators/result.ts"
export * from "./operators/shed.ts"
export * from "./operators/text.ts"
export * from "./operators/toolUse.ts"
