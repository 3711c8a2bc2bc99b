/**
 * Snapshots of tasks out of a log, for `Repair`.
 *
 * @since 0.2.0
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type * as Repair from "@makima-stream/core/Repair"
import type { LogError } from "./LogError.ts"
import { lastPerTask, type MeshLog } from "./MeshLog.ts"

/**
 * Makes the `fetch` of a repair from a log: the newest update of each task.
 *
 * **When to use**
 *
 * Use it for a program that reads the feed itself while a relay keeps it: after a gap of
 * its own connection, the log knows the current state of the tasks.
 *
 * **Details**
 *
 * A snapshot has the version, the status and the changed fields of the newest update that
 * the log holds, by version. It has no costs.
 *
 * **Gotchas**
 *
 * The log is behind the server by the time that its relay needs, and a relay may have a gap
 * of its own. Let the repair run again with `every`. Do not set `complete`: retention removes
 * tasks from the log that still exist.
 *
 * **Example** (A board that is repaired from the log)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Stream from "effect/Stream"
 * import * as Repair from "@makima-stream/core/Repair"
 * import * as TaskId from "@makima-stream/core/TaskId"
 * import type * as MeshEvent from "@makima-stream/core/MeshEvent"
 * import * as MemoryLog from "@makima-stream/log/MemoryLog"
 * import * as Snapshots from "@makima-stream/log/Snapshots"
 *
 * const taskId = TaskId.make("7f1c")
 * const gap: MeshEvent.MeshEvent = { _tag: "Resync", epoch: 2, reason: { _tag: "Reconnected", downMillis: 900 } }
 * const program = Effect.gen(function* () {
 *   const log = yield* MemoryLog.make()
 *   yield* log.append([{ id: "u:7f1c:2", event: { _tag: "TaskUpdated", taskId, version: 2, status: "done" } }])
 *   return yield* Stream.make(gap).pipe(
 *     Stream.concat(Stream.never),
 *     Repair.repair({ fetch: Snapshots.fetch(log), spread: 0 }),
 *     Stream.takeUntil((event) => event._tag === "Repaired"),
 *     Stream.runCollect
 *   )
 * })
 * const events = await Effect.runPromise(program)
 * console.log(events.map((event) => event._tag)) // ["Resync", "Restated", "Repaired"]
 * ```
 *
 * @category repairs
 * @since 0.2.0
 */
export const fetch =
  (log: MeshLog["Service"]) =>
  (ask: Repair.Ask): Effect.Effect<ReadonlyArray<Repair.TaskSnapshot>, LogError> =>
    log.read({ from: lastPerTask, ...(ask._tag === "All" ? {} : { filter: { tasks: ask.taskIds } }) }).pipe(
      Stream.runCollect,
      Effect.map((entries) =>
        entries.flatMap(({ event }) => {
          if (event._tag !== "TaskUpdated") return []
          const { status, taskId, updatedFields, version } = event
          return [
            {
              taskId,
              ...(version === undefined ? {} : { version }),
              ...(status === undefined ? {} : { status }),
              ...(updatedFields === undefined ? {} : { updatedFields })
            }
          ]
        })
      )
    )
