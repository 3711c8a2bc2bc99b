import { assert, describe, it } from "@effect/vitest"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as MeshClient from "@makima-stream/core/MeshClient"
import * as ScriptedMesh from "@makima-stream/test-kit/ScriptedMesh"
import { messages, notifyOnFailures, post } from "../src/03_notify-on-failures.ts"
import { a, awaitRequest, b, gather, pass, reconnect, settle, update } from "./support/mesh.ts"
import * as Receiver from "./support/receiver.ts"

describe("03 notify on failures", () => {
  it.effect("sends one message for each failure, however often its status is repeated, and none for a success", () =>
    Effect.gen(function* () {
      const mesh = yield* ScriptedMesh.ScriptedMesh
      const { got } = yield* gather(Stream.provide(messages, MeshClient.layer()))
      yield* awaitRequest(mesh, 1)
      yield* mesh.emit(
        update(a, "running"),
        update(a, "failed", 2),
        update(a, "failed", 3),
        update(b, "done"),
        update(a, "running"),
        update(a, "cancelled")
      )
      yield* settle
      assert.deepStrictEqual(got, ["Task a is failed", "Task a is cancelled"])
    }).pipe(Effect.provide(ScriptedMesh.layer()))
  )

  it.effect("reports after a reconnect that a failure may be missing", () =>
    Effect.gen(function* () {
      const mesh = yield* ScriptedMesh.ScriptedMesh
      const { got } = yield* gather(Stream.provide(messages, MeshClient.layer()))
      yield* awaitRequest(mesh, 1)
      yield* reconnect(mesh, 2)
      yield* mesh.emit(update(a, "failed"))
      yield* settle
      assert.deepStrictEqual(got, ["The feed had a gap: a failure may be missing", "Task a is failed"])
    }).pipe(Effect.provide(ScriptedMesh.layer()))
  )

  it.effect("retries a message, and continues with the next one if it cannot be sent", () =>
    Effect.gen(function* () {
      const mesh = yield* ScriptedMesh.ScriptedMesh
      const sent: Array<string> = []
      let refusals = 4
      yield* notifyOnFailures((text) =>
        Effect.suspend(() => (refusals-- > 0 ? Effect.fail("busy") : Effect.sync(() => sent.push(text))))
      ).pipe(Effect.provide(MeshClient.layer()), Effect.forkScoped)
      yield* awaitRequest(mesh, 1)
      yield* mesh.emit(update(a, "failed"), update(b, "failed"))
      yield* settle
      // Three times `a`, and once `b`.
      yield* pass(3)
      assert.deepStrictEqual([refusals, sent], [0, []])
      yield* pass(1)
      assert.deepStrictEqual(sent, ["Task b is failed"])
    }).pipe(Effect.provide(ScriptedMesh.layer()))
  )

  it.live("reports why a message was refused, without its URL", () =>
    Effect.gen(function* () {
      const webhook = yield* Receiver.makeWith({ status: 500 })
      const error = yield* Effect.flip(post(new URL(`${webhook.url}/secret`), "hello"))
      assert.strictEqual(error, "StatusCodeError")
      assert.strictEqual(webhook.requests[0]?.path, "/secret")
    }).pipe(Effect.provide(NodeHttpClient.layerFetch))
  )
})
