/**
 * Connects the parts of a client: consumers, timers, and the lifecycle of the
 * connection loop. `MeshClient` turns `join` and `leave` into streams.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import type * as Scope from "effect/Scope"
import type * as Socket from "effect/socket/Socket"
import * as SubscriptionRef from "effect/SubscriptionRef"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Interest from "../../Interest.ts"
import * as MeshError from "../../MeshError.ts"
import * as Connection from "../session/connection.ts"
import type { Group } from "../session/connections.ts"
import * as SessionOptions from "../session/options.ts"
import * as Subscriptions from "../session/subscriptions.ts"
import { monotonicMillis } from "../time.ts"
import type { Consumer, Options as ConsumerOptions } from "./consumer.ts"
import * as Consumers from "./consumers.ts"
import * as Drain from "./drain.ts"
import * as Lifecycle from "./lifecycle.ts"
import { consumerSettings, millis, type Options } from "./options.ts"
import type * as Openings from "./openings.ts"
import { statusAfter, type Status } from "./status.ts"
import * as Timers from "./timers.ts"

export interface Client {
  readonly status: SubscriptionRef.SubscriptionRef<Status>
  readonly subscriptions: SubscriptionRef.SubscriptionRef<Connection.State>
  readonly join: (options: ConsumerOptions) => Effect.Effect<Consumer, MeshError.MeshError>
  readonly leave: (consumer: Consumer) => Effect.Effect<void>
  readonly awaitOnline: Effect.Effect<void, MeshError.MeshError>
  readonly reconnect: Effect.Effect<void>
  readonly close: Effect.Effect<void>
}

const closedError = () => new MeshError.MeshError({ reason: new MeshError.ClientClosed() })

const idle = { _tag: "Idle" } as const

/** Makes a client. Its scope owns the connection and every fiber. */
export const make = Effect.fnUntraced(function* (
  options: Options = {}
): Effect.fn.Return<Client, never, Socket.Socket | Scope.Scope> {
  const clock = yield* Clock.Clock
  const context = yield* Effect.context<never>()
  const status = yield* SubscriptionRef.make<Status>(idle)
  const now = () => monotonicMillis(clock)
  const { run, wakeAt } = Timers.make(now)

  const settings = SessionOptions.settings(options)
  const group = options.connections?.group(settings.ackTimeout) ?? {
    make: Connection.make,
    subscriptions: Subscriptions.make(settings.ackTimeout)
  }
  const { subscriptions } = group
  const state = yield* SubscriptionRef.make<Connection.State>({ epoch: 0, ...subscriptions.current() })
  const consumers = Consumers.make({
    context,
    subscriptions,
    now,
    wakeAt,
    idleMillis: millis(options.subscriptionIdleTimeToLive, "5 seconds"),
    // With 0, every full queue would log a warning.
    stallMillis: millis(options.stallWarning, "5 seconds", 1)
  })
  const connection = connectionLoop(options, settings, group, consumers, status, state)
  const lifecycle = Lifecycle.make({
    loop: connection.run,
    onStopping: consumers.disconnected,
    onEnd: (cause) =>
      cause === undefined ? SubscriptionRef.set(status, idle) : endConsumers(cause, status, consumers),
    idleMillis: millis(options.connectionIdleTimeToLive, "30 seconds"),
    now,
    wakeAt
  })

  const unsubscribed = unsubscribe(subscriptions)
  yield* Effect.forkScoped(run([...consumers.sweeps, lifecycle.sweep]))
  const loops = yield* Effect.forkScoped(lifecycle.run)
  const end = Effect.suspend(() => {
    lifecycle.stop()
    return Effect.map(Fiber.await(loops), () => consumers.removeAll()(Cause.done()))
  })
  yield* Effect.addFinalizer(() => {
    lifecycle.close()
    return Effect.andThen(end, SubscriptionRef.set(status, idle))
  })
  if (options.keepAlive === true) lifecycle.retain()

  // Joining and leaving are one synchronous step each, so no other fiber can see a half-joined consumer.
  const join: Client["join"] = (consumerOptions) =>
    Effect.suspend(() => {
      if (!lifecycle.isOpen()) return Effect.fail(closedError())
      const consumer = consumers.join(consumerOptions)
      lifecycle.retain()
      const { drain } = consumerOptions
      if (drain !== undefined) Drain.add(drain, consumer)
      return Effect.succeed(consumer)
    })
  const leave: Client["leave"] = (consumer) =>
    Effect.sync(() => {
      consumer.options.drain?.consumers?.delete(consumer)
      consumers.leave(consumer)
      lifecycle.release()
    })

  return {
    status,
    subscriptions: state,
    join,
    leave,
    awaitOnline: Effect.suspend(() => {
      if (
        lifecycle.isOpen() &&
        lifecycle.state() === "Running" &&
        SubscriptionRef.getUnsafe(status)._tag === "Online"
      ) {
        return Effect.void
      }
      // A consumer that receives only the next `Connected`.
      const consumer = join({
        ...consumerSettings("awaitOnline"),
        interest: Interest.empty,
        isWanted: ({ _tag }) => _tag === "Connected"
      })
      return Effect.acquireUseRelease(consumer, Effect.asVoid, leave)
    }).pipe(Effect.mapError((error) => (Cause.isDone(error) ? closedError() : error))),
    reconnect: Effect.suspend(() => {
      // A client that has failed while something still retains it, as `keepAlive` does, starts again.
      lifecycle.start()
      return connection.reconnect
    }),
    close: Effect.suspend(() => {
      lifecycle.close()
      return Effect.timeoutOption(unsubscribed, millis(options.closeTimeout, "5 seconds"))
    }).pipe(
      // An interruption shortens the drain, and does not cancel the close.
      Effect.ensuring(end),
      Effect.asVoid
    )
  }
})

/** The connection loop: dials, routes batches and keeps the status, until the policy gives up. */
const connectionLoop = (
  { connections, extension, policy, repair }: Options,
  settings: SessionOptions.Settings,
  { make, subscriptions }: Group,
  consumers: Consumers.Consumers,
  status: SubscriptionRef.SubscriptionRef<Status>,
  subscriptionState: SubscriptionRef.SubscriptionRef<Connection.State>
) => {
  let connection: Connection.Connection<Openings.Confirmed> | undefined
  // Each loop continues the epochs of the previous one.
  let epoch = 0
  /** The states of several connections. */
  let states: Pick<Status, "connections"> = {}

  const setStatus = (next: Status): Effect.Effect<void> => SubscriptionRef.set(status, { ...next, ...states })

  const routed = (batch: NonEmptyReadonlyArray<Consumers.Element>): Effect.Effect<void> => {
    // A `Connected` and a `Disconnected` are always first in their batch, except those of an extension.
    const next =
      extension === undefined
        ? statusAfter(batch[0])
        : batch.map(statusAfter).findLast((status) => status !== undefined)
    if (next === undefined) return consumers.route(batch)
    if (next._tag === "Online") epoch = next.epoch
    return Effect.flatMap(setStatus(next), () => consumers.route(batch))
  }

  const run = Effect.gen(function* () {
    connection = yield* make({
      settings,
      policy,
      subscriptions,
      subscriptionState,
      extension: extension === undefined ? undefined : consumers.relay(extension),
      epoch,
      mayBeWanted: connections === undefined ? consumers.mayBeWanted : undefined,
      onReplay: consumers.replayed,
      onConfirmed: (key): Openings.Confirmed => ({ _tag: "Confirmed", key }),
      onDial: (attempt) => setStatus({ _tag: "Connecting", attempt }),
      onStatus: (next) => {
        states = { connections: next }
        return SubscriptionRef.update(status, (current) => ({ ...current, ...states }))
      }
    })
    let pull: Effect.Effect<NonEmptyReadonlyArray<Consumers.Element>, MeshError.MeshError> = connection.pull
    if (repair !== undefined) {
      const repaired = yield* repair.attach(connection.pull, yield* Effect.scope, consumers.reported)
      consumers.repaired(repaired.inform)
      pull = repaired.pull
    }
    return yield* Effect.forever(Effect.flatMap(pull, routed), { disableYield: true })
  }).pipe(
    Effect.scoped,
    Effect.ensuring(
      Effect.suspend(() => {
        connection = undefined
        // A stopped loop did not publish that nothing is requested any more.
        return SubscriptionRef.set(subscriptionState, { epoch, ...subscriptions.current() })
      })
    )
  )
  return { run, reconnect: Effect.suspend(() => connection?.reconnect ?? Effect.void) }
}

/** Ends every consumer of a failed loop. Consumers that join afterwards belong to the next loop. */
const endConsumers = (
  cause: Cause.Cause<MeshError.MeshError>,
  status: SubscriptionRef.SubscriptionRef<Status>,
  consumers: Consumers.Consumers
): Effect.Effect<void> => {
  // Before the status changes, because a program that sees the new status may join at once.
  const end = consumers.removeAll()
  const error = Cause.findError(cause)
  return Effect.map(
    SubscriptionRef.set(status, error._tag === "Success" ? { _tag: "Failed", error: error.success } : idle),
    () => end(Effect.failCause(cause))
  )
}

/** Unsubscribes everything, and waits for the acknowledgements. */
const unsubscribe = (subscriptions: Subscriptions.Subscriptions): Effect.Effect<void> => {
  const settled = Latch.makeUnsafe(false)
  subscriptions.onSettled = () => settled.openUnsafe()
  return Effect.suspend(() => {
    settled.closeUnsafe()
    subscriptions.setInterest(Interest.empty)
    return subscriptions.isSettled() ? Effect.void : settled.await
  })
}
