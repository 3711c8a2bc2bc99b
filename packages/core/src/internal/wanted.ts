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
import type { TaskId } from "../TaskId.ts"

/** What a source may leave undecoded: a predicate on events says the same, but takes an event. */
export interface Hint {
  /** The tasks whose messages are wanted; `undefined` for all. */
  readonly tasks: ReadonlySet<TaskId> | undefined
  readonly outputs: boolean
  readonly updates: boolean
}

export const anything: Hint = { tasks: undefined, outputs: true, updates: true }

/** Whether there is anything that a hint lets the source leave out. */
export const mayLeaveOut = ({ outputs, tasks, updates }: Hint): boolean => tasks !== undefined || !outputs || !updates

export interface Wanted extends Hint {
  /** Which events are wanted; `undefined` for all. */
  readonly isWanted: ((event: MeshEvent) => boolean) | undefined
}

export const everything: Wanted = { ...anything, isWanted: undefined }

const common = (a: ReadonlySet<TaskId>, b: ReadonlySet<TaskId>): ReadonlySet<TaskId> =>
  new Set([...a].filter((taskId) => b.has(taskId)))

/** What both want. */
const both = ({ isWanted, ...a }: Wanted, b: Hint, isWantedToo: (event: MeshEvent) => boolean): Wanted => ({
  tasks: a.tasks === undefined ? b.tasks : b.tasks === undefined ? a.tasks : common(a.tasks, b.tasks),
  outputs: a.outputs && b.outputs,
  updates: a.updates && b.updates,
  isWanted: isWanted === undefined ? isWantedToo : (event) => isWanted(event) && isWantedToo(event)
})

const TypeId = Symbol.for("@makima-stream/core/wanted")

interface Source<A, E, R> extends Stream.Stream<A, E, R> {
  readonly [TypeId]?: (hint: Hint, isWanted: (event: MeshEvent) => boolean) => Stream.Stream<A, E, R>
}

/** A stream whose source gives what is wanted, and nothing else. */
export const source = <A, E, R>(
  make: (wanted: Wanted) => Stream.Stream<A, E, R>,
  wanted: Wanted = everything
): Stream.Stream<A, E, R> =>
  Object.assign(make(wanted), {
    [TypeId]: (hint: Hint, isWanted: (event: MeshEvent) => boolean) => source(make, both(wanted, hint, isWanted))
  })

/** Keeps what a predicate of this toolkit's own takes, which `hint` says as far as it can. */
export const filter = <A, E, R>(
  self: Source<A, E, R>,
  hint: Hint,
  isWanted: (event: MeshEvent) => boolean
): Stream.Stream<A, E, R> => {
  const narrow = self[TypeId]
  // Only a stream of events has a way to its source.
  return narrow === undefined
    ? Stream.filter(self, isWanted as unknown as (element: A) => boolean)
    : narrow(hint, isWanted)
}
