/**
 * The feed as a resilient `Stream` of events.
 *
 * `connect` is the source: each run of the stream has its own connection, which
 * comes back by itself, and everything that happens to it is an element. Many
 * parts of one program that share a connection want `MeshClient` instead.
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
import * as Skip from "./internal/wire/skip.ts"
import * as Subscriptions from "./internal/session/subscriptions.ts"
import * as Wanted from "./internal/pushdown.ts"
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
   * What is wanted: a value, or a `SubscriptionRef` where it changes while the
   * stream runs. The wire follows each change; what is wanted at a reconnect is
   * asked for again as a whole.
   */
  readonly interest: Interest | SubscriptionRef.SubscriptionRef<Interest>
  /** How to come back after the connection ended. Default: `ReconnectPolicy.defaults`. */
  readonly policy?: ReconnectPolicy.Options | undefined
}

/**
 * Connects, and stays connected: the feed as a stream of events.
 *
 * **Details**
 *
 * - On every connection the whole interest is sent before the first pull.
 * - `Connected`, `Disconnected` and `Resync` stand in the stream where they
 *   happened. After a reconnect, `Connected` is followed by a `Resync`.
 * - Delays and giving up are the policy's. A reason that will not heal fails the
 *   stream with that reason; a schedule that ends fails it with
 *   `RetriesExhausted`. Both come after a `Disconnected` without `retryInMillis`.
 * - Nothing is queued: a consumer that does not pull stops the socket's reads
 *   (on a transport that can pause), and while it does not pull there is no
 *   dialling either.
 * - The stream's scope owns the socket, the timers and the fibers.
 *
 * **Gotchas**
 *
 * Do not put `Stream.retry` around it: that resets its schedule at the first
 * element, which here is a `Connected` or a `Disconnected`.
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
  Wanted.source(({ isWanted, mayBeWanted }) => {
    const events = feed(options, mayBeWanted)
    return isWanted === undefined ? events : Stream.filter(events, isWanted)
  })

const feed = (
  options: ConnectOptions,
  mayBeWanted: Wanted.MayBeWanted | undefined
): Stream.Stream<MeshEvent, MeshError, Socket.Socket> =>
  Stream.fromChannel(
    Channel.fromTransform((_, scope) =>
      Effect.gen(function* () {
        const { interest } = options
        const subscriptions = Subscriptions.make()
        if (isRef(interest)) {
          subscriptions.setInterest(SubscriptionRef.getUnsafe(interest))
          yield* SubscriptionRef.changes(interest).pipe(
            Stream.runForEach((value) => Effect.sync(() => subscriptions.setInterest(value))),
            Effect.forkIn(scope)
          )
        } else {
          subscriptions.setInterest(interest)
        }
        const skip = mayBeWanted === undefined ? undefined : (frame: string) => Skip.skip(frame, mayBeWanted)
        const { pull } = yield* Connection.make({ ...options, subscriptions, skip })
        return pull
      }).pipe(Scope.provide(scope))
    )
  )

const isRef = (interest: ConnectOptions["interest"]): interest is SubscriptionRef.SubscriptionRef<Interest> =>
  SubscriptionRef.isSubscriptionRef(interest)

export * from "./operators/conflate.ts"
export * from "./operators/end.ts"
export * from "./operators/filter.ts"
export * from "./operators/groupByTask.ts"
export * from "./operators/joinPartials.ts"
export * from "./operators/lines.ts"
export type { Events, KeepOptions, Kept, NoUnknownOptions, Selector } from "./operators/options.ts"
export * from "./operators/order.ts"
export type { PieceOptions, UnfinishedReason } from "./operators/pieces.ts"
export * from "./operators/result.ts"
export * from "./operators/shed.ts"
export * from "./operators/text.ts"
export * from "./operators/toolUse.ts"
