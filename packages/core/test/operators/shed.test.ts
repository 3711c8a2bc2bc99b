import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import type { MeshEvent } from "../../src/MeshEvent.ts"
import * as MeshStream from "../../src/MeshStream.ts"
import { TaskId } from "../../src/TaskId.ts"
import { capacities, isOverflow, itBuffers, overflow } from "../support/buffers.ts"
import { settle } from "../support/follow.ts"
import { chunked, fromChunks, history, piece, said, sizes, updated, withGapAt } from "../support/histories.ts"
import { pauseAfterFirst, watched } from "../support/slow.ts"

const a = TaskId.make("a")
const b = TaskId.make("b")

const dropped = (events: ReadonlyArray<MeshEvent>): number =>
  events.reduce(
    (sum, event) => (event._tag === "Resync" && event.reason._tag === "Overflow" ? sum + event.reason.dropped : sum),
    0
  )

const isSheddable = (event: MeshEvent): boolean =>
  event._tag === "TaskUpdated" || (event._tag === "TaskOutput" && event.isPartial === true)

describe("sheddingBuffer", () => {
  itBuffers(MeshStream.sheddingBuffer)

  it.effect.prop(
    "loses only what it marks to a consumer that does not, and never a whole output or a lifecycle element",
    [history, sizes, sizes, capacities],
    Effect.fnUntraced(function* ([events, sizes, pauses, capacity]) {
      let count = 0
      const taken = yield* fromChunks(chunked(events, sizes)).pipe(
        MeshStream.sheddingBuffer({ capacity }),
        Stream.tap(() => Effect.repeat(Effect.yieldNow, { times: pauses[count++ % pauses.length] ?? 1 })),
        Stream.runCollect
      )
      assert.strictEqual(taken.filter((event) => !isOverflow(event)).length + dropped(taken), events.length)
      assert.deepStrictEqual(
        taken.filter((event) => !isOverflow(event) && !isSheddable(event)),
        events.filter((event) => !isSheddable(event))
      )
    })
  )

  it.effect("conflates, then sheds, and marks each loss in its place", () =>
    Effect.gen(function* () {
      const paused = yield* pauseAfterFirst(
        Stream.concat(
          Stream.make(said(a, "first")),
          Stream.make(
            updated(a, "running", 1),
            piece(b, "1"),
            said(a, "x"),
            updated(a, "done", 2),
            piece(b, "2"),
            said(b, "y")
          )
        ).pipe(MeshStream.sheddingBuffer({ capacity: 4 }))
      )
      yield* settle
      assert.deepStrictEqual(yield* paused.resume, [
        said(a, "first"),
        overflow(2),
        said(a, "x"),
        updated(a, "done", 2),
        piece(b, "2"),
        said(b, "y")
      ])
    })
  )

  it.effect("stops reading when nothing may be given up, and goes on when the consumer comes", () =>
    Effect.gen(function* () {
      const read: Array<string> = []
      const whole = ["1", "2", "3", "4", "5", "6"]
      const paused = yield* pauseAfterFirst(
        Stream.fromIterable(whole).pipe(
          Stream.rechunk(1),
          Stream.map((content) => said(a, content)),
          Stream.tap(({ content }) => Effect.sync(() => read.push(content))),
          MeshStream.sheddingBuffer({ capacity: 2 })
        )
      )
      yield* settle
      // One with the consumer, two in the buffer, one on its way into it.
      assert.deepStrictEqual(read, ["1", "2", "3", "4"])
      assert.deepStrictEqual(
        yield* paused.resume,
        whole.map((content) => said(a, content))
      )
    })
  )

  it.effect("keeps a Resync at every place of a full buffer", () =>
    Effect.gen(function* () {
      const events: ReadonlyArray<MeshEvent> = [
        updated(a, "running", 1),
        piece(a, "1"),
        said(a, "x"),
        updated(a, "done", 2),
        piece(a, "2")
      ]
      for (let index = 0; index <= events.length; index++) {
        const marked = withGapAt(events, index)
        const paused = yield* pauseAfterFirst(
          Stream.concat(Stream.make(said(b, "first")), Stream.fromIterable(marked)).pipe(
            MeshStream.sheddingBuffer({ capacity: 2 })
          )
        )
        yield* settle
        const taken = yield* paused.resume
        const kept = (event: MeshEvent) => !isOverflow(event) && !isSheddable(event)
        assert.deepStrictEqual(taken.slice(1).filter(kept), marked.filter(kept))
        assert.strictEqual(taken.filter((event) => !isOverflow(event)).length - 1 + dropped(taken), marked.length)
      }
    })
  )

  it.effect("marks a loss with the epoch of a connection that it passed on before", () =>
    Effect.gen(function* () {
      const connected: MeshEvent = { _tag: "Connected", epoch: 3, at: 0 }
      const paused = yield* pauseAfterFirst(
        fromChunks<MeshEvent>([[connected], [piece(a, "1"), said(a, "x")]]).pipe(
          MeshStream.sheddingBuffer({ capacity: 1 })
        )
      )
      yield* settle
      assert.deepStrictEqual(yield* paused.resume, [connected, { ...overflow(1, a), epoch: 3 }, said(a, "x")])
    })
  )

  it.effect("loses nothing for a consumer that only yields", () =>
    Effect.gen(function* () {
      const events = Array.from({ length: 50 }, (_, index) => piece(a, String(index)))
      const taken = yield* Stream.fromIterable(events).pipe(
        Stream.rechunk(1),
        MeshStream.sheddingBuffer({ capacity: 1 }),
        Stream.tap(() => Effect.yieldNow),
        Stream.runCollect
      )
      assert.deepStrictEqual(taken, events)
    })
  )

  it.effect("releases a feed that waits for room when the consumer is interrupted", () =>
    Effect.gen(function* () {
      const feed = watched()
      const paused = yield* pauseAfterFirst(
        Stream.concat(
          Stream.fromIterable(["1", "2", "3", "4"]).pipe(
            Stream.rechunk(1),
            Stream.map((content) => said(a, content))
          ),
          feed.stream
        ).pipe(
          Stream.onExit(() => Effect.sync(() => ended.push("upstream"))),
          MeshStream.sheddingBuffer({ capacity: 1 })
        )
      )
      const ended: Array<string> = []
      yield* settle
      yield* Fiber.interrupt(paused.fiber)
      assert.deepStrictEqual(ended, ["upstream"])
      assert.isFalse(feed.isReading())
    })
  )
})
