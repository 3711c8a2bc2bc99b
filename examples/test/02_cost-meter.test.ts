import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as MeshClient from "@makima-stream/core/MeshClient"
import * as ScriptedMesh from "@makima-stream/test-kit/ScriptedMesh"
import { readings } from "../src/02_cost-meter.ts"
import { a, awaitOutput, awaitRequest, b, gather, reconnect, result, settle, update } from "./support/mesh.ts"

describe("02 cost meter", () => {
  it.effect("adds up the cost of each task, and counts a repeated result once", () =>
    Effect.gen(function* () {
      const mesh = yield* ScriptedMesh.ScriptedMesh
      const { got } = yield* gather(Stream.provide(readings, MeshClient.layer()))
      yield* awaitRequest(mesh, 1)
      yield* mesh.emit(update(a, "running"))
      yield* awaitOutput(mesh, a)
      yield* mesh.emit(update(b, "running"))
      yield* awaitOutput(mesh, b)
      yield* mesh.emit(result(a, 0.5))
      yield* settle
      yield* mesh.emit(result(a, 0.5))
      yield* settle
      // This changes the ledger, and not its total.
      yield* mesh.emit(update(b, "paused"))
      yield* settle
      yield* mesh.emit(result(b, 0.25))
      yield* settle
      assert.deepStrictEqual(got, [
        "$0.00 for 0 tasks",
        "$0.00 for 1 task",
        "$0.00 for 2 tasks",
        "$0.50 for 2 tasks",
        "$0.75 for 2 tasks"
      ])
    }).pipe(Effect.provide(ScriptedMesh.layer()))
  )

  it.effect('says "at least" after a reconnect, and continues to count', () =>
    Effect.gen(function* () {
      const mesh = yield* ScriptedMesh.ScriptedMesh
      const { got } = yield* gather(Stream.provide(readings, MeshClient.layer()))
      yield* awaitRequest(mesh, 1)
      yield* mesh.emit(update(a, "running"))
      yield* awaitOutput(mesh, a)
      yield* reconnect(mesh, 2)
      yield* awaitOutput(mesh, a, 2)
      yield* mesh.emit(result(a, 0.5))
      yield* settle
      assert.deepStrictEqual(got, [
        "$0.00 for 0 tasks",
        "$0.00 for 1 task",
        "at least $0.00 for 1 task",
        "at least $0.50 for 1 task"
      ])
    }).pipe(Effect.provide(ScriptedMesh.layer()))
  )
})
