/**
 * A bad network between a client and a server: a TCP proxy on 127.0.0.1 that
 * delays, throttles and splits what it passes on, cuts connections, and leaves
 * them half-open.
 *
 * `MockMeshServer` breaks connections from the server's side, where it knows
 * the frames. The proxy knows none: it is for what happens between two processes
 * that are both well, in the middle of a frame or of a handshake.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Proxy from "./internal/proxy.ts"

/**
 * Options of a proxy.
 *
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /** The port at 127.0.0.1 that everything is passed on to. Nobody need listen there yet. */
  readonly target: number
  /** The port to listen on, at 127.0.0.1. Default: 0, which takes a free one. */
  readonly port?: number
}

/**
 * How bytes travel, in both directions. What is left out is as good as the
 * machine's own network.
 *
 * @category models
 * @since 0.1.0
 */
export interface Shape {
  /** How long a piece takes at least, in milliseconds. */
  readonly latencyMillis?: number
  /** How many bytes pass in a second, in each direction of each connection. */
  readonly bytesPerSecond?: number
  /**
   * The most bytes that are written at once. 1 cuts every frame, and every
   * handshake, at every byte.
   */
  readonly pieceBytes?: number
}

/**
 * A connection, as it was when it was asked for. Times are the clock's, in
 * milliseconds since 1970.
 *
 * @category models
 * @since 0.1.0
 */
export interface Connection {
  /** The n-th connection that was accepted, from 1. */
  readonly id: number
  /** When it was accepted. */
  readonly openedAt: number
  /** When it was gone on both sides. */
  readonly closedAt: number | undefined
  /** The worst that the proxy did to it. Delays are no injury. */
  readonly injury: "killed" | "frozen" | undefined
}

/**
 * The proxy could not listen: most often the port is taken.
 *
 * @category errors
 * @since 0.1.0
 */
export class ListenError extends Schema.TaggedError<ListenError>("@makima-stream/test-kit/ChaosProxy/ListenError")(
  "ListenError",
  {
    /** The port that was asked for. */
    port: Schema.Int,
    /** What the platform said. */
    cause: Schema.Defect()
  }
) {
  /** What happened, in one line. */
  override get message(): string {
    return `The proxy could not listen on port ${this.port}`
  }
}

/**
 * A running proxy.
 *
 * **Details**
 *
 * The verbs take the number of one connection, or concern every one that is open
 * when they are called, and none that comes later.
 *
 * @category models
 * @since 0.1.0
 */
export interface ChaosProxy {
  /** The port that it listens on. */
  readonly port: number
  /** The server's URL by way of the proxy: `http://127.0.0.1:<port>`. */
  readonly url: string
  /** Every connection there has been, oldest first. */
  readonly connections: Effect.Effect<ReadonlyArray<Connection>>
  /** Changes how bytes travel from now on, on open connections too. `{}` ends the trouble. */
  readonly shape: (shape: Shape) => Effect.Effect<void>
  /** Cuts the connections: both sides see a reset. What was on its way is lost. */
  readonly kill: (connection?: number) => Effect.Effect<void>
  /**
   * Leaves the connections half-open: nothing passes any more, not even the end
   * of either side, and neither side is told.
   */
  readonly freeze: (connection?: number) => Effect.Effect<void>
  /** Ends a freeze: what was held back passes, in order. */
  readonly thaw: (connection?: number) => Effect.Effect<void>
}

/**
 * Starts a proxy that lives as long as the scope.
 *
 * **When to use**
 *
 * Use in front of a server in another process, or of one that is no
 * `MockMeshServer`, to see a program through what a network does.
 *
 * **Details**
 *
 * Where nobody listens at the target, a client sees its connection reset. One
 * side's end is passed on to the other after everything before it. Delays are
 * those of the clock in effect when the proxy was made.
 *
 * **Gotchas**
 *
 * A frozen connection stays open on the far side when the near side leaves, as
 * it does in life, until it is killed, thawed, or the scope closes.
 *
 * **Example** (Every byte by itself)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { ChaosProxy, MockMeshServer } from "@makima-stream/test-kit"
 *
 * const program = Effect.scoped(
 *   Effect.gen(function* () {
 *     const server = yield* MockMeshServer.make()
 *     const proxy = yield* ChaosProxy.make({ target: server.port })
 *     yield* proxy.shape({ pieceBytes: 1, latencyMillis: 5 })
 *     return proxy.url // what the program under test is given
 *   })
 * )
 * console.log((await Effect.runPromise(program)).startsWith("http://127.0.0.1:")) // true
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function* (
  options: Options
): Effect.fn.Return<ChaosProxy, ListenError, Scope.Scope> {
  const port = options.port ?? 0
  const proxy = yield* Effect.mapError(
    Proxy.make({ target: options.target, port }),
    (cause) => new ListenError({ port, cause })
  )
  /** Does something to one open connection, or to all of them. */
  const each = (id: number | undefined, f: (link: Proxy.Link) => void): Effect.Effect<void> =>
    Effect.sync(() => proxy.open().forEach((link) => (id === undefined || link.record.id === id ? f(link) : undefined)))

  return {
    port: proxy.port,
    url: `http://127.0.0.1:${proxy.port}`,
    connections: Effect.sync(() => proxy.links().map(({ record }) => ({ ...record }))),
    shape: (shape) => Effect.sync(() => proxy.setShape(shape)),
    kill: (id) => each(id, (link) => link.kill()),
    freeze: (id) => each(id, (link) => link.freeze()),
    thaw: (id) => each(id, (link) => link.thaw())
  }
})
