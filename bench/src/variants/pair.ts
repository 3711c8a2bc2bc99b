/** This toolkit with two connections to the same server. A file of its own, because only it loads the merge. */
import * as Interest from "@makima-stream/core/Interest"
import * as Merge from "@makima-stream/core/Merge"
import * as MeshStream from "@makima-stream/core/MeshStream"
import * as Effect from "effect/Effect"
import { consume, idsOf, socket } from "./mesh.ts"
import type { Variant } from "./variant.ts"

/** `MeshStream.connect` over two connections, through `filterTask` and `outputOnly`. */
export const pair: Variant = {
  // The subscriptions, and a boundary of each kind once both connections are confirmed.
  expects: ({ wanted }) => 1 + wanted.size + 2,
  connections: 2,
  start(job) {
    const interest = Interest.union(Interest.all, Interest.output(idsOf(job)))
    const outputs = MeshStream.connect({ interest, connections: Merge.connections() }).pipe(
      MeshStream.filterTask(idsOf(job)),
      MeshStream.outputOnly
    )
    Effect.runFork(Effect.provide(consume(outputs, job), socket(job.port)))
  }
}
