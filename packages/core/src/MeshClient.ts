/**
 * One connection, any number of consumers.
 *
 * `MeshStream.connect` opens a connection for each run of its stream. A program
 * with many parts shares one connection through this service. A stream of the
 * client is a subscription while it runs: the first consumer of a task requests
 * it from the server, the last one gives it up, and those in between cost no
 * request.
 *
 * **A slow consumer.** Each consumer has a bounded queue and chooses what happens
 * when it is full (`Overflow`). The default, `suspend`, loses nothing, and the
 * slowest consumer sets the pace of all: right for consumers that must see
 * everything, such as an audit log or a cost meter. A consumer that may miss
 * events, such as a live view, chooses another policy and blocks no other one.
 *
 * @since 0.1.0
 */
import type * as Cause from "effect/Cause"
import * as Channel from "effect/Channel"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import type * as Socket from "effect/socket/Socket"
import * as Stream from "effect/Stream"
import type * as SubscriptionRef from "effect/SubscriptionRef"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Interest from "./Interest.ts"
import * as Client from "./internal/client/client.ts"
import type { Pull } from "./internal/client/consumer.ts"
import {
  consumerSettings,
  discoverySettings,
  type ConsumerOptions,
  type DiscoverySettings,
  type EverythingOptions,
  type Options
} from "./internal/client/options.ts"
import type { Route } from "./internal/client/router.ts"
import type { Status } from "./internal/client/status.ts"
import * as Pushdown from "./internal/pushdown.ts"
import type * as MeshError from "./MeshError.ts"
import type { Lifecycle, MeshEvent } from "./MeshEvent.ts"
import type { TaskOutput, TaskUpdated } from "./ServerMessage.ts"
import type { TaskId } from "./TaskId.ts"

export type { ConsumerOptions, EverythingOptions, Options, Overflow } from "./internal/client/options.ts"
export type { Status } from "./internal/client/status.ts"

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
  const client = yield* Client.make(options)
  return MeshClient.of({
    events: (interest = Interest.all, consumerOptions) =>
      consume<MeshEvent>(client, {
        name: "events",
        // A copy: the keys that are released must be those that were retained, also if the caller changes the sets.
        route: { interest: Interest.union(interest), untargeted: true },
        options: consumerOptions
      }),
    updates: (taskId, consumerOptions) =>
      consume<TaskUpdated | Lifecycle>(client, {
        name: taskId === undefined ? "updates" : `updates of ${taskId}`,
        route: { interest: taskId === undefined ? Interest.all : Interest.updates(taskId), untargeted: false },
        options: consumerOptions
      }),
    output: (taskId, consumerOptions) =>
      consume<TaskOutput | Lifecycle>(client, {
        name: `output of ${taskId}`,
        route: { interest: Interest.output(taskId), untargeted: false },
        options: consumerOptions
      }),
    task: (taskId, consumerOptions) =>
      consume<TaskUpdated | TaskOutput | Lifecycle>(client, {
        name: `task ${taskId}`,
        route: { interest: Interest.task(taskId), untargeted: false },
        options: consumerOptions
      }),
    everything: (everythingOptions) =>
      consume<MeshEvent>(client, {
        name: "everything",
        route: { interest: Interest.all, untargeted: true },
        options: everythingOptions,
        ...(everythingOptions?.output === "none" ? {} : { discovery: discoverySettings(everythingOptions) })
      }),
    status: client.status,
    awaitOnline: client.awaitOnline,
    subscriptions: Effect.sync(client.subscriptions.current),
    reconnect: client.reconnect,
    close: client.close
  })
})

/** A stream that is a consumer of the client while it runs. */
const consume = <A extends MeshEvent>(
  client: Client.Client,
  wanted: {
    readonly name: string
    readonly route: Route
    readonly options: ConsumerOptions | undefined
    readonly discovery?: DiscoverySettings
  }
): Stream.Stream<A, MeshError.MeshError> => {
  const settings = consumerSettings(wanted.name, wanted.options)
  // The route admits only what `A` says.
  const pullOf = ({ consumer }: { readonly consumer: Pull }) =>
    consumer as Effect.Effect<NonEmptyReadonlyArray<A>, MeshError.MeshError | Cause.Done>
  return Pushdown.source(({ isWanted }) =>
    Stream.fromChannel(
      Channel.fromTransform((_, scope) =>
        Effect.acquireRelease(
          client.join({ ...settings, route: wanted.route, isWanted, discovery: wanted.discovery }),
          client.leave
        ).pipe(Effect.map(pullOf), Scope.provide(scope))
      )
    )
  )
}

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
