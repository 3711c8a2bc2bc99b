import { assert, describe, it } from "@effect/vitest"
import { attentionOf, needsPerson, order, rank, stalledAfter, type Facts } from "../../dashboard/src/model/attention.ts"

const now = 1_000_000_000

const facts = (changes?: Partial<Facts>): Facts => ({
  status: "running",
  isLive: true,
  isGone: false,
  activeAt: now,
  updateGaps: 0,
  outputGaps: 0,
  ...changes
})

describe("attention", () => {
  it("ranks failed, waiting, stalled, gaps, running, pending, ended in this order", () => {
    const tasks = [
      facts({ status: "failed", isLive: false }),
      facts({ status: "blocked" }),
      facts({ activeAt: now - stalledAfter }),
      facts({ outputGaps: 1 }),
      facts(),
      facts({ status: "pending" }),
      facts({ status: "done", isLive: false })
    ]
    assert.deepStrictEqual(
      tasks.map((task) => attentionOf(task, now)),
      [...order]
    )
    assert.deepStrictEqual(
      order.map((each) => rank[each]),
      [0, 1, 2, 3, 4, 5, 6]
    )
  })

  it("a task needs a person if it failed, waits or is silent", () => {
    assert.deepStrictEqual(order.filter(needsPerson), ["failed", "waiting", "stalled"])
  })

  it("a task is stalled only after the whole time without activity", () => {
    assert.strictEqual(attentionOf(facts({ activeAt: now - stalledAfter + 1 }), now), "running")
    assert.strictEqual(attentionOf(facts({ activeAt: undefined }), now), "running")
  })

  it("a task that waits is not stalled, however long it waits", () => {
    assert.strictEqual(attentionOf(facts({ status: "waiting_for_input", activeAt: 0 }), now), "waiting")
  })

  it("the gaps of a task that has ended need no attention", () => {
    assert.strictEqual(attentionOf(facts({ status: "merged", isLive: false, outputGaps: 3 }), now), "ended")
  })

  it("a task that does not exist any more needs no attention, whatever its status was", () => {
    assert.strictEqual(attentionOf(facts({ status: "blocked", isGone: true }), now), "ended")
  })

  it("a cancelled and an interrupted task count as failed", () => {
    assert.strictEqual(attentionOf(facts({ status: "cancelled", isLive: false }), now), "failed")
    assert.strictEqual(attentionOf(facts({ status: "interrupted", isLive: false }), now), "failed")
  })
})
