/**
 * A cost meter: prints the total cost of all tasks when it changes.
 *
 *     MAKIMA_API_KEY=… node examples/src/02_cost-meter.ts
 *
 * Shows the shared client (`MeshClient`), which subscribes to the output of each
 * task that it sees (`everything`), and a projection (`CostLedger`), which counts
 * each result once. Use it for a meter, or for a budget with a limit.
 *
 * A result that was sent while the client was offline is not counted. So the meter
 * says "at least" after the first gap.
 */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as HashMap from "effect/HashMap"
import * as Stream from "effect/Stream"
import * as Command from "effect/cli/Command"
import * as CostLedger from "@makima-stream/core/CostLedger"
import * as MeshClient from "@makima-stream/core/MeshClient"
import * as NodeMeshClient from "@makima-stream/node/NodeMeshClient"
import * as Program from "@makima-stream/cli/Program"

/** A reading of the meter as text. */
export const toText = ({ outputGaps, rolledTasks, tasks, totalUsd, updateGaps }: CostLedger.CostLedger): string => {
  const count = HashMap.size(tasks) + rolledTasks
  return `${updateGaps + outputGaps === 0 ? "" : "at least "}$${totalUsd.toFixed(2)} for ${count} ${count === 1 ? "task" : "tasks"}`
}

/** The readings, without consecutive equal ones. Needs a `MeshClient`. */
export const readings = Stream.unwrap(
  Effect.map(MeshClient.MeshClient, (client) =>
    client.everything().pipe(CostLedger.scan, Stream.map(toText), Stream.changes)
  )
)

/** The command line of this program. */
export const command = Command.make("cost-meter", {}, () =>
  readings.pipe(
    Stream.runForEach((reading) => Console.log(reading)),
    Effect.provide(NodeMeshClient.layerConfig())
  )
).pipe(Command.withDescription("Prints the total cost of all tasks whenever it changes"))

if (Program.isMain(import.meta)) Program.main(command)
