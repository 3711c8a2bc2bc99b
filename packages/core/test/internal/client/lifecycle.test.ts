import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Lifecycle from "../../../src/internal/client/lifecycle.ts"
import * as MeshError from "../../../src/MeshError.ts"
import { settle } from "../../support/follow.ts"

const gone = new MeshError.MeshError({ reason: new MeshError.ConnectionLost({}) })

const setup = Effect.fnUntraced(function* (onStopping: () => void = () => {}) {
  const log: Array<string> = []
  let time = 0
  const fails: Array<Deferred.Deferred<never, MeshError.MeshError>> = []
  const lifecycle = Lifecycle.make<string>({
    loop: (started) =>
      Effect.suspend(() => {
        const fail = Deferred.makeUnsafe<never, MeshError.MeshError>()
        fails.push(fail)
        started(`connection ${fails.length}`)
        return Deferred.await(fail)
      }).pipe(Effect.onInterrupt(() => Effect.sync(() => log.push("closed")))),
    onStarting: Effect.sync(() => log.push("starting")),
    onStopping: () => {
      log.push("stopping")
      onStopping()
    },
    onStopped: Effect.sync(() => log.push("stopped")),
    onFailed: () => Effect.sync(() => log.push("failed")),
    idleMillis: 10,
    now: () => time
  })
  const fiber = yield* Effect.forkScoped(lifecycle.run)
  return {
    log,
    lifecycle,
    fiber,
    tag: () => lifecycle.state()._tag,
    fail: Effect.suspend(() =>
      Effect.andThen(
        Effect.forEach(fails, (fail) => Deferred.fail(fail, gone)),
        settle
      )
    ),
    sweepAt: (at: number) =>
      Effect.suspend(() => {
        time = at
        lifecycle.sweep(at)
        return settle
      })
  }
})

describe("lifecycle", () => {
  it.effect("runs one loop while something retains it, and stops it an idle time after", () =>
    Effect.gen(function* () {
      const { lifecycle, log, sweepAt, tag } = yield* setup()
      assert.strictEqual(tag(), "Idle")
      assert.strictEqual(lifecycle.retain(), 1)
      assert.strictEqual(lifecycle.retain(), 1)
      yield* settle
      assert.deepStrictEqual(lifecycle.state(), { _tag: "Running", connection: "connection 1" })
      lifecycle.release()
      assert.strictEqual(lifecycle.next(), Infinity)
      lifecycle.release()
      assert.strictEqual(lifecycle.next(), 10)
      yield* sweepAt(9)
      assert.strictEqual(tag(), "Running")
      yield* sweepAt(10)
      assert.strictEqual(tag(), "Idle")
      assert.deepStrictEqual(log, ["starting", "stopping", "closed", "stopped"])
    })
  )

  it.effect("starts nothing for a request that was given up before it ran", () =>
    Effect.gen(function* () {
      const { lifecycle, log, tag } = yield* setup()
      yield* settle
      lifecycle.retain()
      lifecycle.release()
      yield* settle
      assert.strictEqual(tag(), "Idle")
      assert.deepStrictEqual(log, [])
    })
  )

  it.effect("serves a request that comes while it stops with the next loop", () =>
    Effect.gen(function* () {
      let onStopping = () => {}
      const { lifecycle, log, sweepAt, tag } = yield* setup(() => onStopping())
      lifecycle.retain()
      yield* settle
      lifecycle.release()
      // In the middle of the stop, before the loop has ended.
      onStopping = () => {
        assert.strictEqual(tag(), "Stopping")
        assert.strictEqual(lifecycle.retain(), 2)
        assert.isFalse(lifecycle.serves(2))
      }
      yield* sweepAt(10)
      assert.isTrue(lifecycle.serves(2))
      assert.strictEqual(log.filter((line) => line === "starting").length, 2)
    })
  )

  it.effect("does not start again after a failure without a new request", () =>
    Effect.gen(function* () {
      const { fail, lifecycle, log, tag } = yield* setup()
      const loop = lifecycle.retain()
      yield* settle
      yield* fail
      assert.strictEqual(tag(), "Idle")
      assert.isDefined(lifecycle.endOf(loop))
      assert.isUndefined(lifecycle.endOf(loop + 1))
      assert.deepStrictEqual(log, ["starting", "stopping", "failed"])
      lifecycle.start()
      yield* settle
      assert.strictEqual(tag(), "Running")
    })
  )

  it.effect("goes on while it closes, and is closed for good once it has stopped", () =>
    Effect.gen(function* () {
      const { fiber, lifecycle, tag } = yield* setup()
      lifecycle.retain()
      yield* settle
      lifecycle.close()
      assert.strictEqual(tag(), "Closing")
      assert.isFalse(lifecycle.isOpen())
      yield* lifecycle.stop
      assert.strictEqual(tag(), "Closed")
      yield* Fiber.await(fiber)
      lifecycle.start()
      yield* settle
      assert.strictEqual(tag(), "Closed")
    })
  )

  it.effect("closes from every state", () =>
    Effect.gen(function* () {
      for (const prepare of ["idle", "starting", "running", "stopping"] as const) {
        const { fiber, lifecycle, tag } = yield* setup()
        if (prepare !== "idle") lifecycle.retain()
        if (prepare === "running" || prepare === "stopping") yield* settle
        if (prepare === "stopping") {
          lifecycle.release()
          lifecycle.sweep(10)
        }
        lifecycle.close()
        yield* lifecycle.stop
        yield* Fiber.await(fiber)
        assert.strictEqual(tag(), "Closed", prepare)
      }
    })
  )
})
