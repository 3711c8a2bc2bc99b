/**
 * The server's side of the protocol for one connection: the client's
 * subscriptions, their acknowledgements, and which messages match them. Uses no
 * Effect, no clock and no socket. Both servers of the kit use it.
 *
 * Invariants:
 *
 * 1. Every request has exactly one acknowledgement, which names the task if the
 *    request did. A request that changes nothing is acknowledged too.
 * 2. A message is sent at most once on a connection, however many subscriptions
 *    match it.
 * 3. `subscribeAll` and the subscriptions of single tasks are independent: ending
 *    one does not end the other.
 */
import type { ClientMessage } from "@makima-stream/core/ClientMessage"
import type { Interest } from "@makima-stream/core/Interest"
import type { Acknowledgement, ServerMessage } from "@makima-stream/core/ServerMessage"
import type { TaskId } from "@makima-stream/core/TaskId"

export interface Feed {
  /** Carries out a request. Returns the acknowledgement. */
  readonly handle: (message: ClientMessage) => ReadonlyArray<Acknowledgement>
  /** Whether a subscription matches a message. */
  readonly wants: (message: ServerMessage) => boolean
  /** A snapshot of the subscriptions. */
  readonly interest: () => Interest
}

/** A connection without subscriptions. */
export const make = (): Feed => {
  let all = false
  const updates = new Set<TaskId>()
  const output = new Set<TaskId>()

  return {
    handle(message) {
      switch (message._tag) {
        case "SubscribeAll":
          all = true
          return [{ _tag: "SubscribedAll" }]
        case "UnsubscribeAll":
          all = false
          return [{ _tag: "UnsubscribedAll" }]
        case "Subscribe":
          updates.add(message.taskId)
          return [{ _tag: "Subscribed", taskId: message.taskId }]
        case "Unsubscribe":
          updates.delete(message.taskId)
          return [{ _tag: "Unsubscribed", taskId: message.taskId }]
        case "SubscribeOutput":
          output.add(message.taskId)
          return [{ _tag: "OutputSubscribed", taskId: message.taskId }]
        case "UnsubscribeOutput":
          output.delete(message.taskId)
          return [{ _tag: "OutputUnsubscribed", taskId: message.taskId }]
      }
    },
    wants(message) {
      switch (message._tag) {
        case "TaskUpdated":
          return all || updates.has(message.taskId)
        case "TaskOutput":
          return output.has(message.taskId)
        default:
          return true
      }
    },
    interest: () => ({ all, updates: new Set(updates), output: new Set(output) })
  }
}
