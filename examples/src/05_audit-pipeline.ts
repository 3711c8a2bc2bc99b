/**
 * A backend pipeline: writes the output of all tasks, in batches, to a sink that
 * fails sometimes.
 *
 *     MAKIMA_API_KEY=… node examples/src/05_audit-pipeline.ts audit.jsonl
 *
 * Shows batches by number and by time (`groupedWithin`), a sink behind a service
 * with retries, and how to stop without losing what has arrived and without waiting
 * for a sink that does not recover. Use it to feed a log, a database or a queue.
 *
 * Its promise: **every loss of the feed is in the sink as a `Resync`.** While the
 * sink is slow or fails, the pipeline does not pull. The consumer's queue fills up,
 * the client stops reading, and TCP makes the server wait. A `Resync` opens each
 * stretch in which nothing is missing, and is written with the outputs.
 *
 * A batch is written twice if the sink fails after writing. So each batch has a
 * number, and a reader of the sink takes each number once.
 */
import * as NodeServices from "@effect/platform-node/NodeServices"
import type * as PlatformError from "effect/PlatformError"
import * as Console from "effect/Console"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as MeshClient from "@makima-stream/core/MeshClient"
import * as MeshEvent from "@makima-stream/core/MeshEvent"
import * as MeshStream from "@makima-stream/core/MeshStream"
import type * as MeshError from "@makima-stream/core/MeshError"
import * as NodeMeshClient from "@makima-stream/node/NodeMeshClient"
import * as Program from "@makima-stream/cli/Program"

/** Outputs and marks, in order. `batch` counts from 0. */
export const Batch = Schema.Struct({
  batch: Schema.Int,
  events: Schema.Array(MeshEvent.MeshEvent)
})

/** The destination of the batches. */
export class AuditSink extends Context.Service<
  AuditSink,
  { readonly append: (batch: typeof Batch.Type) => Effect.Effect<void, PlatformError.PlatformError> }
>()("@makima-stream/examples/AuditSink") {
  /** A file with one line of JSON for each batch. */
  static readonly layerFile = (path: string) =>
    Layer.effect(
      AuditSink,
      Effect.map(FileSystem.FileSystem, (fs) => ({
        append: (batch) =>
          Schema.encodeEffect(Schema.fromJsonString(Batch))(batch).pipe(
            // Events that the feed decoded can be encoded.
            Effect.orDie,
            Effect.flatMap((line) => fs.writeFileString(path, `${line}\n`, { flag: "a" }))
          )
      }))
    )
}

type Write<E> = (events: ReadonlyArray<MeshEvent.MeshEvent>, batch: number) => Effect.Effect<void, E>

/** Permanent failures, such as a missing folder or missing permissions. */
const hopeless: ReadonlySet<string> = new Set(["NotFound", "PermissionDenied", "BadResource", "BadArgument"])

const writeTo =
  (sink: AuditSink["Service"]): Write<PlatformError.PlatformError> =>
  (events, batch) =>
    sink.append({ batch, events }).pipe(
      Effect.tapError((error) => Effect.logWarning(`Batch ${batch} could not be written`, error.message)),
      Effect.retry({
        schedule: Schedule.jittered(Schedule.exponential("200 millis")),
        times: 9,
        while: ({ reason }) => !hopeless.has(reason._tag)
      })
    )

/** Passes all output to `write`, in batches, until the feed ends. */
const follow = Effect.fnUntraced(function* <E>(write: Write<E>) {
  const client = yield* MeshClient.MeshClient
  const end = yield* Deferred.make<void, MeshError.MeshError>()

  yield* client.everything().pipe(
    MeshStream.outputOnly({ keep: "resync" }),
    // A failure would drop the batch that is being collected. So the stream ends instead, and the failure is raised below.
    Stream.catch((error) => Stream.fromEffectDrain(Deferred.fail(end, error))),
    Stream.groupedWithin(100, "1 second"),
    Stream.zipWithIndex,
    Stream.runForEach(([events, batch]) => write(events, batch))
  )
  yield* Deferred.succeed(end, undefined)
  yield* Deferred.await(end)
})

/** Runs until the feed ends. Fails if a batch cannot be written in ten attempts: an audit must not have a hole. */
export const pipeline = Effect.flatMap(AuditSink, (sink) => follow(writeTo(sink)))

/**
 * Runs the pipeline until it is interrupted, and then writes what has arrived
 * before it stops. A sink that fails has 5 seconds for that. Prints the number of
 * events that it did not accept, since the file is then incomplete.
 */
export const untilStopped = Effect.gen(function* () {
  const client = yield* MeshClient.MeshClient
  const write = writeTo(yield* AuditSink)
  const timeIsUp = yield* Deferred.make<void>()
  let stopping = false
  let unwritten = 0
  const giveUp = (events: ReadonlyArray<MeshEvent.MeshEvent>) =>
    Effect.sync(() => {
      unwritten += events.filter(MeshEvent.isData).length
    })

  const running = yield* follow((events, batch) => {
    // After a batch that was not written, no later one is written: the file may end early, but it has no hole.
    if (unwritten > 0) return giveUp(events)
    return write(events, batch).pipe(
      Effect.catch((error) => (stopping ? giveUp(events) : Effect.fail(error))),
      Effect.raceFirst(Effect.andThen(Deferred.await(timeIsUp), giveUp(events)))
    )
  }).pipe(Effect.forkChild)

  const drain = Effect.gen(function* () {
    stopping = true
    yield* Deferred.succeed(timeIsUp, undefined).pipe(Effect.delay("5 seconds"), Effect.forkChild)
    yield* client.close
    yield* Fiber.await(running)
    // "At least": events that backpressure left in the network were never read, and cannot be counted.
    if (unwritten > 0) yield* Console.error(`Stopped, and at least ${unwritten} events were not written`)
  })
  yield* Fiber.join(running).pipe(Effect.onInterrupt(() => drain))
})

/** The command line of this program. */
export const command = Command.make("audit-pipeline", { path: Argument.String("file") }, ({ path }) =>
  untilStopped.pipe(
    Effect.provide([NodeMeshClient.layerConfig(), Layer.provide(AuditSink.layerFile(path), NodeServices.layer)])
  )
).pipe(Command.withDescription("Appends all output of all tasks to a file"))

if (Program.isMain(import.meta)) Program.main(command)
