/** The tests that `conflateUpdates` and `sheddingBuffer` share. */
import { assert, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { MeshEvent, Resync } from "../../src/MeshEvent.ts"
import type * as MeshStream from "../../src/MeshStream.ts"
import { TaskId } from "../../src/TaskId.ts"
import { settle } from "./follow.ts"
import { chunked, fromChunks, history, said, sizes, updated } from "./histories.ts"
import { pauseAfterFirst, watched } from "./slow.ts"

const a = TaskId.make("a")
const b = TaskId.make("b")

export const overflow = (dropped: number, taskId?: TaskId): Resync => ({
  _tag: "Resync",
  epoch: 0,
  ...(taskId === undefined ? {} : { taskId }),
  reason: { _tag: "Overflow", dropped }
})

export const isOverflow = (event: MeshEvent): boolean => event._tag === "Resync" && event.reason._tag === "Overflow"

export const capacities = Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 12 })))

type Buffer = (
  options?: MeshStream.BufferOptions
) => <E>(feed: Stream.Stream<MeshEvent, E>) => Stream.Stream<MeshEvent, E>

/** Returns the elements that a consumer receives if it is busy with an earlier element while the whole feed arrives. */
export const takenAfterPause =
  (buffer: Buffer) =>
  (chunks: ReadonlyArray<readonly [MeshEvent, ...Array<MeshEvent>]>, options?: MeshStream.BufferOptions) =>
    Effect.gen(function* () {
      const paused = yield* pauseAfterFirst(
        Stream.concat(fromChunks([[said(b, "first")]]), fromChunks(chunks)).pipe(buffer(options))
      )
      yield* settle
      return (yield* paused.resume).slice(1)
    })

/** Defines the tests. */
export const itBuffers = (buffer: Buffer): void => {
  const taken = takenAfterPause(buffer)

  it.effect.prop(
    "passes everything unchanged to a consumer that keeps up",
    [history, sizes],
    Effect.fnUntraced(function* ([events, sizes]) {
      const chunks = chunked(events, sizes)
      const taken = yield* fromChunks(chunks).pipe(buffer({ capacity: 1 }), Stream.chunks, Stream.runCollect)
      assert.deepStrictEqual(taken, chunks)
    })
  )

  it.effect.prop(
    "returns the same however the feed is cut into chunks",
    [history, sizes, capacities],
    Effect.fnUntraced(function* ([events, sizes, capacity]) {
      assert.deepStrictEqual(
        yield* taken(chunked(events, sizes), { capacity }),
        yield* taken(chunked(events, [1]), { capacity })
      )
    })
  )

  it.effect("returns what is queued before the failure of the feed", () =>
    Effect.gen(function* () {
      const paused = yield* pauseAfterFirst(
        Stream.make(said(a, "1")).pipe(
          Stream.concat(Stream.make(said(a, "2"))),
          Stream.concat(Stream.fail("broken")),
          buffer()
        )
      )
      yield* settle
      assert.strictEqual(yield* Effect.flip(paused.resume), "broken")
      assert.deepStrictEqual(paused.events, [said(a, "1"), said(a, "2")])
    })
  )

  it.effect("leaves nothing running when the consumer is interrupted", () =>
    Effect.gen(function* () {
      const feed = watched()
      const fiber = yield* Stream.runDrain(buffer()(feed.stream)).pipe(Effect.forkChild)
      yield* settle
      assert.isTrue(feed.isReading())
      yield* Fiber.interrupt(fiber)
      assert.isFalse(feed.isReading())
      assert.isTrue(feed.isReleased())
    })
  )

  it.effect("starts with fresh state in each run", () =>
    Effect.gen(function* () {
      const stream = Stream.make(updated(a, "running", 1), updated(a, "done", 2)).pipe(buffer())
      assert.deepStrictEqual(yield* Stream.runCollect(stream), yield* Stream.runCollect(stream))
    })
  )
}
