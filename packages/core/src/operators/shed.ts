/**
 * Buffers that lose what a slow consumer needs least: `sheddingBuffer` and
 * `conflateUpdates`, two settings of `internal/queue/shedQueue`.
 */
import { dual } from "effect/Function"
import type * as Stream from "effect/Stream"
import type { MeshEvent, Resync } from "../MeshEvent.ts"
import * as ShedRelay from "../internal/queue/shedRelay.ts"
import { isDataFirst, type NoUnknownOptions } from "./options.ts"

/**
 * Options of `sheddingBuffer` and `conflateUpdates`.
 *
 * @category options
 * @since 0.2.0
 */
export interface BufferOptions {
  /**
   * How many events are queued for the consumer at most. A small capacity costs
   * detail at a short pause of the consumer; a large one makes it read old events
   * after a long pause. A fraction is rounded down; a value that is not at least 1
   * counts as 1. Defaults to 1024.
   */
  readonly capacity?: number | undefined
}

/** A `dual` operator whose options may be left out. */
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
export const conflateUpdates: Buffer = /*#__PURE__*/ make("always", "nothing")

/**
 * Lets a feed run ahead of a slow consumer, within bounds: when the buffer is
 * full, it gives up what the consumer can best do without, and marks it.
 *
 * **When to use**
 *
 * Use it where a consumer may be slow for a while (a browser, a log sink) and
 * must neither slow the connection nor miss anything that counts. Without it a
 * slow consumer stops the socket's reads. Use `Stream.buffer` where nothing at
 * all may be given up, and `conflateUpdates` where output matters and updates
 * are only a state.
 *
 * **Details**
 *
 * When the buffer is full, one place is made for each event that comes:
 *
 * 1. The oldest update goes of which a newer one of the same task is held (or
 *    is the one that comes). What it said goes over into the newer: its
 *    `updatedFields` are joined, and of every other member the newest stays. The
 *    newer keeps its place, so no status overtakes the output before it.
 * 2. If there is none, the oldest partial output goes; the one that comes, if it
 *    is the only one.
 * 3. If there is none either, upstream waits until the consumer comes.
 *
 * So a whole output, a `ServerError`, an `UnknownMessage`, `Connected`,
 * `Disconnected` and `Resync` are never given up, and no status is forgotten
 * without a newer one of its task.
 *
 * Where something is missing stands a `Resync` with the reason
 * `Overflow { dropped }`: `dropped` counts the updates and partial outputs that
 * went at this place, `taskId` is set when all were of one task, and `epoch` is
 * that of the last lifecycle element before it (0 before the first). Marks are not
 * counted by `capacity`: there is at most one for each event.
 *
 * A consumer that waits for the feed gets each batch as it comes; nothing is
 * given up for a consumer that keeps up. The end and the failure of the feed
 * come after what is held. The stream's scope owns the fiber that reads ahead.
 *
 * **Gotchas**
 *
 * It reads ahead, so a `Disconnected` may be known to the connection long
 * before the consumer gets to it.
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
