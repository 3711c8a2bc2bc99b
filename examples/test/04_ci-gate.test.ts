import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Runtime from "effect/Runtime"
import * as TestClock from "effect/testing/TestClock"
import * as ScriptedMesh from "@makima-stream/test-kit/ScriptedMesh"
import { gate } from "../src/04_ci-gate.ts"
import { a, awaitRequest, reconnect, update } from "./support/mesh.ts"

const start = Effect.forkScoped(gate(a, Duration.minutes(10)))

describe("04 CI gate", () => {
  it.effect("passes when the task ends well, also on a later connection", () =>
    Effect.gen(function* () {
      const mesh = yield* ScriptedMesh.ScriptedMesh
      const waiting = yield* start
      yield* awaitRequest(mesh, 1)
      yield* mesh.emit(update(a, "running"))
      yield* reconnect(mesh, 2)
      yield* mesh.emit(update(a, "paused"), update(a, "merged"))
      assert.strictEqual(yield* Fiber.join(waiting), "merged")
      assert.isTrue((yield* mesh.connections).every(({ open }) => !open))
    }).pipe(Effect.provide(ScriptedMesh.layer()))
  )

  it.effect("fails with exit code 1 when the task does not", () =>
    Effect.gen(function* () {
      const mesh = yield* ScriptedMesh.ScriptedMesh
      const waiting = yield* start
      yield* awaitRequest(mesh, 1)
      yield* mesh.emit(update(a, "cancelled"))
      const error = yield* Effect.flip(Fiber.join(waiting))
      assert.deepStrictEqual([error._tag, error[Runtime.errorExitCode]], ["TaskFailed", 1])
      assert.strictEqual(error.message, "Task a is cancelled")
    }).pipe(Effect.provide(ScriptedMesh.layer()))
  )

  it.effect("fails with exit code 3 when the time is up, connected or not", () =>
    Effect.gen(function* () {
      const mesh = yield* ScriptedMesh.ScriptedMesh
      const waiting = yield* start
      yield* awaitRequest(mesh, 1)
      yield* mesh.kill()
      yield* mesh.refuse(1000, 503)
      yield* TestClock.adjust("10 minutes")
      const error = yield* Effect.flip(Fiber.join(waiting))
      assert.deepStrictEqual([error._tag, error[Runtime.errorExitCode]], ["NoVerdict", 3])
      assert.include(error.message, "10m")
    }).pipe(Effect.provide(ScriptedMesh.layer()))
  )

  it.effect("fails with exit code 3 at once when the key is refused", () =>
    Effect.gen(function* () {
      const mesh = yield* ScriptedMesh.ScriptedMesh
      yield* mesh.refuse(1, 403)
      const error = yield* Effect.flip(gate(a, Duration.minutes(10)))
      assert.deepStrictEqual([error._tag, error[Runtime.errorExitCode]], ["NoVerdict", 3])
      assert.include(error.message, "403")
    }).pipe(Effect.provide(ScriptedMesh.layer()))
  )
})
