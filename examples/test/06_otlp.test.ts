import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Metric from "effect/Metric"
import * as Redacted from "effect/Redacted"
import * as References from "effect/References"
import * as Schedule from "effect/Schedule"
import * as MeshMetrics from "@makima-stream/core/MeshMetrics"
import * as NodeMeshClient from "@makima-stream/node/NodeMeshClient"
import * as MockMeshServer from "@makima-stream/test-kit/MockMeshServer"
import { follow, layerTelemetry } from "../src/06_otlp.ts"
import { a, update } from "./support/mesh.ts"
import * as Receiver from "./support/receiver.ts"

const key = "sk-canary-7f1c"
const payload = "payload-canary-7f1c"

/** Every object of a JSON value that has the given member. */
const having = (value: unknown, member: string): ReadonlyArray<Record<string, unknown>> => {
  if (typeof value !== "object" || value === null) return []
  const inner = Object.values(value).flatMap((child) => having(child, member))
  return member in value ? [value as Record<string, unknown>, ...inner] : inner
}

const bodies = (collector: Receiver.Receiver, path: string): ReadonlyArray<unknown> =>
  collector.requests.filter((request) => request.path === path).map(({ body }) => JSON.parse(body))

/**
 * Follows a server that refuses a dial, sends an invalid frame, loses the
 * connection and accepts again. Returns the requests to the collector.
 */
const scenario = Effect.gen(function* () {
  const apiKey = Redacted.make(key)
  const server = yield* MockMeshServer.make({ apiKey })
  const collector = yield* Receiver.make
  const roundTrip = yield* Deferred.make<void>()
  const statuses: Array<unknown> = []
  const logged = yield* Deferred.make<void>()
  // In addition to the exporter's logger, and instead of the logger that prints.
  const watching = Logger.layer([
    Logger.make(({ message }) => {
      if (String(message) === "The status changed" && statuses.push(message) === 2)
        Deferred.doneUnsafe(logged, Effect.void)
    })
  ])
  const client = NodeMeshClient.layer({
    socket: {
      url: server.url,
      apiKey,
      heartbeat: { interval: "20 millis", onRoundTrip: () => Deferred.succeed(roundTrip, undefined) }
    },
    client: { policy: { schedule: Schedule.spaced("1 millis") } }
  })
  const telemetry = layerTelemetry(collector.url).pipe(Layer.provideMerge(watching))
  yield* server.refuse(1, 503)
  const following = yield* follow.pipe(
    Effect.provide(client.pipe(Layer.provideMerge(telemetry))),
    Effect.provideService(References.MinimumLogLevel, "Debug"),
    Effect.provideService(Metric.MetricRegistry, new Map()),
    Effect.forkScoped
  )
  yield* server.awaitReceived(({ connection }) => connection === 1)
  yield* server.emit({ ...update(a, "running"), updatedBy: payload, updatedFields: [payload] })
  yield* server.emitRaw(`${payload} {`)
  yield* Deferred.await(roundTrip)
  yield* server.kill()
  yield* server.awaitReceived(({ connection }) => connection === 2)
  yield* server.emit(update(a, "failed"))
  yield* Deferred.await(logged)
  yield* Fiber.interrupt(following)
  return collector
})

describe("06 OTLP", () => {
  it.live("exports the metrics with their units and attributes", () =>
    Effect.gen(function* () {
      const collector = yield* scenario
      const metrics = having(bodies(collector, "/v1/metrics").at(-1), "description")
      const names = metrics.map(({ name }) => name)
      // The only consumer is not slow, and does not follow everything. There is one connection.
      const notRecorded = new Set<string>(
        [
          MeshMetrics.eventsDropped,
          MeshMetrics.consumerStalls,
          MeshMetrics.discoveredTasks,
          MeshMetrics.forgottenTasks,
          MeshMetrics.connectionsAligned,
          MeshMetrics.mergeDisagreements
        ].map(({ id }) => id)
      )
      const expected = Object.values(MeshMetrics)
        .filter(Metric.isMetric)
        .map(({ id }) => id)
        .filter((id) => !notRecorded.has(id))
      assert.includeMembers(names, expected)

      const text = (name: string) => JSON.stringify(metrics.find((metric) => metric.name === name))
      assert.include(text("makima.connection.downtime"), `"unit":"ms"`)
      assert.include(text("makima.bytes.received"), `"unit":"By"`)
      assert.include(text("makima.connection.disconnects"), "HandshakeRejected")
      assert.include(text("makima.connection.disconnects"), "ConnectionLost")
      assert.include(text("makima.gaps"), "Reconnected")
      assert.include(text("makima.gaps"), "BadFrame")
      assert.include(text("makima.events"), "TaskUpdated")
    })
  )

  it.live("exports the spans, and the reason of a dial that failed", () =>
    Effect.gen(function* () {
      const collector = yield* scenario
      const spans = bodies(collector, "/v1/traces").flatMap((body) => having(body, "spanId"))
      assert.deepStrictEqual(
        new Set(spans.map(({ name }) => name)),
        new Set(["makima.dial", "makima.session", "makima.subscribe"])
      )
      const dials = spans.filter(({ name }) => name === "makima.dial")
      assert.deepStrictEqual(
        dials.map(({ status }) => status),
        [
          { code: 2, message: "The server refused the connection with HTTP status 503 (Service Unavailable)" },
          { code: 1 },
          { code: 1 }
        ]
      )
    })
  )

  it.live("exports the program's logs, and at the level Debug those of the connection", () =>
    Effect.gen(function* () {
      const collector = yield* scenario
      const logs = JSON.stringify(bodies(collector, "/v1/logs"))
      assert.include(logs, "The status changed")
      assert.include(logs, "Connected to the task feed")
      assert.include(logs, "Disconnected from the task feed")
    })
  )

  it.live("exports neither the key nor the content of a message", () =>
    Effect.gen(function* () {
      const { requests } = yield* scenario
      assert.isNotEmpty(requests)
      for (const { body } of requests) {
        assert.notInclude(body, key)
        assert.notInclude(body, payload)
      }
    })
  )
})
