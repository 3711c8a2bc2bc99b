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
  const wakes: Array<number> = []
  let time = 0
  const fails: Array<Deferred.Deferred<never, MeshError.MeshError>> = []
  const lifecycle = Lifecycle.make({
    loop: Effect.suspend(() => {
      log.push("starting")
      const fail = Deferred.makeUnsafe<never, MeshError.MeshError>()
      fails.push(fail)
      return Deferred.await(fail)
    }).pipe(Effect.onInterrupt(() => Effect.sync(() => log.push("closed")))),
    onStopping: () => {
      log.push("stopping")
      onStopping()
    },
    onEnd: (cause) => Effect.sync(() => log.push(cause === undefined ? "stopped" : "failed")),
    idleMillis: 10,
    now: () => time,
    wakeAt: (at) => void wakes.push(at)
  })
  const fiber = yield* Effect.forkScoped(lifecycle.run)
  return {
    log,
    wakes,
    lifecycle,
    fiber,
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
      const { lifecycle, log, sweepAt, wakes } = yield* setup()
      assert.strictEqual(lifecycle.state(), "Idle")
      lifecycle.retain()
      lifecycle.retain()
      yield* settle
      assert.strictEqual(lifecycle.state(), "Running")
      lifecycle.release()
      assert.deepStrictEqual(wakes, [])
      lifecycle.release()
      assert.deepStrictEqual(wakes, [10])
      yield* sweepAt(9)
      assert.deepStrictEqual(wakes, [10, 10])
      assert.strictEqual(lifecycle.state(), "Running")
      yield* sweepAt(10)
      assert.strictEqual(lifecycle.state(), "Idle")
      assert.deepStrictEqual(log, ["starting", "stopping", "closed", "stopped"])
    })
  )

  it.effect("starts nothing for a request that was given up before it ran", () =>
    Effect.gen(function* () {
      const { lifecycle, log } = yield* setup()
      yield* settle
      lifecycle.retain()
      lifecycle.release()
      yield* settle
      assert.strictEqual(lifecycle.state(), "Idle")
      assert.deepStrictEqual(log, [])
    })
  )

  it.effect("serves a request that comes while it stops with the next loop", () =>
    Effect.gen(function* () {
      let onStopping = () => {}
      const { lifecycle, log, sweepAt } = yield* setup(() => onStopping())
      lifecycle.retain()
      yield* settle
      lifecycle.release()
      // In the middle of the stop, before the loop has ended.
      onStopping = () => {
        assert.strictEqual(lifecycle.state(), "Stopping")
        lifecycle.retain()
      }
      yield* sweepAt(10)
      assert.strictEqual(lifecycle.state(), "Running")
      assert.strictEqual(log.filter((line) => line === "starting").length, 2)
    })
  )

  it.effect("does not start again after a failure without a new request", () =>
    Effect.gen(function* () {
      const { fail, lifecycle, log } = yield* setup()
      lifecycle.retain()
      yield* settle
      yield* fail
      assert.strictEqual(lifecycle.state(), "Idle")
      assert.deepStrictEqual(log, ["starting", "stopping", "failed"])
      lifecycle.start()
      yield* settle
      assert.strictEqual(lifecycle.state(), "Running")
    })
  )

  it.effect("goes on while it closes, and is closed for good once it has stopped", () =>
    Effect.gen(function* () {
      const { fiber, lifecycle } = yield* setup()
      lifecycle.retain()
      yield* settle
      lifecycle.close()
      assert.strictEqual(lifecycle.state(), "Running")
      assert.isFalse(lifecycle.isOpen())
      lifecycle.stop()
      yield* Fiber.await(fiber)
      assert.strictEqual(lifecycle.state(), "Idle")
      lifecycle.start()
      yield* settle
      assert.strictEqual(lifecycle.state(), "Idle")
    })
  )

  it.effect("closes from every state", () =>
    Effect.gen(function* () {
      for (const prepare of ["idle", "running", "stopping"] as const) {
        const { fiber, lifecycle, log } = yield* setup()
        if (prepare !== "idle") lifecycle.retain()
        yield* settle
        if (prepare === "stopping") {
          lifecycle.release()
          lifecycle.sweep(10)
        }
        lifecycle.close()
        lifecycle.stop()
        yield* Fiber.await(fiber)
        assert.strictEqual(lifecycle.state(), "Idle", prepare)
        assert.strictEqual(log.filter((line) => line === "starting").length, prepare === "idle" ? 0 : 1)
      }
    })
  )
})
