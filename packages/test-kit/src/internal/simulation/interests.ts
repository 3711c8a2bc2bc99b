/** The interests of simulated consumers, over three tasks, and the subscriptions that they become on the wire. */
import * as Schema from "effect/Schema"
import * as Interest from "@makima-stream/core/Interest"
import * as TaskId from "@makima-stream/core/TaskId"

export const taskNames = ["a", "b", "c"] as const

export const taskOf = (name: (typeof taskNames)[number]): TaskId.TaskId => TaskId.make(name)

const some = Schema.Literals(["", "a", "b", "c", "ab", "bc", "abc"])

/** An interest as a printable value: `ab` means the tasks a and b. */
export const Wanted = Schema.Struct({ all: Schema.Boolean, updates: some, output: some })

export type Wanted = typeof Wanted.Type

const tasksOf = (names: typeof some.Type): ReadonlySet<TaskId.TaskId> =>
  new Set(Array.from(names, (name) => TaskId.make(name)))

export const toInterest = ({ all, output, updates }: Wanted): Interest.Interest => ({
  all,
  updates: tasksOf(updates),
  output: tasksOf(output)
})

/** The expected subscriptions: with `all`, the updates of single tasks are not subscribed. */
export const onWire = (interest: Interest.Interest): Interest.Interest =>
  interest.all ? { ...interest, updates: new Set() } : interest

export const show = ({ all, output, updates }: Interest.Interest): string =>
  `{ all: ${all}, updates: [${[...updates].sort().join(", ")}], output: [${[...output].sort().join(", ")}] }`

/** Judges the open connections of a program that is online: the first must have exactly what is wanted. */
export const judgeWire = (
  connections: ReadonlyArray<{ readonly interest: Interest.Interest }>,
  interest: Interest.Interest
): string | undefined => {
  const [connection] = connections
  if (connection === undefined) return "there is no connection long after everything healed"
  const wanted = onWire(interest)
  return Interest.equals(connection.interest, wanted)
    ? undefined
    : `the wire has ${show(connection.interest)} where ${show(wanted)} is wanted`
}
