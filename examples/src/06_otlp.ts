/**
 * Exports metrics, spans and logs to an OpenTelemetry collector.
 *
 *     MAKIMA_API_KEY=… OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 node examples/src/06_otlp.ts
 *
 * The toolkit needs no switch for this: it records metrics, spans and logs with
 * Effect, and any exporter for Effect sends them. This is Effect's own exporter, over
 * HTTP. Add `--log-level debug` to export the logs of the connection too. At that
 * level the exporter also logs a collector that it cannot reach: look there first if
 * nothing arrives.
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
import * as Program from "@makima-stream/cli/Program"

/** Exports everything to the collector at `baseUrl`, every few seconds and at the end. */
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

/** The command line of this program. */
export const command = Command.make("otlp", {}, () =>
  // The client uses the tracer and the loggers of the layers below it.
  follow.pipe(Effect.provide(NodeMeshClient.layerConfig().pipe(Layer.provideMerge(layerConfig))))
).pipe(Command.withDescription("Follows all tasks, and exports metrics, spans and logs"))

if (Program.isMain(import.meta)) Program.main(command)
