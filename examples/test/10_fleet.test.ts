import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import { TaskId } from "@makima-stream/core/TaskId"
import * as MemoryLog from "@makima-stream/log/MemoryLog"
import * as MeshLog from "@makima-stream/log/MeshLog"
import * as JetStreamLog from "@makima-stream/nats/JetStreamLog"
import * as NatsServer from "../../packages/nats/test/support/server.ts"
import { worker } from "../src/10_fleet.ts"

const tasks = Array.from({ length: 12 }, (_, n) => TaskId.make(`task ${n}`))

/** The n-th result of each task, and outputs that are not results. */
const round = (n: number): ReadonlyArray<MeshLog.NewEvent> =>
  tasks.flatMap((taskId) =>
    ["assistant", "result"].map((messageType) => ({
      id: `${taskId} ${messageType} ${n}`,
      event: { _tag: "TaskOutput", taskId, messageType, content: `${n}` } as const
    }))
  )

/**
 * Runs three workers, of which one is stopped in the middle and replaced, until every result of `rounds` rounds was handled.
 * Returns for each task what was handled of it, in order.
 */
const fleet = Effect.fnUntraced(function* (openLog: Layer.Layer<MeshLog.MeshLog, unknown>, rounds: number) {
  const handled = new Map(tasks.map((taskId): [TaskId, Array<string>] => [taskId, []]))
  const start = (member: number) =>
    worker(
      (event) =>
        Effect.sync(() => {
          if (event._tag !== "TaskOutput") return
          handled.get(event.taskId)?.push(event.content)
        }),
      { partitions: 6, timeToLive: "1 second", member: `member ${member}` }
    ).pipe(Effect.provide(openLog, { local: true }), Effect.forkChild)
  const until = (count: number) =>
    Effect.repeat(Effect.yieldNow, {
      until: () => Array.from(handled.values()).every((results) => new Set(results).size >= count)
    })

  const workers = yield* Effect.forEach([1, 2, 3], start)
  yield* Effect.gen(function* () {
    const log = yield* MeshLog.MeshLog
    const half = Math.floor(rounds / 2)
    for (let n = 0; n < half; n++) yield* log.append(round(n))
    yield* until(half)
    yield* Effect.forEach(workers.slice(2), Fiber.interrupt)
    for (let n = half; n < rounds; n++) yield* log.append(round(n))
    workers.push(yield* start(4))
    yield* until(rounds)
  }).pipe(Effect.provide(openLog, { local: true }))
  yield* Effect.forEach(workers, Fiber.interrupt)
  return handled
})

/** What is handled of a task: every result, and none before an earlier one. What is repeated was not acknowledged. */
const expectAll = (handled: ReadonlyMap<TaskId, ReadonlyArray<string>>, rounds: number): void => {
  for (const [taskId, results] of handled) {
    const firsts = [...new Set(results)]
    assert.deepStrictEqual(
      firsts,
      Array.from({ length: rounds }, (_, n) => `${n}`),
      taskId
    )
  }
}

describe("10 fleet", () => {
  it.live("handles every result of every task in order, while a worker is replaced", () =>
    Effect.gen(function* () {
      const store = MemoryLog.makeStore()
      const handled = yield* fleet(MemoryLog.layer({ store }), 20)
      expectAll(handled, 20)
    })
  )

  it.live.skipIf(!NatsServer.isInstalled)("shares the work of three workers on JetStream", () =>
    Effect.gen(function* () {
      const server = yield* NatsServer.start
      const handled = yield* fleet(JetStreamLog.layer({ servers: server.url }), 8)
      expectAll(handled, 8)
    }).pipe(Effect.scoped)
  )
})
