/**
 * The metrics as a page for Prometheus.
 *
 *     MAKIMA_API_KEY=… node examples/src/07_prometheus.ts --port 9464
 *     curl http://localhost:9464/metrics
 *
 * Shows the other way to get at the metrics: they are asked for, not sent. Use it
 * where Prometheus, or something that speaks its format, does the collecting.
 */
import { NodeHttpServer } from "@effect/platform-node"
import { Console, Effect, Layer, Schema, Stream } from "effect"
import { Command, Flag } from "effect/cli"
import { HttpRouter, HttpServer } from "effect/http"
import { PrometheusMetrics } from "effect/observability"
import { MeshClient } from "@makima-stream/core"
import { NodeMeshClient } from "@makima-stream/node"
import { createServer } from "node:http"
import * as Cli from "./support/cli.ts"

/** The page at `/metrics`. Needs an `HttpServer`. */
export const layerPage = HttpRouter.serve(PrometheusMetrics.layerHttp(), {
  disableLogger: true,
  disableListenLog: true
})

/** Follows all tasks, and serves the page as long as that works. Needs a `MeshClient` and an `HttpServer`. */
export const serve = Effect.gen(function* () {
  const client = yield* MeshClient.MeshClient
  yield* HttpServer.addressFormattedWith((address) => Console.log(`${address}/metrics`))
  yield* Effect.raceFirst(Stream.runDrain(client.everything()), Layer.launch(layerPage))
})

const command = Command.make(
  "prometheus",
  {
    port: Flag.Int("port").pipe(
      Flag.withDescription("Where the page is served, from 0 to 65535; 0 is any port that is free. Default: 9464"),
      Flag.withSchema(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 65_535 }))),
      Flag.withDefault(9464)
    )
  },
  ({ port }) =>
    serve.pipe(
      Effect.provide([NodeMeshClient.layerConfig(), NodeHttpServer.layer(createServer, { port, host: "127.0.0.1" })])
    )
).pipe(Command.withDescription("Follows all tasks, and serves the metrics for Prometheus"))

if (Cli.isMain(import.meta)) Cli.main(command)
