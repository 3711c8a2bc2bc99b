/**
 * What of a feed anybody downstream wants, told to the source by the operators
 * that drop the rest (predicate pushdown): the source may leave a message
 * undecoded that is dropped anyway.
 *
 * It is a hint and changes no stream: an operator that gives one still does its
 * work on whatever comes. A stream that an operator of somebody else's made
 * carries no hint back, since that operator may look at everything.
 */
import type * as Stream from "effect/Stream"
import type { TaskId } from "../TaskId.ts"

export interface Wanted {
  /** The tasks whose messages are wanted; `undefined` for all. */
  readonly tasks: ReadonlySet<TaskId> | undefined
  readonly outputs: boolean
  readonly updates: boolean
}

export const everything: Wanted = { tasks: undefined, outputs: true, updates: true }

const common = (a: ReadonlySet<TaskId>, b: ReadonlySet<TaskId>): ReadonlySet<TaskId> =>
  new Set([...a].filter((taskId) => b.has(taskId)))

/** What both want. */
const both = (a: Wanted, b: Wanted): Wanted => ({
  tasks: a.tasks === undefined ? b.tasks : b.tasks === undefined ? a.tasks : common(a.tasks, b.tasks),
  outputs: a.outputs && b.outputs,
  updates: a.updates && b.updates
})

const TypeId = Symbol.for("@makima-stream/core/wanted")

/** A stream that can be made anew for less. */
interface Narrowable<A, E, R> extends Stream.Stream<A, E, R> {
  readonly [TypeId]?: (wanted: Wanted) => Stream.Stream<A, E, R>
}

/** A source that decodes no more than is wanted. */
export const source = <A, E, R>(
  make: (wanted: Wanted) => Stream.Stream<A, E, R>,
  wanted: Wanted = everything
): Stream.Stream<A, E, R> =>
  Object.assign(make(wanted), { [TypeId]: (less: Wanted) => source(make, both(wanted, less)) })

/** Puts an operator on a stream that drops what is not wanted, and tells the source. */
export const through = <A, E, R, B>(
  self: Narrowable<A, E, R>,
  wanted: Wanted,
  operator: (self: Stream.Stream<A, E, R>) => Stream.Stream<B, E, R>
): Stream.Stream<B, E, R> => {
  const narrow = self[TypeId]
  return narrow === undefined ? operator(self) : source((less) => operator(narrow(less)), wanted)
}
