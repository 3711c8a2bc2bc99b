/** A relay as a process: `relay.ts <file> <name>`. Prints its role at each change. */
import * as NodeMeshClient from "@makima-stream/node/NodeMeshClient"
import { writeSync } from "node:fs"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as MeshClient from "@makima-stream/core/MeshClient"
import * as Relay from "@makima-stream/log/Relay"
import * as SqliteLog from "@makima-stream/log/SqliteLog"

const [, , filename = "", name = ""] = process.argv

const program = Effect.gen(function* () {
  const client = yield* MeshClient.MeshClient
  const status = yield* SubscriptionRef.make<Relay.Status>({
    role: "standby",
    term: 0,
    isConnected: false,
    isAligned: false
  })
  yield* SubscriptionRef.changes(status).pipe(
    Stream.runForEach(({ isAligned, isConnected, role }) =>
      Effect.sync(() => {
        const words = [role, isConnected ? "connected" : "offline", isAligned ? "aligned" : "apart"]
        writeSync(1, `${words.join(" ")}\n`)
      })
    ),
    Effect.forkChild
  )
  yield* Relay.run(client.everything(), { relay: name, timeToLive: "1500 millis", skew: "300 millis", status })
})

const layer = Layer.merge(NodeMeshClient.layerConfig(), SqliteLog.layer({ filename, synchronous: "normal" }))
await Effect.runPromise(Effect.provide(program, layer))
