/**
 * A server of the feed in memory, behind Effect's `Socket` service. A test controls
 * it, without a port and without real time.
 *
 * Without faults it behaves like the real server, so the program under test runs
 * on it unchanged, under `TestClock`. `MockMeshServer` is the same server on real
 * sockets, and `MeshServer` has the verbs that both have in common.
 *
 * @since 0.1.0
 */
import type { Clock } from "effect/Clock"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Socket from "effect/socket/Socket"
import * as ClientMessage from "@makima-stream/core/ClientMessage"
import * as Interest from "@makima-stream/core/Interest"
import type * as ServerMessage from "@makima-stream/core/ServerMessage"
import * as Bounds from "./internal/bounds.ts"
import * as Garbage from "./internal/garbage.ts"
import type { Link, Sent } from "./internal/scriptedLink.ts"
import { ScriptedServer } from "./internal/scriptedServer.ts"
import { turns } from "./internal/turns.ts"
import * as ScriptedSocket from "./internal/scriptedSocket.ts"
import * as Verbs from "./internal/verbs.ts"
import type { MeshServer, Received, RequestOptions } from "./MeshServer.ts"

/**
 * A snapshot of a connection, open or ended.
 *
 * @category models
 * @since 0.1.0
 */
export interface Connection {
  /** The number of the connection, in the order of opening, from 1. */
  readonly id: number
  /** Whether it is still open. */
  readonly open: boolean
  /** Whether it is frozen. */
  readonly frozen: boolean
  /** Why it ended: `client` is a close by the program under test. `undefined` while it is open. */
  readonly endedBy: "client" | "close" | "kill" | "heartbeat" | undefined
  /** The close code of the client, if the client closed. */
  readonly closeCode: number | undefined
  /** The client's subscriptions. */
  readonly interest: Interest.Interest
  /**
   * How many frames have arrived and have not been pulled by the program.
   */
  readonly unread: number
}

export type {
  /**
   * A request that the server received, and the number of the connection.
   *
   * @category models
   * @since 0.1.0
   */
  Received
} from "./MeshServer.ts"

export type {
  /**
   * A frame that the server sent to a connection. `message` is `undefined` for a
   * frame of `emitRaw` or `garbage`.
   *
   * @category models
   * @since 0.1.0
   */
  Sent
} from "./internal/scriptedLink.ts"

/**
 * A test waited for a connection or a request that did not arrive. The message lists
 * what was received instead.
 *
 * @category errors
 * @since 0.1.0
 */
export class NotReceived extends Data.TaggedError("NotReceived")<{
  /** What the test waited for, in words. */
  readonly waitedFor: string
  /** The requests that were received instead. */
  readonly received: ReadonlyArray<Received>
}> {
  /** What the test waited for, and what was received instead. */
  override get message(): string {
    const came = this.received.map(
      ({ connection, message }) => `  connection ${connection}: ${ClientMessage.encodeFrame(message)}`
    )
    return `${this.waitedFor} did not come. ${
      came.length === 0 ? "Nothing was received." : `Received:\n${came.join("\n")}`
    }`
  }
}

/**
 * Options of a scripted mesh.
 *
 * @category options
 * @since 0.1.0
 */
export interface Options extends RequestOptions {
  /**
   * How long a dial may take before it fails with `DialTimeout`. Defaults to 10
   * seconds, as in the Node socket.
   */
  readonly connectTimeout?: Duration.Input
  /**
   * How a frozen connection is detected: it fails with `HeartbeatTimeout` after
   * `interval + deadline`. Defaults to 15 and 10 seconds, as in the Node socket.
   * `false` simulates a transport without a heartbeat.
   */
  readonly heartbeat?: { readonly interval: Duration.Input; readonly deadline: Duration.Input } | false
  /**
   * The most frames that one pull returns. At least 1. Defaults to no limit: a pull
   * returns everything that has arrived.
   */
  readonly maxBatch?: number
}

/**
 * The methods of a scripted mesh: the verbs of `MeshServer`, records of what happened,
 * and the `socket` that the program under test dials.
 *
 * @category models
 * @since 0.2.0
 */
export interface Service extends Omit<MeshServer, "emit" | "kill" | "awaitReceived"> {
  /** The socket that connects to this mesh. */
  readonly socket: Socket.Socket
  /** Sends messages, in order, to every connection that subscribed to them. Returns the number of sends. */
  readonly emit: (...messages: ReadonlyArray<ServerMessage.ServerMessage>) => Effect.Effect<number>
  /** Cuts the connection without a close frame. `drop` discards frames that have not been pulled, and defaults to `false`. */
  readonly kill: (connection?: number, options?: { readonly drop?: boolean }) => Effect.Effect<void>
  /** All connections, ended ones included, oldest first. */
  readonly connections: Effect.Effect<ReadonlyArray<Connection>>
  /** The time of each dial, in milliseconds, refused dials included. */
  readonly dials: Effect.Effect<ReadonlyArray<number>>
  /** Every frame that was sent, oldest first, acknowledgements included. */
  readonly sent: Effect.Effect<ReadonlyArray<Sent>>
  /** Every frame that the program has pulled, oldest first. */
  readonly pulled: Effect.Effect<ReadonlyArray<Sent>>
  /**
   * Waits until there have been `n` connections, and returns the n-th. `n` defaults
   * to 1. The connection has no subscriptions yet: use `awaitReceived` before you
   * emit.
   */
  readonly awaitConnection: (n?: number) => Effect.Effect<Connection, NotReceived>
  /**
   * Waits for a request, past ones included. Fails with `NotReceived` after 1,000
   * turns of the scheduler: with virtual time nothing arrives later by itself.
   */
  readonly awaitReceived: (predicate: (received: Received) => boolean) => Effect.Effect<Received, NotReceived>
}

/**
 * The service of a scripted mesh.
 *
 * **Gotchas**
 *
 * Vitest's fake timers stop Effect's scheduler if they fake `setImmediate`, as
 * `vi.useFakeTimers()` does: the program hangs. Use `TestClock`, or
 * `vi.useFakeTimers({ toNotFake: ["setImmediate", "clearImmediate"] })`.
 *
 * **Example** (A connection that breaks off)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Stream from "effect/Stream"
 * import * as Interest from "@makima-stream/core/Interest"
 * import * as MeshStream from "@makima-stream/core/MeshStream"
 * import * as ScriptedMesh from "@makima-stream/test-kit/ScriptedMesh"
 *
 * const program = Effect.gen(function* () {
 *   const mesh = yield* ScriptedMesh.ScriptedMesh
 *   yield* Effect.forkChild(Effect.andThen(mesh.awaitConnection(), mesh.kill()))
 *   const feed = MeshStream.connect({ interest: Interest.all })
 *   return yield* feed.pipe(Stream.take(3), Stream.runCollect)
 * })
 * const events = await Effect.runPromise(Effect.provide(program, ScriptedMesh.layer()))
 * console.log(events.map((event) => event._tag)) // ["Connected", "Resync", "Disconnected"]
 * ```
 *
 * @category services
 * @since 0.1.0
 */
export class ScriptedMesh extends Context.Service<ScriptedMesh, Service>()("@makima-stream/test-kit/ScriptedMesh") {}

/**
 * Makes a scripted mesh.
 *
 * **Example** (A program on a mesh in memory)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Stream from "effect/Stream"
 * import * as Socket from "effect/socket/Socket"
 * import * as Interest from "@makima-stream/core/Interest"
 * import * as MeshStream from "@makima-stream/core/MeshStream"
 * import * as TaskId from "@makima-stream/core/TaskId"
 * import * as ScriptedMesh from "@makima-stream/test-kit/ScriptedMesh"
 *
 * const program = Effect.gen(function* () {
 *   const mesh = yield* ScriptedMesh.make()
 *   yield* mesh.awaitReceived(({ message }) => message._tag === "SubscribeAll").pipe(
 *     Effect.andThen(mesh.emit({ _tag: "TaskUpdated", taskId: TaskId.make("a"), status: "running" })),
 *     Effect.forkChild
 *   )
 *   return yield* MeshStream.connect({ interest: Interest.all }).pipe(
 *     Stream.take(3),
 *     Stream.runCollect,
 *     Effect.provideService(Socket.Socket, mesh.socket)
 *   )
 * })
 * Effect.runPromise(program).then((events) => console.log(events.map((event) => event._tag)))
 * // ["Connected", "Resync", "TaskUpdated"]
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options?: Options): Effect.Effect<Service> =>
  Effect.contextWith((context: Context.Context<never>) =>
    Effect.clockWith((clock) => Effect.sync(() => makeUnsafe(clock, Effect.runForkWith(context), options)))
  )

const makeUnsafe = (
  clock: Clock,
  run: (effect: Effect.Effect<void>) => unknown,
  options: Options | undefined
): Service => {
  const heartbeat = options?.heartbeat ?? { interval: "15 seconds", deadline: "10 seconds" }
  const settings = Verbs.toSettings(options ?? {})
  const server = new ScriptedServer({
    clock,
    settings,
    schedule: (millis, callback) => run(Effect.andThen(Effect.sleep(millis), Effect.sync(callback)))
  })
  const socket = ScriptedSocket.make(server, {
    clock,
    connectTimeout: Verbs.toMillis(options?.connectTimeout ?? "10 seconds"),
    heartbeat:
      heartbeat === false
        ? undefined
        : { interval: Verbs.toMillis(heartbeat.interval), deadline: Verbs.toMillis(heartbeat.deadline) },
    maxBatch: Bounds.atLeast(1, options?.maxBatch ?? Number.POSITIVE_INFINITY)
  })

  /** Applies a verb to one open connection, or to all of them. */
  const each = (id: number | undefined, verb: (link: Link) => void) => Effect.sync(() => server.open(id).forEach(verb))

  return ScriptedMesh.of({
    ...Verbs.make({
      settings,
      dials: server.dials,
      messages: server.messages,
      acknowledge: (n) => server.acknowledge(n),
      healConnections: () => server.healConnections()
    }),
    socket,
    emit: (...messages) => Effect.sync(() => messages.reduce((sum, message) => sum + server.messages.emit(message), 0)),
    emitRaw: (frame) => Effect.sync(() => server.emitRaw(frame)),
    garbage: (problem = "InvalidJson") => Effect.sync(() => server.emitRaw(Garbage.frames[problem])),
    close: (code, reason, connection) => each(connection, (link) => link.close(code, reason)),
    kill: (connection, killOptions) => each(connection, (link) => link.kill(killOptions?.drop === true)),
    freeze: (connection) => each(connection, (link) => link.freeze()),
    thaw: (connection) => each(connection, (link) => link.thaw()),
    connections: Effect.sync(() => server.links.map(toConnection)),
    dials: Effect.sync(() => [...server.dialTimes]),
    received: Effect.sync(() => [...server.received]),
    sent: Effect.sync(() => [...server.sent]),
    pulled: Effect.sync(() => [...server.pulled]),
    log: Effect.sync(server.log),
    subscriptions: Effect.sync(() => server.newestOpen()?.requests.feed.interest() ?? Interest.empty),
    awaitConnection: (n = 1) =>
      waitFor(server, `Connection ${n}`, () => {
        const link = server.links[n - 1]
        return link === undefined ? undefined : toConnection(link)
      }),
    awaitReceived: (predicate) => waitFor(server, "The request", () => server.received.find(predicate))
  })
}

/** Waits until `find` returns a value, for at most `patience` turns of the scheduler. */
const waitFor = <A>(
  server: ScriptedServer,
  waitedFor: string,
  find: () => A | undefined
): Effect.Effect<A, NotReceived> =>
  Effect.gen(function* () {
    const found = Deferred.makeUnsafe<A>()
    const look = () => {
      const value = find()
      if (value !== undefined) Deferred.doneUnsafe(found, Effect.succeed(value))
    }
    server.watchers.add(look)
    look()
    const giveUp = turns(patience).pipe(
      Effect.andThen(Effect.suspend(() => Effect.fail(new NotReceived({ waitedFor, received: [...server.received] }))))
    )
    return yield* Effect.raceFirst(Deferred.await(found), giveUp).pipe(
      Effect.ensuring(Effect.sync(() => server.watchers.delete(look)))
    )
  })

/**
 * A scripted mesh, and the `Socket` that connects to it.
 *
 * **Example** (A server that never acknowledges)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Stream from "effect/Stream"
 * import * as SubscriptionRef from "effect/SubscriptionRef"
 * import * as MeshClient from "@makima-stream/core/MeshClient"
 * import * as ScriptedMesh from "@makima-stream/test-kit/ScriptedMesh"
 *
 * const program = Effect.gen(function* () {
 *   const client = yield* MeshClient.make()
 *   yield* client.updates().pipe(Stream.take(1), Stream.runDrain)
 *   return yield* SubscriptionRef.get(client.subscriptions)
 * })
 * const mesh = ScriptedMesh.layer({ acknowledge: "never" })
 * const { confirmed, requested } = await Effect.runPromise(Effect.scoped(Effect.provide(program, mesh)))
 * console.log(requested.all, confirmed.all) // true false
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options?: Options): Layer.Layer<ScriptedMesh | Socket.Socket> =>
  Layer.effectContext(
    Effect.map(make(options), (mesh) => Context.make(ScriptedMesh, mesh).pipe(Context.add(Socket.Socket, mesh.socket)))
  )

/** The number of scheduler turns that a waiter waits for the program under test. */
const patience = 1000

const toConnection = (link: Link): Connection => ({
  id: link.id,
  open: link.open,
  frozen: link.frozen,
  endedBy: link.endedBy,
  closeCode: link.closeCode,
  interest: link.requests.feed.interest(),
  unread: link.inbox.length
})
