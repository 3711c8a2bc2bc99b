import { assert, describe, it } from "@effect/vitest"
import { signal } from "@preact/signals"
import * as Models from "../../dashboard/src/models.ts"
import { lost, reconnected, said, started, updated } from "./events.ts"

const setup = () => {
  const models = Models.make({ fast: signal(0), slow: signal(0), request: () => {}, requestSlow: () => {} })
  const feed = (batch: Parameters<Models.Models["sink"]["events"]>[0]) => {
    models.sink.events(batch)
    models.sink.joined(batch)
  }
  feed([started])
  return { feed, models }
}

describe("the models of the page", () => {
  it("a gap within a batch stands between the output before it and the output after it", () => {
    const { feed, models } = setup()
    feed([updated("a", "running", 1), said("a", "before"), lost(2000), reconnected(500), said("a", "after")])
    assert.deepStrictEqual(
      models.transcripts.get("a").items.map((item) => (item.kind === "message" ? item.content : item.kind)),
      ["status", "before", "gap", "after"]
    )
  })

  it("a gap stands only in the transcripts of tasks that are live at its place", () => {
    const { feed, models } = setup()
    feed([said("a", "last"), updated("a", "done", 2), said("b", "first"), lost(2000), said("c", "later")])
    const gapsOf = (task: string) => models.transcripts.get(task).items.filter(({ kind }) => kind === "gap").length
    assert.deepStrictEqual([gapsOf("a"), gapsOf("b"), gapsOf("c")], [0, 1, 0])
    assert.strictEqual(models.gaps.total(), 1)
  })
})
