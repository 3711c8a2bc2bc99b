/**
 * Filters that the source of a stream does itself (predicate pushdown): it can
 * leave a message undecoded that is dropped anyway, and a consumer of
 * `MeshClient` is not woken for it.
 *
 * Only this toolkit's own predicates go to the source, which may ask them
 * earlier, later or not at all: whoever filters by a function of their own has
 * it asked for every element. A stream that an operator of somebody else's made
 * has no way back to its source, since that operator may look at everything.
 */
import * as Stream from "effect/Stream"
import type { MeshEvent } from "../MeshEvent.ts"
import type { TaskOutput, TaskUpdated } from "../ServerMessage.ts"
import type { TaskId } from "../TaskId.ts"

/** A predicate on events. */
export type IsWanted = (event: MeshEvent) => boolean

/** The messages that a source can leave undecoded. */
export type Skippable = (TaskOutput | TaskUpdated)["_tag"]

/** The same as far as it can be said of a message that is not decoded: `false` where the predicate is for sure. */
export type MayBeWanted = (type: Skippable, taskId: TaskId) => boolean

/** What the filters behind a source want: everything, where there are none. */
export interface Wanted {
  readonly isWanted?: IsWanted
  readonly mayBeWanted?: MayBeWanted
}

// This module's own: what stands behind it is nobody else's business, another version of this package included.
const TypeId = Symbol("@makima-stream/core/wanted")

interface Source<A, E, R> extends Stream.Stream<A, E, R> {
  readonly [TypeId]?: (mayBeWanted: MayBeWanted, isWanted: IsWanted) => Stream.Stream<A, E, R>
}

/** A stream whose source gives what is wanted, and nothing else. */
export const source = <A, E, R>(
  make: (wanted: Wanted) => Stream.Stream<A, E, R>,
  wanted: Wanted = {}
): Stream.Stream<A, E, R> =>
  Object.assign(make(wanted), {
    [TypeId]: (mayBeToo: MayBeWanted, isToo: IsWanted) => {
      const { isWanted, mayBeWanted } = wanted
      return source(make, {
        isWanted: isWanted === undefined ? isToo : (event) => isWanted(event) && isToo(event),
        mayBeWanted:
          mayBeWanted === undefined ? mayBeToo : (type, taskId) => mayBeWanted(type, taskId) && mayBeToo(type, taskId)
      })
    }
  })

/** Keeps what a predicate of this toolkit's own takes. */
export const filter = <A, E, R>(
  self: Source<A, E, R>,
  mayBeWanted: MayBeWanted,
  isWanted: (element: A | MeshEvent) => boolean
): Stream.Stream<A, E, R> => {
  const narrow = self[TypeId]
  return narrow === undefined ? Stream.filter(self, isWanted) : narrow(mayBeWanted, isWanted)
}
