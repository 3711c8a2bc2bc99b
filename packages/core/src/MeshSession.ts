/**
 * One connection: dials, sends the interest, decodes, and ends. It does not reconnect.
 *
 * The scope of a session owns it: closing the scope closes the socket and stops all
 * fibers. `MeshStream` runs consecutive sessions under a `ReconnectPolicy`. Use a
 * session directly if one connection is enough, or to write another reconnect loop.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as Socket from "effect/socket/Socket"
import type { NonEmptyReadonlyArray } from "effect/Array"
import type { DecodeError } from "./DecodeError.ts"
import type * as Interest from "./Interest.ts"
import * as Settings from "./internal/session/options.ts"
import * as Session from "./internal/session/session.ts"
import * as Subscriptions from "./internal/session/subscriptions.ts"
import * as MeshError from "./MeshError.ts"
import type { Data, Resync } from "./MeshEvent.ts"

export type {
  /**
   * Options of one connection.
   *
   * @category options
   * @since 0.1.0
   */
  Options,
  /**
   * The rate at which requests are sent.
   *
   * @category options
   * @since 0.2.0
   */
  Pace
} from "./internal/session/options.ts"

/**
 * The subscriptions of a connection: requested, confirmed and unconfirmed.
 *
 * @category models
 * @since 0.2.0
 */
export interface SubscriptionState {
  /** The connection, counted from 1; 0 before the first one. */
  readonly epoch: number
  /** The requested subscriptions. Empty while there is no connection. */
  readonly requested: Interest.Interest
  /** The subscriptions that the server has confirmed. */
  readonly confirmed: Interest.Interest
  /**
   * The subscriptions that the server has not confirmed within `ackTimeout`. They are
   * requested again until they are confirmed or no longer wanted.
   */
  readonly unconfirmed: Interest.Interest
}

/**
 * A live connection.
 *
 * @category models
 * @since 0.1.0
 */
export interface MeshSession {
  /**
   * Pulls the next elements, in order; the result is never empty. The session handles
   * acknowledgements itself. It emits a `Resync` at the acknowledgement that confirms
   * the interest (`Started`) or a key that was added later (`Subscribed`). A frame that
   * cannot be decoded becomes a `DecodeError` in its place. Fails when the connection
   * ends, after everything that arrived before the end was pulled. For one fiber at a
   * time.
   */
  readonly pull: Effect.Effect<NonEmptyReadonlyArray<Data | Resync | DecodeError>, MeshError.MeshError>
  /** Changes the interest. A fiber of the session sends the difference. */
  readonly setInterest: (interest: Interest.Interest) => Effect.Effect<void>
  /** Returns the subscriptions of this connection. */
  readonly subscriptions: Effect.Effect<SubscriptionState>
  /** Returns the number of received messages, including acknowledgements. */
  readonly received: Effect.Effect<number>
}

/**
 * Dials and sends the interest. Fails if the connection cannot be made.
 *
 * **Details**
 *
 * The interest is passed to the socket before this effect returns, in one batch unless
 * `pace` is set. So every pulled message arrived after the interest was sent.
 *
 * **Example** (Reading one connection)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Interest from "@makima-stream/core/Interest"
 * import * as MeshSession from "@makima-stream/core/MeshSession"
 *
 * // Effect<void, MeshError, Socket>
 * const program = Effect.scoped(
 *   Effect.gen(function* () {
 *     const session = yield* MeshSession.make(Interest.all)
 *     const elements = yield* session.pull
 *     console.log(elements.length)
 *   })
 * )
 * console.log(Effect.isEffect(program)) // true
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (
  interest: Interest.Interest,
  options?: Settings.Options
): Effect.fn.Return<MeshSession, MeshError.MeshError, Socket.Socket | Scope.Scope> {
  const settings = Settings.settings(options)
  const subscriptions = Subscriptions.make(settings.ackTimeout)
  subscriptions.setInterest(interest)
  const session = yield* Session.make({
    settings,
    subscriptions,
    epoch: 1,
    toBad: (error) => error,
    onReplayEnd: () => ({ _tag: "Started" }),
    onChanged: Effect.void
  }).pipe(Effect.mapError(fail))
  return {
    pull: Effect.mapError(session.pull, fail),
    setInterest: (wanted) => Effect.sync(() => subscriptions.setInterest(wanted)),
    subscriptions: Effect.sync(() => ({ epoch: 1, ...subscriptions.current() })),
    received: Effect.sync(session.received)
  }
})

const fail = (reason: MeshError.ConnectionReason): MeshError.MeshError => new MeshError.MeshError({ reason })
