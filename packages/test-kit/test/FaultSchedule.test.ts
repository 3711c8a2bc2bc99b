import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as ClientMessage from "@makima-stream/core/ClientMessage"
import * as MeshError from "@makima-stream/core/MeshError"
import * as TaskId from "@makima-stream/core/TaskId"
import * as FaultSchedule from "../src/FaultSchedule.ts"
import * as ScriptedMesh from "../src/ScriptedMesh.ts"

const update = (version: number) => ({ _tag: "TaskUpdated", taskId: TaskId.make("a"), version }) as const

/** A client whose subscription to all updates is acknowledged. */
const subscribed = Effect.gen(function* () {
  const mesh = yield* ScriptedMesh.make()
  const { pull } = yield* mesh.socket.reader
  const { write } = yield* mesh.socket.writer
  yield* write(ClientMessage.encodeFrame({ _tag: "SubscribeAll" }))
  yield* pull
  const versions = Effect.map(pull, (frames) => frames.map((frame) => JSON.parse(String(frame)).version))
  return { mesh, pull, write, versions }
})

const dialFailure = (mesh: ScriptedMesh.ScriptedMesh["Service"]) =>
  Effect.map(Effect.flip(mesh.socket.reader), MeshError.fromSocketError)

describe("FaultSchedule", () => {
  it.effect("advances the clock", () =>
    Effect.gen(function* () {
      const mesh = yield* ScriptedMesh.make()
      yield* FaultSchedule.run(mesh, [
        { _tag: "Advance", millis: 1000 },
        { _tag: "Advance", millis: 234 }
      ])
      assert.strictEqual(yield* Clock.currentTimeMillis, 1234)
    })
  )

  it.effect("closes, kills and freezes connections", () =>
    Effect.gen(function* () {
      for (const [fault, tag] of [
        [{ _tag: "Close", code: 1012 }, "ConnectionClosed"],
        [{ _tag: "Kill", drop: true }, "ConnectionLost"]
      ] as const) {
        const { mesh, pull } = yield* subscribed
        yield* FaultSchedule.apply(mesh, fault)
        assert.strictEqual(MeshError.fromSocketError(yield* Effect.flip(pull))._tag, tag)
      }
      const { mesh, versions } = yield* subscribed
      yield* FaultSchedule.apply(mesh, { _tag: "Freeze" })
      yield* mesh.emit(update(1))
      assert.strictEqual((yield* mesh.connections)[0]?.unread, 0)
      yield* FaultSchedule.apply(mesh, { _tag: "Thaw" })
      assert.deepStrictEqual(yield* versions, [1])
    })
  )

  it.effect("kills with or without the unread frames", () =>
    Effect.gen(function* () {
      for (const drop of [true, false]) {
        const { mesh } = yield* subscribed
        yield* mesh.emit(update(1))
        yield* FaultSchedule.apply(mesh, { _tag: "Kill", drop })
        assert.strictEqual((yield* mesh.connections)[0]?.unread, drop ? 0 : 1)
      }
    })
  )

  it.effect("refuses, stalls and delays dials", () =>
    Effect.gen(function* () {
      const mesh = yield* ScriptedMesh.make()
      yield* FaultSchedule.run(mesh, [
        { _tag: "Refuse", times: 1, status: 503, retryAfterSeconds: 7 },
        { _tag: "Refuse", times: 1, status: 429, retryAfterSeconds: 0 },
        { _tag: "StallDial", times: 1 }
      ])
      const refusals = [yield* dialFailure(mesh), yield* dialFailure(mesh)].map((reason) =>
        reason._tag === "HandshakeRejected" ? [reason.status, reason.retryAfterMillis] : [reason._tag]
      )
      assert.deepStrictEqual(refusals, [
        [503, 7000],
        [429, undefined]
      ])
      const stalled = yield* Effect.forkChild(dialFailure(mesh))
      yield* FaultSchedule.run(mesh, [{ _tag: "Advance", millis: 10_000 }])
      assert.strictEqual((yield* Fiber.join(stalled))._tag, "DialTimeout")
      yield* FaultSchedule.apply(mesh, { _tag: "DelayDial", millis: 5000 })
      const slow = yield* Effect.forkChild(mesh.socket.reader)
      yield* FaultSchedule.run(mesh, [{ _tag: "Advance", millis: 4999 }])
      assert.strictEqual((yield* mesh.connections).length, 0)
      yield* FaultSchedule.run(mesh, [{ _tag: "Advance", millis: 1 }])
      yield* Fiber.join(slow)
    })
  )

  it.effect("drops, repeats and reorders messages, and damages frames", () =>
    Effect.gen(function* () {
      const { mesh, pull, versions } = yield* subscribed
      yield* FaultSchedule.apply(mesh, { _tag: "DropNext", times: 1 })
      yield* mesh.emit(update(1), update(2))
      assert.deepStrictEqual(yield* versions, [2])
      yield* FaultSchedule.apply(mesh, { _tag: "DuplicateNext", times: 1 })
      yield* mesh.emit(update(3), update(4))
      assert.deepStrictEqual(yield* versions, [3, 3, 4])
      yield* FaultSchedule.apply(mesh, { _tag: "Reorder", times: 2 })
      yield* mesh.emit(update(5), update(6))
      assert.deepStrictEqual(yield* versions, [6, 5])
      yield* FaultSchedule.apply(mesh, { _tag: "Garbage", problem: "NotAnObject" })
      assert.deepStrictEqual(yield* pull, ["[]"])
    })
  )

  it.effect("retains acknowledgements until they are sent by hand", () =>
    Effect.gen(function* () {
      const { mesh, pull, write } = yield* subscribed
      yield* FaultSchedule.apply(mesh, { _tag: "SetAcknowledge", mode: "manual" })
      yield* write(ClientMessage.encodeFrame({ _tag: "UnsubscribeAll" }))
      assert.strictEqual((yield* mesh.connections)[0]?.unread, 0)
      yield* FaultSchedule.apply(mesh, { _tag: "Acknowledge", times: 1 })
      assert.deepStrictEqual(yield* pull, [`{"type":"unsubscribedAll"}`])
    })
  )

  it.effect("acknowledges late and without the task, and carries requests out late", () =>
    Effect.gen(function* () {
      const { mesh, pull, write } = yield* subscribed
      yield* FaultSchedule.run(mesh, [
        { _tag: "SetNameTasks", named: false },
        { _tag: "DelayAcknowledgements", millis: 100 }
      ])
      yield* write(ClientMessage.encodeFrame({ _tag: "Subscribe", taskId: TaskId.make("a") }))
      assert.isTrue((yield* mesh.subscriptions).updates.has(TaskId.make("a")))
      yield* FaultSchedule.run(mesh, [
        { _tag: "DelayRequests", millis: 100 },
        { _tag: "Advance", millis: 99 }
      ])
      assert.strictEqual((yield* mesh.connections)[0]?.unread, 0)
      yield* FaultSchedule.run(mesh, [{ _tag: "Advance", millis: 1 }])
      assert.deepStrictEqual(yield* pull, [`{"type":"subscribed"}`])
      yield* write(ClientMessage.encodeFrame({ _tag: "UnsubscribeAll" }))
      yield* FaultSchedule.run(mesh, [{ _tag: "Advance", millis: 99 }])
      assert.isTrue((yield* mesh.subscriptions).all)
      yield* FaultSchedule.run(mesh, [{ _tag: "Advance", millis: 1 }])
      assert.isFalse((yield* mesh.subscriptions).all)
    })
  )

  it.effect("steps the wall clock forwards and backwards, and never below 0", () =>
    Effect.gen(function* () {
      const mesh = yield* ScriptedMesh.make()
      const clock = yield* Clock.Clock
      yield* FaultSchedule.run(mesh, [{ _tag: "StepClock", millis: 5000 }])
      assert.strictEqual(yield* Clock.currentTimeMillis, 5000)
      const monotonic = clock.monotonicTimeNanosUnsafe()
      yield* FaultSchedule.run(mesh, [{ _tag: "StepClock", millis: -2000 }])
      assert.strictEqual(yield* Clock.currentTimeMillis, 3000)
      assert.strictEqual(clock.monotonicTimeNanosUnsafe(), monotonic)
      yield* FaultSchedule.run(mesh, [{ _tag: "StepClock", millis: -9000 }])
      assert.strictEqual(yield* Clock.currentTimeMillis, 0)
    })
  )
})
