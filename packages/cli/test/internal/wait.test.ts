import { assert, describe, it } from "@effect/vitest"
import * as MeshError from "@makima-stream/core/MeshError"
import type * as MeshEvent from "@makima-stream/core/MeshEvent"
import * as Wait from "../../src/commands/wait.ts"
import { a, update } from "../support/mesh.ts"

const disconnected: MeshEvent.MeshEvent = {
  _tag: "Disconnected",
  epoch: 1,
  opened: true,
  attempt: 1,
  reason: new MeshError.ConnectionLost({}),
  retryInMillis: 2000,
  at: 0
}

const reconnected: MeshEvent.MeshEvent = {
  _tag: "Resync",
  epoch: 2,
  reason: { _tag: "Reconnected", downMillis: 2000 }
}

const repaired = (open: number, absent = 0): MeshEvent.MeshEvent => ({
  _tag: "Repaired",
  epoch: 2,
  reasons: ["Reconnected"],
  restated: 0,
  unconfirmed: 0,
  absent,
  open
})

const after = (...events: ReadonlyArray<MeshEvent.MeshEvent>): Wait.State => events.reduce(Wait.step, Wait.initial)

describe("wait", () => {
  it("has its verdict from the newest version of the task", () => {
    assert.isUndefined(Wait.verdict(after()))
    assert.isUndefined(Wait.verdict(after(update(a, "running", 1))))
    assert.strictEqual(Wait.verdict(after(update(a, "done", 2))), "success")
    assert.strictEqual(Wait.verdict(after(update(a, "cancelled", 2))), "failure")
    assert.isUndefined(Wait.verdict(after(update(a, "running", 3), update(a, "done", 2))))
    assert.strictEqual(Wait.verdict(after({ _tag: "Restated", taskId: a, status: "merged", version: 4 })), "success")
  })

  it("has a gap from a lost connection on, which only an update of the task or a snapshot closes", () => {
    assert.isFalse(after(update(a, "running", 1)).gap)
    assert.isTrue(after(update(a, "running", 1), disconnected).gap)
    assert.isTrue(after(disconnected, reconnected).gap)
    assert.isFalse(after(disconnected, reconnected, update(a, "running", 2)).gap)
    assert.isFalse(after(disconnected, reconnected, repaired(0)).gap)
    assert.isTrue(after(disconnected, reconnected, repaired(1)).gap)
    assert.isTrue(after(disconnected, reconnected, repaired(0, 1)).gap)
  })

  it("has no gap before the first connection, since nothing was followed yet", () => {
    assert.isFalse(after({ ...disconnected, opened: false, epoch: 0 }).gap)
  })

  it("has a gap where a frame could not be decoded", () => {
    assert.isTrue(after({ _tag: "Resync", epoch: 1, taskId: a, reason: { _tag: "Overflow", dropped: 1 } }).gap)
  })
})
