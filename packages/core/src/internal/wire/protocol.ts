/** The names that the protocol defines. */

/** The `type`s of the messages that a server sends. */
export const serverTypes: ReadonlySet<string> = new Set([
  "taskUpdated",
  "taskOutput",
  "error",
  "subscribedAll",
  "unsubscribedAll",
  "subscribed",
  "unsubscribed",
  "outputSubscribed",
  "outputUnsubscribed"
])

/** The members of all messages, in both directions. Only these names may appear in errors and logs. */
export const memberNames: ReadonlySet<string> = new Set([
  "type",
  "taskId",
  "version",
  "status",
  "updatedFields",
  "updatedBy",
  "messageType",
  "content",
  "toolName",
  "toolInput",
  "isError",
  "costUsd",
  "durationMs",
  "isPartial",
  "code",
  "message"
])
