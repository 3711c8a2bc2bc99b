/**
 * The subscriptions that a program wants, as a pure value.
 *
 * An interest is state, not a list of commands: the session sends the requests that
 * make the server match it, on every connection. `diff` and `replay` turn the value
 * into messages.
 *
 * @since 0.1.0
 */
import type { ClientMessage } from "./ClientMessage.ts"
import type { TaskId } from "./TaskId.ts"

/**
 * The subscriptions that a program wants: the updates of every task (`all`), the
 * updates of some tasks, and the output of some tasks.
 *
 * **Gotchas**
 *
 * `all` covers updates only: the protocol has no request for all output.
 *
 * @category models
 * @since 0.1.0
 */
export interface Interest {
  /** Whether the updates of every task are wanted. */
  readonly all: boolean
  /** The tasks whose updates are wanted. Not requested separately while `all` is `true`. */
  readonly updates: ReadonlySet<TaskId>
  /** The tasks whose output is wanted. */
  readonly output: ReadonlySet<TaskId>
}

const none: ReadonlySet<TaskId> = new Set()

const toSet = (ids: TaskId | Iterable<TaskId>): ReadonlySet<TaskId> => new Set(typeof ids === "string" ? [ids] : ids)

/**
 * The empty interest.
 *
 * @category constructors
 * @since 0.1.0
 */
export const empty: Interest = { all: false, updates: none, output: none }

/**
 * The updates of every task that the caller may see.
 *
 * @category constructors
 * @since 0.1.0
 */
export const all: Interest = { ...empty, all: true }

/**
 * The updates of one task, or of several.
 *
 * **Example** (Two tasks)
 *
 * ```ts
 * import * as Interest from "@makima-stream/core/Interest"
 * import * as TaskId from "@makima-stream/core/TaskId"
 *
 * const interest = Interest.updates([TaskId.make("a"), TaskId.make("b")])
 * console.log(interest.updates.size) // 2
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const updates = (ids: TaskId | Iterable<TaskId>): Interest => ({ ...empty, updates: toSet(ids) })

/**
 * The agent's output of one task, or of several.
 *
 * **Example** (One task)
 *
 * ```ts
 * import * as Interest from "@makima-stream/core/Interest"
 * import * as TaskId from "@makima-stream/core/TaskId"
 *
 * const interest = Interest.output(TaskId.make("a"))
 * console.log(interest.output.size) // 1
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const output = (ids: TaskId | Iterable<TaskId>): Interest => ({ ...empty, output: toSet(ids) })

/**
 * The updates and the output of one task, or of several.
 *
 * **Example** (Following a task)
 *
 * ```ts
 * import * as Interest from "@makima-stream/core/Interest"
 * import * as TaskId from "@makima-stream/core/TaskId"
 *
 * const interest = Interest.task(TaskId.make("a"))
 * console.log(interest.updates.size + interest.output.size) // 2
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const task = (ids: TaskId | Iterable<TaskId>): Interest => {
  const set = toSet(ids)
  return { ...empty, updates: set, output: set }
}

/**
 * Returns the union of several interests.
 *
 * **Example** (All updates, and the output of one task)
 *
 * ```ts
 * import * as Interest from "@makima-stream/core/Interest"
 * import * as TaskId from "@makima-stream/core/TaskId"
 *
 * const interest = Interest.union(Interest.all, Interest.output(TaskId.make("a")))
 * console.log(Interest.replay(interest).length) // 2
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const union = (...interests: ReadonlyArray<Interest>): Interest => ({
  all: interests.some((interest) => interest.all),
  updates: new Set(interests.flatMap((interest) => [...interest.updates])),
  output: new Set(interests.flatMap((interest) => [...interest.output]))
})

/**
 * Returns `true` if an interest is empty.
 *
 * **Example** (An empty list of tasks)
 *
 * ```ts
 * import * as Interest from "@makima-stream/core/Interest"
 *
 * console.log(Interest.isEmpty(Interest.output([]))) // true
 * ```
 *
 * @category predicates
 * @since 0.1.0
 */
export const isEmpty = (self: Interest): boolean => !self.all && self.updates.size === 0 && self.output.size === 0

const sameSet = (a: ReadonlySet<TaskId>, b: ReadonlySet<TaskId>): boolean =>
  a === b || (a.size === b.size && [...a].every((id) => b.has(id)))

/**
 * Returns `true` if two interests are equal.
 *
 * **Example** (The order does not matter)
 *
 * ```ts
 * import * as Interest from "@makima-stream/core/Interest"
 * import * as TaskId from "@makima-stream/core/TaskId"
 *
 * const [a, b] = [TaskId.make("a"), TaskId.make("b")]
 * console.log(Interest.equals(Interest.updates([a, b]), Interest.updates([b, a]))) // true
 * ```
 *
 * @category predicates
 * @since 0.1.0
 */
export const equals = (a: Interest, b: Interest): boolean =>
  a.all === b.all && sameSet(a.updates, b.updates) && sameSet(a.output, b.output)

/** The tasks whose updates need their own subscriptions. */
const ownUpdates = (self: Interest): ReadonlySet<TaskId> => (self.all ? none : self.updates)

/**
 * Returns the messages that change a connection from one interest to another: first
 * the subscribes, then the unsubscribes.
 *
 * **Details**
 *
 * New subscriptions come first, so that a task that changes from its own subscription
 * to `all`, or back, is always covered. With `all`, the updates of single tasks are not
 * requested, because `all` covers them, and a server might send an update once for each
 * subscription.
 *
 * **Example** (From one task to another)
 *
 * ```ts
 * import * as Interest from "@makima-stream/core/Interest"
 * import * as TaskId from "@makima-stream/core/TaskId"
 *
 * const messages = Interest.diff(Interest.output(TaskId.make("a")), Interest.output(TaskId.make("b")))
 * console.log(messages.map((message) => message._tag)) // ["SubscribeOutput", "UnsubscribeOutput"]
 * ```
 *
 * @category wire
 * @since 0.1.0
 */
export const diff = (from: Interest, to: Interest): ReadonlyArray<ClientMessage> => {
  const messages: Array<ClientMessage> = []
  const updatesFrom = ownUpdates(from)
  const updatesTo = ownUpdates(to)
  if (to.all && !from.all) messages.push({ _tag: "SubscribeAll" })
  for (const taskId of updatesTo) if (!updatesFrom.has(taskId)) messages.push({ _tag: "Subscribe", taskId })
  for (const taskId of to.output) if (!from.output.has(taskId)) messages.push({ _tag: "SubscribeOutput", taskId })
  if (from.all && !to.all) messages.push({ _tag: "UnsubscribeAll" })
  for (const taskId of updatesFrom) if (!updatesTo.has(taskId)) messages.push({ _tag: "Unsubscribe", taskId })
  for (const taskId of from.output) if (!to.output.has(taskId)) messages.push({ _tag: "UnsubscribeOutput", taskId })
  return messages
}

/**
 * Returns the messages that request an interest on a new connection.
 *
 * @category wire
 * @since 0.1.0
 */
export const replay = (self: Interest): ReadonlyArray<ClientMessage> => diff(empty, self)
