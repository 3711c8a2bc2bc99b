/** The interests of simulated consumers, over a handful of tasks, and what they come to on the wire. */
import * as Arbitrary from "effect/Arbitrary"
import * as Schema from "effect/Schema"
import * as Interest from "@makima-stream/core/Interest"
import * as TaskId from "@makima-stream/core/TaskId"

export const taskNames = ["a", "b", "c"] as const

export const taskOf = (name: (typeof taskNames)[number]): TaskId.TaskId => TaskId.make(name)

/** An interest as a value that can be printed. */
export const Wanted = Schema.Struct({
  all: Schema.Boolean,
  updates: Schema.Array(Schema.Literals(taskNames)),
  output: Schema.Array(Schema.Literals(taskNames))
})

export type Wanted = typeof Wanted.Type

export const wanted: Arbitrary.Arbitrary<Wanted> = Arbitrary.schema(Wanted)

export const toInterest = ({ all, output, updates }: Wanted): Interest.Interest => ({
  all,
  updates: new Set(updates.map(taskOf)),
  output: new Set(output.map(taskOf))
})

/** What the wire should have: while all updates are subscribed, those of single tasks are not. */
export const onWire = (interest: Interest.Interest): Interest.Interest =>
  interest.all ? { ...interest, updates: new Set() } : interest

export const show = ({ all, output, updates }: Interest.Interest): string =>
  `{ all: ${all}, updates: [${[...updates].sort().join(", ")}], output: [${[...output].sort().join(", ")}] }`
