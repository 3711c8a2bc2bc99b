/**
 * Snapshots for a `Repair` from a log: what the log knows of each task.
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

/** The state of a task after one more update: the higher version decides, and one without a version counts as newer. */
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
 * Use it where another process keeps the feed (`Relay`), and is connected while this
 * one is not. A log that only this process writes knows no more than its feed.
 *
 * **Details**
 *
 * It reads the newest update of each task (`MeshLog.lastPerTask`). If that has no status,
 * it also reads the earlier updates of the task.
 *
 * **Gotchas**
 *
 * - The log lags behind the server by the way through the other process. Delay the fetch
 *   by more than that, so that the log has what was sent before the mark.
 * - `lastPerTask` looks at updates of the server only, not at what a `Repair` of the other
 *   process has restated.
 *
 * **Example** (What the log knows)
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
  (log: MeshLog.MeshLog["Service"]) =>
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
