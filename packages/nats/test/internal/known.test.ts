import { assert, describe, it } from "@effect/vitest"
import { TaskId } from "@makima-stream/core/TaskId"
import { LogError } from "@makima-stream/log/LogError"
import type { JetStreamManager } from "@nats-io/jetstream"
import { Known } from "../../src/internal/known.ts"
import * as Subjects from "../../src/internal/subjects.ts"

const taskId = TaskId.make("t")
const update = (version?: number) => ({
  _tag: "TaskUpdated" as const,
  taskId,
  ...(version === undefined ? {} : { version })
})

const make = () => {
  let reads = 0
  const streams = {
    info: () => Promise.resolve({ state: { messages: 1, last_seq: ++reads } }),
    getMessage: () => Promise.resolve({ header: { get: () => "5" } })
  }
  // Only these two members are used.
  const jsm = { streams } as unknown as JetStreamManager
  return new Known({ jsm, stream: "s", subjects: Subjects.make("tasks") })
}

const cell = (term: number, owner?: string) => ({
  key: "lease/relay",
  value: JSON.stringify({ term, owner, ttl: 1 }),
  revision: 1
})

describe("Known", () => {
  it("reads the end of the stream once, until it forgets it", async () => {
    const known = make()
    assert.deepStrictEqual(await known.tail(), { seq: 1, marks: 5 })
    assert.strictEqual((await known.tail()).seq, 1)
    known.forget()
    assert.strictEqual((await known.tail()).seq, 2)
  })

  it("refuses a lease of another term, without an owner, or that does not exist", () => {
    const known = make()
    const fence = { name: "relay", term: 2 }
    for (const found of [cell(3, "a"), cell(2), undefined]) assert.throws(() => known.check(fence, found), LogError)
    assert.isFalse(known.isChecked(fence))
    known.check(fence, cell(2, "a"))
    assert.isTrue(known.isChecked(fence))
    known.forget()
    assert.isFalse(known.isChecked(fence))
  })

  it("tells a late update from a newer one, beginning with the version in the stream", async () => {
    const known = make()
    await known.readVersions([{ id: "1", event: update(1) }])
    assert.deepStrictEqual(known.take(update(4)), { version: 5, isLate: true })
    assert.deepStrictEqual(known.take(update(6)), { version: 6, isLate: false })
    assert.deepStrictEqual(known.take(update()), { version: 6, isLate: false })
    assert.deepStrictEqual(known.take(update(5)), { version: 6, isLate: true })
  })
})
