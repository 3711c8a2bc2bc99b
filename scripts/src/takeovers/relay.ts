/**
 * A relay as a process: `relay.ts <engine> <file or port> <name> [<step>]`. Prints its status
 * at each change. With a step of an append to SQLite it kills itself at that step of its
 * third append of output.
 */
import * as NodeMeshClient from "@makima-stream/node/NodeMeshClient"
import { writeSync } from "node:fs"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as MeshClient from "@makima-stream/core/MeshClient"
import { MeshLog } from "@makima-stream/log/MeshLog"
import * as Relay from "@makima-stream/log/Relay"
import * as Engines from "./engines.ts"
import { skew, tasks, timeToLive, type Line } from "./settings.ts"

const [, , engine = "", location = "", name = "", killAt] = process.argv

/** The fault that the package's own tests inject, by its key. */
const Faults = Context.Reference<{ readonly at: (step: string) => void } | undefined>(
  "@makima-stream/log/SqliteLog/Faults",
  { defaultValue: () => undefined }
)

let isReady = false
let appends = 0
const fault = {
  at: (step: string) => {
    if (!isReady) return
    if (step === "begin") appends++
    if (step === killAt && appends >= 3) process.kill(process.pid, "SIGKILL")
  }
}

const program = Effect.gen(function* () {
  const client = yield* MeshClient.MeshClient
  const status = yield* SubscriptionRef.make<Relay.Status>({
    role: "standby",
    term: 0,
    isConnected: false,
    isAligned: false
  })
  const print = Effect.sync(() => {
    const line: Line = { ...SubscriptionRef.getUnsafe(status), isReady }
    writeSync(1, `${JSON.stringify(line)}\n`)
  })
  yield* SubscriptionRef.changes(status).pipe(
    Stream.runForEach(() => print),
    Effect.forkChild
  )
  const heard = new Set<string>()
  const feed = client.everything().pipe(
    Stream.tap((event) => {
      if (isReady || event._tag !== "TaskOutput") return Effect.void
      heard.add(event.taskId)
      isReady = heard.size === tasks.length
      return isReady ? print : Effect.void
    })
  )
  yield* Relay.run(feed, { relay: name, timeToLive, skew, status })
})

const log = Layer.effect(
  MeshLog,
  Effect.provideService(
    Engines.open(engine === "sqlite" ? "sqlite" : "jetstream", location),
    Faults,
    killAt === undefined ? undefined : fault
  )
)
await Effect.runPromise(Effect.provide(program, Layer.merge(NodeMeshClient.layerConfig(), log)))
