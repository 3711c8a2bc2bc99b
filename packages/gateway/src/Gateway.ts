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
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import type * as Socket from "effect/socket/Socket"
import * as Stream from "effect/Stream"
import type { MeshError } from "@makima-stream/core/MeshError"
import type * as MeshLog from "@makima-stream/log/MeshLog"
import type * as TaskBoard from "@makima-stream/core/TaskBoard"
import * as GatewayError from "./GatewayError.ts"
import * as Access from "./internal/access.ts"
import * as Clients from "./internal/clients.ts"
import * as Http from "./internal/http.ts"
import * as Metrics from "./internal/metrics.ts"
import type * as Hub from "./internal/hub.ts"
import { limits, type Limits } from "./internal/options.ts"
import * as Server from "./internal/server.ts"
import * as Sse from "./internal/sse.ts"
import { monotonicMillis, timers } from "./internal/time.ts"
import * as Upstream from "./internal/upstream.ts"

export {
  InvalidOption,
  InvalidPublicUrl,
  InvalidTls,
  ListenError,
  UnsafeOptions,
  type GatewayError
} from "./GatewayError.ts"

/**
 * Options of the connection to the server.
 *
 * @category options
 * @since 0.2.0
 */
export interface UpstreamOptions extends Upstream.ConnectionOptions {}

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
  /** The port to listen on, from 0 to 65535; 0 takes a free port. Defaults to 8787. */
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
  /**
   * The URL at which browsers reach the gateway behind a proxy or a tunnel, such as `https://board.example.com`, without
   * a path. Its host is accepted as `Host`, its origin may use the gateway, and login URLs begin with it. Defaults to
   * none: the gateway's own address.
   */
  readonly publicUrl?: string | undefined
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
   * after that position of the log, history first, without a seam: each frame has a `position`. A position after the last
   * entry is of another log: the client receives a `Resync` with reason `JoinedLate`, and continues with new entries. The events at
   * `/api/v1/mesh/tasks/events` come from the log too, and `Last-Event-ID` is a position; their header `x-makima-log: 1`
   * says so, and the dashboard then shows the history of a task. The board begins with the
   * newest update of each task in the log. Defaults to none.
   */
  readonly log?: MeshLog.Service | undefined
  /** Options of the board at `/api/v1/mesh/tasks`, such as `maxTasks`. */
  readonly board?: TaskBoard.Options | undefined
  /** The page: files by their path. `/` is its start. Defaults to none. */
  readonly assets?: ReadonlyMap<string, Asset> | undefined
}

/**
 * Options of a gateway that are read from configuration: a `Config` for each option.
 *
 * @category options
 * @since 0.2.0
 */
export interface ConfigOptions extends Readonly<{ [K in keyof Options]?: Config.Config<Options[K]> }> {}

/**
 * What the gateway counts.
 *
 * @category models
 * @since 0.2.0
 */
export interface Stats extends Hub.Stats, Clients.Counts {}

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
  /**
   * Login URLs, of which the newest is always valid: one at once, and the next one when it was used. For a program that
   * prints them, so that a further browser can be signed in.
   */
  readonly loginUrls: Stream.Stream<string>
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
  const requestedPort = yield* checkPort(options.port ?? 8787)
  yield* checkExposure(host, options)
  const publicUrl = yield* publicUrlOf(options.publicUrl)
  const settings = limits(options)
  const clock = yield* Clock.Clock
  const now = () => monotonicMillis(clock)
  const scheme = options.tls === undefined ? "http" : "https"

  // Before the connection to the server: a gateway that cannot listen does not dial.
  const server = yield* Effect.try({
    try: () => Server.make(options.tls),
    catch: (cause) => new GatewayError.InvalidTls({ cause })
  })
  const port = yield* listen(server, host, requestedPort)

  const upstream = yield* Upstream.make({
    connection: options.upstream,
    board: options.board,
    log: options.log,
    followAll: options.followAll !== false,
    settings
  })
  const { hub } = upstream
  const context = yield* Effect.context<never>()

  const authority = `${host.includes(":") ? `[${host}]` : host}:${port}`
  const access = Access.make({
    scheme,
    port,
    hosts: [authority, `127.0.0.1:${port}`, `localhost:${port}`, `[::1]:${port}`, ...(options.hosts ?? [])],
    origins: options.origins ?? [],
    publicUrl,
    token: options.token === undefined ? undefined : Redacted.value(options.token)
  })

  const clients = Clients.make({
    hub,
    log: options.log,
    settings,
    now,
    after: yield* timers,
    // Not a secret: it keeps the numbers of two gateways apart.
    instance: (yield* Random.nextInt).toString(36).replace("-", "_"),
    context
  })
  server.start({
    access,
    isFull: clients.isFull,
    isValid: clients.isValid,
    onRequest: Http.handler(routesOf({ access, clients, context, options, upstream })),
    onClient: clients.connect
  })
  yield* Effect.addFinalizer(() => drain(server, clients, settings.drainMillis))

  yield* Effect.forkScoped(
    Effect.forever(
      Effect.andThen(
        Effect.sleep(1000),
        Effect.sync(() => {
          upstream.sweep(now())
          clients.check()
        })
      )
    )
  )
  yield* upstream.failure.await.pipe(
    Effect.andThen(Effect.sync(() => clients.close(1011, "The feed has ended"))),
    Effect.forkScoped
  )

  const url = `${scheme}://${host === "0.0.0.0" ? `127.0.0.1:${port}` : host === "::" ? `[::1]:${port}` : authority}`
  const loginUrl = (token: string): string => `${publicUrl?.origin ?? url}/?token=${token}`
  return {
    port,
    url,
    token: Redacted.make(access.token),
    loginUrl: Effect.sync(() => loginUrl(access.loginToken())),
    loginUrls: Stream.map(loginTokens(access), loginUrl),
    stats: Effect.sync(() => ({ ...hub.stats(), ...clients.counts() })),
    awaitFailure: upstream.awaitFailure
  }
})

/** What the gateway answers over HTTP. */
const routesOf = (parts: {
  readonly access: Access.Access
  readonly clients: Clients.Clients
  readonly context: Context.Context<never>
  readonly options: Options
  readonly upstream: Effect.Success<ReturnType<typeof Upstream.make>>
}): Http.Routes => {
  const { access, clients, context, options, upstream } = parts
  const { board, hub } = upstream
  return {
    access,
    health: () =>
      Http.json(
        { status: upstream.hasFailed() ? "failed" : "ok", online: hub.stats().connected },
        upstream.hasFailed() ? 503 : 200
      ),
    metrics: () =>
      Metrics.format({ ...hub.stats(), ...clients.counts(), tasks: board.size() }, context).then(Http.metrics),
    tasks: () => Http.json(board.list()),
    task(taskId) {
      const task = board.get(taskId)
      return task === undefined ? undefined : Http.json(task)
    },
    eventHeaders: options.log === undefined ? {} : Sse.logHeaders,
    events: clients.events,
    asset(path) {
      const asset = options.assets?.get(path)
      return asset === undefined ? undefined : { status: 200, type: asset.type, body: asset.body }
    }
  }
}

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

/**
 * Provides a gateway as a layer, with options from configuration. Requires the `Socket` of the server.
 *
 * **Example** (The port and the token from the environment)
 *
 * ```ts
 * import * as Config from "effect/Config"
 * import * as Layer from "effect/Layer"
 * import * as Gateway from "@makima-stream/gateway/Gateway"
 *
 * const layer = Gateway.layerConfig({
 *   port: Config.Int("GATEWAY_PORT"),
 *   token: Config.Redacted("GATEWAY_TOKEN")
 * })
 * console.log(Layer.isLayer(layer)) // true
 * ```
 *
 * @category layers
 * @since 0.2.0
 */
export const layerConfig = (
  options: ConfigOptions
): Layer.Layer<Gateway, GatewayError.GatewayError | Config.ConfigError, Socket.Socket> =>
  Layer.effect(
    Gateway,
    Effect.flatMap(Config.unwrap<Options>(options), (unwrapped) => make(unwrapped))
  )

const checkPort = (port: number): Effect.Effect<number, GatewayError.InvalidOption> =>
  Number.isInteger(port) && port >= 0 && port <= 65_535
    ? Effect.succeed(port)
    : Effect.fail(
        new GatewayError.InvalidOption({ option: "port", detail: `must be an integer from 0 to 65535, not ${port}` })
      )

/** A shorter token can be guessed. An empty one would match a header without a value. */
const minTokenLength = 16

/** Refuses options that would serve the feed unprotected. */
const checkExposure = (host: string, options: Options): Effect.Effect<void, GatewayError.UnsafeOptions> => {
  const refuse = (option: "token" | "tls", problem: string) =>
    Effect.fail(new GatewayError.UnsafeOptions({ option, problem }))
  if (options.token !== undefined && Redacted.value(options.token).trim().length < minTokenLength) {
    return refuse("token", `The token has fewer than ${minTokenLength} characters`)
  }
  if (Access.isLoopback(host)) return Effect.void
  if (options.token === undefined) {
    return refuse("token", `The address ${host} can be reached from other machines, which needs a token`)
  }
  if (options.tls === undefined && options.allowPlaintextBeyondLoopback !== true) {
    return refuse(
      "tls",
      `The address ${host} can be reached from other machines, which needs TLS. allowPlaintextBeyondLoopback serves it without TLS: everyone on the path can then read the feed and the token`
    )
  }
  return Effect.void
}

/** Reads the address at which browsers reach the gateway. */
const publicUrlOf = (text: string | undefined): Effect.Effect<URL | undefined, GatewayError.InvalidPublicUrl> => {
  if (text === undefined) return Effect.succeed(undefined)
  const url = URL.canParse(text) ? new URL(text) : undefined
  return url !== undefined && /^https?:$/.test(url.protocol) && url.href === `${url.origin}/`
    ? Effect.succeed(url)
    : Effect.fail(new GatewayError.InvalidPublicUrl())
}

/** Tokens, each made when the one before it cannot be exchanged any more. */
const loginTokens = (access: Access.Access): Stream.Stream<string> =>
  Stream.unfold<Effect.Effect<void>, string, never, never>(Effect.void, (spent) =>
    Effect.map(spent, () => {
      const next = Deferred.makeUnsafe<void>()
      return [access.loginToken(() => void Deferred.doneUnsafe(next, Effect.void)), Deferred.await(next)]
    })
  )

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
const drain = (server: Server.Server, clients: Clients.Clients, drainMillis: number): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    server.close(() => resume(Effect.void))
    clients.close(1001, "The gateway is shutting down")
  }).pipe(Effect.timeoutOption(drainMillis), Effect.asVoid)
