import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as MeshClient from "@makima-stream/core/MeshClient"
import * as MeshEvent from "@makima-stream/core/MeshEvent"
import * as NodeMeshSocket from "@makima-stream/node/NodeMeshSocket"
import * as ChaosProxy from "../src/ChaosProxy.ts"
import * as MockMeshServer from "../src/MockMeshServer.ts"
import type { Sent } from "../src/ServerLog.ts"
import * as Workload from "../src/Workload.ts"

const turn = Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))

const workload = Workload.make({ tasks: 24, concurrency: 24 })

const isData = (entry: Sent): boolean => entry.message._tag === "TaskUpdated" || entry.message._tag === "TaskOutput"

/** Plays the workload to `client.everything()` through a proxy with a latency each way, in virtual time. */
const run = (latencyMillis: number) =>
  Effect.gen(function* () {
    const server = yield* MockMeshServer.make()
    const proxy = yield* ChaosProxy.make({ target: server.port })
    yield* proxy.shape({ latencyMillis })
    const start = yield* Clock.currentTimeMillis
    let arrived = 0
    const client = yield* MeshClient.make().pipe(Effect.provide(NodeMeshSocket.layer({ url: proxy.url })))
    yield* client.everything().pipe(
      Stream.runForEach((event) =>
        Effect.sync(() => {
          if (MeshEvent.isData(event)) arrived++
        })
      ),
      Effect.forkScoped
    )
    const step = Effect.andThen(TestClock.adjust(5), turn)
    const stepUntil = (condition: Effect.Effect<boolean>) =>
      Effect.repeat(Effect.andThen(step, condition), { until: (done) => done })

    yield* stepUntil(Effect.map(server.subscriptions, ({ all }) => all))
    const subscribedAfter = (yield* Clock.currentTimeMillis) - start
    const playing = yield* Effect.forkScoped(server.play(workload))
    yield* stepUntil(Effect.sync(() => playing.pollUnsafe() !== undefined))
    yield* Fiber.join(playing)
    const played = yield* Clock.currentTimeMillis
    const sent = Effect.map(
      server.log,
      (log) => log.filter((entry): entry is Sent => entry._tag === "Sent").filter(isData).length
    )
    yield* stepUntil(Effect.map(sent, (sent) => arrived >= sent))
    const tail = (yield* Clock.currentTimeMillis) - played
    const log = yield* server.log
    const first = log.find((entry) => entry._tag === "Sent" && isData(entry))?.at ?? 0
    const answer = log.find((entry) => entry._tag === "Received" && entry.message._tag === "SubscribeOutput")?.at ?? 0
    return {
      arrived,
      sent: yield* sent,
      unheard: log.filter(({ _tag }) => _tag === "Unheard").length,
      subscribedAfter,
      roundTrip: answer - first,
      tail
    }
  }).pipe(Effect.scoped)

describe("latency", () => {
  for (const latencyMillis of [0, 50, 150]) {
    it.effect(
      `a proxy with ${latencyMillis} ms each way delays a feed, loses no event and does not limit the rate`,
      () =>
        Effect.gen(function* () {
          const { arrived, roundTrip, sent, subscribedAfter, tail, unheard } = yield* run(latencyMillis)
          assert.strictEqual(workload.length, 396)
          assert.strictEqual(sent + unheard, 396)
          assert.strictEqual(arrived, sent)
          // The handshake takes one round trip, and the request half a round trip.
          assert.isAtLeast(subscribedAfter, 3 * latencyMillis)
          assert.isAtLeast(roundTrip, 2 * latencyMillis)
          // One delay in all, not one for each message.
          assert.isBelow(tail, latencyMillis + 1000)
        })
    )
  }
})
