import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as MeshEvent from "@makima-stream/core/MeshEvent"
import * as MeshStream from "@makima-stream/core/MeshStream"
import * as TaskId from "@makima-stream/core/TaskId"

const taskId = TaskId.make("a")
const updated: MeshEvent.MeshEvent = { _tag: "TaskUpdated", taskId, version: 1, status: "running" }
const resync: MeshEvent.MeshEvent = { _tag: "Resync", epoch: 1, reason: { _tag: "Started" } }
const restated: MeshEvent.MeshEvent = { _tag: "Restated", taskId, version: 2, status: "done", costUsd: 0.5 }
const repaired: MeshEvent.MeshEvent = {
  _tag: "Repaired",
  epoch: 1,
  reasons: ["Started"],
  restated: 1,
  unconfirmed: 0,
  absent: 0,
  open: 0
}
const failed: MeshEvent.MeshEvent = {
  _tag: "RepairFailed",
  epoch: 1,
  reasons: ["Reconnected"],
  attempts: 3,
  error: "TimeoutError"
}
const connected: MeshEvent.MeshEvent = { _tag: "Connected", epoch: 1, at: 0 }
const all = [connected, resync, updated, restated, repaired, failed]

const collect = <A>(stream: Stream.Stream<A>) => Effect.runSync(Stream.runCollect(stream))

describe("MeshEvent", () => {
  it.effect("stores every element of a repair as JSON and reads it back", () =>
    Effect.gen(function* () {
      const element = Arbitrary.schema(
        Schema.Union([MeshEvent.Restated, MeshEvent.Repaired, MeshEvent.RepairFailed, MeshEvent.Resync])
      )
      const codec = Schema.fromJsonString(MeshEvent.MeshEvent)
      const result = yield* Arbitrary.checkEffect(element, (event) => {
        const json = Schema.encodeSync(codec)(event)
        const decoded = Schema.decodeSync(codec)(json)
        // Through JSON twice, because it has no negative zero.
        assert.strictEqual(Schema.encodeSync(codec)(decoded), json)
        assert.strictEqual(decoded._tag, event._tag)
        return true
      })
      assert.strictEqual(result._tag, "Passed")
    })
  )

  it("classifies a Restated neither as the server's data nor as lifecycle", () => {
    assert.isFalse(MeshEvent.isData(restated))
    assert.isFalse(MeshEvent.isLifecycle(restated))
    assert.isTrue(MeshEvent.isRestated(restated))
    assert.deepStrictEqual(all.filter(MeshEvent.isLifecycle), [connected, resync, repaired, failed])
    assert.deepStrictEqual(all.filter(MeshEvent.isData), [updated])
  })

  it("names the elements that a repair adds", () => {
    assert.deepStrictEqual(all.filter(MeshEvent.isRepairElement), [restated, repaired, failed])
    assert.deepStrictEqual(all.filter(MeshEvent.isRepaired), [repaired])
    assert.deepStrictEqual(all.filter(MeshEvent.isRepairFailed), [failed])
  })

  it("keeps a Restated in every filter that keeps the updates of its task", () => {
    const feed = Stream.fromIterable<MeshEvent.MeshEvent>(all)
    assert.deepStrictEqual(collect(MeshStream.filterTask(feed, taskId)), [updated, restated])
    assert.deepStrictEqual(collect(MeshStream.updatesOnly(feed)), [updated, restated])
    assert.deepStrictEqual(collect(MeshStream.dataOnly(feed)), [updated, restated])
    assert.deepEqual<ReadonlyArray<MeshEvent.MeshEvent>>(collect(MeshStream.filterStatus(feed, "done")), [restated])
    assert.deepStrictEqual(collect(MeshStream.filterTask(feed, TaskId.make("b"))), [])
    const fields: Stream.Stream<MeshEvent.MeshEvent> = Stream.make({ ...restated, updatedFields: ["plan"] })
    assert.strictEqual(collect(MeshStream.fieldsChanged(fields, "plan")).length, 1)
  })

  it("keeps the outcome of a repair wherever a filter keeps resync or lifecycle", () => {
    const feed = Stream.fromIterable<MeshEvent.MeshEvent>(all)
    assert.deepStrictEqual(collect(MeshStream.outputOnly(feed, { keep: "resync" })), [resync, repaired, failed])
    assert.deepStrictEqual(collect(MeshStream.filterTask(feed, taskId, { keep: "lifecycle" })), all)
    assert.deepStrictEqual(collect(MeshStream.lifecycleOnly(feed)), [connected, resync, repaired, failed])
  })
})
