/**
 * The consumer of a chaos run: follows everything, and writes its events to a file. It
 * sends the number of the dial as its key, so that the server can identify the
 * connection.
 *
 * `node client.ts <url> <events file>`. Prints a line of JSON for each `Connected` and
 * `Disconnected`, for the first message of each connection, and, when it is interrupted,
 * with its figures.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Interest from "@makima-stream/core/Interest"
import * as MeshEvent from "@makima-stream/core/MeshEvent"
import * as MeshStream from "@makima-stream/core/MeshStream"
import * as NodeMeshSocket from "@makima-stream/node/NodeMeshSocket"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Redacted from "effect/Redacted"
import * as References from "effect/References"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import { openSync } from "node:fs"
import * as Lines from "./lines.ts"
import { deadline, interval, taskIds } from "./settings.ts"

const [url = "", eventsFile = ""] = process.argv.slice(2)
const file = openSync(eventsFile, "a")
const dialsFile = openSync(Lines.dialsOf(eventsFile), "a")

const faults: Array<string> = []
process.on("unhandledRejection", (reason) => faults.push(`unhandledRejection: ${String(reason)}`))
process.on("uncaughtException", (error) => faults.push(`uncaughtException: ${String(error)}`))

const print = (value: object): void => console.log(JSON.stringify(value))

// Like the default schedule, but forty times as fast.
const schedule = Schedule.exponential("50 millis").pipe(
  Schedule.modifyDelay(({ duration }) =>
    Effect.map(Random.next, (random) => Duration.times(Duration.min(duration, Duration.millis(750)), 0.5 + random / 2))
  )
)

let dials = 0
let silent = true
let events = 0

MeshStream.connect({
  interest: Interest.union(Interest.all, Interest.output(taskIds)),
  policy: { schedule, minDelay: "20 millis", stableAfter: "1 second" }
}).pipe(
  Stream.runForEachArray((batch) =>
    Effect.sync(() => {
      Lines.writeEvents(file, batch)
      events += batch.length
      for (const event of batch) {
        if (event._tag === "Connected") {
          silent = true
          // There is no dial while a consumer handles an event.
          Lines.writeDial(dialsFile, { dial: dials, is: event.epoch })
          print({ _tag: event._tag, epoch: event.epoch })
        } else if (event._tag === "Disconnected") {
          print({ _tag: event._tag, epoch: event.epoch, reason: event.reason._tag })
        } else if (silent && !MeshEvent.isLifecycle(event)) {
          silent = false
          print({ _tag: "Heard" })
        }
      }
    })
  ),
  Effect.ensuring(
    Effect.sync(() => print({ _tag: "Figures", events, faults, maxRssMiB: process.resourceUsage().maxRSS / 1024 }))
  ),
  Effect.provide(
    NodeMeshSocket.layer({
      url,
      apiKey: Effect.sync(() => Redacted.make(String(++dials))),
      connectTimeout: "2 seconds",
      heartbeat: { interval: Duration.millis(interval), deadline: Duration.millis(deadline) }
    })
  ),
  // Standard output is for the lines above.
  Effect.provideService(References.MinimumLogLevel, "None"),
  NodeRuntime.runMain
)
