/** The TCP proxy behind `ChaosProxy`: listens, and has a `proxyLink` for each connection. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import * as Net from "node:net"
import * as Bounds from "./bounds.ts"
import { Link, type Direction } from "./proxyLink.ts"
import type * as ShapedPipe from "./shapedPipe.ts"

const directions = ["toServer", "toClient"] as const

/**
 * How bytes travel in one direction. `ChaosProxy` exports it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Shape {
  /**
   * The delay of every chunk from its arrival, in milliseconds. It does not limit
   * the rate: any number of chunks are in flight at the same time.
   */
  readonly latencyMillis?: number
  /**
   * The longest random delay of a chunk in addition to the latency, in milliseconds.
   * The order of bytes is kept, so a late chunk delays those behind it.
   *
   * @since 0.2.0
   */
  readonly jitterMillis?: number
  /** The most bytes per second, in each direction of each connection. */
  readonly bytesPerSecond?: number
  /** The most bytes that are written at once. 1 splits every frame and handshake at every byte. */
  readonly pieceBytes?: number
}

export interface Proxy {
  readonly port: number
  readonly links: () => ReadonlyArray<Link>
  readonly open: () => ReadonlyArray<Link>
  /** Sets how bytes travel in one direction, or in both. */
  readonly setShape: (shape: Shape, direction: Direction | undefined) => void
}

/** Normalises the options. An invalid value becomes the smallest valid one. */
const toConditions = (shape: Shape): ShapedPipe.Conditions => ({
  latencyMillis: Bounds.notNegative(shape.latencyMillis ?? 0),
  jitterMillis: Bounds.notNegative(shape.jitterMillis ?? 0),
  bytesPerSecond: Bounds.atLeast(1, shape.bytesPerSecond ?? Number.POSITIVE_INFINITY),
  pieceBytes: Bounds.atLeast(1, shape.pieceBytes ?? 65_536)
})

/** Starts listening. Fails with the error of `node:net`. */
export const make = Effect.fnUntraced(function* (options: {
  readonly target: number
  readonly port: number
  readonly maxInFlightBytes: number
}): Effect.fn.Return<Proxy, Error, Scope.Scope> {
  const scope = yield* Effect.scope
  const clock = yield* Clock.Clock
  const random = yield* Random.Random
  const run = Effect.runForkWith(yield* Effect.context<never>())
  const links: Array<Link> = []
  const conditions: Record<Direction, ShapedPipe.Conditions> = {
    toServer: toConditions({}),
    toClient: toConditions({})
  }
  const server = Net.createServer({ allowHalfOpen: true, noDelay: true }, (near) => {
    const far = Net.connect({ port: options.target, host: "127.0.0.1", allowHalfOpen: true, noDelay: true })
    links.push(
      new Link(near, far, {
        id: links.length + 1,
        clock,
        random: () => random.nextDoubleUnsafe(),
        conditions,
        maxInFlightBytes: options.maxInFlightBytes,
        fork: (effect) => Fiber.runIn(run(effect), scope)
      })
    )
  })
  const open = () => links.filter(({ state }) => state.closedAt === undefined)
  const stop = Effect.callback<void>((resume) => {
    server.close(() => resume(Effect.void))
    for (const link of open()) link.kill()
  })
  yield* Effect.acquireRelease(listen(server, options.port), () => stop)
  const address = server.address()
  return {
    port: typeof address === "object" && address !== null ? address.port : options.port,
    links: () => links,
    open,
    setShape(shape, direction) {
      for (const each of direction === undefined ? directions : [Bounds.oneOf("direction", direction, directions)]) {
        conditions[each] = toConditions(shape)
        for (const link of open()) link.pipes[each].setConditions(conditions[each])
      }
    }
  }
})

const listen = (server: Net.Server, port: number): Effect.Effect<void, Error> =>
  Effect.callback((resume) => {
    const onError = (error: Error) => resume(Effect.fail(error))
    server.once("error", onError)
    server.listen(port, "127.0.0.1", () => {
      server.off("error", onError)
      resume(Effect.void)
    })
  })
