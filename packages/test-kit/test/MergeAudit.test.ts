import { assert, describe, it } from "@effect/vitest"
import type { Data, MeshEvent, Resync } from "@makima-stream/core/MeshEvent"
import * as MeshError from "@makima-stream/core/MeshError"
import { TaskId } from "@makima-stream/core/TaskId"
import * as MergeAudit from "../src/MergeAudit.ts"
import type { Entry, ServerLog } from "../src/ServerLog.ts"

const a = TaskId.make("a")
const b = TaskId.make("b")

const says = (content: string, taskId = a): Data => ({ _tag: "TaskOutput", taskId, messageType: "assistant", content })

const log = (...messages: ReadonlyArray<Data>): ServerLog =>
  messages.map((message, i): Entry => ({
    _tag: "Sent",
    seq: i,
    at: 0,
    connection: 1,
    emission: i,
    message,
    as: "text",
    delivered: true
  }))

const started: Resync = { _tag: "Resync", epoch: 1, reason: { _tag: "Started" } }
const unaligned = (taskId?: TaskId): Resync => ({
  _tag: "Resync",
  epoch: 1,
  reason: { _tag: "Unaligned", cause: "ambiguous" },
  ...(taskId === undefined ? {} : { taskId })
})
const disconnected: MeshEvent = {
  _tag: "Disconnected",
  epoch: 1,
  opened: true,
  attempt: 1,
  at: 0,
  reason: new MeshError.ConnectionLost({})
}

const [one, two, three] = [says("1"), says("2"), says("3")]
const sent = log(one, two, three)

describe("MergeAudit.compare", () => {
  it("finds nothing wrong with everything in order, once", () => {
    const report = MergeAudit.compare(sent, [started, one, two, three])
    assert.isTrue(MergeAudit.isClean(report))
    assert.strictEqual(report.received, 3)
    assert.strictEqual(report.inFlight, 0)
  })

  it("counts a message that is missing inside a complete stretch", () => {
    assert.strictEqual(MergeAudit.compare(sent, [started, one, three]).unmarkedGaps, 1)
  })

  it("counts a message that is missing at a mark of its task as missed, and not at that of another task", () => {
    const marked = MergeAudit.compare(sent, [started, one, unaligned(a), three])
    assert.strictEqual(marked.missedWhileAway, 1)
    assert.isTrue(MergeAudit.isClean(marked))
    assert.strictEqual(MergeAudit.compare(sent, [started, one, unaligned(b), three]).unmarkedGaps, 1)
  })

  it("does not excuse by a mark what was emitted after the first message behind it", () => {
    const other = log(one, says("x", b), two, says("y", b), three)
    const report = MergeAudit.compare(other, [started, one, unaligned(), says("x", b), three])
    assert.strictEqual(report.unmarkedGaps, 1)
  })

  it("counts no gap between the end of a stretch and the mark of the next one", () => {
    const report = MergeAudit.compare(sent, [started, one, disconnected, started, three])
    assert.isTrue(MergeAudit.isClean(report))
    assert.strictEqual(report.missedWhileAway, 1)
  })

  it("excuses what comes again behind a mark of inputs that could not be aligned, in order and once", () => {
    const report = MergeAudit.compare(sent, [started, one, two, unaligned(a), one, two, three])
    assert.isTrue(MergeAudit.isClean(report))
    assert.strictEqual(report.repeated, 2)
    for (const events of [
      [one, two, unaligned(a), one, one],
      [one, two, unaligned(a), two, one],
      [one, two, unaligned(b), one],
      [one, two, unaligned(a), three, two],
      [one, two, disconnected, started, two]
    ]) {
      assert.strictEqual(MergeAudit.compare(sent, [started, ...events]).duplicates, 1)
    }
  })

  it("tells a message that came twice from one that came late, and from one that was never sent", () => {
    assert.strictEqual(MergeAudit.compare(sent, [started, one, two, one]).duplicates, 1)
    const late = MergeAudit.compare(sent, [started, one, three, two])
    assert.strictEqual(late.outOfOrder, 1)
    assert.strictEqual(MergeAudit.compare(sent, [started, says("other")]).unexpected, 1)
  })

  it("counts equal messages by their number", () => {
    const equal = log(one, one, one)
    assert.isTrue(MergeAudit.isClean(MergeAudit.compare(equal, [started, one, one, one])))
    assert.strictEqual(MergeAudit.compare(equal, [started, one, one, one, one]).duplicates, 1)
  })
})
