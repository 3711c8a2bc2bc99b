/**
 * `filterTask`: keeps the elements of given tasks.
 */
import { dual } from "effect/Function"
import * as Predicate from "effect/Predicate"
import * as Stream from "effect/Stream"
import { isLifecycle, type Lifecycle } from "../MeshEvent.ts"
import type * as ServerMessage from "../ServerMessage.ts"
import type { TaskId } from "../TaskId.ts"
import { isDataFirst, keptBy, toPredicate, type Kept, type NoUnknownOptions } from "../internal/operators.ts"
import * as Pushdown from "../internal/pushdown.ts"
import type { KeepOptions, Selector } from "./options.ts"

/**
 * The elements that `filterTask` accepts: events, and elements of other operators
 * with a `_tag` and a `taskId`.
 */
interface MaybeOfTask {
  readonly _tag: string
  readonly taskId?: TaskId | undefined
}

/** The elements of `A` that `filterTask` keeps. */
type OfTask<A> = Exclude<A, ServerMessage.ServerError | ServerMessage.UnknownMessage | Lifecycle>

/**
 * Keeps the elements of one task, of several tasks, or of the tasks whose id
 * satisfies a predicate.
 *
 * **When to use**
 *
 * Use it on a feed of many tasks. If a program needs only one task, request only that
 * task in the `Interest`: then the server does not send the others.
 *
 * **Details**
 *
 * - An element with a `taskId` passes if that task is selected: updates, output,
 *   `Restated`, and elements of other operators (`ToolUse`, `TaskLine`).
 * - Lifecycle elements are dropped unless `keep` selects them. A kept `Resync` passes
 *   if it names a selected task, or no task.
 * - `ServerError` and `UnknownMessage` name no task and are dropped. Use
 *   `serverErrors` on the feed itself to get errors.
 *
 * Ids are read when the operator is applied. Use a predicate if the selection
 * changes while the stream runs.
 *
 * Directly after `MeshStream.connect`, or after other filters there, messages of
 * other tasks are only validated and not decoded, which takes half the time. This
 * needs ids instead of a predicate.
 *
 * **Example** (One task of two)
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
 *   { _tag: "Connected", epoch: 1, at: 0 },
 *   { _tag: "TaskUpdated", taskId: a },
 *   { _tag: "TaskUpdated", taskId: b }
 * ])
 *
 * const one = feed.pipe(MeshStream.filterTask(a))
 * console.log(Effect.runSync(Stream.runCollect(one)).length) // 1
 * ```
 *
 * @category filters
 * @since 0.1.0
 */
export const filterTask: {
  <A extends MaybeOfTask, E, R, O extends KeepOptions = {}>(
    self: Stream.Stream<A, E, R>,
    tasks: Selector<TaskId>,
    options?: O & NoUnknownOptions<O, KeepOptions>
  ): Stream.Stream<OfTask<A> | Extract<A, Kept<O>>, E, R>
  <O extends KeepOptions = {}>(
    tasks: Selector<TaskId>,
    options?: O & NoUnknownOptions<O, KeepOptions>
  ): <A extends MaybeOfTask, E, R>(self: Stream.Stream<A, E, R>) => Stream.Stream<OfTask<A> | Extract<A, Kept<O>>, E, R>
} = dual(
  isDataFirst,
  <E, R>(self: Stream.Stream<MaybeOfTask, E, R>, tasks: Selector<TaskId>, options?: KeepOptions) => {
    const isSelected = toPredicate(tasks)
    const isKeptLifecycle = keptBy(options)
    const isKept = (event: MaybeOfTask) => {
      if (isLifecycleElement(event) && isKeptLifecycle?.(event) !== true) return false
      return event.taskId === undefined
        ? event._tag !== "ServerError" && event._tag !== "UnknownMessage"
        : isSelected(event.taskId)
    }
    return Predicate.isFunction(tasks)
      ? Stream.filter(self, isKept)
      : Pushdown.filter(self, (_, taskId) => isSelected(taskId), isKept)
  }
)

/** Elements of other operators have other tags, so the tag decides, and the cast is safe. */
const isLifecycleElement = (element: MaybeOfTask | Lifecycle): element is Lifecycle => isLifecycle(element as Lifecycle)
