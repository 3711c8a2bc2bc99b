/**
 * Serves the metrics as a page for Prometheus.
 *
 *     MAKIMA_API_KEY=… node examples/src/07_prometheus.ts --port 9464
 *     curl http://localhost:9464/metrics
 *
 * Here the collector pulls the metrics, where `06_otlp.ts` pushes them. Use it with
 * Prometheus or anything that reads its format.
 */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import * as PrometheusMetrics from "effect/observability/PrometheusMetrics"
import * as MeshClient from "@makima-stream/core/MeshClient"
import * as NodeMeshClient from "@makima-stream/node/NodeMeshClient"
import { createServer } from "node:http"
import * as Program from "@makima-stream/cli/Program"

/** The page at `/metrics`. Needs an `HttpServer`. */
export const layerPage = HttpRouter.serve(PrometheusMetrics.layerHttp(), {
  disableLogger: true,
  disableListenLog: true
})

/** Follows all tasks and serves the page until one of the two ends. Needs a `MeshClient` and an `HttpServer`. */
export const serve = Effect.gen(function* () {
  const client = yield* MeshClient.MeshClient
  yield* HttpServer.addressFormattedWith((address) => Console.log(`${address}/metrics`))
  yield* Effect.raceFirst(Stream.runDrain(client.everything()), Layer.launch(layerPage))
})

/** The command line of this program. */
export const command = Command.make(
  "prometheus",
  {
    port: Flag.Int("port").pipe(
      Flag.withDescription("The port of the page, from 0 to 65535; 0 for any free port. Defaults to 9464"),
      Flag.withSchema(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 65_535 }))),
      Flag.withDefault(9464)
    )
  },
  ({ port }) =>
    serve.pipe(
      Effect.provide([NodeMeshClient.layerConfig(), NodeHttpServer.layer(createServer, { port, host: "127.0.0.1" })])
    )
).pipe(Command.withDescription("Follows all tasks, and serves the metrics for Prometheus"))

if (Program.isMain(import.meta)) Program.main(command)
