/**
 * The TCP proxy behind `ChaosProxy`: one fiber a direction of a connection,
 * which reads only what it has written, so that backpressure passes through.
 *
 * Invariants: bytes leave in the order in which they came; a frozen connection
 * passes neither bytes nor ends; the end of one side follows its last byte.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type * as Scope from "effect/Scope"
import * as Net from "node:net"
import type { Connection, Shape } from "../ChaosProxy.ts"

export interface Link {
  readonly record: { -readonly [K in keyof Connection]: Connection[K] }
  readonly kill: () => void
  readonly freeze: () => void
  readonly thaw: () => void
}

export interface Proxy {
  readonly port: number
  readonly links: () => ReadonlyArray<Link>
  readonly open: () => ReadonlyArray<Link>
  readonly setShape: (shape: Shape) => void
}

/** One turn of the event loop, so that what was written is a segment of its own. */
const turn = Effect.callback<void>((resume) => {
  const immediate = setImmediate(() => resume(Effect.void))
  return Effect.sync(() => clearImmediate(immediate))
})

/** What has come, or `undefined` at the end. */
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

/** Waits until the network has taken what is written, or is gone. */
const write = (to: Net.Socket, data: Buffer): Effect.Effect<void> =>
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

/** Starts listening. Fails with what `node:net` failed with. */
export const make = Effect.fnUntraced(function* (options: {
  readonly target: number
  readonly port: number
}): Effect.fn.Return<Proxy, Error, Scope.Scope> {
  const scope = yield* Effect.scope
  const clock = yield* Clock.Clock
  const context = yield* Effect.context<never>()
  const links: Array<Link> = []
  let shape: Shape = {}

  const pass = Effect.fnUntraced(function* (from: Net.Socket, to: Net.Socket, gate: Latch.Latch) {
    while (true) {
      const chunk = yield* read(from)
      yield* gate.await
      if (chunk === undefined) {
        to.end()
        return
      }
      for (let start = 0; start < chunk.length;) {
        const { bytesPerSecond, latencyMillis = 0, pieceBytes = 65_536 } = shape
        const piece = chunk.subarray(start, start + (pieceBytes >= 1 ? pieceBytes : 1))
        // A late chunk delays its first piece: the others follow it closely, as on a long wire.
        const wait =
          (start === 0 ? latencyMillis : 0) +
          (bytesPerSecond === undefined ? 0 : (1000 * piece.length) / bytesPerSecond)
        if (wait > 0) yield* Effect.sleep(wait)
        yield* gate.await
        start += piece.length
        yield* write(to, piece)
        if (start < chunk.length) yield* turn
      }
    }
  })

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
    for (const [from, to] of [
      [near, far],
      [far, near]
    ] as const) {
      Effect.runForkWith(context)(Effect.forkIn(pass(from, to, gate), scope))
    }
    const reset = (): void => {
      for (const socket of both) if (!socket.destroyed) socket.resetAndDestroy()
    }
    for (const socket of both) {
      socket.on("error", () => {
        // A side that breaks off breaks the other off, unless nobody can know.
        wasReset = true
        if (!frozen) reset()
      })
      socket.on("close", () => {
        if (near.destroyed && far.destroyed) record.closedAt ??= clock.currentTimeMillisUnsafe()
      })
    }
    links.push({
      record,
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
    setShape(next) {
      shape = next
    }
  }
})
