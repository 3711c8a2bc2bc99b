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
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as Socket from "effect/socket/Socket"
import * as ClientMessage from "@makima-stream/core/ClientMessage"
import type { DecodeError } from "@makima-stream/core/DecodeError"
import * as Interest from "@makima-stream/core/Interest"
import * as MeshError from "@makima-stream/core/MeshError"
import * as ServerMessage from "@makima-stream/core/ServerMessage"
import * as Feed from "./internal/feed.ts"
import * as Garbage from "./internal/garbage.ts"
import * as Recorder from "./internal/recorder.ts"
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

interface Link {
  readonly id: number
  readonly feed: Feed.Feed
  /** Frames at the program's side, not pulled yet. */
  inbox: Array<Sent>
  /** Whether the program has let go of it. */
  released: boolean
  frozen: boolean
  /** What happens once the connection thaws: frames, requests and a close, in their order. */
  held: Array<() => void>
  /** Where in the log the frames are that a freeze holds back. */
  heldPlaces: Array<number>
  open: boolean
  endedBy: Connection["endedBy"]
  closeCode: number | undefined
  error: Socket.SocketError | undefined
  /** Resumes the pull that is suspended, if one is. */
  notify: (() => void) | undefined
  /** Requests whose acknowledgement the test gives by hand. */
  unacknowledged: Array<ServerMessage.Acknowledgement>
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
 * import { Effect, Stream } from "effect"
 * import { Interest, MeshStream } from "@makima-stream/core"
 * import { ScriptedMesh } from "@makima-stream/test-kit"
 *
 * const program = Effect.gen(function* () {
 *   const mesh = yield* ScriptedMesh.ScriptedMesh
 *   yield* Effect.forkChild(Effect.andThen(mesh.awaitConnection(), mesh.kill()))
 *   const feed = MeshStream.connect({ interest: Interest.all })
 *   return yield* feed.pipe(Stream.take(2), Stream.runCollect)
 * })
 * const events = await Effect.runPromise(Effect.provide(program, ScriptedMesh.layer))
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
    /** Sends the next `n` acknowledgements that are due (default: all). For `acknowledge: "manual"`. */
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
    /** Waits until there have been `n` connections (default 1), and gives the n-th. */
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
 * import { Effect, Stream } from "effect"
 * import { Socket } from "effect/socket"
 * import { Interest, MeshStream, TaskId } from "@makima-stream/core"
 * import { ScriptedMesh } from "@makima-stream/test-kit"
 *
 * const program = Effect.gen(function* () {
 *   const mesh = yield* ScriptedMesh.make()
 *   yield* mesh.awaitConnection().pipe(
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
      const connectTimeout = Duration.toMillis(options?.connectTimeout ?? "10 seconds")
      const heartbeat = options?.heartbeat ?? { interval: "15 seconds", deadline: "10 seconds" }
      const nameTasks = options?.nameTasks ?? true
      const maxBatch = options?.maxBatch ?? Number.POSITIVE_INFINITY

      const links: Array<Link> = []
      const dials: Array<number> = []
      const received: Array<Received> = []
      const sent: Array<Sent> = []
      const pulled: Array<Sent> = []
      const recorder = Recorder.make({ clock, keepMessages: true })
      let emissions = 0
      const byScope = new WeakMap<Scope.Scope, Link>()
      const watchers = new Set<() => void>()

      let acknowledgeMode = options?.acknowledge ?? "auto"
      let dialDelay = 0
      let dialFaults: Array<
        { readonly _tag: "Stall" } | { readonly _tag: "Refuse"; readonly status: number; readonly retryAfter?: string }
      > = []
      let toDrop = 0
      let toDuplicate = 0
      let toReorder = 0
      let reordering: Array<ServerMessage.ServerMessage> = []

      const changed = () => {
        for (const watcher of watchers) watcher()
      }

      const openLinks = (id?: number) => links.filter((link) => link.open && (id === undefined || link.id === id))

      // ---------------------------------------------------------------------------
      // server to client
      // ---------------------------------------------------------------------------

      const whenThawed = (link: Link, happen: () => void): void => {
        if (link.frozen) link.held.push(happen)
        else happen()
      }

      const deliver = (
        link: Link,
        frame: string | Uint8Array,
        emission: number,
        message?: ServerMessage.ServerMessage
      ): void => {
        if (!link.open) return
        const what: Sent = { connection: link.id, message, frame }
        sent.push(what)
        const body = {
          connection: link.id,
          emission,
          as: typeof frame === "string" ? "text" : "binary",
          delivered: !link.frozen
        } as const
        const place = recorder.append(
          message === undefined ? { _tag: "SentRaw", ...body, raw: frame } : { _tag: "Sent", ...body, message }
        )
        if (link.frozen && place !== undefined) link.heldPlaces.push(place)
        whenThawed(link, () => {
          link.inbox.push(what)
          link.notify?.()
        })
        changed()
      }

      const send = (link: Link, message: ServerMessage.ServerMessage, emission: number = ++emissions): void =>
        deliver(link, Result.getOrThrow(ServerMessage.encodeFrame(message)), emission, message)

      const broadcast = (message: ServerMessage.ServerMessage): void => {
        const emission = ++emissions
        const wanting = openLinks().filter((link) => link.feed.wants(message))
        if (wanting.length === 0) recorder.append({ _tag: "Unheard", emission, message })
        for (const link of wanting) send(link, message, emission)
      }

      const broadcastRaw = (frame: string | Uint8Array): Effect.Effect<void> =>
        Effect.suspend(() => {
          const emission = ++emissions
          return each(undefined, (link) => deliver(link, frame, emission))
        })

      const sendReordered = (): void => {
        const reversed = reordering.toReversed()
        reordering = []
        for (const held of reversed) broadcast(held)
      }

      const emitOne = (message: ServerMessage.ServerMessage): void => {
        if (toDrop > 0) {
          toDrop--
        } else if (toReorder > 0) {
          reordering.push(message)
          if (--toReorder === 0) sendReordered()
        } else {
          broadcast(message)
          if (toDuplicate > 0) {
            toDuplicate--
            broadcast(message)
          }
        }
      }

      const end = (
        link: Link,
        endedBy: Exclude<Connection["endedBy"], undefined>,
        error: Socket.SocketError,
        closing: { readonly code: number; readonly reason?: string | undefined } = { code: 1006 }
      ): void => {
        if (!link.open) return
        recorder.append(
          endedBy === "kill"
            ? { _tag: "Killed", connection: link.id }
            : {
                _tag: "Closed",
                connection: link.id,
                by: endedBy === "close" ? "server" : "client",
                code: closing.code,
                reason: closing.reason ?? ""
              }
        )
        link.open = false
        link.endedBy = endedBy
        link.error = error
        link.held = []
        link.unacknowledged = []
        link.notify?.()
        changed()
      }

      // ---------------------------------------------------------------------------
      // client to server
      // ---------------------------------------------------------------------------

      const anonymous = (acknowledgement: ServerMessage.Acknowledgement): ServerMessage.Acknowledgement =>
        nameTasks ? acknowledgement : { _tag: acknowledgement._tag }

      const receive = (link: Link, frame: string | Uint8Array): void => {
        const message = ClientMessage.decodeFrame(frame)
        if (Result.isFailure(message)) {
          recorder.append({ _tag: "Unreadable", connection: link.id, error: message.failure })
          return send(link, { _tag: "ServerError", code: "BAD_REQUEST", message: message.failure.message })
        }
        received.push({ connection: link.id, message: message.success })
        recorder.append({ _tag: "Received", connection: link.id, message: message.success })
        const acknowledgements = link.feed.handle(message.success).map(anonymous)
        switch (acknowledgeMode) {
          case "auto":
            for (const acknowledgement of acknowledgements) send(link, acknowledgement)
            break
          case "manual":
            link.unacknowledged.push(...acknowledgements)
            break
          case "never":
            break
        }
        changed()
      }

      const write = (link: Link, frames: ReadonlyArray<string | Uint8Array | Socket.CloseEvent>) =>
        Effect.suspend(() => {
          for (const frame of frames) {
            if (!link.open) {
              return Effect.fail(
                new Socket.SocketError({ reason: new Socket.SocketWriteError({ cause: new Error("not connected") }) })
              )
            }
            if (Socket.isCloseEvent(frame)) {
              link.closeCode = frame.code
              end(link, "client", closeError(frame.code, frame.reason), frame)
            } else {
              whenThawed(link, () => receive(link, frame))
            }
          }
          return Effect.void
        })

      // ---------------------------------------------------------------------------
      // the socket
      // ---------------------------------------------------------------------------

      const accept = (scope: Scope.Scope): Link => {
        const link: Link = {
          id: links.length + 1,
          feed: Feed.make(),
          inbox: [],
          frozen: false,
          held: [],
          heldPlaces: [],
          released: false,
          open: true,
          endedBy: undefined,
          closeCode: undefined,
          error: undefined,
          notify: undefined,
          unacknowledged: []
        }
        links.push(link)
        recorder.append({ _tag: "Opened", connection: link.id })
        byScope.set(scope, link)
        changed()
        return link
      }

      const reader: Socket.Socket["reader"] = Effect.gen(function* () {
        const scope = yield* Effect.scope
        dials.push(clock.currentTimeMillisUnsafe())
        changed()
        if (dialDelay >= connectTimeout) {
          recorder.append({ _tag: "Stalled" })
          yield* Effect.sleep(connectTimeout)
          return yield* openError(new MeshError.DialTimeout({ timeoutMillis: connectTimeout }))
        }
        if (dialDelay > 0) yield* Effect.sleep(dialDelay)
        const [fault, ...later] = dialFaults
        dialFaults = later
        if (fault?._tag === "Stall") {
          recorder.append({ _tag: "Stalled" })
          yield* Effect.sleep(connectTimeout - dialDelay)
          return yield* openError(new MeshError.DialTimeout({ timeoutMillis: connectTimeout }))
        }
        if (fault?._tag === "Refuse") {
          recorder.append({ _tag: "Refused", status: fault.status })
          const retryAfterMillis = parseRetryAfter(fault.retryAfter, clock.currentTimeMillisUnsafe())
          return yield* openError(
            new MeshError.HandshakeRejected({
              status: fault.status,
              ...(retryAfterMillis === undefined ? {} : { retryAfterMillis })
            })
          )
        }
        // A test that waits for the connection runs inside of `accept`, and may interrupt this very dial from there.
        const link = yield* Effect.acquireRelease(
          Effect.sync(() => accept(scope)),
          (link) =>
            Effect.sync(() => {
              if (link.open) link.closeCode = 1000
              end(link, "client", closeError(1000), { code: 1000 })
              link.released = true
              link.notify?.()
            })
        )
        if (heartbeat !== false) yield* Effect.forkIn(watchSilence(link, heartbeat), scope)

        const take = Effect.sync(() => {
          if (link.released) return []
          const batch = link.inbox.slice(0, maxBatch)
          link.inbox = link.inbox.slice(batch.length)
          pulled.push(...batch)
          changed()
          return batch.map(({ frame }) => frame)
        })
        const pull: Socket.Reader["pull"] = Effect.callback<void>((resume) => {
          if (link.inbox.length > 0 || link.error !== undefined || link.released) return resume(Effect.void)
          link.notify = () => {
            link.notify = undefined
            resume(Effect.void)
          }
          return Effect.sync(() => {
            link.notify = undefined
          })
        }).pipe(
          Effect.andThen(take),
          Effect.flatMap((batch) => {
            if (isNonEmpty(batch)) return Effect.succeed(batch)
            return Effect.fail(link.error ?? closeError(1006))
          })
        )
        return { pull, upgrade: Socket.SocketUpgradeError.unsupported }
      })

      /** The transport's heartbeat, in virtual time: it only ever matters while the connection is frozen. */
      const watchSilence = (link: Link, timing: Exclude<typeof heartbeat, false>) => {
        const deadlineMillis = Duration.toMillis(timing.deadline)
        const silence = Duration.toMillis(timing.interval) + deadlineMillis
        return watchUntil(() => link.frozen).pipe(
          Effect.andThen(
            Effect.raceFirst(
              Effect.as(Effect.sleep(silence), true),
              Effect.as(
                watchUntil(() => !link.frozen),
                false
              )
            )
          ),
          Effect.map((silent) => {
            if (silent) end(link, "heartbeat", readError(new MeshError.HeartbeatTimeout({ deadlineMillis })))
          }),
          Effect.repeat({ until: () => !link.open })
        )
      }

      const watchUntil = (condition: () => boolean): Effect.Effect<void> =>
        Effect.callback<void>((resume) => {
          if (condition()) return resume(Effect.void)
          const watcher = () => {
            if (!condition()) return
            watchers.delete(watcher)
            resume(Effect.void)
          }
          watchers.add(watcher)
          return Effect.sync(() => watchers.delete(watcher))
        })

      const newestOpen = Effect.sync(() => openLinks().at(-1))

      // A writer belongs to the reader of its scope; without one it waits for the next connection, as Effect's does.
      const writer: Socket.Socket["writer"] = Effect.map(Effect.scope, (scope) => {
        const mine = Effect.suspend((): Effect.Effect<Link> => {
          const own = byScope.get(scope)
          if (own !== undefined) return Effect.succeed(own)
          return watchUntil(() => openLinks().length > 0).pipe(
            Effect.andThen(newestOpen),
            Effect.flatMap((link) => (link === undefined ? mine : Effect.succeed(link)))
          )
        })
        return {
          write: (chunk) => Effect.flatMap(mine, (link) => write(link, [chunk])),
          writeAll: (chunks) => Effect.flatMap(mine, (link) => write(link, chunks))
        }
      })

      // ---------------------------------------------------------------------------
      // eyes
      // ---------------------------------------------------------------------------

      const view = (link: Link): Connection => ({
        id: link.id,
        open: link.open,
        frozen: link.frozen,
        endedBy: link.endedBy,
        closeCode: link.closeCode,
        interest: link.feed.interest(),
        unread: link.inbox.length
      })

      const awaitSome = <A>(waitedFor: string, find: () => A | undefined): Effect.Effect<A, NotReceived> =>
        Effect.gen(function* () {
          const found = Deferred.makeUnsafe<A>()
          const look = () => {
            const value = find()
            if (value !== undefined) Deferred.doneUnsafe(found, Effect.succeed(value))
          }
          watchers.add(look)
          look()
          const giveUp = Effect.yieldNow.pipe(
            Effect.repeat({ times: patience }),
            Effect.andThen(Effect.suspend(() => Effect.fail(new NotReceived({ waitedFor, received: [...received] }))))
          )
          return yield* Effect.raceFirst(Deferred.await(found), giveUp).pipe(
            Effect.ensuring(Effect.sync(() => watchers.delete(look)))
          )
        })

      /** Does something to one open connection, or to all of them. */
      const each = (id: number | undefined, f: (link: Link) => void): Effect.Effect<void> =>
        Effect.sync(() => openLinks(id).forEach(f))

      const thaw = (link: Link): void => {
        if (!link.frozen) return
        link.frozen = false
        recorder.append({ _tag: "Thawed", connection: link.id })
        recorder.deliver(link.heldPlaces.splice(0))
        for (const happen of link.held.splice(0)) if (link.open) happen()
        changed()
      }

      const sendAcknowledgements = (n: number): void => {
        for (const link of openLinks()) {
          for (const acknowledgement of link.unacknowledged.splice(0, n)) send(link, acknowledgement)
        }
      }

      return ScriptedMesh.of({
        socket: Socket.make({ reader, writer }),
        emit: (...messages) => Effect.sync(() => messages.forEach(emitOne)),
        emitRaw: broadcastRaw,
        garbage: (problem = "InvalidJson") => broadcastRaw(Garbage.frames[problem]),
        acknowledge: (n = Number.POSITIVE_INFINITY) => Effect.sync(() => sendAcknowledgements(n)),
        setAcknowledge: (mode) =>
          Effect.sync(() => {
            acknowledgeMode = mode
          }),
        close: (code, reason, connection) =>
          each(connection, (link) =>
            whenThawed(link, () => end(link, "close", closeError(code, reason), { code, reason }))
          ),
        kill: (connection, killOptions) =>
          each(connection, (link) => {
            if (killOptions?.drop === true) link.inbox = []
            end(link, "kill", closeError(1006))
          }),
        freeze: (connection) =>
          each(connection, (link) => {
            if (link.frozen) return
            link.frozen = true
            recorder.append({ _tag: "Frozen", connection: link.id })
            changed()
          }),
        thaw: (connection) => each(connection, thaw),
        refuse: (n, status, headers) =>
          Effect.sync(() => {
            const retryAfter = Object.entries(headers ?? {}).find(([name]) => name.toLowerCase() === "retry-after")?.[1]
            for (let i = 0; i < n; i++) {
              dialFaults.push({ _tag: "Refuse", status, ...(retryAfter === undefined ? {} : { retryAfter }) })
            }
          }),
        stallDial: (n) =>
          Effect.sync(() => {
            for (let i = 0; i < n; i++) dialFaults.push({ _tag: "Stall" })
          }),
        heal: Effect.sync(() => {
          openLinks().forEach(thaw)
          dialFaults = []
          dialDelay = 0
          toDrop = 0
          toDuplicate = 0
          toReorder = 0
          sendReordered()
          acknowledgeMode = "auto"
          sendAcknowledgements(Number.POSITIVE_INFINITY)
        }),
        delayDial: (duration) =>
          Effect.sync(() => {
            dialDelay = Duration.toMillis(duration)
          }),
        dropNext: (n) =>
          Effect.sync(() => {
            toDrop += n
          }),
        duplicateNext: (n) =>
          Effect.sync(() => {
            toDuplicate += n
          }),
        reorder: (n) =>
          Effect.sync(() => {
            toReorder += n
          }),
        connections: Effect.sync(() => links.map(view)),
        dials: Effect.sync(() => [...dials]),
        received: Effect.sync(() => [...received]),
        sent: Effect.sync(() => [...sent]),
        pulled: Effect.sync(() => [...pulled]),
        log: Effect.sync(recorder.snapshot),
        subscriptions: Effect.map(newestOpen, (link) => link?.feed.interest() ?? Interest.empty),
        awaitConnection: (n = 1) =>
          awaitSome(`Connection ${n}`, () => {
            const link = links[n - 1]
            return link === undefined ? undefined : view(link)
          }),
        awaitReceived: (predicate) => awaitSome("The request", () => received.find(predicate))
      })
    })
  )

/**
 * A scripted mesh, and the `Socket` that leads to it.
 *
 * **Example** (A server that never acknowledges)
 *
 * ```ts
 * import { Effect, Stream } from "effect"
 * import { MeshClient } from "@makima-stream/core"
 * import { ScriptedMesh } from "@makima-stream/test-kit"
 *
 * const program = Effect.gen(function* () {
 *   const client = yield* MeshClient.make()
 *   yield* client.updates().pipe(Stream.take(1), Stream.runDrain)
 *   return yield* client.subscriptions
 * })
 * const mesh = ScriptedMesh.layerWith({ acknowledge: "never" })
 * const { confirmed, requested } = await Effect.runPromise(Effect.scoped(Effect.provide(program, mesh)))
 * console.log(requested.all, confirmed.all) // true false
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layerWith = (options: Options): Layer.Layer<ScriptedMesh | Socket.Socket> =>
  Layer.effectContext(
    Effect.map(make(options), (mesh) => Context.make(ScriptedMesh, mesh).pipe(Context.add(Socket.Socket, mesh.socket)))
  )

/**
 * A scripted mesh with the default options, and the `Socket` that leads to it.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<ScriptedMesh | Socket.Socket> = layerWith({})

/** How many turns of the scheduler a waiter gives the program under test. */
const patience = 1000

const isNonEmpty = <A>(array: ReadonlyArray<A>): array is NonEmptyReadonlyArray<A> => array.length > 0

/** Seconds or an HTTP date (RFC 9110, section 10.2.3), in milliseconds from now. */
const parseRetryAfter = (header: string | undefined, now: number): number | undefined => {
  if (header === undefined) return undefined
  if (/^\d+$/.test(header)) return Number(header) * 1000
  const date = Date.parse(header)
  return Number.isNaN(date) ? undefined : Math.max(0, date - now)
}

const closeError = (code: number, closeReason?: string) =>
  new Socket.SocketError({ reason: new Socket.SocketCloseError({ code, closeReason }) })

const openError = (cause: MeshError.ConnectionReason) =>
  new Socket.SocketError({ reason: new Socket.SocketOpenError({ kind: "Unknown", cause }) })

const readError = (cause: MeshError.ConnectionReason) =>
  new Socket.SocketError({ reason: new Socket.SocketReadError({ cause }) })
