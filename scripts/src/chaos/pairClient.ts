/**
 * The consumer of a chaos run with two connections, one through each of two networks:
 * follows everything, and writes its events to a file.
 *
 * `node pairClient.ts <url> <url> <events file>`. Prints a line of JSON for each state
 * of the connections, and, when it is interrupted, with its figures.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Interest from "@makima-stream/core/Interest"
import * as Merge from "@makima-stream/core/Merge"
import * as MeshClient from "@makima-stream/core/MeshClient"
import * as NodeMeshSocket from "@makima-stream/node/NodeMeshSocket"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as References from "effect/References"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as Socket from "effect/socket/Socket"
import { openSync } from "node:fs"
import * as Lines from "./lines.ts"
import type * as Reports from "./reports.ts"
import { interval, deadline, taskIds } from "./settings.ts"

const [first = "", second = "", eventsFile = ""] = process.argv.slice(2)
const file = openSync(eventsFile, "a")

const faults: Array<string> = []
process.on("unhandledRejection", (reason) => faults.push(`unhandledRejection: ${String(reason)}`))
process.on("uncaughtException", (error) => faults.push(`uncaughtException: ${String(error)}`))

const print = (value: object): void => console.log(JSON.stringify(value))

// As the default schedule, forty times as fast.
const schedule = Schedule.exponential("50 millis").pipe(
  Schedule.modifyDelay(({ duration }) =>
    Effect.map(Random.next, (random) => Duration.times(Duration.min(duration, Duration.millis(750)), 0.5 + random / 2))
  )
)

const socket = (url: string) =>
  NodeMeshSocket.make({
    url,
    connectTimeout: "2 seconds",
    heartbeat: { interval: Duration.millis(interval), deadline: Duration.millis(deadline) }
  })

let events = 0

const stateOf = (connection: Merge.ConnectionStatus): string => {
  switch (connection._tag) {
    case "Online":
      return connection.isAligned ? "aligned" : "online"
    case "Offline":
      return `offline ${connection.reason._tag}`
    default:
      return connection._tag.toLowerCase()
  }
}

const program = Effect.gen(function* () {
  const client = yield* MeshClient.make({
    policy: { schedule, minDelay: "20 millis", stableAfter: "1 second" },
    connections: Merge.connections({ sockets: [yield* socket(second)] })
  }).pipe(Effect.provideService(Socket.Socket, yield* socket(first)))
  const epochs: Array<number> = []
  yield* SubscriptionRef.changes(client.status).pipe(
    Stream.runForEach(({ connections = [] }) =>
      Effect.sync(() => {
        const states = connections.map((each, i): Reports.State => {
          if (each._tag === "Online") epochs[i] = each.epoch
          return { state: stateOf(each), epoch: epochs[i] ?? 0 }
        })
        print({ _tag: "States", states, events })
      })
    ),
    Effect.forkScoped
  )
  yield* client.events(Interest.union(Interest.all, Interest.output(taskIds))).pipe(
    Stream.runForEachArray((batch) =>
      Effect.sync(() => {
        Lines.writeEvents(file, batch)
        events += batch.length
      })
    )
  )
})

program.pipe(
  Effect.scoped,
  Effect.ensuring(
    Effect.sync(() => print({ _tag: "Figures", events, faults, maxRssMiB: process.resourceUsage().maxRSS / 1024 }))
  ),
  // Standard output is for the lines above.
  Effect.provideService(References.MinimumLogLevel, "None"),
  NodeRuntime.runMain
)
