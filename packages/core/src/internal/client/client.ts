/**
 * Connects the parts of a client: consumers, demand, discovery, timers, and the
 * lifecycle of the connection loop. `MeshClient` turns `join` and `leave` into
 * streams.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Predicate from "effect/Predicate"
import * as Scope from "effect/Scope"
import * as Socket from "effect/socket/Socket"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Interest from "../../Interest.ts"
import * as MeshError from "../../MeshError.ts"
import type { MeshEvent } from "../../MeshEvent.ts"
import * as Connection from "../session/connection.ts"
import type { Group } from "../session/connections.ts"
import * as SessionOptions from "../session/options.ts"
import * as Subscriptions from "../session/subscriptions.ts"
import { monotonicMillis } from "../time.ts"
import type { MayBeWanted } from "../wire/decodeText.ts"
import type { Consumer } from "./consumer.ts"
import * as Consumers from "./consumers.ts"
import * as Demand from "./demand.ts"
import type { Drain } from "./drain.ts"
import * as Discoveries from "./discoveries.ts"
import * as Lifecycle from "./lifecycle.ts"
import { clientSettings, type ConsumerSettings, type DiscoverySettings, type Options } from "./options.ts"
import type * as Openings from "./openings.ts"
import type { Route } from "./router.ts"
import * as Stalls from "./stalls.ts"
import { statusAfter, type Status } from "./status.ts"
import * as Timers from "./timers.ts"

export interface JoinOptions extends ConsumerSettings {
  readonly route: Route
  readonly isWanted: ((event: MeshEvent) => boolean) | undefined
  /** For a consumer of everything. */
  readonly discovery: DiscoverySettings | undefined
  readonly drain: Drain | undefined
}

/** A consumer that has joined. */
export interface Member {
  readonly consumer: Consumer
  /** Removes it from the drain of its effect. */
  readonly remove: (() => void) | undefined
}

export interface Client {
  readonly status: SubscriptionRef.SubscriptionRef<Status>
  readonly subscriptions: SubscriptionRef.SubscriptionRef<Connection.State>
  readonly join: (options: JoinOptions) => Effect.Effect<Member, MeshError.MeshError>
  readonly leave: (member: Member) => Effect.Effect<void>
  readonly awaitOnline: Effect.Effect<void, MeshError.MeshError>
  readonly reconnect: Effect.Effect<void>
  readonly close: Effect.Effect<void>
}

/** The connection of a client: its elements include the places of confirmations. */
type FeedConnection = Connection.Connection<Openings.Confirmed>

const closedError = () => new MeshError.MeshError({ reason: new MeshError.ClientClosed() })

/** Makes a client. Its scope owns the connection and every fiber. */
export const make = Effect.fnUntraced(function* (
  options: Options | undefined
): Effect.fn.Return<Client, never, Socket.Socket | Scope.Scope> {
  const settings = clientSettings(options)
  const scope = yield* Effect.scope
  const socket = yield* Socket.Socket
  const clock = yield* Clock.Clock
  const context = yield* Effect.context<never>()
  const status = yield* SubscriptionRef.make<Status>({ _tag: "Idle" })
  const now = () => monotonicMillis(clock)

  const session = SessionOptions.settings(options)
  const { make: makeConnection, subscriptions } = options?.connections?.group(session.ackTimeout) ?? {
    make: Connection.make,
    subscriptions: Subscriptions.make(session.ackTimeout)
  }
  const subscriptionState = yield* SubscriptionRef.make(Connection.noState)
  const demand = Demand.make({
    subscriptions,
    idleMillis: settings.subscriptionIdleMillis,
    onRetain: (key) => consumers.retained(key),
    onGiveUp: (key) => consumers.giveUp(key)
  })
  const stalls: Stalls.Stalls<Consumer> = Stalls.make<Consumer>({
    warningMillis: settings.stallWarningMillis,
    now,
    context,
    nameOf: (consumer) => consumer.options.name,
    count: () => consumers.count()
  })
  const discoveries = Discoveries.make<Consumer>({
    demand,
    idleMillis: settings.subscriptionIdleMillis,
    now,
    context
  })
  const consumers: Consumers.Consumers = Consumers.make({ context, subscriptions, discoveries, stalls })
  const lifecycle = Lifecycle.make<FeedConnection>({
    loop: connectionLoop({
      make: makeConnection,
      session,
      policy: options?.policy,
      extension: options?.extension,
      repair: options?.repair,
      socket,
      status,
      subscriptions,
      subscriptionState,
      mayBeWanted: options?.connections === undefined ? mayBeWanted(subscriptions, discoveries) : undefined,
      consumers
    }),
    onStarting: SubscriptionRef.set(status, { _tag: "Connecting", attempt: 0 }),
    onStopping: consumers.disconnected,
    onStopped: SubscriptionRef.set(status, { _tag: "Idle" }),
    onFailed: (cause) => endConsumers(cause, status, consumers),
    idleMillis: settings.connectionIdleMillis,
    now
  })
  const timers = Timers.make(now, [lifecycle, demand, discoveries, stalls])
  lifecycle.onChanged = stalls.onChanged = discoveries.onChanged = timers.changed

  yield* Effect.forkIn(timers.run, scope)
  // The connection is shared, so it does not inherit the span and the log annotations of the first consumer.
  yield* lifecycle.run.pipe(
    Effect.updateContext<never, never>(() => context),
    Effect.forkIn(scope)
  )
  yield* Effect.addFinalizer(() =>
    Effect.suspend(() => {
      lifecycle.abandon()
      consumers.removeAll()(Cause.done())
      return SubscriptionRef.set(status, { _tag: "Idle" })
    })
  )
  if (settings.keepAlive) lifecycle.retain()

  return {
    status,
    subscriptions: subscriptionState,
    ...membership({ consumers, demand, lifecycle, timers, now }),
    awaitOnline: awaitOnline(lifecycle, status),
    reconnect: Effect.suspend(() => {
      const state = lifecycle.state()
      if (state._tag === "Running") return state.connection.reconnect
      // A client that has failed while something still retains it, as `keepAlive` does, starts again.
      lifecycle.start()
      return Effect.void
    }),
    close: close({ closeMillis: settings.closeMillis, consumers, lifecycle, subscriptions })
  }
})

/**
 * Whether a message is decoded. Output of a task without a key has no consumer: a consumer that joins before it is routed
 * requests the key, and its stretch opens only at the confirmation, which comes later. While there is a discovery,
 * everything is decoded, because an update makes output wanted that is decoded in the same batch.
 */
const mayBeWanted =
  (subscriptions: Subscriptions.Subscriptions, discoveries: Discoveries.Discoveries<Consumer>): MayBeWanted =>
  (type, taskId) =>
    type !== "TaskOutput" || subscriptions.hasOutput(taskId) || discoveries.isFollowing()

/** One connection loop: dials, routes batches and keeps the status, until the policy gives up. */
const connectionLoop = (parts: {
  readonly make: Group["make"]
  readonly session: SessionOptions.Settings
  readonly policy: Options["policy"]
  readonly extension: Options["extension"]
  readonly repair: Options["repair"]
  readonly socket: Socket.Socket
  readonly status: SubscriptionRef.SubscriptionRef<Status>
  readonly subscriptions: Subscriptions.Subscriptions
  readonly subscriptionState: SubscriptionRef.SubscriptionRef<Connection.State>
  readonly mayBeWanted: MayBeWanted | undefined
  readonly consumers: Consumers.Consumers
}) => {
  const {
    consumers,
    extension,
    make,
    mayBeWanted,
    policy,
    repair,
    session,
    socket,
    status,
    subscriptions,
    subscriptionState
  } = parts
  // Each loop continues the epochs of the previous one.
  let epoch = 0
  /** The states of several connections. */
  let connections: Pick<Status, "connections"> = {}

  const setStatus = (next: Status): Effect.Effect<void> => SubscriptionRef.set(status, { ...next, ...connections })

  const routed = (batch: NonEmptyReadonlyArray<Consumers.Element>): Effect.Effect<void> => {
    // A `Connected` and a `Disconnected` are always first in their batch, except those of an extension.
    const next = extension === undefined ? statusOf(batch[0]) : batch.map(statusOf).findLast(Predicate.isNotUndefined)
    if (next === undefined) return consumers.route(batch)
    if (next._tag === "Online") epoch = next.epoch
    return Effect.andThen(
      setStatus(next),
      Effect.suspend(() => consumers.route(batch))
    )
  }

  return (started: (connection: FeedConnection) => void): Effect.Effect<never, MeshError.MeshError> =>
    Effect.gen(function* () {
      const connection = yield* make({
        settings: session,
        policy,
        subscriptions,
        subscriptionState,
        extension: extension === undefined ? undefined : consumers.relay(extension),
        epoch,
        mayBeWanted,
        onReplay: consumers.replayed,
        onConfirmed: (key): Openings.Confirmed => ({ _tag: "Confirmed", key }),
        // The lifecycle has set the status of the first dial.
        onDial: (attempt) =>
          attempt === 0 && SubscriptionRef.getUnsafe(status)._tag === "Connecting"
            ? Effect.void
            : setStatus({ _tag: "Connecting", attempt }),
        onStatus: (states) => {
          connections = { connections: states }
          return SubscriptionRef.update(status, (current) => ({ ...current, ...connections }))
        }
      })
      started(connection)
      const feed =
        repair === undefined
          ? connection
          : yield* repair.attach(connection.pull, yield* Effect.scope, consumers.reported)
      consumers.repaired("inform" in feed ? feed.inform : undefined)
      return yield* Effect.forever(Effect.flatMap(feed.pull, routed), { disableYield: true })
    }).pipe(
      Effect.scoped,
      Effect.provideService(Socket.Socket, socket),
      // A stopped loop did not publish that nothing is requested any more.
      Effect.ensuring(
        Effect.suspend(() => SubscriptionRef.set(subscriptionState, { epoch, ...subscriptions.current() }))
      )
    )
}

const statusOf = (element: Consumers.Element) => (element._tag === "Confirmed" ? undefined : statusAfter(element))

/** Ends every consumer of a failed loop. Consumers that join afterwards belong to the next loop. */
const endConsumers = (
  cause: Cause.Cause<MeshError.MeshError>,
  status: SubscriptionRef.SubscriptionRef<Status>,
  consumers: Consumers.Consumers
): Effect.Effect<void> => {
  // Before the status changes, because a program that sees the new status may join at once.
  const end = consumers.removeAll()
  const error = Cause.findError(cause)
  const next: Status = error._tag === "Success" ? { _tag: "Failed", error: error.success } : { _tag: "Idle" }
  return Effect.map(SubscriptionRef.set(status, next), () => end(Effect.failCause(cause)))
}

/** How consumers join and leave. Each is one synchronous step, so no other fiber can see a half-joined consumer. */
const membership = (parts: {
  readonly consumers: Consumers.Consumers
  readonly demand: Demand.Demand
  readonly lifecycle: Lifecycle.Lifecycle<FeedConnection>
  readonly timers: Timers.Timers
  readonly now: () => number
}): Pick<Client, "join" | "leave"> => {
  const { consumers, demand, lifecycle, now, timers } = parts
  return {
    join: (options) =>
      Effect.suspend(() => {
        if (!lifecycle.isOpen()) return Effect.fail(closedError())
        demand.retain(options.route.interest)
        const consumer = consumers.join(options, options.discovery)
        lifecycle.retain()
        const remove = options.drain?.add(() => consumers.end(consumer, Cause.done()))
        return Effect.succeed({ consumer, remove })
      }),
    leave: ({ consumer, remove }) =>
      Effect.sync(() => {
        remove?.()
        consumers.leave(consumer)
        demand.release(consumer.options.route.interest, now())
        lifecycle.release()
        timers.changed()
      })
  }
}

const awaitOnline = (
  lifecycle: Lifecycle.Lifecycle<FeedConnection>,
  status: SubscriptionRef.SubscriptionRef<Status>
): Effect.Effect<void, MeshError.MeshError> =>
  Effect.acquireUseRelease(
    Effect.suspend(() => (lifecycle.isOpen() ? Effect.succeed(lifecycle.retain()) : Effect.fail(closedError()))),
    (loop) =>
      Stream.runForEachWhile(SubscriptionRef.changes(status), (state): Effect.Effect<boolean, MeshError.MeshError> => {
        // The first status may still be that of an earlier loop.
        if (lifecycle.serves(loop)) return Effect.succeed(state._tag !== "Online")
        const cause = lifecycle.endOf(loop)
        if (cause !== undefined) return Effect.failCause(cause)
        const isClosed = lifecycle.state()._tag === "Closed"
        return isClosed ? Effect.fail(closedError()) : Effect.succeed(true)
      }),
    () => Effect.sync(lifecycle.release)
  )

/** Unsubscribes and waits for the acknowledgements, at most `closeMillis`; then ends the loop and every consumer. */
const close = (parts: {
  readonly closeMillis: number
  readonly consumers: Consumers.Consumers
  readonly lifecycle: Lifecycle.Lifecycle<FeedConnection>
  readonly subscriptions: Subscriptions.Subscriptions
}): Effect.Effect<void> => {
  const { closeMillis, consumers, lifecycle, subscriptions } = parts
  const settled = Latch.makeUnsafe(false)
  subscriptions.onSettled = () => settled.openUnsafe()

  const unsubscribed = Effect.suspend(() => {
    settled.closeUnsafe()
    subscriptions.setInterest(Interest.empty)
    return subscriptions.isSettled() ? Effect.void : settled.await
  })
  const end = Effect.andThen(
    lifecycle.stop,
    Effect.sync(() => consumers.removeAll()(Cause.done()))
  )
  // An interruption shortens the drain, and does not cancel the close.
  return Effect.suspend(() => {
    lifecycle.close()
    return Effect.timeoutOption(unsubscribed, closeMillis)
  }).pipe(Effect.asVoid, Effect.ensuring(end))
}
