import { assert, describe, it } from "@effect/vitest"
import * as Board from "../../dashboard/src/model/board.ts"
import { id, lost, output, reconnected, result, said, started, updated } from "./events.ts"

describe("board", () => {
  it("adds costs exactly, each result once", () => {
    const board = Board.make()
    const costs = Array.from({ length: 10 }, (_, i) => result(`t${i}`, 0.1))
    board.fold([started, ...costs, ...costs], 0)
    assert.strictEqual(board.totalUsd(), 1)
    assert.strictEqual(board.isLowerBound(), false)
  })

  it("the total is a lower bound once output may be missing", () => {
    const board = Board.make()
    board.fold([started, updated("a", "running", 1), said("a", "x"), lost(5), reconnected(9)], 10)
    assert.strictEqual(board.isLowerBound(), true)
    assert.deepInclude(board.get("a"), { updateGaps: 1, outputGaps: 1 })
  })

  it("takes over what the gateway knew before the page was opened", () => {
    const board = Board.make()
    board.fold([started, { _tag: "Restated", taskId: id("a"), version: 4, status: "running" }], 1000)
    board.list([{ taskId: id("a"), costUsd: 0.75, firstEventAt: 100, startedAt: 200, lastEventAt: 900 }], 1001)
    assert.deepInclude(board.get("a"), { costUsd: 0.75, since: 200, activeAt: 900, status: "running" })
    assert.strictEqual(board.totalUsd(), 0.75)
    board.fold([said("a", "live")], 2000)
    assert.deepInclude(board.get("a"), { activeAt: 2000, since: 200 })
  })

  it("a cost in the list never lowers a cost, and counts no result twice", () => {
    const board = Board.make()
    board.fold([started, updated("a", "running", 1), result("a", 0.5)], 0)
    board.list([{ taskId: id("a"), costUsd: 0.25 }], 1)
    board.list([{ taskId: id("a"), costUsd: 0.5 }], 2)
    assert.strictEqual(board.totalUsd(), 0.5)
  })

  it("returns the same object for a task that has not changed", () => {
    const board = Board.make()
    board.fold([started, updated("a", "running", 1), updated("b", "running", 1)], 0)
    const before = board.get("a")
    board.fold([said("b", "x")], 1)
    assert.strictEqual(board.get("a"), before)
    board.fold([said("a", "x")], 2)
    assert.notStrictEqual(board.get("a"), before)
  })

  it("a piece of a message is activity", () => {
    const board = Board.make()
    board.fold([updated("a", "running", 1)], 0)
    board.fold([output("a", "assistant", "x", { isPartial: true })], 50)
    assert.strictEqual(board.get("a")?.activeAt, 50)
  })

  it("shows the last output that the gateway knew until the page receives output of the task itself", () => {
    const board = Board.make()
    board.fold([updated("a", "running", 1)], 0)
    const before = board.get("a")
    board.said(id("a"), { messageType: "assistant", content: "before" })
    assert.notStrictEqual(board.get("a"), before)
    assert.strictEqual(board.get("a")?.lastOutput?.content, "before")
    board.fold([said("a", "live")], 1)
    board.said(id("a"), { messageType: "assistant", content: "late answer" })
    assert.strictEqual(board.get("a")?.lastOutput?.content, "live")
  })

  it("does not know a task that nothing named", () => {
    assert.strictEqual(Board.make().get("a"), undefined)
  })
})
