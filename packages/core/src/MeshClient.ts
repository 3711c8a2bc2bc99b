/**
 * One connection, any number of consumers.
 *
 * `MeshStream.connect` gives each run its own connection; a program with many
 * parts shares one through this service. A stream of the client is a
 * subscription while it runs: the first consumer of a task asks the server for
 * it, the last one out gives it up, and those in between cost nothing on the
 * wire.
 *
 * **A slow consumer.** Each consumer has a bounded queue and says what happens
 * when that is full (`Overflow`). The default, `suspend`, loses nothing and lets
 * the slowest consumer set the pace of all: right where every consumer must see
 * everything, as an audit log and a cost meter must. A consumer that may miss
 * events, such as a live view, takes another policy and slows nobody.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Channel from "effect/Channel"
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as Socket from "effect/socket/Socket"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Interest from "./Interest.ts"
import { atLeast } from "./internal/bounds.ts"
import * as Connection from "./internal/session/connection.ts"
import type { Pull } from "./internal/client/consumer.ts"
import * as Consumers from "./internal/client/consumers.ts"
import * as Demand from "./internal/client/demand.ts"
import * as Discovery from "./internal/client/discovery.ts"
import type * as Router from "./internal/client/router.ts"
import * as Settings from "./internal/session/options.ts"
import * as Subscriptions from "./internal/session/subscriptions.ts"
import * as Wanted from "./internal/pushdown.ts"
import * as MeshError from "./MeshError.ts"
import type { Lifecycle, MeshEvent } from "./MeshEvent.ts"
import type * as MeshSession from "./MeshSession.ts"
import type * as ReconnectPolicy from "./ReconnectPolicy.ts"
import type { TaskOutput, TaskUpdated } from "./ServerMessage.ts"
import type { TaskId } from "./TaskId.ts"
import * as TaskStatus from "./TaskStatus.ts"

/**
 * What happens to a consumer whose queue is full.
 *
 * **Details**
 *
 * - `suspend`: the connection waits for it, and so do the others. Nothing is
 *   lost. The server feels it too: reads of the socket are paused.
 * - `shed`: older updates of a task go over into newer ones, then partial
 *   outputs are lost, oldest first. Whole outputs and the lifecycle never are:
 *   where nothing can be shed, it suspends.
 * - `sliding`: the oldest event is lost.
 * - `dropping`: the newest event is lost.
 * - `fail`: the consumer fails with `ConsumerOverflow`, after what it had queued.
 *
 * Every event lost is counted in a `Resync` with the reason `Overflow`, which
 * stands in the consumer's stream where the event would have stood.
 *
 * @category options
 * @since 0.1.0
 */
export type Overflow = "suspend" | "shed" | "sliding" | "dropping" | "fail"

/**
 * Options of one consumer.
 *
 * @category options
 * @since 0.1.0
 */
export interface ConsumerOptions {
  /** What happens when the queue is full. Default: `suspend`. */
  readonly overflow?: Overflow
  /**
   * How many events the queue holds. At least 1. Default: 256. With `suspend`,
   * 64 are enough for reading to stop while no other consumer waits.
   */
  readonly capacity?: number
}

/**
 * Options of `everything`.
 *
 * @category options
 * @since 0.1.0
 */
export interface EverythingOptions extends ConsumerOptions {
  /**
   * Whose output is wanted besides the updates: that of each task from the
   * moment it is first seen in an update until it ends (`discovered`), or
   * nobody's (`none`). Default: `discovered`.
   */
  readonly output?: "discovered" | "none"
  /** The statuses that end a task. Default: `TaskStatus.defaultTerminal`. */
  readonly terminal?: ReadonlySet<string>
  /**
   * How long the output of a task is still wanted after the task ended, for what
   * trails behind. Default: 30 seconds.
   */
  readonly endedTimeToLive?: Duration.Input
}

/**
 * Options of a client.
 *
 * @category options
 * @since 0.1.0
 */
export interface Options extends MeshSession.Options {
  /** How to come back after the connection ended. Default: `ReconnectPolicy.defaults`. */
  readonly policy?: ReconnectPolicy.Options | undefined
  /**
   * How long a subscription outlives its last consumer, so that one that comes
   * back soon costs nothing. Default: 5 seconds.
   */
  readonly subscriptionIdleTimeToLive?: Duration.Input
  /** How long the connection outlives the last consumer. Default: 30 seconds. */
  readonly connectionIdleTimeToLive?: Duration.Input
  /** Dial at once and stay connected without consumers. Default: `false`. */
  readonly keepAlive?: boolean
  /** How long `close` may take before the connection is simply cut. Default: 5 seconds. */
  readonly closeTimeout?: Duration.Input
}

/**
 * The state of the client's connection. Times are the clock's, in milliseconds
 * since 1970.
 *
 * **Details**
 *
 * - `Idle`: nobody wants anything, or the client was closed, or every stream
 *   died of a defect of the program's own, such as a `classify` that throws.
 * - `Connecting`: a dial is under way, after `attempt` that failed or ended.
 * - `Online`: connected, by the connection that is the `epoch`-th, `since` when.
 * - `Offline`: waiting until `retryAt` for the next dial, for the `reason` given.
 * - `Failed`: given up with the `error`; the next consumer dials anew.
 *
 * @category models
 * @since 0.1.0
 */
export type Status =
  | { readonly _tag: "Idle" }
  | { readonly _tag: "Connecting"; readonly attempt: number }
  | { readonly _tag: "Online"; readonly epoch: number; readonly since: number }
  | {
      readonly _tag: "Offline"
      readonly attempt: number
      readonly reason: MeshError.ConnectionReason
      readonly retryAt: number
    }
  | { readonly _tag: "Failed"; readonly error: MeshError.MeshError }

/**
 * The shared client.
 *
 * **Details**
 *
 * Every stream carries the connection's `Connected`, `Disconnected` and
 * `Resync` besides its data. One that joins while the connection is open begins
 * with a `Resync` with reason `JoinedLate`. A fatal error fails all streams with
 * the same error; a consumer that comes later dials anew.
 *
 * **Example** (Two consumers, one connection)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Stream from "effect/Stream"
 * import * as MeshClient from "@makima-stream/core/MeshClient"
 * import * as TaskId from "@makima-stream/core/TaskId"
 *
 * // Effect<void, MeshError, MeshClient>
 * const program = Effect.gen(function* () {
 *   const client = yield* MeshClient.MeshClient
 *   yield* client.updates().pipe(Stream.runDrain, Effect.forkChild)
 *   yield* client.output(TaskId.make("a")).pipe(Stream.runDrain)
 * })
 * console.log(Effect.isEffect(program)) // true
 * ```
 *
 * @category services
 * @since 0.1.0
 */
export class MeshClient extends Context.Service<
  MeshClient,
  {
    /** The events of an interest (default: all updates), with server errors and unknown messages. */
    readonly events: (
      interest?: Interest.Interest,
      options?: ConsumerOptions
    ) => Stream.Stream<MeshEvent, MeshError.MeshError>
    /** The updates of one task, or of all. */
    readonly updates: (
      taskId?: TaskId,
      options?: ConsumerOptions
    ) => Stream.Stream<TaskUpdated | Lifecycle, MeshError.MeshError>
    /** The output of one task. */
    readonly output: (
      taskId: TaskId,
      options?: ConsumerOptions
    ) => Stream.Stream<TaskOutput | Lifecycle, MeshError.MeshError>
    /** The updates and the output of one task. */
    readonly task: (
      taskId: TaskId,
      options?: ConsumerOptions
    ) => Stream.Stream<TaskUpdated | TaskOutput | Lifecycle, MeshError.MeshError>
    /**
     * The updates of all tasks, and the output of each from the moment it is
     * first seen until it ends. What a task said before its first update was seen
     * is not in it: the protocol has no way to ask for that. A task whose end fell
     * into a gap is taken for one that goes on, and its output stays wanted for as
     * long as this stream runs.
     */
    readonly everything: (options?: EverythingOptions) => Stream.Stream<MeshEvent, MeshError.MeshError>
    /** The state of the connection, and its changes. */
    readonly status: SubscriptionRef.SubscriptionRef<Status>
    /**
     * Waits until the client is online, and dials for that if need be. Fails when
     * the client gives up instead.
     */
    readonly awaitOnline: Effect.Effect<void, MeshError.MeshError>
    /** What was asked for on the present connection, and what of it the server confirmed. */
    readonly subscriptions: Effect.Effect<{
      readonly requested: Interest.Interest
      readonly confirmed: Interest.Interest
    }>
    /** Drops the connection, or the wait for one, and dials now. Does nothing while idle. */
    readonly reconnect: Effect.Effect<void>
    /**
     * Unsubscribes, waits for the acknowledgements, closes with code 1000, and
     * ends every stream after what it has queued; within `closeTimeout`. Consumers
     * that come later fail with `ClientClosed`.
     */
    readonly close: Effect.Effect<void>
  }
>()("@makima-stream/core/MeshClient") {}

/**
 * Makes a client. Its scope owns the connection and every fiber.
 *
 * **Example** (A client for one part of a program)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Stream from "effect/Stream"
 * import * as MeshClient from "@makima-stream/core/MeshClient"
 * import * as ScriptedMesh from "@makima-stream/test-kit/ScriptedMesh"
 *
 * const program = Effect.gen(function* () {
 *   const client = yield* MeshClient.make({ subscriptionIdleTimeToLive: "1 minute" })
 *   return yield* client.updates().pipe(Stream.take(1), Stream.runCollect)
 * })
 * const events = await Effect.runPromise(Effect.scoped(Effect.provide(program, ScriptedMesh.layer())))
 * console.log(events.map((event) => event._tag)) // ["Connected"]
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (
  options?: Options
): Effect.fn.Return<MeshClient["Service"], never, Socket.Socket | Scope.Scope> {
  const scope = yield* Effect.scope
  const socket = yield* Socket.Socket
  const clock = yield* Clock.Clock
  const connectionIdleTimeToLive = Duration.toMillis(options?.connectionIdleTimeToLive ?? "30 seconds")
  const subscriptionIdleTimeToLive = Duration.toMillis(options?.subscriptionIdleTimeToLive ?? "5 seconds")
  const closeTimeout = options?.closeTimeout ?? "5 seconds"

  const status = yield* SubscriptionRef.make<Status>({ _tag: "Idle" })
  const settings = Settings.settings(options)
  const subscriptions = Subscriptions.make(settings.ackTimeout)
  const demand = Demand.make(subscriptions, subscriptionIdleTimeToLive)
  const context = yield* Effect.context<never>()
  const consumers = Consumers.make(context)
  const discoveries = new Set<Discovery.Discovery>()
  // Starting and stopping exclude each other, so that there is one connection at a time.
  const lifecycle = yield* Semaphore.make(1)

  let epoch = 0
  let holds = 0
  /** When the connection ends for want of consumers; never, while there are any. */
  let stopAt = Infinity
  let closed = false
  /** What the last loop died of that did. */
  let defect: Cause.Cause<never> = Cause.empty
  let connection: Connection.Connection<never> | undefined
  let driver: Fiber.Fiber<void> | undefined

  const now = () => clock.currentTimeMillisUnsafe()

  // ---------------------------------------------------------------------------
  // the connection's life
  // ---------------------------------------------------------------------------

  const drive = Effect.gen(function* () {
    const own = yield* Connection.make({
      settings,
      policy: options?.policy,
      subscriptions,
      epoch,
      // The first dial of a start has been told already.
      onDial: (attempt) =>
        attempt === 0 && SubscriptionRef.getUnsafe(status)._tag === "Connecting"
          ? Effect.void
          : SubscriptionRef.set(status, { _tag: "Connecting", attempt })
    })
    connection = own
    // A batch with a lifecycle element has nothing else in it but what follows from that.
    const step = Effect.flatMap(own.pull, (batch) => {
      const next = statusAfter(batch[0])
      if (next === undefined) return consumers.route(batch)
      if (next._tag === "Online") epoch = next.epoch
      return Effect.andThen(
        SubscriptionRef.set(status, next),
        Effect.suspend(() => consumers.route(batch))
      )
    })
    return yield* Effect.forever(step, { disableYield: true })
  }).pipe(
    Effect.scoped,
    Effect.provideService(Socket.Socket, socket),
    Effect.onExit((exit) => {
      connection = undefined
      consumers.disconnected()
      // An interruption is a decision of this module, which has seen to the rest.
      if (exit._tag === "Success" || Cause.hasInterruptsOnly(exit.cause)) return Effect.void
      driver = undefined
      const error = Cause.findError(exit.cause)
      if (error._tag === "Failure") {
        // A defect in the loop is a bug: it must not pass for a quiet end.
        defect = Cause.fromReasons<never>(exit.cause.reasons.filter(Cause.isDieReason))
        return Effect.map(SubscriptionRef.set(status, { _tag: "Idle" }), () =>
          consumers.endAll(Effect.failCause(defect))
        )
      }
      // Whoever learns of the failure, by the status or by its stream, finds the client ready to start again.
      return Effect.map(SubscriptionRef.set(status, { _tag: "Failed", error: error.success }), () =>
        consumers.endAll(Effect.fail(error.success))
      )
    }),
    Effect.ignore,
    // The connection is everybody's, and has neither the span nor the annotations of whoever came first.
    Effect.updateContext<never, never>(() => context)
  )

  const start = Effect.suspend(() =>
    driver !== undefined
      ? Effect.void
      : SubscriptionRef.set(status, { _tag: "Connecting", attempt: 0 }).pipe(
          Effect.andThen(Effect.forkIn(drive, scope)),
          Effect.map((fiber) => {
            driver = fiber
          })
        )
  ).pipe(lifecycle.withPermit, Effect.uninterruptible)

  const stop = Effect.suspend(() => {
    const running = driver
    // Somebody may have come since this was asked for.
    if (running === undefined || (holds > 0 && !closed)) return Effect.void
    driver = undefined
    return Effect.andThen(Fiber.interrupt(running), SubscriptionRef.set(status, { _tag: "Idle" }))
  }).pipe(lifecycle.withPermit, Effect.uninterruptible)

  const hold = Effect.suspend((): Effect.Effect<void, MeshError.MeshError> => {
    if (closed) return Effect.fail(closedError())
    holds++
    stopAt = Infinity
    return start
  })

  const letGo = (): void => {
    holds--
    if (holds === 0 && driver !== undefined) {
      stopAt = now() + connectionIdleTimeToLive
      sweepSoon()
    }
  }

  // ---------------------------------------------------------------------------
  // what happens after a while
  // ---------------------------------------------------------------------------

  const sweepWanted = Latch.makeUnsafe(false)
  const sweepSoon = () => sweepWanted.openUnsafe()

  const sweep = Effect.suspend(() => {
    const time = now()
    for (const discovery of discoveries) discovery.sweep(time)
    demand.sweep(time)
    if (stopAt > time) return Effect.void
    stopAt = Infinity
    return stop
  })

  yield* Effect.suspend(() => {
    sweepWanted.closeUnsafe()
    const next = Math.min(stopAt, ...[demand, ...discoveries].map((timed) => timed.next() ?? Infinity))
    if (next === Infinity) return sweepWanted.await
    // Whole milliseconds: a sleep that ended a rounding error too early would be followed by one of no time at all, for
    // ever, on a clock that stands still.
    const wait = Math.ceil(Math.max(0, next - now()))
    return Effect.andThen(Effect.raceFirst(Effect.sleep(wait), sweepWanted.await), sweep)
  }).pipe(Effect.forever, Effect.forkIn(scope))

  // ---------------------------------------------------------------------------
  // consumers
  // ---------------------------------------------------------------------------

  const consume = <A extends MeshEvent>(
    route: Router.Route,
    consumerOptions: ConsumerOptions | undefined,
    discovery?: { readonly terminal: ReadonlySet<string>; readonly endedTimeToLive: Duration.Input }
  ): Stream.Stream<A, MeshError.MeshError> => {
    const join = (isWanted: Wanted.IsWanted | undefined) =>
      Effect.map(hold, () => {
        const discovered =
          discovery === undefined
            ? undefined
            : Discovery.make({
                terminal: discovery.terminal,
                endedTimeToLiveMillis: Duration.toMillis(discovery.endedTimeToLive),
                onFound: (taskId) => {
                  consumers.addOutput(consumer, taskId)
                  demand.acquire(Interest.output(taskId))
                },
                onGone: (taskId, time) => {
                  consumers.removeOutput(consumer, taskId)
                  demand.release(Interest.output(taskId), time)
                }
              })
        if (discovered !== undefined) discoveries.add(discovered)
        const consumer = consumers.join({
          route,
          overflow: consumerOptions?.overflow ?? "suspend",
          capacity: atLeast(1, consumerOptions?.capacity ?? 256),
          isWanted,
          onUpdate:
            discovered === undefined
              ? undefined
              : (update) => {
                  discovered.observe(update, now())
                  sweepSoon()
                }
        })
        demand.acquire(route.interest)
        return { consumer, discovered }
      })

    const leave = ({ consumer, discovered }: Effect.Success<ReturnType<typeof join>>) =>
      Effect.sync(() => {
        const time = now()
        consumers.leave(consumer)
        if (discovered !== undefined) {
          discovered.clear(time)
          discoveries.delete(discovered)
        }
        demand.release(route.interest, time)
        letGo()
        sweepSoon()
      })

    // The route admits nothing but what `A` says.
    const pullOf = ({ consumer }: { readonly consumer: Pull }) =>
      consumer as Effect.Effect<NonEmptyReadonlyArray<A>, MeshError.MeshError | Cause.Done>

    return Wanted.source(({ isWanted }) =>
      Stream.fromChannel(
        Channel.fromTransform((_, streamScope) =>
          Effect.acquireRelease(join(isWanted), leave).pipe(Effect.map(pullOf), Scope.provide(streamScope))
        )
      )
    )
  }

  const events = (interest: Interest.Interest = Interest.all, consumerOptions?: ConsumerOptions) =>
    // A copy: what is given up in the end must be what was asked for, whatever became of the sets meanwhile.
    consume<MeshEvent>({ interest: Interest.union(interest), untargeted: true }, consumerOptions)

  // ---------------------------------------------------------------------------
  // the end
  // ---------------------------------------------------------------------------

  const settled = Latch.makeUnsafe(false)
  subscriptions.onSettled = () => settled.openUnsafe()
  const unsubscribed = Effect.suspend(() => {
    settled.closeUnsafe()
    subscriptions.setInterest(Interest.empty)
    return subscriptions.isSettled() ? Effect.void : settled.await
  })

  const endAll = Effect.sync(() => {
    closed = true
    consumers.endAll(Cause.done())
  })

  // Whoever interrupts the drain cuts it short, and does not call it off.
  const close = Effect.suspend(() => {
    closed = true
    return Effect.timeoutOption(unsubscribed, closeTimeout)
  }).pipe(Effect.ensuring(Effect.andThen(stop, endAll)))

  yield* Effect.addFinalizer(() => endAll)

  // One who never lets go.
  if (options?.keepAlive === true) {
    holds++
    yield* start
  }

  return MeshClient.of({
    events,
    updates: (taskId, consumerOptions) =>
      consume<TaskUpdated | Lifecycle>(
        { interest: taskId === undefined ? Interest.all : Interest.updates(taskId), untargeted: false },
        consumerOptions
      ),
    output: (taskId, consumerOptions) =>
      consume<TaskOutput | Lifecycle>({ interest: Interest.output(taskId), untargeted: false }, consumerOptions),
    task: (taskId, consumerOptions) =>
      consume<TaskUpdated | TaskOutput | Lifecycle>(
        { interest: Interest.task(taskId), untargeted: false },
        consumerOptions
      ),
    everything: (everythingOptions) =>
      consume<MeshEvent>(
        { interest: Interest.all, untargeted: true },
        everythingOptions,
        everythingOptions?.output === "none"
          ? undefined
          : {
              terminal: everythingOptions?.terminal ?? TaskStatus.defaultTerminal,
              endedTimeToLive: everythingOptions?.endedTimeToLive ?? "30 seconds"
            }
      ),
    status,
    awaitOnline: Effect.acquireUseRelease(
      hold,
      () =>
        Stream.runForEachWhile(
          SubscriptionRef.changes(status),
          (state): Effect.Effect<boolean, MeshError.MeshError> => {
            switch (state._tag) {
              case "Online":
                return Effect.succeed(false)
              case "Failed":
                return Effect.fail(state.error)
              case "Idle":
                return closed ? Effect.fail(closedError()) : Effect.failCause(defect)
              default:
                return Effect.succeed(true)
            }
          }
        ),
      () => Effect.sync(letGo)
    ),
    subscriptions: Effect.sync(subscriptions.current),
    // A client that gave up while somebody still holds it (as `keepAlive` does) starts again.
    reconnect: Effect.suspend(() => connection?.reconnect ?? (holds > 0 && !closed ? start : Effect.void)),
    close
  })
})

/**
 * The client as a layer, over whatever `Socket` there is.
 *
 * **Example** (A client that is always connected)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Layer from "effect/Layer"
 * import * as MeshClient from "@makima-stream/core/MeshClient"
 * import * as ScriptedMesh from "@makima-stream/test-kit/ScriptedMesh"
 *
 * const program = Effect.gen(function* () {
 *   const client = yield* MeshClient.MeshClient
 *   yield* client.awaitOnline
 *   return "online"
 * })
 * const layer = Layer.provide(MeshClient.layer({ keepAlive: true }), ScriptedMesh.layer())
 * console.log(await Effect.runPromise(Effect.provide(program, layer))) // online
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options?: Options): Layer.Layer<MeshClient, never, Socket.Socket> =>
  Layer.effect(MeshClient, make(options))

/**
 * The client as a layer, with options from configuration.
 *
 * **Example** (How long the connection outlives its consumers, from the environment)
 *
 * ```ts
 * import * as Config from "effect/Config"
 * import * as Duration from "effect/Duration"
 * import * as Layer from "effect/Layer"
 * import * as MeshClient from "@makima-stream/core/MeshClient"
 *
 * const layer = MeshClient.layerConfig({
 *   connectionIdleTimeToLive: Config.Duration("MESH_CONNECTION_IDLE").pipe(Config.withDefault(Duration.seconds(30)))
 * })
 * console.log(Layer.isLayer(layer)) // true
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  options: Config.Wrap<Options>
): Layer.Layer<MeshClient, Config.ConfigError, Socket.Socket> =>
  Layer.effect(
    MeshClient,
    Effect.flatMap(Config.unwrap(options), (unwrapped) => make(unwrapped))
  )

const closedError = () => new MeshError.MeshError({ reason: new MeshError.ClientClosed() })

/** What an event says of the connection. That there is no other attempt is said by the error that follows. */
const statusAfter = (event: MeshEvent): Extract<Status, { readonly _tag: "Online" | "Offline" }> | undefined => {
  if (event._tag === "Connected") return { _tag: "Online", epoch: event.epoch, since: event.at }
  if (event._tag !== "Disconnected" || event.retryInMillis === undefined) return undefined
  return { _tag: "Offline", attempt: event.attempt, reason: event.reason, retryAt: event.at + event.retryInMillis }
}
