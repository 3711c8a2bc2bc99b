import { assert, describe, it } from "@effect/vitest"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as MeshClient from "@makima-stream/core/MeshClient"
import * as TaskId from "@makima-stream/core/TaskId"
import type * as ReconnectPolicy from "@makima-stream/core/ReconnectPolicy"
import * as MockMeshServer from "@makima-stream/test-kit/MockMeshServer"
import * as NodeMeshClient from "../src/NodeMeshClient.ts"

/** Retries at once, also after a refused key. */
const patient: ReconnectPolicy.Options = {
  schedule: Schedule.spaced("10 millis"),
  minDelay: "1 millis",
  classify: () => "retry"
}

describe("NodeMeshClient", () => {
  it.live("reads its credentials in each attempt: ones that fail, ones that are stale, ones that are right", () =>
    Effect.gen(function* () {
      const server = yield* MockMeshServer.make({ apiKey: Redacted.make("new") })
      let reads = 0
      const apiKey = Effect.suspend(() => {
        reads++
        return reads === 1
          ? Effect.fail("the vault is closed")
          : Effect.succeed(Redacted.make(reads === 2 ? "old" : "new"))
      })
      yield* Effect.gen(function* () {
        const client = yield* MeshClient.MeshClient
        const reasons: Array<string> = []
        yield* client.updates().pipe(
          Stream.takeUntil((event) => event._tag === "Connected"),
          Stream.runForEach((event) =>
            Effect.sync(() => {
              if (event._tag === "Disconnected") reasons.push(event.reason._tag)
            })
          )
        )
        assert.deepStrictEqual(reasons, ["CredentialsFailed", "HandshakeRejected"])
        assert.strictEqual(reads, 3)
        // A key that was rotated while online is read at the next reconnect.
        yield* client.updates().pipe(
          Stream.tap((event) =>
            event._tag === "Resync" && event.reason._tag === "JoinedLate" ? server.kill() : Effect.void
          ),
          Stream.takeUntil((event) => event._tag === "Connected"),
          Stream.runDrain
        )
        assert.strictEqual(reads, 4)
      }).pipe(
        Effect.provide(NodeMeshClient.layer({ socket: { url: server.url, apiKey }, client: { policy: patient } }))
      )
    })
  )

  it.live("is configured from the environment, and shares one connection over real sockets", () =>
    Effect.gen(function* () {
      const server = yield* MockMeshServer.make({ apiKey: Redacted.make("from the environment") })
      const a = TaskId.make("a")
      yield* Effect.gen(function* () {
        const client = yield* MeshClient.MeshClient
        const first = yield* client.output(a).pipe(
          Stream.filter((event) => event._tag === "TaskOutput"),
          Stream.runHead,
          Effect.forkChild
        )
        yield* client.awaitOnline
        yield* server.awaitReceived(({ message }) => message._tag === "SubscribeOutput")
        yield* server.emit({ _tag: "TaskOutput", taskId: a, messageType: "raw", content: "x" })
        yield* Fiber.join(first)
        assert.strictEqual((yield* server.connections).length, 1)
        assert.strictEqual(SubscriptionRef.getUnsafe(client.status)._tag, "Online")
        yield* client.close
        const closed = yield* server.awaitEntry((entry) => entry._tag === "Closed")
        assert.deepInclude(closed, { by: "client", code: 1000 })
      }).pipe(
        Effect.provide(
          NodeMeshClient.layerConfig().pipe(
            Layer.provide(
              ConfigProvider.layer(
                ConfigProvider.fromUnknown({ MAKIMA_API_URL: server.url, MAKIMA_API_KEY: "from the environment" })
              )
            )
          )
        )
      )
    })
  )
})
