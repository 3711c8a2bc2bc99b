/**
 * The TCP proxy behind `ChaosProxy`: two `shapedPipe`s for each connection.
 *
 * Invariants: a frozen connection passes neither bytes nor ends; the fibers of
 * a connection end when both of its sockets have closed.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import * as Net from "node:net"
import type { Connection, Direction, Shape } from "../ChaosProxy.ts"
import * as Bounds from "./bounds.ts"
import * as ShapedPipe from "./shapedPipe.ts"

const directions = ["toServer", "toClient"] as const

export interface Link {
  readonly record: { -readonly [K in keyof Omit<Connection, "inFlightBytes">]: Connection[K] }
  readonly pipes: Readonly<Record<Direction, ShapedPipe.ShapedPipe>>
  readonly kill: () => void
  readonly freeze: () => void
  readonly thaw: () => void
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

/** The next chunk, or `undefined` at the end. */
const read = (from: Net.Socket): Effect.Effect<Buffer | undefined> =>
  Effect.callback<Buffer | undefined>((resume) => {
    const take = (): boolean => {
      // A socket without an encoding reads buffers.
      const chunk = from.read() as Buffer | null
      if (chunk === null && !from.readableEnded && !from.destroyed) return false
      detach()
      resume(Effect.succeed(chunk ?? undefined))
      return true
    }
    const detach = (): void => {
      from.off("readable", take)
      from.off("end", take)
      from.off("close", take)
    }
    if (take()) return
    from.on("readable", take)
    from.on("end", take)
    from.on("close", take)
    return Effect.sync(detach)
  })

/** Writes data. Waits until the network has accepted it, or the socket has closed. */
const write = (to: Net.Socket, data: Uint8Array): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    if (to.destroyed || to.write(data)) return resume(Effect.void)
    const done = (): void => {
      to.off("drain", done)
      to.off("close", done)
      resume(Effect.void)
    }
    to.on("drain", done)
    to.on("close", done)
  })

/** Starts listening. Fails with the error of `node:net`. */
export const make = Effect.fnUntraced(function* (options: {
  readonly target: number
  readonly port: number
  readonly maxInFlightBytes: number
}): Effect.fn.Return<Proxy, Error, Scope.Scope> {
  const scope = yield* Effect.scope
  const clock = yield* Clock.Clock
  const context = yield* Effect.context<never>()
  const links: Array<Link> = []
  const random = yield* Random.Random
  const conditions: Record<Direction, ShapedPipe.Conditions> = {
    toServer: toConditions({}),
    toClient: toConditions({})
  }

  const accept = (near: Net.Socket): void => {
    const far = Net.connect({ port: options.target, host: "127.0.0.1", allowHalfOpen: true, noDelay: true })
    const gate = Latch.makeUnsafe(true)
    const both = [near, far]
    const record: Link["record"] = {
      id: links.length + 1,
      openedAt: clock.currentTimeMillisUnsafe(),
      closedAt: undefined,
      injury: undefined
    }
    let frozen = false
    let wasReset = false
    const pipe = (from: Net.Socket, to: Net.Socket, direction: Direction) =>
      ShapedPipe.make(
        { read: read(from), write: (piece) => write(to, piece), end: () => to.end() },
        {
          clock,
          gate,
          random: () => random.nextDoubleUnsafe(),
          conditions: conditions[direction],
          maxInFlightBytes: options.maxInFlightBytes
        }
      )
    const pipes = { toServer: pipe(near, far, "toServer"), toClient: pipe(far, near, "toClient") }
    const passing = Effect.runForkWith(context)(
      Effect.forkIn(Effect.all([pipes.toServer.run, pipes.toClient.run], { concurrency: "unbounded" }), scope)
    )
    const reset = (): void => {
      for (const socket of both) if (!socket.destroyed) socket.resetAndDestroy()
    }
    for (const socket of both) {
      socket.on("error", () => {
        // A reset of one side resets the other one, unless the connection is frozen.
        wasReset = true
        if (!frozen) reset()
      })
      socket.on("close", () => {
        if (!near.destroyed || !far.destroyed) return
        record.closedAt ??= clock.currentTimeMillisUnsafe()
        // Nothing can arrive any more, so fibers that wait for a delay are ended.
        Effect.runForkWith(context)(Effect.flatMap(Fiber.join(passing), Fiber.interrupt))
      })
    }
    links.push({
      record,
      pipes,
      kill() {
        record.injury = "killed"
        gate.openUnsafe()
        reset()
      },
      freeze() {
        frozen = true
        record.injury ??= "frozen"
        gate.closeUnsafe()
      },
      thaw() {
        frozen = false
        if (wasReset) reset()
        gate.openUnsafe()
      }
    })
  }

  const server = Net.createServer({ allowHalfOpen: true, noDelay: true }, accept)
  const open = () => links.filter(({ record }) => record.closedAt === undefined)

  yield* Effect.acquireRelease(
    Effect.callback<void, Error>((resume) => {
      const onError = (error: Error) => resume(Effect.fail(error))
      server.once("error", onError)
      server.listen(options.port, "127.0.0.1", () => {
        server.off("error", onError)
        resume(Effect.void)
      })
    }),
    () =>
      Effect.callback<void>((resume) => {
        server.close(() => resume(Effect.void))
        for (const link of open()) link.kill()
      })
  )
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
