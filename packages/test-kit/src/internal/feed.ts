/**
 * The server's side of the protocol for one connection: what a client has
 * subscribed to, what it is told about that, and which messages are for it.
 *
 * Pure in the sense that matters for tests: no Effect, no clock, no socket. The
 * mock server over real sockets and the scripted one in memory both decide by
 * it, so that they cannot disagree.
 *
 * Invariants:
 *
 * 1. Every request is answered with exactly one acknowledgement, which names the
 *    task where the request did. Asking twice, or undoing what was never asked
 *    for, is no error: it changes nothing and is acknowledged like the first.
 * 2. `wants` is a question, never a count: an update is for the client or it is
 *    not, however many subscriptions cover it.
 * 3. All updates and the updates of single tasks are separate subscriptions:
 *    undoing one leaves the other in place.
 */
import type { ClientMessage } from "@makima-stream/core/ClientMessage"
import type { Interest } from "@makima-stream/core/Interest"
import type { Acknowledgement, ServerMessage } from "@makima-stream/core/ServerMessage"
import type { TaskId } from "@makima-stream/core/TaskId"

export interface Feed {
  /** Carries out a request, and gives the server's answer to it. */
  readonly handle: (message: ClientMessage) => ReadonlyArray<Acknowledgement>
  /** Whether a message is for this connection. */
  readonly wants: (message: ServerMessage) => boolean
  /** What is subscribed now: a snapshot. */
  readonly interest: () => Interest
}

/** A connection that has not subscribed to anything yet. */
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
