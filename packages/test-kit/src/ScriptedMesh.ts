/**
 * A mesh that obeys the test: the server's side of the feed in memory, behind
 * Effect's `Socket` service, with no port and no real time.
 *
 * It behaves like the real server until it is told otherwise, so a program
 * under test runs on it unchanged, under `TestClock`. `MockMeshServer` is the
 * same server on real sockets.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Socket from "effect/socket/Socket"
import * as ClientMessage from "@makima-stream/core/ClientMessage"
import type { DecodeError } from "@makima-stream/core/DecodeError"
import * as Interest from "@makima-stream/core/Interest"
import type * as ServerMessage from "@makima-stream/core/ServerMessage"
import * as Garbage from "./internal/garbage.ts"
import * as ScriptedServer from "./internal/scriptedServer.ts"
import * as ScriptedSocket from "./internal/scriptedSocket.ts"
import type { ServerLog } from "./ServerLog.ts"

/**
 * A connection as the server sees it. `id` counts the connections of one mesh
 * from 1.
 *
 * @category models
 * @since 0.1.0
 */
export interface Connection {
  readonly id: number
  /** Whether it is still open. */
  readonly open: boolean
  /** Whether it is frozen. */
  readonly frozen: boolean
  /** Why it ended, once it has: `client` is a close by the program under test. */
  readonly endedBy: "client" | "close" | "kill" | "heartbeat" | undefined
  /** The close code that the client gave, where it was the client who closed. */
  readonly closeCode: number | undefined
  /** What is subscribed on it. */
  readonly interest: Interest.Interest
  /**
   * How many frames have arrived at the program's side and have not been pulled.
   * Of a connection that has ended: never will be.
   */
  readonly unread: number
}

/**
 * A request (`message`) that the server received, on connection `connection`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Received {
  readonly connection: number
  readonly message: ClientMessage.ClientMessage
}

/**
 * A frame that the server sent to connection `connection`: the `message` in it,
 * `undefined` where it was sent as a raw frame, and the `frame` itself.
 *
 * @category models
 * @since 0.1.0
 */
export interface Sent {
  readonly connection: number
  readonly message: ServerMessage.ServerMessage | undefined
  readonly frame: string | Uint8Array
}

/**
 * What a test waited for did not come. The message lists what did.
 *
 * @category errors
 * @since 0.1.0
 */
export class NotReceived extends Data.TaggedError("NotReceived")<{
  /** What was waited for, in words. */
  readonly waitedFor: string
  /** What came instead. */
  readonly received: ReadonlyArray<Received>
}> {
  /** What was waited for, and what came instead. */
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
 * How a scripted mesh is set up.
 *
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /**
   * Whether requests are acknowledged: by themselves (`auto`), when `acknowledge`
   * is called (`manual`), or not at all (`never`). Default: `auto`.
   */
  readonly acknowledge?: "auto" | "manual" | "never"
  /**
   * How long a dial may take before it fails with `DialTimeout`. Default: 10
   * seconds, as the node socket has it.
   */
  readonly connectTimeout?: Duration.Input
  /**
   * Whether acknowledgements name their task, which the protocol leaves open.
   * Default: `true`.
   */
  readonly nameTasks?: boolean
  /**
   * How a frozen connection is noticed: `interval + deadline` after `freeze` it
   * fails with `HeartbeatTimeout`. Default: 15 and 10 seconds, as the
   * node socket has it. `false` for a transport without a heartbeat.
   */
  readonly heartbeat?: { readonly interval: Duration.Input; readonly deadline: Duration.Input } | false
  /**
   * How many frames one pull may bring. Default: no limit, as a socket brings
   * whatever has arrived.
   */
  readonly maxBatch?: number
}

/**
 * The service: verbs that make things happen, eyes that look, and the `socket`
 * that the program under test dials.
 *
 * **Details**
 *
 * The verbs that break a connection (`close`, `kill`, `freeze`, `thaw`) take the
 * `id` of one, or concern all that are open.
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
 *   return yield* feed.pipe(Stream.take(2), Stream.runCollect)
 * })
 * const events = await Effect.runPromise(Effect.provide(program, ScriptedMesh.layer()))
 * console.log(events.map((event) => event._tag)) // ["Connected", "Disconnected"]
 * ```
 *
 * @category services
 * @since 0.1.0
 */
export class ScriptedMesh extends Context.Service<
  ScriptedMesh,
  {
    /** The socket that leads to this mesh. */
    readonly socket: Socket.Socket
    /** Sends a message to every connection that subscribed to it. */
    readonly emit: (...messages: ReadonlyArray<ServerMessage.ServerMessage>) => Effect.Effect<void>
    /** Sends a frame, whatever it holds, to every connection: a string as text, bytes as binary. */
    readonly emitRaw: (frame: string | Uint8Array) => Effect.Effect<void>
    /** Sends a frame that is no message to every connection, wrong in the given way. Default: `InvalidJson`. */
    readonly garbage: (problem?: DecodeError["problem"]) => Effect.Effect<void>
    /** Sends the next `n` acknowledgements that are due on each connection (default: all). For `acknowledge: "manual"`. */
    readonly acknowledge: (n?: number) => Effect.Effect<void>
    /** Changes when requests are acknowledged. */
    readonly setAcknowledge: (mode: "auto" | "manual" | "never") => Effect.Effect<void>
    /**
     * Closes with a close frame. What was sent before still arrives. On a frozen
     * connection the close frame is held back like any other.
     */
    readonly close: (code: number, reason?: string, connection?: number) => Effect.Effect<void>
    /** Cuts the connection without a close frame. `drop` loses what has not been pulled. Default: `false`. */
    readonly kill: (connection?: number, options?: { readonly drop?: boolean }) => Effect.Effect<void>
    /**
     * Leaves the connection half-open: nothing arrives, no request is read, no
     * ping is answered.
     */
    readonly freeze: (connection?: number) => Effect.Effect<void>
    /** Ends a freeze: what was held back happens now, in its order. */
    readonly thaw: (connection?: number) => Effect.Effect<void>
    /**
     * Refuses the next `n` dials with an HTTP status. A `retry-after` header is
     * given to the program as a transport that reads it would: seconds, or an
     * HTTP date.
     */
    readonly refuse: (n: number, status: number, headers?: Readonly<Record<string, string>>) => Effect.Effect<void>
    /** Takes the next `n` dials and never answers them. Queues up behind `refuse`, and before later ones. */
    readonly stallDial: (n: number) => Effect.Effect<void>
    /**
     * Ends every fault: thaws, forgets what was to happen to later dials and
     * messages, sends what is held for `reorder`, and acknowledges by itself,
     * beginning with the acknowledgements that are held back.
     */
    readonly heal: Effect.Effect<void>
    /** Lets every dial take this long from now on. */
    readonly delayDial: (duration: Duration.Input) => Effect.Effect<void>
    /** Drops the next `n` messages that are emitted, for every connection. */
    readonly dropNext: (n: number) => Effect.Effect<void>
    /** Sends the next `n` messages that are emitted twice. */
    readonly duplicateNext: (n: number) => Effect.Effect<void>
    /** Holds the next `n` messages that are emitted, then sends them in reverse. */
    readonly reorder: (n: number) => Effect.Effect<void>
    /** Every connection there has been, oldest first. */
    readonly connections: Effect.Effect<ReadonlyArray<Connection>>
    /** How many dials there have been, refused ones included, with the clock's time of each. */
    readonly dials: Effect.Effect<ReadonlyArray<number>>
    /** Every request that was received, oldest first. */
    readonly received: Effect.Effect<ReadonlyArray<Received>>
    /** Every frame that was sent, oldest first, acknowledgements included. */
    readonly sent: Effect.Effect<ReadonlyArray<Sent>>
    /** Every frame that the program has pulled, oldest first. */
    readonly pulled: Effect.Effect<ReadonlyArray<Sent>>
    /** Everything that happened at the server, oldest first: what `Audit` compares a consumer with. */
    readonly log: Effect.Effect<ServerLog>
    /** What is subscribed on the newest open connection; nothing where there is none. */
    readonly subscriptions: Effect.Effect<Interest.Interest>
    /**
     * Waits until there have been `n` connections (default 1), and gives the n-th.
     * It has not subscribed to anything yet: what is emitted now reaches nobody.
     * Wait with `awaitReceived` before you emit.
     */
    readonly awaitConnection: (n?: number) => Effect.Effect<Connection, NotReceived>
    /**
     * Waits for a request. Fails, and says what came instead, when the program
     * has had 1,000 turns of the scheduler without sending it: with virtual time
     * nothing more will come by itself.
     */
    readonly awaitReceived: (predicate: (received: Received) => boolean) => Effect.Effect<Received, NotReceived>
  }
>()("@makima-stream/test-kit/ScriptedMesh") {}

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
 *     Stream.take(2),
 *     Stream.runCollect,
 *     Effect.provideService(Socket.Socket, mesh.socket)
 *   )
 * })
 * Effect.runPromise(program).then((events) => console.log(events.map((event) => event._tag)))
 * // ["Connected", "TaskUpdated"]
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options?: Options): Effect.Effect<ScriptedMesh["Service"]> =>
  Effect.clockWith((clock) =>
    Effect.sync(() => {
      const heartbeat = options?.heartbeat ?? { interval: "15 seconds", deadline: "10 seconds" }
      const server = ScriptedServer.make({
        clock,
        acknowledge: options?.acknowledge ?? "auto",
        nameTasks: options?.nameTasks ?? true
      })
      const socket = ScriptedSocket.make(server, {
        clock,
        connectTimeout: Duration.toMillis(options?.connectTimeout ?? "10 seconds"),
        heartbeat:
          heartbeat === false
            ? undefined
            : { interval: Duration.toMillis(heartbeat.interval), deadline: Duration.toMillis(heartbeat.deadline) },
        maxBatch: Math.max(1, options?.maxBatch ?? Number.POSITIVE_INFINITY)
      })

      const awaitSome = <A>(waitedFor: string, find: () => A | undefined): Effect.Effect<A, NotReceived> =>
        Effect.gen(function* () {
          const found = Deferred.makeUnsafe<A>()
          const look = () => {
            const value = find()
            if (value !== undefined) Deferred.doneUnsafe(found, Effect.succeed(value))
          }
          server.watchers.add(look)
          look()
          const giveUp = Effect.yieldNow.pipe(
            Effect.repeat({ times: patience }),
            Effect.andThen(
              Effect.suspend(() => Effect.fail(new NotReceived({ waitedFor, received: [...server.received] })))
            )
          )
          return yield* Effect.raceFirst(Deferred.await(found), giveUp).pipe(
            Effect.ensuring(Effect.sync(() => server.watchers.delete(look)))
          )
        })

      return ScriptedMesh.of({
        socket,
        emit: (...messages) => Effect.sync(() => messages.forEach(server.emit)),
        emitRaw: (frame) => Effect.sync(() => server.emitRaw(frame)),
        garbage: (problem = "InvalidJson") => Effect.sync(() => server.emitRaw(Garbage.frames[problem])),
        acknowledge: (n = Number.POSITIVE_INFINITY) => Effect.sync(() => server.acknowledge(n)),
        setAcknowledge: (mode) =>
          Effect.sync(() => {
            server.acknowledgeMode = mode
          }),
        close: (code, reason, connection) => Effect.sync(() => server.close(connection, code, reason)),
        kill: (connection, killOptions) => Effect.sync(() => server.kill(connection, killOptions?.drop === true)),
        freeze: (connection) => Effect.sync(() => server.freeze(connection)),
        thaw: (connection) => Effect.sync(() => server.thaw(connection)),
        refuse: (n, status, headers) =>
          Effect.sync(() => {
            const retryAfter = Object.entries(headers ?? {}).find(([name]) => name.toLowerCase() === "retry-after")?.[1]
            server.addDialFaults(n, { _tag: "Refuse", status, retryAfter })
          }),
        stallDial: (n) => Effect.sync(() => server.addDialFaults(n, { _tag: "Stall" })),
        heal: Effect.sync(server.heal),
        delayDial: (duration) =>
          Effect.sync(() => {
            server.dialDelay = Duration.toMillis(duration)
          }),
        dropNext: (n) =>
          Effect.sync(() => {
            server.toDrop += n
          }),
        duplicateNext: (n) =>
          Effect.sync(() => {
            server.toDuplicate += n
          }),
        reorder: (n) =>
          Effect.sync(() => {
            server.toReorder += n
          }),
        connections: Effect.sync(() => server.links.map(toConnection)),
        dials: Effect.sync(() => [...server.dials]),
        received: Effect.sync(() => [...server.received]),
        sent: Effect.sync(() => [...server.sent]),
        pulled: Effect.sync(() => [...server.pulled]),
        log: Effect.sync(server.log),
        subscriptions: Effect.sync(() => server.newestOpen()?.feed.interest() ?? Interest.empty),
        awaitConnection: (n = 1) =>
          awaitSome(`Connection ${n}`, () => {
            const link = server.links[n - 1]
            return link === undefined ? undefined : toConnection(link)
          }),
        awaitReceived: (predicate) => awaitSome("The request", () => server.received.find(predicate))
      })
    })
  )

/**
 * A scripted mesh, and the `Socket` that leads to it.
 *
 * **Example** (A server that never acknowledges)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Stream from "effect/Stream"
 * import * as MeshClient from "@makima-stream/core/MeshClient"
 * import * as ScriptedMesh from "@makima-stream/test-kit/ScriptedMesh"
 *
 * const program = Effect.gen(function* () {
 *   const client = yield* MeshClient.make()
 *   yield* client.updates().pipe(Stream.take(1), Stream.runDrain)
 *   return yield* client.subscriptions
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

/** How many turns of the scheduler a waiter gives the program under test. */
const patience = 1000

const toConnection = (link: ScriptedServer.Link): Connection => ({
  id: link.id,
  open: link.open,
  frozen: link.frozen,
  endedBy: link.endedBy,
  closeCode: link.closeCode,
  interest: link.feed.interest(),
  unread: link.inbox.length
})
