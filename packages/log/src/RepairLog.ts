/**
 * Snapshots for a `Repair` from a log.
 *
 * @since 0.2.0
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type * as Repair from "@makima-stream/core/Repair"
import type { TaskUpdated } from "@makima-stream/core/ServerMessage"
import type { TaskId } from "@makima-stream/core/TaskId"
import type { LogError } from "./LogError.ts"
import * as MeshLog from "./MeshLog.ts"

/** The state of a task after one more update. The higher version is newer; an update without a version counts as newer. */
const fold = (before: TaskUpdated | undefined, update: TaskUpdated): TaskUpdated =>
  before === undefined
    ? update
    : before.version !== undefined && update.version !== undefined && update.version < before.version
      ? { ...update, ...before }
      : { ...before, ...update }

/**
 * Makes a `fetch` for `Repair` that reads a log.
 *
 * **When to use**
 *
 * Use it where another process fills the log (`Relay`), and is connected while this
 * process is not. A log that only this process writes has no more than its feed.
 *
 * **Details**
 *
 * It reads the newest update of each task (`MeshLog.lastPerTask`). If that has no status,
 * it also reads the earlier updates of the task.
 *
 * **Gotchas**
 *
 * - A message reaches the log later than this process, because it goes through the other
 *   process. Delay the fetch by more than that, so that the log has everything that was
 *   sent before the mark.
 * - `lastPerTask` reads only updates of the server, not `Restated` of a `Repair` in the
 *   other process.
 *
 * **Example** (The state of a task from a log)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as TaskId from "@makima-stream/core/TaskId"
 * import * as MemoryLog from "@makima-stream/log/MemoryLog"
 * import * as MeshLog from "@makima-stream/log/MeshLog"
 * import * as RepairLog from "@makima-stream/log/RepairLog"
 *
 * const taskId = TaskId.make("7f1c")
 * const program = Effect.gen(function* () {
 *   const log = yield* MeshLog.MeshLog
 *   yield* log.append([
 *     { id: "1", event: { _tag: "TaskUpdated", taskId, version: 1, status: "running" } },
 *     { id: "2", event: { _tag: "TaskUpdated", taskId, version: 2, status: "done" } }
 *   ])
 *   return yield* RepairLog.make(log)({ _tag: "All" })
 * })
 * const [task] = await Effect.runPromise(Effect.provide(program, MemoryLog.layer()))
 * console.log(task?.version, task?.status) // 2 done
 * ```
 *
 * @category constructors
 * @since 0.2.0
 */
export const make =
  (log: MeshLog.Service) =>
  (ask: Repair.Ask): Effect.Effect<ReadonlyArray<Repair.TaskSnapshot>, LogError> =>
    Effect.gen(function* () {
      const known = new Map<TaskId, TaskUpdated>()
      const read = (from: MeshLog.From, tasks: ReadonlyArray<TaskId> | undefined) =>
        MeshLog.events(log.read({ from, filter: { kind: "updates", ...(tasks === undefined ? {} : { tasks }) } })).pipe(
          Stream.runForEachArray((events) =>
            Effect.sync(() => {
              for (const event of events) {
                if (event._tag === "TaskUpdated") known.set(event.taskId, fold(known.get(event.taskId), event))
              }
            })
          )
        )
      yield* read(MeshLog.lastPerTask, ask._tag === "All" ? undefined : ask.taskIds)
      const partial = [...known.values()].filter(({ status }) => status === undefined)
      for (const { taskId } of partial) known.delete(taskId)
      if (partial.length > 0)
        yield* read(
          MeshLog.beginning,
          partial.map(({ taskId }) => taskId)
        )
      return [...known.values()].map(({ status, taskId, updatedFields, version }) => ({
        taskId,
        version,
        status,
        updatedFields
      }))
    })
