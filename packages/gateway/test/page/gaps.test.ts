import { assert, describe, it } from "@effect/vitest"
import * as Gaps from "../../dashboard/src/model/gaps.ts"
import { id, lost, mark, reconnected, repaired, started } from "./events.ts"

const setup = () => {
  const gaps = Gaps.make()
  gaps.fold([started], 1000)
  return gaps
}

describe("gaps", () => {
  it("a gap lasts from the loss of the connection to the confirmation of the next one", () => {
    const gaps = setup()
    const [opened] = gaps.fold([lost(2000)], 2001)
    assert.strictEqual(opened?.to, undefined)
    // Another failed attempt belongs to the same gap.
    assert.deepStrictEqual(gaps.fold([lost(3000)], 3000), [])
    assert.deepStrictEqual(gaps.fold([reconnected(6000)], 8000), [])
    const [gap] = gaps.list()
    assert.deepInclude(gap, { id: 1, from: 2000, to: 8000, updates: "missing", output: "missing" })
    assert.strictEqual(gaps.list().length, 1)
  })

  it("what was before the first confirmation is no gap", () => {
    const gaps = Gaps.make()
    assert.deepStrictEqual(gaps.fold([lost(500), started], 1000), [])
    assert.strictEqual(gaps.startedAt(), 1000)
  })

  it("a reconnect without a loss before it is a gap of the time that it names", () => {
    const gaps = setup()
    const [gap] = gaps.fold([reconnected(400)], 5000)
    assert.deepInclude(gap, { from: 4600, to: 5000 })
  })

  it("a repair closes the updates of all gaps that have ended, and never the output", () => {
    const gaps = setup()
    gaps.fold([lost(2000), reconnected(500), mark({ _tag: "Overflow", dropped: 3 }), lost(4000)], 4000)
    gaps.fold([repaired()], 4500)
    assert.deepStrictEqual(
      gaps.list().map(({ output, updates }) => [updates, output]),
      [
        ["repaired", "missing"],
        ["repaired", "missing"],
        ["missing", "missing"]
      ]
    )
  })

  it("a repair that leaves something open repairs nothing", () => {
    for (const changes of [{ open: 1 }, { absent: 1 }]) {
      const gaps = setup()
      gaps.fold([reconnected(500), repaired(changes)], 4000)
      assert.strictEqual(gaps.list()[0]?.updates, "missing")
    }
  })

  it("a failed repair is visible, and a later one still closes the gap", () => {
    const gaps = setup()
    const failed = { _tag: "RepairFailed", epoch: 1, reasons: [], attempts: 3, error: "e" } as const
    gaps.fold([reconnected(500), failed], 4000)
    assert.strictEqual(gaps.list()[0]?.updates, "failed")
    gaps.fold([repaired()], 5000)
    assert.strictEqual(gaps.list()[0]?.updates, "repaired")
  })

  it("skipped versions of one task affect its updates only", () => {
    const gaps = setup()
    const [gap] = gaps.fold([mark({ _tag: "VersionGap", lastVersion: 3, version: 6 }, "a")], 2000)
    assert.deepInclude(gap, {
      taskId: id("a"),
      updates: "missing",
      output: "unaffected",
      detail: "From version 3 to version 6"
    })
  })

  it("a subscription and a late join are no gaps", () => {
    const gaps = setup()
    assert.deepStrictEqual(
      gaps.fold([mark({ _tag: "Subscribed", kind: "output" }, "a"), mark({ _tag: "JoinedLate" })], 2000),
      []
    )
  })

  it("keeps the newest 500, and counts all", () => {
    const gaps = setup()
    for (let i = 0; i < 600; i++) gaps.fold([reconnected(1)], 2000 + i)
    assert.strictEqual(gaps.list().length, 500)
    assert.strictEqual(gaps.list().at(-1)?.id, 600)
    assert.strictEqual(gaps.total(), 600)
  })
})
