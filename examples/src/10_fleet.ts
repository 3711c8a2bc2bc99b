/**
 * A fleet: several processes share one durable reader of a log.
 *
 *     node examples/src/10_fleet.ts --servers nats://localhost:4222 &
 *     node examples/src/10_fleet.ts --servers nats://localhost:4222 &
 *     node examples/src/10_fleet.ts --servers nats://localhost:4222
 *
 * Each process prints the results that agents report, and acknowledges them. Start
 * as many as there is work for, and stop any of them at any time.
 *
 * Its promise: **every result is printed at least once, and the results of a task are
 * printed in order.** A task belongs to one process at a time. When a process ends, the
 * others take its tasks at once. When it is killed, they take them after ten seconds,
 * and start after the last result that it had acknowledged.
 *
 * A relay fills the log: `makima-stream relay --log nats://localhost:4222`. The program
 * uses only the interface `MeshLog`, so it also runs on a log in SQLite, where the
 * processes share a file.
 */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as MeshEvent from "@makima-stream/core/MeshEvent"
import * as MeshLog from "@makima-stream/log/MeshLog"
import * as JetStreamLog from "@makima-stream/nats/JetStreamLog"
import * as Program from "@makima-stream/cli/Program"

/** The name that the processes share. The log keeps what was acknowledged under it. */
const name = "results"

/** Handles the results of the tasks of this process, until it is interrupted. */
export const worker = <E, R>(
  handle: (event: MeshEvent.MeshEvent) => Effect.Effect<void, E, R>,
  options?: MeshLog.ConsumerOptions
) =>
  Effect.gen(function* () {
    const log = yield* MeshLog.MeshLog
    const consumer = yield* log.consumer(name, {
      // The relay's gaps come with the results, because a task may have ended in one.
      filter: { messageTypes: "result", keep: "resync" },
      ...options
    })
    yield* Stream.runForEach(consumer.entries, (entry) =>
      // Acknowledged after it was handled, so that an unfinished result is delivered again.
      Effect.andThen(handle(entry.event), consumer.acknowledge(entry))
    )
  }).pipe(Effect.scoped)

const print = (event: MeshEvent.MeshEvent): Effect.Effect<void> => {
  if (MeshEvent.isTaskOutput(event)) return Console.log(event.taskId, `$${(event.costUsd ?? 0).toFixed(2)}`)
  return MeshEvent.isResync(event) ? Console.error(`gap: ${event.reason._tag}`) : Effect.void
}

const servers = Flag.String("servers").pipe(
  Flag.withDescription("The NATS servers, separated by commas"),
  Flag.withDefault("nats://localhost:4222")
)

/** The command line of this program. */
export const command = Command.make("fleet", { servers }, ({ servers }) =>
  Effect.provide(worker(print), JetStreamLog.layer({ servers: servers.split(",") }))
).pipe(Command.withDescription("Prints the results of all tasks, together with the other processes that run it"))

if (Program.isMain(import.meta)) Program.main(command)
