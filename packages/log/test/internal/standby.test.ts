import { assert, describe, it } from "@effect/vitest"
import * as MeshError from "@makima-stream/core/MeshError"
import type { MeshEvent } from "@makima-stream/core/MeshEvent"
import * as TaskId from "@makima-stream/core/TaskId"
import { Standby } from "../../src/internal/relay/standby.ts"

const a = TaskId.make("a")
const b = TaskId.make("b")
const output = (taskId: TaskId.TaskId, content: string): MeshEvent => ({
  _tag: "TaskOutput",
  taskId,
  messageType: "assistant",
  content
})
const outputs = (taskId: TaskId.TaskId, from: number, to: number): Array<MeshEvent> =>
  Array.from({ length: to - from }, (_, n) => output(taskId, `${from + n}`))
const connected: MeshEvent = { _tag: "Connected", epoch: 1, at: 0 }
const disconnected: MeshEvent = {
  _tag: "Disconnected",
  epoch: 1,
  opened: true,
  attempt: 1,
  reason: new MeshError.ConnectionLost({}),
  at: 0
}
const started: MeshEvent = { _tag: "Resync", epoch: 1, reason: { _tag: "Started" } }

/** Contents of output, and the reasons of marks with their tasks. */
const labels = (events: ReadonlyArray<MeshEvent>): ReadonlyArray<string> =>
  events.map((event) => {
    if (event._tag === "TaskOutput") return event.content
    return event._tag === "Resync" ? [event.reason._tag, event.taskId].filter(Boolean).join(" ") : event._tag
  })

/** A standby of an open log, whose feed is confirmed. */
const join = (options?: { readonly capacity?: number }): Standby => {
  const standby = new Standby({ feedLag: 100, capacity: options?.capacity ?? 16_384, isLogOpen: true }, 0)
  standby.offerFeed([connected, started], 0)
  return standby
}

/** A standby that is aligned with its log at 1000. */
const align = (options?: { readonly capacity?: number }): Standby => {
  const standby = join(options)
  const first = [output(a, "first"), output(b, "first")]
  standby.offerFeed(first, 200)
  for (const event of first) standby.offerLog({ ...event }, 250)
  standby.feedIsCurrent(900, 900)
  standby.logIsCurrent(900, 900)
  standby.feedIsCurrent(1000, 1000)
  assert.isTrue(standby.isAligned)
  return standby
}

describe("Standby", () => {
  it("is aligned once both sides have passed a common time", () => {
    const standby = join()
    assert.isFalse(standby.isAligned)
    standby.feedIsCurrent(900, 900)
    assert.isFalse(standby.isAligned)
    standby.logIsCurrent(900, 900)
    assert.isTrue(standby.isAligned)
  })

  it("appends exactly what the log lacks if it is aligned", () => {
    const standby = align()
    standby.offerFeed(outputs(a, 0, 10), 1100)
    for (const event of outputs(a, 0, 4)) standby.offerLog(event, 1200)
    assert.deepStrictEqual(labels(standby.takeOver(1300, 0)), ["4", "5", "6", "7", "8", "9"])
  })

  it("appends exactly what the log lacks if the log is thousands of messages of one task behind", () => {
    const standby = align()
    for (let n = 0; n < 3000; n += 100) standby.offerFeed(outputs(a, n, n + 100), 1100 + n)
    for (const event of outputs(a, 0, 500)) standby.offerLog(event, 4200)
    assert.isTrue(standby.isAligned)
    assert.deepStrictEqual(labels(standby.takeOver(4300, 0)), labels(outputs(a, 500, 3000)))
  })

  it("marks a task in which the log is behind by more than the capacity, and appends what it remembers", () => {
    const standby = align({ capacity: 50 })
    standby.offerFeed(outputs(a, 0, 80), 1100)
    standby.offerFeed([output(b, "b1")], 1100)
    assert.isFalse(standby.isAligned)
    assert.deepStrictEqual(
      labels(standby.takeOver(1300, 0)),
      ["Unaligned a", "first", ...labels(outputs(a, 0, 80)), "b1"].filter((label) => label !== "first")
    )
  })

  it("writes a mark and then everything that the log may lack if it is not aligned", () => {
    const standby = join()
    standby.offerFeed(outputs(a, 0, 3), 200)
    standby.offerLog(output(a, "0"), 250)
    assert.deepStrictEqual(labels(standby.takeOver(300, 0)), ["Unaligned", "0", "1", "2"])
  })

  it("does not repeat what the log certainly has, also if it is not aligned any more", () => {
    const standby = align()
    standby.offerFeed(outputs(a, 0, 3), 1100)
    standby.logIsCurrent(1500, 1500)
    standby.feedIsLate(1600)
    standby.offerFeed(outputs(a, 3, 5), 1700)
    assert.deepStrictEqual(labels(standby.takeOver(1800, 0)), ["Unaligned", "3", "4"])
  })

  for (const end of ["late", "disconnected"] as const) {
    it(`keeps what a feed delivered before it was ${end}, also of a task that is quiet afterwards`, () => {
      const standby = join()
      standby.offerFeed(outputs(a, 0, 3), 200)
      if (end === "late") {
        standby.feedIsLate(300)
        standby.feedIsCurrent(900, 1000)
      } else {
        standby.offerFeed([disconnected], 300)
        standby.offerFeed([connected, started], 1000)
      }
      // So many that the standby forgets what the log has.
      standby.offerFeed(outputs(b, 0, 1100), 1100)
      assert.deepStrictEqual(labels(standby.takeOver(1200, 0)), [
        "Unaligned",
        ...labels(outputs(a, 0, 3)),
        ...labels(outputs(b, 0, 1100))
      ])
    })
  }

  it("appends what the log lacked when the feed became late, also if it is aligned again in that task", () => {
    const standby = align()
    standby.offerFeed(outputs(a, 0, 3), 1100)
    standby.feedIsLate(1200)
    standby.feedIsCurrent(1900, 2000)
    standby.offerLog(output(b, "1"), 2000)
    assert.deepStrictEqual(labels(standby.takeOver(2100, 0)), ["Unaligned", "0", "1", "2"])
  })

  it("writes what it had not written as a holder if it takes over again, after a mark", () => {
    const standby = join()
    standby.remember(outputs(a, 0, 3), 0)
    standby.offerFeed(outputs(a, 3, 5), 200)
    assert.deepStrictEqual(labels(standby.takeOver(300, 0)), ["Unaligned", "0", "1", "2", "3", "4"])
  })

  it("forgets what it had not written as a holder once the next holder has written it", () => {
    const standby = join()
    standby.remember(outputs(a, 0, 3), 0)
    for (const event of outputs(a, 0, 3)) standby.offerLog(event, 100)
    standby.feedIsCurrent(900, 900)
    standby.logIsCurrent(900, 900)
    standby.offerFeed(outputs(a, 3, 5), 1000)
    assert.deepStrictEqual(labels(standby.takeOver(1100, 0)), ["3", "4"])
  })

  it("opens a connection in a closed log, with everything that the feed delivered", () => {
    const standby = new Standby({ feedLag: 100, capacity: 100, isLogOpen: false }, 0)
    standby.offerFeed([output(a, "0")], 100)
    assert.deepStrictEqual(labels(standby.takeOver(200, 0)), ["Connected", "0"])
    standby.offerFeed([connected, started], 0)
  })

  it("asks the feed to wait once it holds its capacity for a closed log", () => {
    const standby = new Standby({ feedLag: 100, capacity: 10, isLogOpen: false }, 0)
    standby.offerFeed(outputs(a, 0, 9), 100)
    assert.isFalse(standby.isFull)
    standby.offerFeed(outputs(a, 9, 10), 100)
    assert.isTrue(standby.isFull)
  })
})
