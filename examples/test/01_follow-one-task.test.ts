import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as ScriptedMesh from "@makima-stream/test-kit/ScriptedMesh"
import { gap, lines } from "../src/01_follow-one-task.ts"
import { a, awaitRequest, b, gather, reconnect, said, settle, update } from "./support/mesh.ts"

describe("01 follow one task", () => {
  it.effect("prints each line of the task once, also if it arrives in pieces, and ends with the task", () =>
    Effect.gen(function* () {
      const mesh = yield* ScriptedMesh.ScriptedMesh
      const { exit, got } = yield* gather(lines(a))
      yield* awaitRequest(mesh, 1)
      yield* mesh.emit(
        update(a, "running"),
        { ...said(a, "one\ntw"), isPartial: true },
        { ...said(a, "o"), isPartial: true },
        said(a, "one\ntwo"),
        said(b, "not of this task"),
        update(a, "done"),
        said(a, "too late")
      )
      assert.deepStrictEqual(yield* exit, Exit.void)
      assert.deepStrictEqual(got, ["one", "two"])
      assert.strictEqual((yield* mesh.connections)[0]?.endedBy, "client")
    }).pipe(Effect.provide(ScriptedMesh.layer()))
  )

  it.effect("marks the place of a lost connection, and subscribes to the task again", () =>
    Effect.gen(function* () {
      const mesh = yield* ScriptedMesh.ScriptedMesh
      const { got } = yield* gather(lines(a))
      yield* awaitRequest(mesh, 1)
      yield* mesh.emit(said(a, "before"))
      yield* reconnect(mesh, 2)
      assert.deepStrictEqual([...(yield* mesh.subscriptions).output], [a])
      yield* mesh.emit(said(a, "after"))
      yield* settle
      assert.deepStrictEqual(got, ["before", gap, "after"])
    }).pipe(Effect.provide(ScriptedMesh.layer()))
  )
})
