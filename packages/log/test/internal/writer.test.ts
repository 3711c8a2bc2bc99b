import { assert, describe, it } from "@effect/vitest"
import type { MeshEvent } from "@makima-stream/core/MeshEvent"
import * as MeshError from "@makima-stream/core/MeshError"
import * as TaskId from "@makima-stream/core/TaskId"
import * as Writer from "../../src/internal/relay/writer.ts"

const a = TaskId.make("a")
const empty: Writer.LogState = { isEmpty: true, isOpen: false, epoch: 0, closedAt: undefined }
const output: MeshEvent = { _tag: "TaskOutput", taskId: a, messageType: "assistant", content: "" }
const connected: MeshEvent = { _tag: "Connected", epoch: 40, at: 0 }
const started: MeshEvent = { _tag: "Resync", epoch: 40, reason: { _tag: "Started" } }
const disconnected: MeshEvent = {
  _tag: "Disconnected",
  epoch: 40,
  opened: true,
  attempt: 1,
  reason: new MeshError.ConnectionLost({}),
  at: 0
}
const make = (log: Writer.LogState, now = () => 0) => Writer.make({ term: 3, relay: "r 1", log, now })

describe("Writer", () => {
  it("identifies an update by its version, and everything else by its place in the tenure", () => {
    const { toNew } = make(empty)
    const ids = [
      connected,
      { _tag: "TaskUpdated", taskId: a, version: 7 } as const,
      { _tag: "TaskUpdated", taskId: a } as const,
      output,
      output
    ].map((event) => toNew(event).id)
    assert.deepStrictEqual(ids, ["m:3:=ciAx:1:1", "u:a:7", "o:3:=ciAx:1:a:2", "o:3:=ciAx:1:a:3", "o:3:=ciAx:1:a:4"])
  })

  it("counts the epochs of the log, not those of its feed", () => {
    const { state, toNew } = make({ ...empty, epoch: 5 })
    const epochs = [connected, started, disconnected, connected].map((event) => {
      const stored = toNew(event).event
      return "epoch" in stored ? stored.epoch : undefined
    })
    assert.deepStrictEqual(epochs, [6, 6, 6, 7])
    assert.deepStrictEqual(state(), { isEmpty: false, isOpen: true, epoch: 7, closedAt: 0 })
  })

  it("stores the first confirmation after an end as a gap, with its length", () => {
    const { toNew } = make({ isEmpty: false, isOpen: false, epoch: 1, closedAt: 1000 }, () => 1700)
    toNew(connected)
    assert.deepStrictEqual(toNew(started).event, {
      _tag: "Resync",
      epoch: 2,
      reason: { _tag: "Reconnected", downMillis: 700 }
    })
  })

  it("follows the state of a log through its events", () => {
    const open = Writer.after(empty, { ...connected, epoch: 4 }, 0)
    assert.deepStrictEqual(open, { isEmpty: false, isOpen: true, epoch: 4, closedAt: undefined })
    assert.deepStrictEqual(Writer.after(open, { ...disconnected, epoch: 4 }, 9), {
      isEmpty: false,
      isOpen: false,
      epoch: 4,
      closedAt: 9
    })
    assert.strictEqual(Writer.after(open, output, 0), open)
  })
})
