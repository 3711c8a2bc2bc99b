/**
 * Operators that end a stream of events when tasks have ended.
 */
import { dual } from "effect/Function"
import * as Predicate from "effect/Predicate"
import * as Stream from "effect/Stream"
import type { MeshEvent } from "../MeshEvent.ts"
import type { TaskId } from "../TaskId.ts"
import * as TaskStatus from "../TaskStatus.ts"
import { atLeast } from "../internal/bounds.ts"
import * as Versions from "../internal/projection/versions.ts"
import { isDataFirst, toPredicate } from "../internal/operators.ts"
import type { RestartOptions, Selector } from "./options.ts"

/**
 * Options of `untilTerminal`.
 *
 * @category options
 * @since 0.1.0
 */
export interface UntilTerminalOptions extends RestartOptions {
  /** The statuses that end a task. Defaults to `TaskStatus.defaultTerminal`. */
  readonly terminal?: Selector<string> | undefined
}

/**
 * Ends the stream when a task, or each of several tasks, has reached a terminal
 * status.
 *
 * **When to use**
 *
 * Use it to follow tasks until they end. The interest must include the updates of
 * the tasks, since output has no status.
 *
 * **Details**
 *
 * - The update with which the last task reaches a terminal status is the last
 *   element of the stream. Nothing is pulled after it, so the connection closes.
 * - All events pass, including those of other tasks, `Connected`, `Disconnected`
 *   and `Resync`. Use `filterTask` to drop those of other tasks.
 * - A task counts as ended from its first terminal status on, even if it is started
 *   again while other tasks still run.
 * - The highest version decides: a terminal status that arrives after a newer
 *   update of its task does not count (see `RestartOptions`).
 * - Without a task the stream ends at once.
 * - Memory: the given tasks that have not ended, and their versions.
 *
 * - A `Restated` of a `Repair` counts as an update, so an end that was lost in a gap is
 *   an end. A task that is `gone` has ended.
 *
 * **Gotchas**
 *
 * Without a `Repair`, a terminal status that was lost in a gap never arrives, and the
 * task sends nothing after it. Put `Repair.repair` before it, or limit the wait
 * (`Stream.timeout`, `Stream.interruptWhen`).
 *
 * **Example** (Following two tasks until they end)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Stream from "effect/Stream"
 * import * as MeshEvent from "@makima-stream/core/MeshEvent"
 * import * as MeshStream from "@makima-stream/core/MeshStream"
 * import * as TaskId from "@makima-stream/core/TaskId"
 *
 * const a = TaskId.make("a")
 * const b = TaskId.make("b")
 * const feed = Stream.fromIterable<MeshEvent.MeshEvent>([
 *   { _tag: "TaskUpdated", taskId: a, status: "done" },
 *   { _tag: "TaskUpdated", taskId: b, status: "failed" },
 *   { _tag: "TaskUpdated", taskId: b, status: "pending" }
 * ])
 *
 * const work = feed.pipe(MeshStream.untilTerminal([a, b]))
 * console.log(Effect.runSync(Stream.runCollect(work)).length) // 2
 * ```
 *
 * @category ends
 * @since 0.1.0
 */
export const untilTerminal: {
  <A extends MeshEvent, E, R>(
    self: Stream.Stream<A, E, R>,
    tasks: TaskId | Iterable<TaskId>,
    options?: UntilTerminalOptions
  ): Stream.Stream<A, E, R>
  (
    tasks: TaskId | Iterable<TaskId>,
    options?: UntilTerminalOptions
  ): <A extends MeshEvent, E, R>(self: Stream.Stream<A, E, R>) => Stream.Stream<A, E, R>
} = dual(
  isDataFirst,
  <A extends MeshEvent, E, R>(
    self: Stream.Stream<A, E, R>,
    tasks: TaskId | Iterable<TaskId>,
    options?: UntilTerminalOptions
  ): Stream.Stream<A, E, R> => {
    const all: ReadonlySet<TaskId> = new Set(Predicate.isString(tasks) ? [tasks] : tasks)
    const isTerminal = toPredicate(options?.terminal ?? TaskStatus.defaultTerminal)
    const restartAfter = atLeast(1, options?.restartAfter ?? Versions.defaultRestartAfter)
    if (all.size === 0) return Stream.empty
    return Stream.suspend(() => {
      const running = new Map<TaskId, Versions.Versions | undefined>()
      for (const task of all) running.set(task, undefined)
      let connections = 0
      return Stream.takeUntil(self, (event) => {
        if (Versions.isNewConnection(event)) connections++
        if ((event._tag !== "TaskUpdated" && event._tag !== "Restated") || !running.has(event.taskId)) return false
        if (event._tag === "Restated" && event.gone === true) return running.delete(event.taskId) && running.size === 0
        const { status, taskId, version } = event
        if (version !== undefined) {
          const before = running.get(taskId)
          const after = Versions.next(before, version, connections, restartAfter)
          running.set(taskId, after)
          if (!Versions.isNewer(before, after)) return false
        }
        return status !== undefined && isTerminal(status) && running.delete(taskId) && running.size === 0
      })
    })
  }
)
