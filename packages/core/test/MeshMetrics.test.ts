import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as Metric from "effect/Metric"
import * as References from "effect/References"
import * as Stream from "effect/Stream"
import * as Tracer from "effect/Tracer"
import * as Socket from "effect/socket/Socket"
import * as TestClock from "effect/testing/TestClock"
import * as ScriptedMesh from "@makima-stream/test-kit/ScriptedMesh"
import * as Interest from "../src/Interest.ts"
import * as MeshClient from "../src/MeshClient.ts"
import type { MeshEvent } from "../src/MeshEvent.ts"
import * as MeshMetrics from "../src/MeshMetrics.ts"
import * as MeshStream from "../src/MeshStream.ts"
import { TaskId } from "../src/TaskId.ts"
import { follow, settle } from "./support/follow.ts"
import { pauseAfterFirst } from "./support/slow.ts"

const a = TaskId.make("a")

/** A separate registry, so that it has no counts of other tests. */
const isolated = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.provideService(effect, Metric.MetricRegistry, new Map())

const connect = (mesh: ScriptedMesh.ScriptedMesh["Service"], interest = Interest.all) =>
  MeshStream.connect({ interest }).pipe(Stream.provideService(Socket.Socket, mesh.socket))

const count = (metric: Metric.Counter<number>, attributes?: Record<string, string>) =>
  Effect.map(
    Metric.value(attributes === undefined ? metric : Metric.withAttributes(metric, attributes)),
    (state) => state.count
  )

const gauge = (metric: Metric.Gauge<number>) => Effect.map(Metric.value(metric), (state) => state.value)

describe("MeshMetrics", () => {
  it.effect("metrics count dials, connections, downtime and gaps", () =>
    Effect.gen(function* () {
      const mesh = yield* ScriptedMesh.make()
      const { fiber } = yield* follow(connect(mesh))
      yield* mesh.awaitReceived(({ connection }) => connection === 1)
      yield* settle
      assert.strictEqual(yield* gauge(MeshMetrics.connectionsOpen), 1)
      yield* mesh.kill()
      yield* settle
      assert.strictEqual(yield* gauge(MeshMetrics.connectionsOpen), 0)
      yield* TestClock.adjust("2 seconds")
      yield* mesh.awaitReceived(({ connection }) => connection === 2)
      yield* settle
      assert.strictEqual(yield* count(MeshMetrics.dials), 2)
      assert.strictEqual(yield* gauge(MeshMetrics.epoch), 2)
      assert.strictEqual(yield* count(MeshMetrics.disconnects, { reason: "ConnectionLost" }), 1)
      assert.strictEqual(yield* count(MeshMetrics.gaps, { reason: "Reconnected" }), 1)
      assert.strictEqual((yield* Metric.value(MeshMetrics.downtime)).count, 1)
      yield* Fiber.interrupt(fiber)
      assert.strictEqual(yield* gauge(MeshMetrics.connectionsOpen), 0)
    }).pipe(isolated)
  )

  it.effect("metrics measure the downtime up to the confirmation, as the mark does", () =>
    Effect.gen(function* () {
      const mesh = yield* ScriptedMesh.make({ acknowledge: "manual" })
      const { events } = yield* follow(connect(mesh))
      yield* settle
      yield* mesh.acknowledge()
      yield* settle
      yield* mesh.kill()
      yield* TestClock.adjust("2 seconds")
      yield* settle
      yield* TestClock.adjust("3 seconds")
      assert.strictEqual((yield* Metric.value(MeshMetrics.downtime)).count, 0)
      yield* mesh.acknowledge()
      yield* settle
      const mark = events.at(-1)
      assert.deepStrictEqual(mark?._tag === "Resync" ? mark.reason : undefined, {
        _tag: "Reconnected",
        downMillis: (yield* Metric.value(MeshMetrics.downtime)).sum
      })
      assert.isAtLeast((yield* Metric.value(MeshMetrics.downtime)).sum, 4500)
    }).pipe(isolated)
  )

  it.effect("metrics count frames, bytes, events by kind and undecodable frames", () =>
    Effect.gen(function* () {
      const mesh = yield* ScriptedMesh.make({ acknowledge: "never" })
      yield* follow(connect(mesh))
      yield* mesh.awaitReceived(({ connection }) => connection === 1)
      yield* mesh.emit({ _tag: "TaskUpdated", taskId: a }, { _tag: "ServerError", code: "X", message: "" })
      yield* mesh.emitRaw("nonsense")
      yield* settle
      const bytes = (yield* mesh.sent).reduce((sum, { frame }) => sum + frame.length, 0)
      assert.strictEqual(yield* count(MeshMetrics.framesReceived), 3)
      assert.strictEqual(yield* count(MeshMetrics.bytesReceived), bytes)
      assert.strictEqual(yield* count(MeshMetrics.events, { kind: "TaskUpdated" }), 1)
      assert.strictEqual(yield* count(MeshMetrics.events, { kind: "ServerError" }), 1)
      assert.strictEqual(yield* count(MeshMetrics.decodeFailures), 1)
      assert.strictEqual(yield* count(MeshMetrics.gaps, { reason: "BadFrame" }), 1)
    }).pipe(isolated)
  )

  it.effect("metrics show the number of subscriptions, of queued events and of dropped events", () =>
    Effect.gen(function* () {
      const mesh = yield* ScriptedMesh.make({ acknowledge: "manual" })
      const client = yield* MeshClient.make().pipe(Effect.provideService(Socket.Socket, mesh.socket))
      yield* client.updates(a, { overflow: "sliding", capacity: 2 }).pipe(
        Stream.runForEach(() => Effect.never),
        Effect.forkScoped
      )
      yield* mesh.awaitReceived(({ connection }) => connection === 1)
      assert.strictEqual(yield* gauge(MeshMetrics.subscriptionsWanted), 1)
      assert.strictEqual(yield* gauge(MeshMetrics.subscriptionsConfirmed), 0)
      yield* mesh.acknowledge()
      yield* settle
      assert.strictEqual(yield* gauge(MeshMetrics.subscriptionsConfirmed), 1)
      for (let n = 0; n < 5; n++) yield* mesh.emit({ _tag: "TaskUpdated", taskId: a, version: n })
      yield* settle
      assert.strictEqual(yield* gauge(MeshMetrics.queueDepth), 2)
      // Three updates: the mark of the confirmation is lost, too, but is no event.
      assert.strictEqual(yield* count(MeshMetrics.eventsDropped), 3)
    }).pipe(isolated)
  )
})

describe("MeshMetrics of operators", () => {
  it.effect("metrics count each version gap that markGaps finds once", () =>
    Effect.gen(function* () {
      const versions = [1, 2, 5, 6, 9]
      const feed = Stream.fromIterable(versions).pipe(
        Stream.map((version): MeshEvent => ({ _tag: "TaskUpdated", taskId: a, version }))
      )
      yield* feed.pipe(MeshStream.markGaps, MeshStream.markGaps, Stream.runDrain)
      assert.strictEqual(yield* count(MeshMetrics.gaps, { reason: "VersionGap" }), 2)
    }).pipe(isolated)
  )

  for (const [name, buffer, lost] of [
    // One update reaches the consumer, two are queued, and the rest is dropped.
    ["sheddingBuffer", MeshStream.sheddingBuffer({ capacity: 2 }), 7],
    ["conflateUpdates", MeshStream.conflateUpdates({ capacity: 2 }), 8]
  ] as const) {
    it.effect(`metrics count the events that ${name} drops`, () =>
      Effect.gen(function* () {
        const feed = Stream.range(1, 10).pipe(
          Stream.rechunk(1),
          Stream.map((version): MeshEvent => ({ _tag: "TaskUpdated", taskId: a, version }))
        )
        const { resume } = yield* pauseAfterFirst(buffer(feed))
        yield* settle
        yield* resume
        assert.strictEqual(yield* count(MeshMetrics.eventsDropped), lost)
        assert.strictEqual(yield* count(MeshMetrics.gaps, { reason: "Overflow" }), 1)
      }).pipe(isolated)
    )
  }
})

describe("spans", () => {
  it.effect("spans describe each dial, session and subscription, without task ids and keys", () =>
    Effect.gen(function* () {
      const spans: Array<Tracer.Span> = []
      const tracer = Tracer.make({
        span: (options) => {
          const span = new Tracer.NativeSpan(options)
          spans.push(span)
          return span
        }
      })
      const mesh = yield* ScriptedMesh.make()
      yield* mesh.refuse(1, 503)
      const { fiber } = yield* follow(
        connect(mesh, Interest.output(a)).pipe(Stream.provideService(Tracer.Tracer, tracer))
      )
      yield* TestClock.adjust("2 seconds")
      yield* mesh.awaitReceived(({ connection }) => connection === 1)
      yield* settle
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(
        spans.map(({ name }) => name),
        ["makima.dial", "makima.dial", "makima.subscribe", "makima.session"]
      )
      const [refused, , subscribe, session] = spans
      assert.deepStrictEqual(Object.fromEntries(refused?.attributes ?? []), {
        "makima.epoch": 1,
        "makima.attempt": 0
      })
      assert.deepStrictEqual(Object.fromEntries(subscribe?.attributes ?? []), { "makima.requests": 1 })
      assert.isTrue(spans.every((span) => span.status._tag === "Ended"))
      assert.isTrue(refused?.status._tag === "Ended" && refused.status.exit._tag === "Failure")
      assert.strictEqual(session?.kind, "client")
    })
  )
})

describe("logs", () => {
  it.effect("logs are silent at the default level, structured at Debug, and never contain a payload", () =>
    Effect.gen(function* () {
      const lines: Array<string> = []
      const logger = Logger.layer([
        Logger.map(Logger.formatStructured, (line) => {
          lines.push(JSON.stringify(line))
        })
      ])
      const run = Effect.gen(function* () {
        const mesh = yield* ScriptedMesh.make()
        const { fiber } = yield* follow(connect(mesh))
        yield* mesh.awaitReceived(({ connection }) => connection === 1)
        yield* mesh.emitRaw("hunter2")
        yield* mesh.kill()
        yield* settle
        yield* Fiber.interrupt(fiber)
      }).pipe(Effect.provide(logger))
      yield* run
      assert.deepStrictEqual(lines, [])
      yield* run.pipe(Effect.provideService(References.MinimumLogLevel, "Debug"))
      assert.isAtLeast(lines.length, 2)
      assert.include(lines.join("\n"), `"epoch":1`)
      assert.notInclude(lines.join("\n"), "hunter2")
    })
  )
})
