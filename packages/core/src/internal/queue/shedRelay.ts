/** `shedQueue` between a feed and its consumer, with what it gives up in the metrics. */
import type { NonEmptyReadonlyArray } from "effect/Array"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Pull from "effect/Pull"
import type * as Scope from "effect/Scope"
import type { MeshEvent, Resync } from "../../MeshEvent.ts"
import * as MeshMetrics from "../../MeshMetrics.ts"
import * as Mailbox from "./mailbox.ts"
import * as ShedQueue from "./shedQueue.ts"

/** A fiber of the scope moves what `upstream` gives into a queue, and the pull that is returned takes it out. */
export const make = <A extends MeshEvent, E>(
  upstream: Pull.Pull<NonEmptyReadonlyArray<A>, E>,
  scope: Scope.Scope,
  options: ShedQueue.Options
): Effect.Effect<Pull.Pull<NonEmptyReadonlyArray<A | Resync>, E>> =>
  Effect.contextWith((context: Context.Context<never>) => {
    const queue = ShedQueue.make<A>(options)
    let recorded = 0
    const record = <B>(batch: B): B => {
      const lost = queue.conflated + queue.shed
      if (lost > recorded) {
        MeshMetrics.eventsDropped.updateUnsafe(lost - recorded, context)
        MeshMetrics.recordGap("Overflow", context)
        recorded = lost
      }
      return batch
    }
    return Effect.map(Mailbox.relay(upstream, scope, queue), Effect.map(record))
  })
