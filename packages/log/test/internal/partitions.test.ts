import { assert, describe, it } from "@effect/vitest"
import * as TaskId from "@makima-stream/core/TaskId"
import type { Entry } from "@makima-stream/log/MeshLog"
import * as Partitions from "../../src/internal/partitions.ts"

const taskOf = (partition: number, partitions: number): TaskId.TaskId => {
  for (let n = 0; ; n++) if (Partitions.partitionOf(`t${n}`, partitions) === partition) return TaskId.make(`t${n}`)
}
const [zero, one] = [taskOf(0, 2), taskOf(1, 2)]

const entry = (position: number, taskId?: TaskId.TaskId): Entry => ({
  position,
  at: 0,
  event:
    taskId === undefined
      ? { _tag: "Resync", epoch: 1, reason: { _tag: "Started" } }
      : { _tag: "TaskOutput", taskId, messageType: "assistant", content: "" }
})

const make = (...owned: ReadonlyArray<readonly [index: number, stored: Partitions.Stored]>) => {
  const assignment = Partitions.make(2)
  for (const [index, stored] of owned) assignment.owned.set(index, Partitions.owned(index, 1, stored))
  return assignment
}

const nothing: Partitions.Stored = { position: 0, done: [] }
const storedOf = (assignment: Partitions.Assignment, index: number) => {
  const partition = assignment.owned.get(index)
  return partition === undefined ? undefined : Partitions.toStored(partition)
}
const positions = (entries: ReadonlyArray<Entry>) => entries.map(({ position }) => position)

describe("partitions", () => {
  it("delivers the entries of owned partitions, and marks of all tasks", () => {
    const assignment = make([0, nothing])
    const entries = [entry(1, zero), entry(2, one), entry(3), entry(4, zero)]
    assert.deepStrictEqual(positions(Partitions.deliver(assignment, entries)), [1, 3, 4])
    assert.deepStrictEqual(positions(Partitions.deliver(assignment, entries)), [])
  })

  it("stores the position before the first entry that is not acknowledged, and what is acknowledged above it", () => {
    const assignment = make([0, nothing], [1, nothing])
    Partitions.deliver(assignment, [entry(1, zero), entry(2, one), entry(3, zero), entry(4, zero), entry(5, one)])
    Partitions.acknowledge(assignment, [1, 4, 5])
    assert.deepStrictEqual(storedOf(assignment, 0), { position: 2, done: [4] })
    assert.deepStrictEqual(storedOf(assignment, 1), { position: 1, done: [5] })
    Partitions.acknowledge(assignment, [3])
    assert.deepStrictEqual(storedOf(assignment, 0), { position: 5, done: [] })
  })

  it("skips what was acknowledged above the position, when it continues", () => {
    const assignment = make([0, { position: 2, done: [4] }])
    assert.strictEqual(Partitions.readAfter(assignment), 2)
    const entries = [entry(3, zero), entry(4, zero), entry(5, zero)]
    assert.deepStrictEqual(positions(Partitions.deliver(assignment, entries)), [3, 5])
  })

  it("delivers nothing more of a partition that is handed over, and forgets what it waited for", () => {
    const assignment = make([0, nothing], [1, nothing])
    Partitions.deliver(assignment, [entry(1, zero), entry(2), entry(3, one)])
    const partition = assignment.owned.get(0)
    if (partition === undefined) throw new Error("The partition is missing")
    partition.draining = true
    assert.deepStrictEqual(positions(Partitions.deliver(assignment, [entry(4, zero), entry(5, one)])), [5])
    Partitions.forget(assignment, partition)
    assert.deepStrictEqual([...assignment.waiting.keys()], [2, 3, 5])
    Partitions.acknowledge(assignment, [2, 3, 5])
    assert.deepStrictEqual(storedOf(assignment, 1), { position: 5, done: [] })
  })

  it("distributes tasks over all partitions", () => {
    const counts = new Map<number, number>()
    for (let n = 0; n < 16_000; n++) {
      const partition = Partitions.partitionOf(`0f5c1e2a-7b1d-4c57-9d2f-${n}`, 16)
      counts.set(partition, (counts.get(partition) ?? 0) + 1)
    }
    assert.strictEqual(counts.size, 16)
    for (const count of counts.values()) assert.isAbove(count, 700)
  })
})
