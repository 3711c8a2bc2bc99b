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
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as Command from "effect/cli/Command"
import * as Otlp from "effect/observability/Otlp"
import * as MeshClient from "@makima-stream/core/MeshClient"
import * as MeshStream from "@makima-stream/core/MeshStream"
import * as NodeMeshClient from "@makima-stream/node/NodeMeshClient"
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
