/**
 * The consumer of a flood: `node --expose-gc consumer.ts <events|reconnects> <url> <count>`. Prints a line of JSON with its
 * resources after each tenth of the count, with its reachable objects after the first and the last tenth, and with the
 * seconds at the end.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Interest from "@makima-stream/core/Interest"
import * as MeshEvent from "@makima-stream/core/MeshEvent"
import * as MeshStream from "@makima-stream/core/MeshStream"
import * as NodeMeshSocket from "@makima-stream/node/NodeMeshSocket"
import * as Effect from "effect/Effect"
import * as References from "effect/References"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import { holdings, objects } from "./measure.ts"

const [mode = "", url = "", count = "0"] = process.argv.slice(2)
const total = Number(count)
const step = total / 10

let seen = 0
let next = step
let start = 0

const counts = (event: MeshEvent.MeshEvent): boolean =>
  mode === "events" ? !MeshEvent.isLifecycle(event) : event._tag === "Connected"

MeshStream.connect({
  interest: Interest.all,
  policy: { schedule: Schedule.spaced("1 millis"), minDelay: "1 millis" }
}).pipe(
  Stream.runForEachArray((batch) =>
    Effect.suspend(() => {
      start ||= performance.now()
      for (const event of batch) if (counts(event)) seen++
      if (seen >= next) {
        console.log(JSON.stringify({ seen, ...holdings() }))
        if (next === step || next >= total) console.log(JSON.stringify(objects()))
        next += step
      }
      return seen < total ? Effect.void : Effect.fail("enough" as const)
    })
  ),
  Effect.catch((error) => (error === "enough" ? Effect.void : Effect.fail(error))),
  Effect.andThen(Effect.sync(() => console.log(JSON.stringify({ seconds: (performance.now() - start) / 1000, seen })))),
  // The server closes every connection, so warnings about failed attempts are expected.
  Effect.provideService(References.MinimumLogLevel, "Error"),
  Effect.provide(NodeMeshSocket.layer({ url })),
  NodeRuntime.runMain
)
