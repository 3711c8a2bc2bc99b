import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import * as Interest from "../../../src/Interest.ts"
import * as Consumer from "../../../src/internal/client/consumer.ts"
import type { MeshEvent } from "../../../src/MeshEvent.ts"
import { TaskId } from "../../../src/TaskId.ts"

const strategies = ["suspend", "conflate", "shed", "sliding", "dropping", "fail"] as const

const output = (n: number, isPartial: boolean): MeshEvent => ({
  _tag: "TaskOutput",
  taskId: TaskId.make("a"),
  messageType: "assistant",
  content: String(n),
  isPartial
})

const dropped = (events: ReadonlyArray<MeshEvent>): number =>
  events.reduce(
    (sum, event) => (event._tag === "Resync" && event.reason._tag === "Overflow" ? sum + event.reason.dropped : sum),
    0
  )

const contents = (events: ReadonlyArray<MeshEvent>) =>
  events.flatMap((event) => (event._tag === "TaskOutput" ? [Number(event.content)] : []))

const Step = Schema.Union([
  Schema.TaggedStruct("Offer", { isPartial: Schema.Boolean }),
  Schema.TaggedStruct("TakeAll", {})
])

const make = (overflow: Consumer.Options["overflow"], capacity: number, isWanted?: Consumer.Options["isWanted"]) =>
  Consumer.make(
    {
      name: "test",
      overflow,
      capacity,
      isWanted,
      interest: Interest.empty
    },
    { epoch: 1, waiting: 0, resume: undefined }
  )

describe("a consumer's queue", () => {
  for (const strategy of strategies) {
    it.prop(
      `${strategy} stays in its bound, keeps the order, and accounts for every event`,
      [Schema.Array(Step), Schema.Literals([1, 2, 3, 7])],
      ([steps, capacity]) => {
        const queue = make(strategy, capacity)
        const taken: Array<MeshEvent> = []
        let accepted = 0
        let next = 0
        for (const step of steps) {
          if (step._tag === "TakeAll") {
            taken.push(...queue.takeAll())
            assert.strictEqual(queue.size, 0)
          } else if (queue.offer(output(next++, step.isPartial))) {
            accepted++
          }
          assert.isAtMost(queue.size, capacity)
        }
        taken.push(...queue.takeAll())
        const seen = contents(taken)
        assert.deepStrictEqual(
          seen,
          [...seen].sort((x, y) => x - y)
        )
        assert.strictEqual(seen.length + dropped(taken), accepted)
        assert.strictEqual(queue.lost, dropped(taken))
      },
      { arbitrary: { runs: 300 } }
    )
  }

  for (const strategy of ["conflate", "shed", "sliding", "dropping"] as const) {
    it(`${strategy} emits no marks to a consumer that does not want them`, () => {
      const queue = make(strategy, 1, (event) => event._tag === "TaskOutput")
      for (let n = 0; n < 5; n++) queue.offer(output(n, true))
      assert.strictEqual(queue.lost, 4)
      assert.deepStrictEqual(
        queue.takeAll().map(({ _tag }) => _tag),
        ["TaskOutput"]
      )
    })
  }

  it("replaces a lost mark by an Overflow that does not count it", () => {
    const mark: MeshEvent = { _tag: "Resync", epoch: 1, reason: { _tag: "JoinedLate" } }
    const overflow = (dropped: number): MeshEvent => ({
      _tag: "Resync",
      epoch: 1,
      reason: { _tag: "Overflow", dropped }
    })
    const x = output(1, false)
    for (const strategy of ["shed", "sliding"] as const) {
      const queue = make(strategy, 1)
      queue.offer(mark)
      queue.offer({ _tag: "Connected", epoch: 2, at: 0 })
      assert.deepStrictEqual(queue.takeAll()[0], { ...overflow(0) })
    }
    const sliding = make("sliding", 2)
    for (const event of [x, mark, overflow(3), x, x]) sliding.offer(event)
    assert.strictEqual(sliding.lost, 4)
    assert.deepStrictEqual(sliding.takeAll(), [overflow(4), x, x])
    const dropping = make("dropping", 1)
    for (const event of [x, mark]) dropping.offer(event)
    assert.strictEqual(dropping.lost, 0)
    assert.deepStrictEqual(dropping.takeAll(), [x, overflow(0)])
  })

  it("refuses an event that it may not lose, and changes nothing", () => {
    for (const strategy of ["suspend", "fail"] as const) {
      const queue = make(strategy, 1)
      queue.offer(output(0, false))
      assert.isFalse(queue.offer(output(1, false)))
      assert.deepStrictEqual(contents(queue.takeAll()), [0])
    }
  })
})
