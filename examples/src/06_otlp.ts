/**
 * Metrics, spans and logs to an OpenTelemetry collector.
 *
 *     MAKIMA_API_KEY=… OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 node examples/src/06_otlp.ts
 *
 * Shows that there is nothing to switch on in the toolkit: it records metrics and
 * spans and writes its logs with Effect, and any exporter for Effect sends them
 * on. Here it is Effect's own, over HTTP. Add `--log-level debug` to export what
 * the connection says of itself too. A collector that is not there is told at that
 * level alone: if nothing arrives, look there first.
 *
 * `docs/telemetry.md` lists what arrives.
 */
import { NodeHttpClient } from "@effect/platform-node"
import { Config, Effect, Layer, Stream } from "effect"
import { Command } from "effect/cli"
import { Otlp } from "effect/observability"
import { MeshClient, MeshStream } from "@makima-stream/core"
import { NodeMeshClient } from "@makima-stream/node"
import * as Cli from "./support/cli.ts"

/** Sends everything to the collector at `baseUrl`, every few seconds and at the end. */
export const layerTelemetry = (baseUrl: string) =>
  Otlp.layerJson({ baseUrl, resource: { serviceName: "makima-follower", serviceVersion: "0.1.0" } }).pipe(
    Layer.provide(NodeHttpClient.layerFetch)
  )

/** Logs each change of a task's status. Needs a `MeshClient`. */
export const follow = Effect.gen(function* () {
  const client = yield* MeshClient.MeshClient
  yield* client.updates().pipe(
    MeshStream.statusChanges,
    Stream.runForEach(({ status, taskId }) =>
      Effect.logInfo("The status changed").pipe(
        Effect.annotateLogs({ "makima.task.id": taskId, "makima.task.status": status })
      )
    )
  )
})

const layerConfig = Layer.unwrap(
  Effect.map(
    Config.String("OTEL_EXPORTER_OTLP_ENDPOINT").pipe(Config.withDefault("http://localhost:4318")),
    layerTelemetry
  )
)

const command = Command.make("otlp", {}, () =>
  // The client dials with the tracer and the loggers that are beneath it.
  follow.pipe(Effect.provide(NodeMeshClient.layerConfig().pipe(Layer.provideMerge(layerConfig))))
).pipe(Command.withDescription("Follows all tasks, and exports metrics, spans and logs"))

if (Cli.isMain(import.meta)) Cli.main(command)
