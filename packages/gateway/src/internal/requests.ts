/** The requests of clients: which subscription each means, and its acknowledgement. */
import type { ClientMessage } from "@makima-stream/core/ClientMessage"
import type { Acknowledgement } from "@makima-stream/core/ServerMessage"
import type { TaskId } from "@makima-stream/core/TaskId"
import type * as Keys from "./keys.ts"

/** What a request is about. */
interface Subject {
  readonly kind: Keys.Kind
  /** Absent for the updates of all tasks. */
  readonly taskId: TaskId | undefined
}

/** Returns what a request is about. */
export const subjectOf = (message: ClientMessage): Subject => {
  switch (message._tag) {
    case "SubscribeAll":
    case "UnsubscribeAll":
      return { kind: "all", taskId: undefined }
    case "Subscribe":
    case "Unsubscribe":
      return { kind: "updates", taskId: message.taskId }
    case "SubscribeOutput":
    case "UnsubscribeOutput":
      return { kind: "output", taskId: message.taskId }
  }
}

/** Returns whether a request subscribes. Otherwise it unsubscribes. */
export const isSubscribe = (message: ClientMessage): boolean =>
  message._tag === "SubscribeAll" || message._tag === "Subscribe" || message._tag === "SubscribeOutput"

/** Returns the acknowledgement of a request. */
export const acknowledgementOf = (message: ClientMessage): Acknowledgement => {
  const subject = subjectOf(message)
  return isSubscribe(message) ? subscribed(subject) : unsubscribed(subject)
}

/** Returns the acknowledgement of a subscription. */
export const subscribed = ({ kind, taskId }: Subject): Acknowledgement => {
  if (taskId === undefined) return { _tag: "SubscribedAll" }
  return { _tag: kind === "output" ? "OutputSubscribed" : "Subscribed", taskId }
}

const unsubscribed = ({ kind, taskId }: Subject): Acknowledgement => {
  if (taskId === undefined) return { _tag: "UnsubscribedAll" }
  return { _tag: kind === "output" ? "OutputUnsubscribed" : "Unsubscribed", taskId }
}
