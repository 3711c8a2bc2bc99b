/**
 * Buffers that drop the events that a slow consumer needs least: `sheddingBuffer` and
 * `conflateUpdates`, two configurations of `internal/queue/shedQueue`.
 */
import { dual } from "effect/Function"
import type * as Stream from "effect/Stream"
import type { MeshEvent, Resync } from "../MeshEvent.ts"
import * as ShedRelay from "../internal/queue/shedRelay.ts"
import { isDataFirst, type NoUnknownOptions } from "../internal/operators.ts"

/**
 * Options of `sheddingBuffer` and `conflateUpdates`.
 *
 * @category options
 * @since 0.2.0
 */
export interface BufferOptions {
  /**
   * The most events that are queued for the consumer. With a small capacity, a short
   * pause of the consumer already drops events; with a large one, the consumer reads
   * old events after a long pause. A fraction is rounded down; a value below 1 or
   * `NaN` counts as 1. Defaults to 1024.
   */
  readonly capacity?: number | undefined
}

/** A `dual` operator with optional options. */
type Buffer = {
  <Arg extends Stream.Stream<MeshEvent, unknown, unknown> | BufferOptions = {}>(
    selfOrOptions?: Arg & NoUnknownOptions<Arg, BufferOptions>,
    options?: BufferOptions
  ): [Arg] extends [Stream.Stream<infer A, infer E, infer R>]
    ? Stream.Stream<A | Resync, E, R>
    : <A extends MeshEvent, E, R>(self: Stream.Stream<A, E, R>) => Stream.Stream<A | Resync, E, R>
}

const make = (conflate: "always" | "whenFull", shed: "nothing" | "partials"): Buffer =>
  dual(isDataFirst, <A extends MeshEvent, E, R>(self: Stream.Stream<A, E, R>, options?: BufferOptions) =>
    ShedRelay.buffer(self, { capacity: options?.capacity ?? 1024, conflate, shed })
  )

/**
 * Keeps only the newest update of each task for a slow consumer, and every output.
 *
 * **When to use**
 *
 * Use it if only the current state of a task matters (a board, a cache) and not the
 * states in between, but every output does. With many updates of few tasks, the queue
 * contains at most one update for each task. Use `sheddingBuffer` to keep every update
 * as long as there is room.
 *
 * **Details**
 *
 * While the consumer is busy, events are queued. If an update arrives while another
 * update of its task is queued, they are merged: each member comes from the update
 * with the higher version (from the later one if a version is missing), or from the
 * other update if that one does not have it; `updatedFields` are joined. The merged
 * update takes the place of the newer one, so no status overtakes the output before
 * it.
 *
 * The older update is replaced by a `Resync` with reason `Overflow { dropped }`:
 * `dropped` counts the updates that are missing there, `taskId` is set if all are of
 * one task, and `epoch` is that of the last lifecycle element before it (0 before the
 * first). Marks do not count towards `capacity`: there is at most one for each event.
 *
 * All other elements pass unchanged and in order. When `capacity` events are queued
 * and none can be merged, reading stops until the consumer pulls. A waiting consumer
 * receives each batch as it arrives, without merging. The end or failure of the feed
 * follows the queued events. The stream's scope owns the fiber that reads ahead.
 *
 * **Gotchas**
 *
 * A slow consumer does not see every status. Count runs, and measure how long a status
 * lasts, before this operator.
 *
 * **Example** (The current state of each task)
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
export const conflateUpdates: Buffer = /*#__PURE__*/ make("always", "nothing")

/**
 * Lets a feed run ahead of a slow consumer, up to a bound. When the buffer is full, it
 * drops the events that the consumer needs least, and marks their places.
 *
 * **When to use**
 *
 * Use it for a consumer that may be slow for a while (a browser, a log sink) and
 * should not stop the reads of the connection. Use `Stream.buffer` if nothing may be
 * lost, and `conflateUpdates` if only the newest update of a task matters.
 *
 * **Details**
 *
 * When the buffer is full, each arriving event makes room in one of these ways:
 *
 * 1. The first update that is older than another update of the same task is merged
 *    into that one: each member comes from the update with the higher version (from
 *    the later one if a version is missing), or from the other update if that one does
 *    not have it; `updatedFields` are joined. The merged update takes the place of the
 *    newer one.
 * 2. Otherwise the oldest partial output is dropped, or the arriving event if it is
 *    the only partial output.
 * 3. Otherwise reading stops until the consumer pulls.
 *
 * So whole outputs, server errors, unknown messages, lifecycle elements and the newest
 * status of a task are never lost.
 *
 * Missing events are replaced by a `Resync` with reason `Overflow { dropped }`:
 * `dropped` counts the events that are missing there, `taskId` is set if all are of
 * one task, and `epoch` is that of the last lifecycle element before it (0 before the
 * first). Marks do not count towards `capacity`: there is at most one for each event.
 *
 * A waiting consumer receives each batch as it arrives, and loses nothing. The end or
 * failure of the feed follows the queued events. The stream's scope owns the fiber
 * that reads ahead.
 *
 * **Gotchas**
 *
 * It reads ahead, so the connection may have ended long before the consumer sees the
 * `Disconnected`. It stops reading when only whole outputs are queued. For a consumer
 * that must never stop the reads, use `MeshClient` with `overflow: "shed"`.
 *
 * **Example** (A consumer that pauses)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Stream from "effect/Stream"
 * import * as MeshStream from "@makima-stream/core/MeshStream"
 * import * as TaskId from "@makima-stream/core/TaskId"
 *
 * const taskId = TaskId.make("7f1c")
 * const piece = (content: string) =>
 *   ({ _tag: "TaskOutput", taskId, messageType: "assistant", content, isPartial: true }) as const
 *
 * // Stream<TaskOutput | Resync>
 * const events = Stream.make(piece("Hel"), piece("lo")).pipe(
 *   Stream.concat(Stream.make({ ...piece("Hello"), isPartial: false })),
 *   MeshStream.sheddingBuffer({ capacity: 100 })
 * )
 * console.log((await Effect.runPromise(Stream.runCollect(events))).length) // 3
 * ```
 *
 * @category shape
 * @since 0.1.0
 */
export const sheddingBuffer: Buffer = /*#__PURE__*/ make("whenFull", "partials")
