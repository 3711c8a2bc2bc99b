/**
 * `conflateUpdates`: `shedQueue` between a feed and its consumer, set to
 * conflate at once and to shed nothing.
 */
import { dual } from "effect/Function"
import * as Stream from "effect/Stream"
import type { MeshEvent, Resync } from "../MeshEvent.ts"
import * as ShedRelay from "../internal/queue/shedRelay.ts"
import type { NoUnknownOptions } from "./options.ts"

/**
 * Options of `conflateUpdates`.
 *
 * @category options
 * @since 0.1.0
 */
export interface ConflateUpdatesOptions {
  /**
   * How many events are held for the consumer at most; when as many are held,
   * and none can be conflated, upstream waits. A fraction is rounded down; what
   * is not at least 1 means 1. Default: 1024.
   */
  readonly capacity?: number | undefined
}

/**
 * Gives a slow consumer only the newest update of each task, and every output.
 *
 * **When to use**
 *
 * Use it where an update is read as the task's present state (a board, a cache)
 * and the states in between are of no interest, while outputs are. With many
 * updates of few tasks, what waits for the consumer stays as small as the number
 * of tasks. Use `sheddingBuffer` to keep every update as long as there is room.
 *
 * **Details**
 *
 * While the consumer is busy, events wait for it. An update that comes while an
 * older one of the same task waits takes over what that one said: its
 * `updatedFields` are joined, and of every other member the newest stays. It
 * stands where the newer one came, so no status overtakes the output before it.
 *
 * Where an older update stood there is a `Resync` with the reason
 * `Overflow { dropped }`: `dropped` counts the updates that are missing at this
 * place, `taskId` is set when all were of one task, and `epoch` is that of the
 * last lifecycle element before it (0 before the first). Marks are not counted by
 * `capacity`: there is at most one for each event.
 *
 * Every output, partial or not, and `ServerError`, `UnknownMessage`,
 * `Connected`, `Disconnected` and `Resync` are passed on as they are, in their
 * order.
 *
 * A consumer that waits for the feed gets each batch as it comes, nothing
 * conflated. The end and the failure of the feed come after what is held. The
 * stream's scope owns the fiber that reads ahead.
 *
 * **Gotchas**
 *
 * Statuses between two updates are lost to a slow consumer: what counts runs, or
 * measures how long a status lasted, belongs before this operator.
 *
 * **Example** (The present state of each task)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Stream from "effect/Stream"
 * import * as MeshStream from "@makima-stream/core/MeshStream"
 * import * as TaskId from "@makima-stream/core/TaskId"
 *
 * const taskId = TaskId.make("7f1c")
 * const events = Stream.make(
 *   { _tag: "TaskUpdated", taskId, version: 1, status: "running" } as const,
 *   { _tag: "TaskUpdated", taskId, version: 2, status: "done" } as const
 * )
 *
 * // Stream<TaskUpdated | Resync>
 * const states = events.pipe(MeshStream.conflateUpdates)
 * const last = await Effect.runPromise(Stream.runLast(states))
 * console.log(last._tag === "Some" && last.value._tag === "TaskUpdated" && last.value.status) // done
 * ```
 *
 * @category shape
 * @since 0.1.0
 */
export const conflateUpdates: {
  /** Gives a slow consumer only the newest update of each task: see `conflateUpdates`. */
  <Arg extends Stream.Stream<MeshEvent, unknown, unknown> | ConflateUpdatesOptions = {}>(
    selfOrOptions?: Arg & NoUnknownOptions<Arg, ConflateUpdatesOptions>,
    options?: ConflateUpdatesOptions
  ): [Arg] extends [Stream.Stream<infer A, infer E, infer R>]
    ? Stream.Stream<A | Resync, E, R>
    : <A extends MeshEvent, E, R>(self: Stream.Stream<A, E, R>) => Stream.Stream<A | Resync, E, R>
} = dual(
  (args) => Stream.isStream(args[0]),
  <A extends MeshEvent, E, R>(
    self: Stream.Stream<A, E, R>,
    options?: ConflateUpdatesOptions
  ): Stream.Stream<A | Resync, E, R> =>
    Stream.transformPull(self, (pull, scope) =>
      ShedRelay.make(pull, scope, { capacity: options?.capacity ?? 1024, conflate: "always", shedPartials: false })
    )
)
