/**
 * `filterTask`: what concerns given tasks.
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
 * What `filterTask` takes: events, and whatever other operators made of them,
 * as long as it is tagged and names its task in `taskId`.
 */
interface MaybeOfTask {
  readonly _tag: string
  readonly taskId?: TaskId | undefined
}

/**
 * What `filterTask` lets through of the elements `A`.
 *
 * @category models
 * @since 0.1.0
 */
export type OfTask<A> = Exclude<A, ServerMessage.ServerError | ServerMessage.UnknownMessage | Lifecycle>

/**
 * Keeps what concerns one task, several tasks, or the tasks whose id a predicate
 * takes.
 *
 * **When to use**
 *
 * Use it on a feed of many tasks. Where one task is all that a program wants,
 * say so in the `Interest` as well: then the rest is never sent.
 *
 * **Details**
 *
 * - An element with a `taskId` passes where that task is meant. This goes for
 *   updates, output, `Restated`, and for what other operators make (`ToolUse`, `TaskLine`).
 * - `Connected`, `Disconnected`, `Resync`, `Repaired` and `RepairFailed` are dropped,
 *   unless `keep` asks for them. A `Resync` that is kept passes if it names such a task, or no task.
 * - `ServerError` and `UnknownMessage` name no task and are dropped. Take them
 *   from the feed itself with `serverErrors`.
 *
 * Ids are read when the operator is put on a stream. Use a predicate for a
 * choice that changes while the stream runs.
 *
 * Right behind `MeshStream.connect`, or behind other filters there, messages of
 * tasks whose ids are not given are only made sure to be messages, and not
 * decoded: half the work.
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
    const isMeant = toPredicate(tasks)
    const isKeptLifecycle = keptBy(options)
    const isKept = (event: MaybeOfTask) => {
      if (isLifecycleElement(event) && isKeptLifecycle?.(event) !== true) return false
      return event.taskId === undefined
        ? event._tag !== "ServerError" && event._tag !== "UnknownMessage"
        : isMeant(event.taskId)
    }
    return Predicate.isFunction(tasks)
      ? Stream.filter(self, isKept)
      : Pushdown.filter(self, (_, taskId) => isMeant(taskId), isKept)
  }
)

/** Elements of other operators have other tags, so the tag decides, and the cast is safe. */
const isLifecycleElement = (element: MaybeOfTask | Lifecycle): element is Lifecycle => isLifecycle(element as Lifecycle)
