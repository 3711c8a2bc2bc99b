import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as Net from "node:net"
import * as ChaosProxy from "../src/ChaosProxy.ts"

/** One side of a connection: the received chunks, and how it ended. */
interface Side {
  readonly socket: Net.Socket
  readonly chunks: Queue.Queue<Buffer>
  /** `end` for an orderly end, `reset` for a broken connection. */
  readonly ended: Effect.Effect<"end" | "reset">
}

const watch = (socket: Net.Socket): Side => {
  const chunks = Effect.runSync(Queue.unbounded<Buffer>())
  const ended = Deferred.makeUnsafe<"end" | "reset">()
  socket.on("data", (chunk) => Queue.offerUnsafe(chunks, Buffer.from(chunk)))
  socket.on("end", () => Deferred.doneUnsafe(ended, Effect.succeed("end")))
  socket.on("error", () => Deferred.doneUnsafe(ended, Effect.succeed("reset")))
  socket.on("close", () => Deferred.doneUnsafe(ended, Effect.succeed("reset")))
  return { socket, chunks, ended: Deferred.await(ended) }
}

/** Takes chunks until this many bytes have arrived. */
const bytes = ({ chunks }: Side, count: number): Effect.Effect<{ readonly data: Buffer; readonly pieces: number }> =>
  Effect.gen(function* () {
    const taken: Array<Buffer> = []
    let size = 0
    while (size < count) {
      const chunk = yield* Queue.take(chunks)
      taken.push(chunk)
      size += chunk.length
    }
    return { data: Buffer.concat(taken), pieces: taken.length }
  })

/** One turn of the event loop, for the network. */
const turn = Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))

/** A server behind a proxy. */
const setup = Effect.gen(function* () {
  const accepted = yield* Queue.unbounded<Side>()
  const server = Net.createServer({ allowHalfOpen: true }, (socket) => {
    Queue.offerUnsafe(accepted, watch(socket))
  })
  const target = yield* Effect.acquireRelease(
    Effect.callback<number>((resume) => {
      server.listen(0, "127.0.0.1", () => {
        const address = server.address()
        resume(typeof address === "object" && address !== null ? Effect.succeed(address.port) : Effect.die("no port"))
      })
    }),
    () => Effect.sync(() => server.close())
  )
  const proxy = yield* ChaosProxy.make({ target })
  const connect: Effect.Effect<readonly [Side, Side], never, Scope.Scope> = Effect.gen(function* () {
    const socket = yield* Effect.acquireRelease(
      Effect.sync(() => Net.connect({ port: proxy.port, host: "127.0.0.1", allowHalfOpen: true })),
      (socket) => Effect.sync(() => socket.destroy())
    )
    const near = watch(socket)
    const far = yield* Queue.take(accepted)
    return [near, far]
  })
  return { proxy, connect }
})

const injuries = (proxy: ChaosProxy.ChaosProxy) =>
  Effect.map(proxy.connections, (connections) => connections.map(({ injury }) => injury))

describe("ChaosProxy", () => {
  it.live("forwards bytes and ends both ways, in order, and records no injury", () =>
    Effect.gen(function* () {
      const { proxy, connect } = yield* setup
      const [near, far] = yield* connect
      const data = Buffer.alloc(1_000_000, "0123456789")
      near.socket.end(data)
      assert.isTrue((yield* bytes(far, data.length)).data.equals(data))
      assert.strictEqual(yield* far.ended, "end")
      // The other direction is still open.
      far.socket.end("answer")
      assert.strictEqual((yield* bytes(near, 6)).data.toString(), "answer")
      assert.strictEqual(yield* near.ended, "end")
      assert.deepStrictEqual(yield* injuries(proxy), [undefined])
    })
  )

  it.live("forwards pieces of one byte with pieceBytes: 1, and loses no byte", () =>
    Effect.gen(function* () {
      const { proxy, connect } = yield* setup
      const [near, far] = yield* connect
      yield* proxy.shape({ pieceBytes: 1 })
      near.socket.write("a".repeat(2000))
      const { data, pieces } = yield* bytes(far, 2000)
      assert.strictEqual(data.toString(), "a".repeat(2000))
      // The kernel may join some of the pieces.
      assert.isAbove(pieces, 200)
    })
  )

  it.live("clamps pieceBytes below 1 and NaN to 1", () =>
    Effect.gen(function* () {
      const { proxy, connect } = yield* setup
      const [near, far] = yield* connect
      for (const pieceBytes of [0, 0.5, -1, Number.NaN]) {
        yield* proxy.shape({ pieceBytes })
        near.socket.write("abc")
        assert.strictEqual((yield* bytes(far, 3)).data.toString(), "abc")
      }
    })
  )

  it.live("shapes each direction separately", () =>
    Effect.gen(function* () {
      const { proxy, connect } = yield* setup
      const [near, far] = yield* connect
      yield* proxy.shape({ latencyMillis: 3_600_000 }, "toServer")
      near.socket.write("late")
      far.socket.write("at once")
      assert.strictEqual((yield* bytes(near, 7)).data.toString(), "at once")
      while ((yield* proxy.connections)[0]?.inFlightBytes.toServer !== 4) yield* turn
      yield* proxy.shape({}, "toServer")
      assert.strictEqual((yield* bytes(far, 4)).data.toString(), "late")
      assert.deepStrictEqual(
        (yield* proxy.connections).map(({ inFlightBytes }) => inFlightBytes),
        [{ toServer: 0, toClient: 0 }]
      )
    })
  )

  it.live("kills the open connections on both sides, and no later connection", () =>
    Effect.gen(function* () {
      const { proxy, connect } = yield* setup
      const [near, far] = yield* connect
      yield* proxy.kill()
      assert.strictEqual(yield* near.ended, "reset")
      assert.strictEqual(yield* far.ended, "reset")
      const [, second] = yield* connect
      const [, third] = yield* connect
      yield* proxy.kill(3)
      assert.strictEqual(yield* third.ended, "reset")
      assert.isFalse(second.socket.destroyed)
      assert.deepStrictEqual(yield* injuries(proxy), ["killed", undefined, "killed"])
    })
  )

  it.live("forwards no byte and no end while frozen, and everything in order once thawed", () =>
    Effect.gen(function* () {
      const { proxy, connect } = yield* setup
      const [near, far] = yield* connect
      yield* proxy.freeze()
      near.socket.end("held back")
      // A later connection is forwarded at once: once its bytes arrive, the proxy has handled the frozen one too.
      const [other, otherFar] = yield* connect
      other.socket.write("passed")
      yield* bytes(otherFar, 6)
      const reading = yield* Effect.forkChild(bytes(far, 9))
      assert.isUndefined(reading.pollUnsafe())
      assert.isFalse(far.socket.readableEnded)
      yield* proxy.thaw()
      assert.strictEqual((yield* Fiber.join(reading)).data.toString(), "held back")
      assert.strictEqual(yield* far.ended, "end")
      assert.deepStrictEqual(yield* injuries(proxy), ["frozen", undefined])
    })
  )

  it.live("keeps a frozen connection open on the far side when the near side resets", () =>
    Effect.gen(function* () {
      const { proxy, connect } = yield* setup
      const [near, far] = yield* connect
      yield* proxy.freeze()
      near.socket.resetAndDestroy()
      const [other, otherFar] = yield* connect
      other.socket.write("passed")
      yield* bytes(otherFar, 6)
      assert.isFalse(far.socket.destroyed)
      yield* proxy.thaw()
      assert.strictEqual(yield* far.ended, "reset")
    })
  )

  it.live("resets a client when the target refuses, and closes every connection with its scope", () =>
    Effect.gen(function* () {
      const near = yield* Effect.scoped(
        Effect.gen(function* () {
          // A port that was free a moment ago may be the proxy's own by now. Port 1 is never assigned.
          const proxy = yield* ChaosProxy.make({ target: 1 })
          const side = watch(Net.connect({ port: proxy.port, host: "127.0.0.1" }))
          assert.strictEqual(yield* side.ended, "reset")
          const waiting = yield* Effect.map(setup, ({ connect }) => connect)
          return yield* Effect.map(waiting, ([near]) => near)
        })
      )
      yield* near.ended
      assert.isTrue(near.socket.destroyed || near.socket.readableEnded)
    })
  )

  it.live("fails with the port in the message when the port is in use", () =>
    Effect.gen(function* () {
      const { proxy } = yield* setup
      const error = yield* Effect.flip(ChaosProxy.make({ target: proxy.port, port: proxy.port }))
      assert.strictEqual(error.message, `The proxy could not listen on port ${proxy.port}`)
    })
  )
})
