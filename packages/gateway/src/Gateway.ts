/**
 * Serves the feed again: one connection to the server, any number of clients, on the protocol that they already speak.
 *
 * `GET /api/v1/mesh/tasks/subscribe` is the server's own endpoint, so every client of the server works against a gateway. A
 * browser reaches it without the server's key, and the server sees one client instead of many.
 *
 * A gateway promises what the server promises: a request is acknowledged at the place at which the server has confirmed it,
 * and a gap of the gateway's connection is a gap of each client that it concerns. A client that passes
 * `GatewayMessages.extension` and asks for marks (`?marks=1`) sees the gap at its place. Another client is
 * closed with 1012, connects again, and marks the gap itself.
 *
 * @since 0.2.0
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import type * as Socket from "effect/socket/Socket"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import type { ClientMessage } from "@makima-stream/core/ClientMessage"
import * as Interest from "@makima-stream/core/Interest"
import type { MeshError } from "@makima-stream/core/MeshError"
import type { MeshEvent } from "@makima-stream/core/MeshEvent"
import type * as MeshSession from "@makima-stream/core/MeshSession"
import * as MeshStream from "@makima-stream/core/MeshStream"
import * as Repair from "@makima-stream/core/Repair"
import * as MeshLog from "@makima-stream/log/MeshLog"
import type * as TaskBoard from "@makima-stream/core/TaskBoard"
import * as GatewayError from "./GatewayError.ts"
import * as Access from "./internal/access.ts"
import * as Board from "./internal/board.ts"
import * as Http from "./internal/http.ts"
import * as Metrics from "./internal/metrics.ts"
import * as History from "./internal/history.ts"
import * as Hub from "./internal/hub.ts"
import { limits, type Limits, type LimitSettings } from "./internal/options.ts"
import * as Server from "./internal/server.ts"
import { monotonicMillis } from "./internal/time.ts"
import * as Sse from "./internal/sse.ts"
import * as WebSocketClient from "./internal/webSocketClient.ts"

export { ListenError, UnsafeOptions, type GatewayError } from "./GatewayError.ts"

/**
 * Options of the connection to the server.
 *
 * @category options
 * @since 0.2.0
 */
export interface UpstreamOptions
  extends MeshSession.Options, Pick<MeshStream.ConnectOptions, "policy" | "connections"> {
  /** Closes gaps of updates with snapshots: see `Repair`. Clients with marks receive its elements. Defaults to none. */
  readonly repair?: Repair.Options | undefined
}

/**
 * The certificate of the gateway.
 *
 * @category options
 * @since 0.2.0
 */
export interface TlsOptions extends Server.Tls {}

/**
 * A file of the page that the gateway serves.
 *
 * @category options
 * @since 0.2.0
 */
export interface Asset {
  /** The media type, such as `text/html; charset=utf-8`. */
  readonly type: string
  /** The content. */
  readonly body: string | Uint8Array
}

/**
 * Options of a gateway.
 *
 * @category options
 * @since 0.2.0
 */
export interface Options extends Limits {
  /** The connection to the server. */
  readonly upstream?: UpstreamOptions | undefined
  /**
   * The address to listen on. An address that other machines can reach needs a `token`, and `tls` or
   * `allowPlaintextBeyondLoopback`. Defaults to `127.0.0.1`.
   */
  readonly host?: string | undefined
  /** The port to listen on; 0 takes a free port. Defaults to 8787. */
  readonly port?: number | undefined
  /**
   * Further values of `Host` that are accepted, such as the name of a tunnel or of a proxy. A name
   * without a port matches any port. Defaults to none: the gateway's own address, and `localhost`.
   */
  readonly hosts?: ReadonlyArray<string> | undefined
  /**
   * Further origins whose pages may use the gateway, such as `https://board.example.com`. Such a page can read
   * everything that the gateway serves. Defaults to none: the gateway's own page.
   */
  readonly origins?: ReadonlyArray<string> | undefined
  /** The bearer token of programs, with at least 16 characters. Defaults to a random one. */
  readonly token?: Redacted.Redacted | undefined
  /** Serves HTTPS and WSS. Defaults to plain HTTP. */
  readonly tls?: TlsOptions | undefined
  /**
   * Accepts an address that other machines can reach without `tls`: everyone on the path can then read the feed, the
   * token and the cookies. Defaults to `false`.
   */
  readonly allowPlaintextBeyondLoopback?: boolean | undefined
  /**
   * Whether the gateway itself subscribes to the updates of all tasks, for its board. Without it, the board knows only the
   * tasks that clients have subscribed to. Defaults to `true`.
   */
  readonly followAll?: boolean | undefined
  /**
   * A log of the same feed, which a `Relay` writes. With it, a client with `?since=<position>` receives everything
   * after that position of the log, history first, without a seam: each frame has a `position`. The events at
   * `/api/v1/mesh/tasks/events` come from the log too, and `Last-Event-ID` is a position. Defaults to none.
   */
  readonly log?: MeshLog.MeshLog["Service"] | undefined
  /** Options of the board at `/api/v1/mesh/tasks`, such as `maxTasks`. */
  readonly board?: TaskBoard.Options | undefined
  /** The page: files by their path. `/` is its start. Defaults to none. */
  readonly assets?: ReadonlyMap<string, Asset> | undefined
}

/**
 * What the gateway counts.
 *
 * @category models
 * @since 0.2.0
 */
export interface Stats extends Hub.Stats {
  /** Events that were dropped for slow clients, and marked. */
  readonly dropped: number
  /** Clients that were closed because they were too slow. */
  readonly closedAsSlow: number
}

/**
 * A running gateway.
 *
 * @category models
 * @since 0.2.0
 */
export interface Service {
  /** The port that it listens on. */
  readonly port: number
  /** Its URL, such as `http://127.0.0.1:8787`. */
  readonly url: string
  /** The bearer token of programs. */
  readonly token: Redacted.Redacted
  /** Makes a URL that signs a browser in. It works once. */
  readonly loginUrl: Effect.Effect<string>
  /** Returns what the gateway has counted. */
  readonly stats: Effect.Effect<Stats>
  /** Waits until the connection to the server fails for good. The gateway then has closed its clients with 1011. */
  readonly awaitFailure: Effect.Effect<never, MeshError>
}

/**
 * The gateway as a service.
 *
 * **Example** (The URL to open in a browser)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Gateway from "@makima-stream/gateway/Gateway"
 *
 * const program = Effect.flatMap(Gateway.Gateway, ({ loginUrl }) => loginUrl)
 * console.log(Effect.isEffect(program)) // true
 * ```
 *
 * @category services
 * @since 0.2.0
 */
export class Gateway extends Context.Service<Gateway, Service>()("@makima-stream/gateway/Gateway") {}

/**
 * Starts a gateway. Its scope owns the connection to the server and all clients. Requires the `Socket` of the server.
 *
 * **Details**
 *
 * When the scope closes, the gateway accepts nothing any more, closes its clients with 1001, and waits for them for
 * at most `drainTimeout`.
 *
 * **Gotchas**
 *
 * The server's key belongs to the `Socket`. The gateway does not know it, and sends it nowhere.
 *
 * **Example** (A gateway on a free port)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Gateway from "@makima-stream/gateway/Gateway"
 * import * as ScriptedMesh from "@makima-stream/test-kit/ScriptedMesh"
 *
 * const program = Effect.gen(function* () {
 *   const gateway = yield* Gateway.make({ port: 0 })
 *   const answer = yield* Effect.promise(() => fetch(`${gateway.url}/health`))
 *   return answer.status
 * })
 * console.log(await Effect.runPromise(Effect.scoped(Effect.provide(program, ScriptedMesh.layer())))) // 200
 * ```
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = Effect.fnUntraced(function* (
  options: Options = {}
): Effect.fn.Return<Service, GatewayError.GatewayError, Socket.Socket | Scope.Scope> {
  const host = options.host ?? "127.0.0.1"
  yield* checkExposure(host, options)
  const settings = limits(options)
  const clock = yield* Clock.Clock
  const now = () => monotonicMillis(clock)
  const scheme = options.tls === undefined ? "http" : "https"
  const { log } = options
  const counts = { dropped: 0, closedAsSlow: 0 }

  const upstream = yield* makeUpstream(options, settings)
  const { board, hub } = upstream
  const context = yield* Effect.context<never>()

  const server = Server.make(options.tls)
  const port = yield* listen(server, host, options.port ?? 8787)
  const authority = `${host.includes(":") ? `[${host}]` : host}:${port}`
  const access = Access.make({
    scheme,
    port,
    hosts: [authority, `127.0.0.1:${port}`, `localhost:${port}`, `[::1]:${port}`, ...(options.hosts ?? [])],
    origins: options.origins ?? [],
    token: options.token === undefined ? undefined : Redacted.value(options.token)
  })

  const clients = new Set<WebSocketClient.OpenClient>()
  /** How to stop the readers of the log. */
  const readers = new Map<WebSocketClient.OpenClient, () => void>()
  const onEnd = (client: WebSocketClient.OpenClient): void => {
    clients.delete(client)
    readers.get(client)?.()
    readers.delete(client)
    hub.leave(client, now())
  }
  const readLog = (log: History.Log, client: WebSocketClient.OpenClient, place: History.Place): void =>
    void readers.set(client, History.follow(log, client, place, context))
  const onRequest = (client: WebSocketClient.OpenClient, message: ClientMessage): void =>
    hub.request(client, message, now())

  const clientOptions: WebSocketClient.ClientOptions = {
    maxBufferedBytes: settings.maxBufferedBytes,
    stallMillis: settings.stallMillis,
    now,
    onEnd,
    onDropped: (count) => void (counts.dropped += count),
    onTooSlow: () => void counts.closedAsSlow++
  }
  const isFull = () => clients.size >= settings.maxClients
  // Not a secret: it keeps the numbers of two gateways apart.
  const instance = (yield* Random.nextInt).toString(36).replace("-", "_")
  const events: Http.Routes["events"] = (request, url, response) => {
    const requests = Sse.subscriptions(url)
    if (typeof requests === "string") return Http.send(request, response, Http.text(requests, 400))
    if (isFull()) return Http.send(request, response, Http.text("There are too many clients", 503))
    const client = Sse.make(response, { ...clientOptions, instance, requests: requests.length, last: hub.last })
    clients.add(client)
    if (log !== undefined) {
      const position = Sse.lastPosition(request)
      const from = position === undefined ? MeshLog.newest : MeshLog.after(position)
      return readLog(log, client, { from, filter: Sse.filter(url) })
    }
    hub.join(client)
    for (const message of requests) hub.request(client, message, now())
    const number = Sse.lastEvent(request, instance)
    const missed = number === undefined ? undefined : hub.missed(client, number)
    if (missed === undefined) client.started()
    else client.resumed(missed)
  }

  server.start({
    access,
    isFull,
    isValid: ({ searchParams }) =>
      !searchParams.has("since") || (log !== undefined && Sse.position(searchParams.get("since") ?? "") !== undefined),
    onRequest: Http.handler({
      access,
      health: () => {
        const isOnline = hub.stats().connected
        return Http.json(
          { status: upstream.hasFailed() ? "failed" : "ok", online: isOnline },
          upstream.hasFailed() ? 503 : 200
        )
      },
      metrics: () => Metrics.format({ ...hub.stats(), ...counts, tasks: board.size() }, context).then(Http.metrics),
      tasks: () => Http.json(board.list()),
      task(taskId) {
        const task = board.get(taskId)
        return task === undefined ? undefined : Http.json(task)
      },
      events,
      asset: (path) => {
        const asset = options.assets?.get(path)
        return asset === undefined ? undefined : { status: 200, type: asset.type, body: asset.body }
      }
    }),
    onClient(ws, { marks, url }) {
      const since = Sse.position(url.searchParams.get("since") ?? "")
      if (log !== undefined && since !== undefined) {
        // Its marks are part of the log, so it receives them in any case. Everything is on its way, so each request is
        // acknowledged at once.
        const client = WebSocketClient.make(ws, {
          ...clientOptions,
          marks: true,
          onRequest: (client, message) => client.acknowledge(Hub.acknowledgementOf(message))
        })
        clients.add(client)
        return readLog(log, client, { from: MeshLog.after(since) })
      }
      const client = WebSocketClient.make(ws, { ...clientOptions, marks, onRequest })
      clients.add(client)
      hub.join(client)
    }
  })
  yield* Effect.addFinalizer(() => drain(server, clients, settings.drainMillis))

  yield* Effect.forkScoped(
    Effect.forever(
      Effect.andThen(
        Effect.sleep(1000),
        Effect.sync(() => {
          upstream.sweep(now())
          for (const client of clients) client.check()
        })
      )
    )
  )
  yield* upstream.failure.await.pipe(
    Effect.andThen(
      Effect.sync(() => Array.from(clients).forEach((client) => client.close(1011, "The feed has ended")))
    ),
    Effect.forkScoped
  )

  const url = `${scheme}://${host === "0.0.0.0" ? `127.0.0.1:${port}` : host === "::" ? `[::1]:${port}` : authority}`
  return {
    port,
    url,
    token: Redacted.make(access.token),
    loginUrl: Effect.sync(() => `${url}/?token=${access.loginToken()}`),
    stats: Effect.sync(() => ({ ...hub.stats(), ...counts })),
    awaitFailure: upstream.awaitFailure
  }
})

/**
 * Provides a gateway as a layer. Requires the `Socket` of the server.
 *
 * **Example** (A gateway for a server whose key is in the environment)
 *
 * ```ts
 * import * as Layer from "effect/Layer"
 * import * as Gateway from "@makima-stream/gateway/Gateway"
 * import * as NodeMeshSocket from "@makima-stream/node/NodeMeshSocket"
 *
 * const live = Gateway.layer({ port: 8787 }).pipe(Layer.provide(NodeMeshSocket.layerConfig()))
 * console.log(Layer.isLayer(live)) // true
 * ```
 *
 * @category layers
 * @since 0.2.0
 */
export const layer = (options?: Options): Layer.Layer<Gateway, GatewayError.GatewayError, Socket.Socket> =>
  Layer.effect(Gateway, make(options))

/** A shorter token can be guessed. An empty one would match a header without a value. */
const minTokenLength = 16

/** Refuses options that would serve the feed unprotected. */
const checkExposure = (host: string, options: Options): Effect.Effect<void, GatewayError.UnsafeOptions> => {
  const refuse = (problem: string) => Effect.fail(new GatewayError.UnsafeOptions({ problem }))
  if (options.token !== undefined && Redacted.value(options.token).trim().length < minTokenLength) {
    return refuse(`The token has fewer than ${minTokenLength} characters`)
  }
  if (Access.isLoopback(host)) return Effect.void
  if (options.token === undefined) {
    return refuse(`The address ${host} can be reached from other machines, which needs a token of your own`)
  }
  if (options.tls === undefined && options.allowPlaintextBeyondLoopback !== true) {
    return refuse(
      `The address ${host} can be reached from other machines, which needs TLS. allowPlaintextBeyondLoopback does without: everyone on the path can then read the feed and the token`
    )
  }
  return Effect.void
}

const listen = (
  server: Server.Server,
  host: string,
  port: number
): Effect.Effect<number, GatewayError.ListenError, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.callback<number, GatewayError.ListenError>((resume) =>
      server.listen(
        host,
        port,
        (port) => resume(Effect.succeed(port)),
        (cause) => resume(Effect.fail(new GatewayError.ListenError({ host, port, cause })))
      )
    ),
    () => Effect.sync(server.cut)
  )

/** Closes the clients, and waits for them. */
const drain = (
  server: Server.Server,
  clients: ReadonlySet<WebSocketClient.OpenClient>,
  drainMillis: number
): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    server.close(() => resume(Effect.void))
    for (const client of clients) client.close(1001, "The gateway is shutting down")
  }).pipe(Effect.timeoutOption(drainMillis), Effect.asVoid)

// ---------------------------------------------------------------------------
// upstream
// ---------------------------------------------------------------------------

/** The connection to the server: one fiber that routes its events, and the interest that it requests. */
const makeUpstream = Effect.fnUntraced(function* (options: Options, settings: LimitSettings) {
  const state = yield* SubscriptionRef.make<MeshSession.SubscriptionState>({
    epoch: 0,
    requested: Interest.empty,
    confirmed: Interest.empty,
    unconfirmed: Interest.empty
  })
  const current = () => SubscriptionRef.getUnsafe(state)
  const changed = Latch.makeUnsafe(false)
  const failure = Latch.makeUnsafe(false)
  const failed = yield* Deferred.make<never, MeshError>()
  const board = Board.make(options.board)
  const clock = yield* Clock.Clock
  const hub = Hub.make({
    idleMillis: settings.idleMillis,
    maxReplay: settings.maxReplay,
    maxSubscriptions: settings.maxSubscriptions,
    onChanged: () => changed.openUnsafe(),
    stateOf: board.restated
  })
  if (options.followAll !== false) hub.pin("all")
  const interest = yield* SubscriptionRef.make(hub.interest())

  const { repair, ...connect } = options.upstream ?? {}
  const events: Stream.Stream<MeshEvent, MeshError, Socket.Socket> = MeshStream.connect({
    ...connect,
    interest,
    subscriptions: state
  })
  const feed = repair === undefined ? events : Repair.repair(events, repair)

  // Yields, so that the requests of one batch become one change.
  yield* changed.await.pipe(
    Effect.andThen(Effect.yieldNow),
    Effect.andThen(
      Effect.suspend(() => {
        changed.closeUnsafe()
        return SubscriptionRef.set(interest, hub.interest())
      })
    ),
    Effect.forever,
    Effect.forkScoped
  )
  yield* SubscriptionRef.changes(state).pipe(
    Stream.runForEach(() => Effect.sync(() => hub.observe(current()))),
    Effect.forkScoped
  )
  yield* feed.pipe(
    Stream.runForEachArray((batch) =>
      Effect.sync(() => {
        hub.route(batch, current())
        board.take(batch, clock.currentTimeMillisUnsafe())
      })
    ),
    Effect.catchCause((cause) =>
      Cause.hasInterruptsOnly(cause) ? Effect.void : Effect.andThen(Deferred.failCause(failed, cause), failure.open)
    ),
    Effect.forkScoped
  )
  return {
    board,
    hub,
    failure,
    hasFailed: () => failure.isOpen(),
    awaitFailure: Deferred.await(failed),
    sweep: (now: number) => hub.sweep(now, current())
  }
})
