/**
 * A client that shares one connection between any number of consumers.
 *
 * `MeshStream.connect` opens a connection for each run of its stream. A program with
 * many parts shares one connection through this service. A stream of the client is a
 * subscription while it runs: the client subscribes to a task for its first consumer,
 * and unsubscribes after its last one. Consumers in between cause no request.
 *
 * **Slow consumers.** Each consumer has a bounded queue, and a policy for a full queue
 * (`Overflow`). The default, `suspend`, loses nothing, but the slowest consumer slows
 * all of them. It is right for consumers that must see everything, such as an audit
 * log or a cost meter. For a consumer that may miss events, such as a live view, choose
 * a policy that never blocks the others.
 *
 * @since 0.1.0
 */
import type * as Config from "effect/Config"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { dual } from "effect/Function"
import * as Layer from "effect/Layer"
import * as Rec from "effect/Record"
import * as Scope from "effect/Scope"
import type * as Socket from "effect/socket/Socket"
import * as Stream from "effect/Stream"
import type * as SubscriptionRef from "effect/SubscriptionRef"
import * as Interest from "./Interest.ts"
import * as Client from "./internal/client/client.ts"
import type { Options as JoinOptions } from "./internal/client/consumer.ts"
import {
  consumerSettings,
  discoverySettings,
  type ConsumerOptions,
  type EverythingOptions,
  type Options
} from "./internal/client/options.ts"
import * as Drain from "./internal/client/drain.ts"
import type { Status } from "./internal/client/status.ts"
import * as Pushdown from "./internal/pushdown.ts"
import type * as MeshError from "./MeshError.ts"
import type { Lifecycle, MeshEvent, Restated } from "./MeshEvent.ts"
import type * as MeshSession from "./MeshSession.ts"
import type { TaskOutput, TaskUpdated } from "./ServerMessage.ts"
import type { TaskId } from "./TaskId.ts"

export type { ConsumerOptions, EverythingOptions, Options, Overflow } from "./internal/client/options.ts"
export type { Status } from "./internal/client/status.ts"

/**
 * The methods of the shared client. `MeshClient` is the service.
 *
 * @category models
 * @since 0.2.0
 */
export interface Service {
  /** Streams the events of an interest, with server errors and unknown messages. Defaults to all updates. */
  readonly events: (
    interest?: Interest.Interest,
    options?: ConsumerOptions
  ) => Stream.Stream<MeshEvent, MeshError.MeshError>
  /** Streams the updates of one task, or of all tasks. */
  readonly updates: (
    taskId?: TaskId,
    options?: ConsumerOptions
  ) => Stream.Stream<TaskUpdated | Restated | Lifecycle, MeshError.MeshError>
  /** Streams the output of one task. */
  readonly output: (
    taskId: TaskId,
    options?: ConsumerOptions
  ) => Stream.Stream<TaskOutput | Lifecycle, MeshError.MeshError>
  /** Streams the updates and the output of one task. */
  readonly task: (
    taskId: TaskId,
    options?: ConsumerOptions
  ) => Stream.Stream<TaskUpdated | TaskOutput | Restated | Lifecycle, MeshError.MeshError>
  /**
   * Streams the updates of all tasks, and the output of each live task that the
   * client knows: from the task's first update until `endedTimeToLive` after its
   * end. A late consumer receives the output of every known live task at once.
   * A task is known after an update that any consumer of the client received. A
   * `Resync` with reason `Subscribed` and a `taskId` marks the place from which the
   * output of a task is complete. Output from before the first update of a task is
   * missing, because the protocol cannot request it.
   */
  readonly everything: (options?: EverythingOptions) => Stream.Stream<MeshEvent, MeshError.MeshError>
  /** The state of the connection, and its changes. */
  readonly status: SubscriptionRef.SubscriptionRef<Status>
  /** Waits until the client is online. Dials if necessary. Fails when the client gives up. */
  readonly awaitOnline: Effect.Effect<void, MeshError.MeshError>
  /**
   * The requested subscriptions of the newest connection, those that the server has
   * confirmed, and those that it has not confirmed in time. `epoch` is 0 before the
   * first connection.
   */
  readonly subscriptions: SubscriptionRef.SubscriptionRef<MeshSession.SubscriptionState>
  /**
   * Ends the connection, or the wait for the next one, and dials now, at most once
   * a second and not before a server's `Retry-After`. Does nothing while idle. Several
   * connections are ended one after the other, each when the one before is aligned again,
   * or after 10 seconds.
   */
  readonly reconnect: Effect.Effect<void>
  /**
   * Unsubscribes, waits for the acknowledgements, closes with code 1000, and ends
   * every stream after its queued events; within `closeTimeout`. Later consumers
   * fail with `ClientClosed`.
   */
  readonly close: Effect.Effect<void>
}

/**
 * The shared client.
 *
 * **Details**
 *
 * Every stream contains its data and the lifecycle elements, such as `Connected`,
 * `Disconnected` and `Resync`. At the place where the server has confirmed the
 * subscriptions of a stream, a `Resync` opens its complete stretch: `Started` or
 * `Reconnected` for a consumer that was present when the connection opened,
 * `JoinedLate` for a consumer that joined later. A consumer that joins while the client
 * is offline first receives the current `Disconnected`.
 *
 * A fatal error fails all streams with the same error. The next consumer dials again,
 * for example one that subscribes again after that error.
 *
 * **Gotchas**
 *
 * With the default policy, a consumer that does not read blocks all others. If
 * consumers wait for each other, the program then stops forever. An example is
 * `client.updates()` with a `mapEffect` that waits for a result from `client.task(id)`:
 * after about 256 events no consumer receives anything. Use another `overflow` for such
 * a consumer, or wait in a separate fiber. After `stallWarning` the client logs a
 * warning with the name of the consumer.
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
export class MeshClient extends Context.Service<MeshClient, Service>()("@makima-stream/core/MeshClient") {}

/**
 * Makes a client. Its scope owns the connection and all fibers.
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
export const make = (options?: Options): Effect.Effect<Service, never, Socket.Socket | Scope.Scope> =>
  Effect.map(Client.make(options), ({ join, leave, ...client }) => {
    const consume = streamOf(join, leave)
    return {
      ...client,
      events: ({ all, output, updates } = Interest.all, consumerOptions) =>
        consume<MeshEvent>(
          "events",
          consumerOptions,
          // A copy, because the released keys must be the retained ones even if the caller changes the sets.
          { all, updates: new Set(updates), output: new Set(output) },
          { untargeted: true }
        ),
      updates: (taskId, consumerOptions) =>
        taskId === undefined
          ? consume("updates", consumerOptions, Interest.all)
          : consume(`updates of ${taskId}`, consumerOptions, Interest.updates(taskId)),
      output: (taskId, consumerOptions) => consume(`output of ${taskId}`, consumerOptions, Interest.output(taskId)),
      task: (taskId, consumerOptions) => consume(`task ${taskId}`, consumerOptions, Interest.task(taskId)),
      everything: (options) =>
        consume("everything", options, Interest.all, { untargeted: true, discovery: discoverySettings(options) })
    }
  })

/** Makes streams that are consumers of the client while they run. */
const streamOf =
  (join: Client.Client["join"], leave: Client.Client["leave"]) =>
  <A extends MeshEvent>(
    name: string,
    options: ConsumerOptions | undefined,
    interest: Interest.Interest,
    more?: Pick<JoinOptions, "discovery" | "untargeted">
  ): Stream.Stream<A, MeshError.MeshError> => {
    const joinOptions = { ...consumerSettings(name, options), interest, ...more }
    return Pushdown.source(
      ({ isWanted }) =>
        Stream.transformPull(Stream.empty, (_, scope) =>
          // A consumer is its own pull.
          Effect.acquireRelease(
            Effect.flatMap(Drain.Current, (drain) => join({ ...joinOptions, isWanted, drain })),
            leave
          ).pipe(Scope.provide(scope))
        )
      // Its interest admits only events of the type `A`.
    ) as Stream.Stream<A, MeshError.MeshError>
  }

/**
 * Runs an effect that consumes streams of a client, and drains them when it is
 * interrupted: the streams end after their queued events, and the effect may
 * finish with them.
 *
 * **When to use**
 *
 * Use it around a consumer that must handle all events that the client has received
 * for it, even if the program is shut down by an interruption (`NodeRuntime.runMain`,
 * `Fiber.interrupt`, a scope that closes). Without it, an interruption drops the queued
 * events of the consumer and those of its current batch.
 *
 * **Details**
 *
 * `timeout` is how long the effect may continue after the interruption before it is
 * interrupted itself. Defaults to 5 seconds. In both cases the result is the
 * interruption. A stream that the effect starts after the interruption ends at once.
 *
 * **Gotchas**
 *
 * It applies to the streams of `MeshClient`. `MeshStream.connect` has no queue.
 * The client must outlive the effect: provide its layer outside.
 *
 * **Example** (Handling every received event before the program ends)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Fiber from "effect/Fiber"
 * import * as Stream from "effect/Stream"
 * import * as MeshClient from "@makima-stream/core/MeshClient"
 * import * as ScriptedMesh from "@makima-stream/test-kit/ScriptedMesh"
 *
 * const program = Effect.gen(function* () {
 *   const client = yield* MeshClient.make()
 *   const fiber = yield* client.updates().pipe(
 *     Stream.runForEach((event) => Effect.log(event._tag)),
 *     MeshClient.drainOnInterrupt({ timeout: "10 seconds" }),
 *     Effect.forkChild
 *   )
 *   yield* Fiber.interrupt(fiber)
 *   return "drained"
 * })
 * console.log(await Effect.runPromise(Effect.scoped(Effect.provide(program, ScriptedMesh.layer())))) // drained
 * ```
 *
 * @category utils
 * @since 0.2.0
 */
export const drainOnInterrupt: {
  /** Drains the client's streams when the effect is interrupted: see `drainOnInterrupt`. */
  (options?: DrainOptions): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  /** Drains the client's streams when the effect is interrupted: see `drainOnInterrupt`. */
  <A, E, R>(self: Effect.Effect<A, E, R>, options?: DrainOptions): Effect.Effect<A, E, R>
} = dual(
  (args) => Effect.isEffect(args[0]),
  <A, E, R>(self: Effect.Effect<A, E, R>, options?: DrainOptions): Effect.Effect<A, E, R> =>
    Effect.uninterruptibleMask((restore) => {
      const drain = Drain.make()
      const running = self.pipe(Effect.provideService(Drain.Current, drain), Effect.forkChild)
      return Effect.flatMap(running, (fiber) =>
        Effect.onInterrupt(restore(Fiber.join(fiber)), () => {
          Drain.start(drain)
          return Effect.andThen(
            Effect.timeoutOption(Fiber.await(fiber), options?.timeout ?? "5 seconds"),
            Fiber.interrupt(fiber)
          )
        })
      )
    })
)

/**
 * Options of `drainOnInterrupt`.
 *
 * @category options
 * @since 0.2.0
 */
export interface DrainOptions {
  /** How long the effect may continue after the interruption. Defaults to 5 seconds. */
  readonly timeout?: Duration.Input | undefined
}

/**
 * Provides the client as a layer. Requires a `Socket`.
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
 * Provides the client as a layer, with options from configuration.
 *
 * **Example** (An idle time from the environment)
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
  Layer.effect(MeshClient, Effect.flatMap(unwrap(options), make))

/**
 * Reads a `Config`, or a record of them. Like `Config.unwrap`, but without an import of `Config`, which would load seven
 * more modules of Effect in programs that do not use it.
 */
const unwrap = <A>(wrapped: Config.Wrap<A>): Effect.Effect<A, Config.ConfigError> =>
  // Every `Config` is an effect, and every other value is a record, which the conditional type `Wrap` does not say.
  (Effect.isEffect(wrapped)
    ? wrapped
    : Effect.all(Rec.map(wrapped as Record<string, Config.Wrap<unknown>>, unwrap))) as Effect.Effect<
    A,
    Config.ConfigError
  >
