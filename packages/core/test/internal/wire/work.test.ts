/**
 * The work of an event, counted instead of timed: steps of Effect's interpreter, and bytes allocated on V8's heap. The steps
 * do not depend on the load of the machine. The bytes are higher until V8 has compiled the code, which takes longer on a busy
 * machine, so the lowest of several runs counts. The bounds are about twice the measured values. One effect for each event
 * exceeds them, and so do a decode by the schema and a decode of unwanted messages.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Workload from "@makima-stream/test-kit/Workload"
import * as Effect from "effect/Effect"
import * as Iterable from "effect/Iterable"
import * as Result from "effect/Result"
import * as Scheduler from "effect/Scheduler"
import * as Stream from "effect/Stream"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Socket from "effect/socket/Socket"
import { getHeapStatistics } from "node:v8"
import * as Interest from "../../../src/Interest.ts"
import * as MeshClient from "../../../src/MeshClient.ts"
import * as MeshStream from "../../../src/MeshStream.ts"
import type * as ReconnectPolicy from "../../../src/ReconnectPolicy.ts"
import * as ServerMessage from "../../../src/ServerMessage.ts"

const tasks = 20
const batchSize = 300
const batches = 100
const events = batchSize * batches

const [first, ...rest] = Array.from(Iterable.take(Workload.endless({ tasks }), batchSize), (message) =>
  Result.getOrThrow(ServerMessage.encodeFrame(message))
)
const ids = Workload.taskIds({ tasks })
const half = new Set(ids.slice(0, tasks / 2))

/** A server that sends the same batch many times, and closes. */
const socket = Effect.sync(() => {
  let left = batches
  return Socket.make({
    reader: Effect.succeed({
      pull: Effect.suspend(() => {
        if (left-- === 0) {
          const reason = new Socket.SocketCloseError({ code: 1000, closeReason: undefined })
          return Effect.fail(new Socket.SocketError({ reason }))
        }
        // New strings, as from a network: V8 matches a string faster that it has matched before.
        const batch: NonEmptyReadonlyArray<string> = [`${first}`, ...rest]
        return Effect.succeed(batch)
      }),
      upgrade: Socket.SocketUpgradeError.unsupported
    }),
    writer: Effect.succeed({ write: () => Effect.void, writeAll: () => Effect.void })
  })
})

const policy: ReconnectPolicy.Options = { classify: () => "fail" }

class Counting extends Scheduler.MixedScheduler {
  steps = 0
  // Effect calls this before every step of every fiber.
  override shouldYield(...args: Parameters<Scheduler.MixedScheduler["shouldYield"]>): boolean {
    this.steps++
    return super.shouldYield(...args)
  }
}

// The types of Node do not have it yet.
const allocatedBytes = () =>
  (getHeapStatistics() as ReturnType<typeof getHeapStatistics> & { readonly total_allocated_bytes: number })
    .total_allocated_bytes

/** Measures the work of one event. `read` reports how many it sees. */
const measure = (read: (see: (count: number) => void) => Effect.Effect<unknown, unknown, Socket.Socket>) =>
  Effect.gen(function* () {
    const once = Effect.gen(function* () {
      const scheduler = new Counting()
      let seen = 0
      const before = allocatedBytes()
      yield* Effect.exit(
        read((count) => {
          seen += count
        }).pipe(
          Effect.provideServiceEffect(Socket.Socket, socket),
          Effect.provideService(Scheduler.Scheduler, scheduler)
        )
      )
      return { seen, steps: scheduler.steps / events, bytes: (allocatedBytes() - before) / events }
    })
    const runs = [yield* once, yield* once, yield* once, yield* once, yield* once]
    return runs.reduce((least, run) => (run.bytes < least.bytes ? run : least))
  })

const count = <A, E, R>(stream: Stream.Stream<A, E, R>, see: (count: number) => void) =>
  Stream.runForEachArray(stream, (array) => Effect.sync(() => see(array.length)))

describe("the work of an event", () => {
  it.live("MeshStream.connect through filterTask and outputOnly takes steps by the batch", () =>
    Effect.gen(function* () {
      const work = yield* measure((see) =>
        count(
          MeshStream.connect({ interest: Interest.all, policy }).pipe(
            MeshStream.filterTask(half),
            MeshStream.outputOnly
          ),
          see
        )
      )
      assert.isAbove(work.seen, events / 4)
      assert.isBelow(work.steps, 0.12)
      assert.isBelow(work.bytes, 900)
    })
  )

  it.live("MeshStream.connect through filterTask allocates nothing for unwanted messages", () =>
    Effect.gen(function* () {
      const work = yield* measure((see) =>
        count(MeshStream.connect({ interest: Interest.all, policy }).pipe(MeshStream.filterTask(ids.slice(0, 1))), see)
      )
      assert.isAbove(work.seen, events / tasks / 2)
      assert.isBelow(work.steps, 0.12)
      assert.isBelow(work.bytes, 350)
    })
  )

  it.live("MeshClient with one consumer takes steps by the batch", () =>
    Effect.gen(function* () {
      const work = yield* measure((see) =>
        Effect.scoped(
          Effect.gen(function* () {
            const client = yield* MeshClient.make({ policy })
            yield* count(client.events({ ...Interest.output(ids), all: true }, { capacity: batchSize }), see)
          })
        )
      )
      assert.isAtLeast(work.seen, events)
      assert.isBelow(work.steps, 0.15)
      assert.isBelow(work.bytes, 1400)
    })
  )

  it.live("MeshClient decodes no output without a subscription", () =>
    Effect.gen(function* () {
      const work = yield* measure((see) =>
        Effect.scoped(
          Effect.gen(function* () {
            const client = yield* MeshClient.make({ policy })
            yield* count(client.events({ ...Interest.output(ids.slice(0, 1)), all: true }), see)
          })
        )
      )
      assert.isAbove(work.seen, events / 5)
      assert.isBelow(work.steps, 0.15)
      assert.isBelow(work.bytes, 450)
    })
  )

  it.live("MeshClient with a consumer for each task takes steps by the consumer and the batch", () =>
    Effect.gen(function* () {
      const work = yield* measure((see) =>
        Effect.scoped(
          Effect.gen(function* () {
            const client = yield* MeshClient.make({ policy })
            yield* Effect.forEach(ids, (taskId) => Effect.exit(count(client.task(taskId), see)), {
              concurrency: "unbounded"
            })
          })
        )
      )
      assert.isAtLeast(work.seen, events)
      assert.isBelow(work.steps, 1)
      assert.isBelow(work.bytes, 1400)
    })
  )
})
