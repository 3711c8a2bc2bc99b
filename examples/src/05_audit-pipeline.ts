/**
 * A backend pipeline: all output of all tasks, in batches, into a sink that may
 * fail now and then.
 *
 *     MAKIMA_API_KEY=… node examples/src/05_audit-pipeline.ts audit.jsonl
 *
 * Shows batches by number and by time (`groupedWithin`), a sink behind a service
 * with retries, and how to stop without losing what has arrived. Use it to feed
 * a log, a database, a queue.
 *
 * What it promises: **between two `Resync`s nothing is lost.** While the sink is
 * slow or fails, nothing is pulled; the consumer's queue fills up, the client
 * stops reading, and TCP tells the server. Where the feed itself had to miss
 * something, a `Resync` stands among the outputs, and is kept with them.
 *
 * A batch may be written twice, if the sink fails after it has written. So each
 * has a number: whoever reads the sink takes each number once.
 */
import { NodeServices } from "@effect/platform-node"
import type { PlatformError } from "effect"
import { Context, Deferred, Effect, Fiber, FileSystem, Layer, Schedule, Schema, Stream } from "effect"
import { Argument, Command } from "effect/cli"
import { MeshClient, MeshEvent, MeshStream } from "@makima-stream/core"
import type { MeshError } from "@makima-stream/core"
import { NodeMeshClient } from "@makima-stream/node"
import * as Cli from "./support/cli.ts"

/** Outputs, and the gaps between them, in their order. `batch` counts from 0. */
export const Batch = Schema.Struct({
  batch: Schema.Int,
  events: Schema.Array(MeshEvent.MeshEvent)
})

/** Where the batches go. */
export class AuditSink extends Context.Service<
  AuditSink,
  { readonly append: (batch: typeof Batch.Type) => Effect.Effect<void, PlatformError.PlatformError> }
>()("@makima-stream/examples/AuditSink") {
  /** A file, one line of JSON a batch. */
  static readonly layerFile = (path: string) =>
    Layer.effect(
      AuditSink,
      Effect.map(FileSystem.FileSystem, (fs) => ({
        append: (batch) =>
          Schema.encodeEffect(Schema.fromJsonString(Batch))(batch).pipe(
            // What the feed decoded can be encoded.
            Effect.orDie,
            Effect.flatMap((line) => fs.writeFileString(path, `${line}\n`, { flag: "a" }))
          )
      }))
    )
}

/** Runs until the feed ends. A batch that cannot be written in some ten attempts fails it: an audit with a hole is none. */
export const pipeline = Effect.gen(function* () {
  const client = yield* MeshClient.MeshClient
  const sink = yield* AuditSink
  const end = yield* Deferred.make<void, MeshError.MeshError>()

  yield* client.everything().pipe(
    MeshStream.outputOnly({ keepResync: true }),
    // A failure would drop the batch that is being collected. As an end, it lets it through; it is raised below.
    Stream.catch((error) => Stream.fromEffectDrain(Deferred.fail(end, error))),
    Stream.groupedWithin(100, "1 second"),
    Stream.zipWithIndex,
    Stream.runForEach(([events, batch]) =>
      sink.append({ batch, events }).pipe(
        Effect.tapError((error) => Effect.logWarning(`Batch ${batch} could not be written`, error.message)),
        Effect.retry({ schedule: Schedule.jittered(Schedule.exponential("200 millis")), times: 9 })
      )
    )
  )
  yield* Deferred.succeed(end, undefined)
  yield* Deferred.await(end)
})

/** Runs the pipeline until it is interrupted, and then writes what has arrived before it stops. */
export const untilStopped = Effect.gen(function* () {
  const client = yield* MeshClient.MeshClient
  const running = yield* Effect.forkChild(pipeline)
  yield* Fiber.join(running).pipe(Effect.onInterrupt(() => Effect.andThen(client.close, Fiber.await(running))))
})

const command = Command.make("audit-pipeline", { path: Argument.String("file") }, ({ path }) =>
  untilStopped.pipe(
    Effect.provide([NodeMeshClient.layerConfig(), Layer.provide(AuditSink.layerFile(path), NodeServices.layer)])
  )
).pipe(Command.withDescription("Appends all output of all tasks to a file"))

if (Cli.isMain(import.meta)) Cli.main(command)
