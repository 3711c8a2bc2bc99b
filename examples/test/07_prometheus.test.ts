import { assert, describe, it } from "@effect/vitest"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as Console from "effect/Console"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as MeshClient from "@makima-stream/core/MeshClient"
import * as ScriptedMesh from "@makima-stream/test-kit/ScriptedMesh"
import { createServer } from "node:http"
import { serve } from "../src/07_prometheus.ts"
import { a, settle, update } from "./support/mesh.ts"

/** A scrape: samples by their name and labels, and the types of the families. */
const parse = (page: string) => {
  const lines = page.trimEnd().split("\n")
  return {
    samples: new Map(
      lines.flatMap((line) => {
        const sample = /^([a-z_]+(?:\{[^}]*\})?) (\S+)$/.exec(line)
        return sample === null ? [] : [[sample[1], Number(sample[2])] as const]
      })
    ),
    types: new Map(
      lines.flatMap((line) => {
        const type = /^# TYPE (\S+) (\S+)$/.exec(line)
        return type === null ? [] : [[type[1], type[2]] as const]
      })
    )
  }
}

const online = (epoch: number) =>
  Effect.flatMap(MeshClient.MeshClient, ({ status }) =>
    SubscriptionRef.changes(status).pipe(
      Stream.takeUntil((state) => state._tag === "Online" && state.epoch === epoch),
      Stream.runDrain
    )
  )

describe("07 Prometheus", () => {
  it.live("serves a page with what was recorded until now, in the types of Prometheus", () =>
    Effect.gen(function* () {
      const mesh = yield* ScriptedMesh.ScriptedMesh
      const printed = yield* Deferred.make<string>()
      const console = {
        ...globalThis.console,
        log: (line: string) => Deferred.doneUnsafe(printed, Effect.succeed(line))
      }
      yield* serve.pipe(
        Effect.provide(NodeHttpServer.layer(createServer, { port: 0, host: "127.0.0.1" })),
        Effect.provideService(Console.Console, console),
        Effect.forkScoped
      )
      const url = yield* Deferred.await(printed)
      assert.match(url, /^http:\/\/127\.0\.0\.1:\d+\/metrics$/)
      const scrape = Effect.map(
        Effect.promise(() => fetch(url).then((response) => response.text())),
        parse
      )

      yield* online(1)
      yield* mesh.emit(update(a, "running"), update(a, "done"))
      yield* settle
      const first = yield* scrape
      assert.strictEqual(first.samples.get("makima_connections_open"), 1)
      assert.strictEqual(first.samples.get("makima_connection_epoch"), 1)
      assert.strictEqual(first.samples.get('makima_events{kind="TaskUpdated"}'), 2)
      assert.isUndefined(first.samples.get("makima_connection_downtime_count"))

      yield* mesh.kill()
      yield* online(2)
      const second = yield* scrape
      assert.strictEqual(second.samples.get("makima_connection_epoch"), 2)
      assert.strictEqual(second.samples.get('makima_connection_disconnects{reason="ConnectionLost"}'), 1)
      assert.strictEqual(second.samples.get('makima_gaps{reason="Reconnected"}'), 1)
      assert.strictEqual(second.samples.get("makima_connection_downtime_count"), 1)
      assert.deepStrictEqual(
        ["makima_events", "makima_connection_epoch", "makima_connection_downtime"].map((name) =>
          second.types.get(name)
        ),
        ["counter", "gauge", "histogram"]
      )
    }).pipe(
      Effect.provide(
        MeshClient.layer({ policy: { schedule: Schedule.spaced("1 millis"), minDelay: 1 } }).pipe(
          Layer.provideMerge(ScriptedMesh.layer())
        )
      ),
      Effect.provideService(Metric.MetricRegistry, new Map())
    )
  )
})
