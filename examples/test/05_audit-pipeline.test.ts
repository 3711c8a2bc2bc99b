import { assert, describe, it } from "@effect/vitest"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as PlatformError from "effect/PlatformError"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import * as TestConsole from "effect/testing/TestConsole"
import * as MeshClient from "@makima-stream/core/MeshClient"
import * as MeshEvent from "@makima-stream/core/MeshEvent"
import * as ScriptedMesh from "@makima-stream/test-kit/ScriptedMesh"
import { AuditSink, Batch, pipeline, untilStopped } from "../src/05_audit-pipeline.ts"
import { a, awaitOutput, awaitRequest, pass, said, settle, update } from "./support/mesh.ts"

const decode = Schema.decodeEffect(Schema.fromJsonString(Batch))

const broken = PlatformError.systemError({ _tag: "Busy", module: "FileSystem", method: "writeFileString" })

/** A sink in memory that fails for the attempts that `works` refuses. */
const memory = (works: (attempt: number) => boolean) => {
  const batches: Array<typeof Batch.Type> = []
  let attempts = 0
  const layer = Layer.succeed(AuditSink, {
    append: (batch) =>
      Effect.suspend(() => (works(++attempts) ? Effect.sync(() => batches.push(batch)) : Effect.fail(broken)))
  })
  return { batches, layer, events: (): ReadonlyArray<MeshEvent.MeshEvent> => batches.flatMap(({ events }) => events) }
}

/** The outputs of each connection, as its `Reconnected` marks separate them. */
const byConnection = (
  events: ReadonlyArray<MeshEvent.MeshEvent>
): ReadonlyArray<ReadonlyArray<MeshEvent.MeshEvent>> => {
  const pieces: Array<Array<MeshEvent.MeshEvent>> = [[]]
  for (const event of events) {
    if (event._tag !== "Resync") pieces.at(-1)?.push(event)
    else if (event.reason._tag === "Reconnected") pieces.push([])
  }
  return pieces
}

/** The outputs that a mesh sent on one connection. */
const outputsOn = (mesh: ScriptedMesh.ScriptedMesh["Service"], connection: number) =>
  Effect.map(mesh.sent, (sent) =>
    sent.flatMap((frame) =>
      frame.connection === connection && frame.message?._tag === "TaskOutput" ? [frame.message] : []
    )
  )

const start = Effect.gen(function* () {
  const mesh = yield* ScriptedMesh.ScriptedMesh
  yield* awaitRequest(mesh, 1)
  yield* mesh.emit(update(a, "running"))
  yield* awaitOutput(mesh, a)
  return mesh
})

const speak = (mesh: ScriptedMesh.ScriptedMesh["Service"], count: number) =>
  mesh.emit(...Array.from({ length: count }, (_, n) => said(a, `line ${n}`)))

describe("05 audit pipeline", () => {
  it.effect(
    "loses nothing on a connection, even if the sink fails every other time and the connection is cut twice",
    () =>
      Effect.gen(function* () {
        const sink = memory((attempt) => attempt % 2 === 0)
        yield* pipeline.pipe(Effect.provide([MeshClient.layer(), sink.layer]), Effect.forkScoped)
        const mesh = yield* start
        // More than the capacity of the consumer's queue. The connection is cut while most of it is still in flight.
        yield* speak(mesh, 1000)
        yield* mesh.kill()
        yield* pass(20)
        yield* awaitOutput(mesh, a, 2)
        yield* speak(mesh, 250)
        yield* mesh.kill()
        yield* pass(20)
        yield* awaitOutput(mesh, a, 3)
        yield* speak(mesh, 10)
        yield* pass(3)

        const pieces = byConnection(sink.events())
        assert.deepStrictEqual(
          pieces.map((piece) => piece.length),
          [1000, 250, 10]
        )
        for (const [n, piece] of pieces.entries()) assert.deepStrictEqual(piece, yield* outputsOn(mesh, n + 1))
        assert.deepStrictEqual(
          sink.batches.map(({ batch }) => batch),
          sink.batches.map((_, n) => n)
        )
        assert.isTrue(sink.batches.every(({ events }) => events.length <= 100))
      }).pipe(Effect.provide(ScriptedMesh.layer()))
  )

  it.effect("writes an incomplete batch after a second", () =>
    Effect.gen(function* () {
      const sink = memory(() => true)
      yield* pipeline.pipe(Effect.provide([MeshClient.layer(), sink.layer]), Effect.forkScoped)
      const mesh = yield* start
      yield* speak(mesh, 3)
      yield* settle
      yield* TestClock.adjust("999 millis")
      yield* settle
      assert.strictEqual(sink.batches.length, 0)
      yield* TestClock.adjust("1 millis")
      yield* settle
      assert.deepStrictEqual(
        sink.batches.map(({ events }) => events.filter(MeshEvent.isData).length),
        [3]
      )
    }).pipe(Effect.provide(ScriptedMesh.layer()))
  )

  it.effect("writes what has arrived before it fails with the feed", () =>
    Effect.gen(function* () {
      const sink = memory(() => true)
      const running = yield* pipeline.pipe(Effect.provide([MeshClient.layer(), sink.layer]), Effect.forkScoped)
      const mesh = yield* start
      yield* speak(mesh, 3)
      yield* mesh.close(1008, "the key was revoked")
      const error = yield* Effect.flip(Fiber.join(running))
      assert.strictEqual(error._tag, "MeshError")
      assert.strictEqual(sink.events().filter(MeshEvent.isData).length, 3)
    }).pipe(Effect.provide(ScriptedMesh.layer()))
  )

  it.effect("writes what has arrived before it stops, even if the sink fails at first", () =>
    Effect.gen(function* () {
      const sink = memory((attempt) => attempt > 1)
      const running = yield* untilStopped.pipe(Effect.provide([MeshClient.layer(), sink.layer]), Effect.forkScoped)
      const mesh = yield* start
      yield* speak(mesh, 3)
      yield* settle
      yield* Effect.forkChild(Fiber.interrupt(running))
      yield* pass(1)
      assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(running)))
      assert.strictEqual(sink.events().filter(MeshEvent.isData).length, 3)
      assert.strictEqual((yield* mesh.connections)[0]?.endedBy, "client")
    }).pipe(Effect.provide(ScriptedMesh.layer()))
  )

  it.effect("stops after five seconds if the sink does not recover, and prints how many events are missing", () =>
    Effect.gen(function* () {
      const sink = memory(() => false)
      const running = yield* untilStopped.pipe(Effect.provide([MeshClient.layer(), sink.layer]), Effect.forkScoped)
      const mesh = yield* start
      yield* speak(mesh, 250)
      yield* settle
      yield* Effect.forkChild(Fiber.interrupt(running))
      yield* pass(4)
      assert.isUndefined(running.pollUnsafe())
      yield* pass(1)
      const exit = running.pollUnsafe()
      assert.isTrue(exit !== undefined && Exit.hasInterrupts(exit))
      assert.deepStrictEqual(yield* TestConsole.errorLines, ["Stopped, and at least 250 events were not written"])
    }).pipe(Effect.provide(ScriptedMesh.layer()))
  )

  it.effect("fails at once if the sink does not exist", () =>
    Effect.gen(function* () {
      const missing = PlatformError.systemError({ _tag: "NotFound", module: "FileSystem", method: "writeFileString" })
      const sink = Layer.succeed(AuditSink, { append: () => Effect.fail(missing) })
      const running = yield* pipeline.pipe(Effect.provide([MeshClient.layer(), sink]), Effect.forkScoped)
      const mesh = yield* start
      yield* speak(mesh, 100)
      const error = yield* Effect.flip(Fiber.join(running))
      assert.strictEqual(error, missing)
    }).pipe(Effect.provide(ScriptedMesh.layer()))
  )

  it.effect("fails if the sink does not recover, instead of skipping a batch", () =>
    Effect.gen(function* () {
      const sink = memory(() => false)
      const running = yield* pipeline.pipe(Effect.provide([MeshClient.layer(), sink.layer]), Effect.forkScoped)
      const mesh = yield* start
      yield* speak(mesh, 100)
      yield* settle
      yield* pass(200)
      const error = yield* Effect.flip(Fiber.join(running))
      assert.strictEqual(error._tag, "PlatformError")
    }).pipe(Effect.provide(ScriptedMesh.layer()))
  )

  it.effect("writes one line for each batch to a file, and the lines can be decoded", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const path = `${yield* fs.makeTempDirectoryScoped()}/audit.jsonl`
      const batches: ReadonlyArray<typeof Batch.Type> = [
        { batch: 0, events: [said(a, "one\ntwo")] },
        { batch: 1, events: [{ _tag: "Resync", epoch: 2, reason: { _tag: "Reconnected", downMillis: 5 } }] }
      ]
      const sink = yield* Effect.provide(AuditSink, AuditSink.layerFile(path))
      yield* Effect.forEach(batches, sink.append)
      const lines = (yield* fs.readFileString(path)).trimEnd().split("\n")
      const read = yield* Effect.forEach(lines, (line) => decode(line))
      assert.deepStrictEqual(read, batches)
    }).pipe(Effect.provide(NodeServices.layer))
  )
})
