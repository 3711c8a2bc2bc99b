/**
 * `sheddingBuffer`: `shedQueue` between a feed and its consumer.
 */
import { dual } from "effect/Function"
import * as Stream from "effect/Stream"
import type { MeshEvent, Resync } from "../MeshEvent.ts"
import * as ShedRelay from "../internal/queue/shedRelay.ts"
import type { NoUnknownOptions } from "./options.ts"

/**
 * Options of `sheddingBuffer`.
 *
 * @category options
 * @since 0.1.0
 */
export interface SheddingBufferOptions {
  /**
   * How many events are held for the consumer at most. Too small, and a short
   * pause of the consumer costs it detail; too large, and it reads old news
   * after a long one. A fraction is rounded down; what is not at least 1 means
   * 1. Default: 1024.
   */
  readonly capacity?: number | undefined
}

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
export const sheddingBuffer: {
  /** Lets a feed run ahead of a slow consumer: see `sheddingBuffer`. */
  <Arg extends Stream.Stream<MeshEvent, unknown, unknown> | SheddingBufferOptions = {}>(
    selfOrOptions?: Arg & NoUnknownOptions<Arg, SheddingBufferOptions>,
    options?: SheddingBufferOptions
  ): [Arg] extends [Stream.Stream<infer A, infer E, infer R>]
    ? Stream.Stream<A | Resync, E, R>
    : <A extends MeshEvent, E, R>(self: Stream.Stream<A, E, R>) => Stream.Stream<A | Resync, E, R>
} = dual(
  (args) => Stream.isStream(args[0]),
  <A extends MeshEvent, E, R>(
    self: Stream.Stream<A, E, R>,
    options?: SheddingBufferOptions
  ): Stream.Stream<A | Resync, E, R> =>
    Stream.transformPull(self, (pull, scope) =>
      ShedRelay.make(pull, scope, { capacity: options?.capacity ?? 1024, conflate: "whenFull", shedPartials: true })
    )
)
