/** Puts a `shedQueue` between a feed and its consumer. Shared by `sheddingBuffer` and `conflateUpdates`. */
import type { NonEmptyReadonlyArray } from "effect/Array"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { MeshEvent, Resync } from "../../MeshEvent.ts"
import * as MeshMetrics from "../../MeshMetrics.ts"
import * as Mailbox from "./mailbox.ts"
import * as ShedQueue from "./shedQueue.ts"

/** A fiber of the stream's scope reads ahead into the queue. Lost events are counted in the metrics. */
export const buffer = <A extends MeshEvent, E, R>(
  self: Stream.Stream<A, E, R>,
  options: ShedQueue.Options
): Stream.Stream<A | Resync, E, R> =>
  Stream.transformPull(self, (upstream, scope) =>
    Effect.contextWith((context: Context.Context<never>) => {
      const queue = ShedQueue.make<A>(options)
      const observe = (events: ReadonlyArray<A>): void => {
        for (const event of events) if ("epoch" in event) queue.epoch = event.epoch
      }
      let recorded = 0
      const record = (batch: NonEmptyReadonlyArray<A | Resync>) => {
        const { lost } = queue
        if (lost > recorded) {
          MeshMetrics.eventsDropped.updateUnsafe(lost - recorded, context)
          MeshMetrics.recordGap("Overflow", context)
          recorded = lost
        }
        return batch
      }
      return Effect.map(Mailbox.relay(upstream, scope, queue, observe), Effect.map(record))
    })
  )
