/**
 * The types of the decoded messages, as `ServerMessage` declares them, but writable, because decoders build them member by
 * member. Absent members are omitted, as in the schema.
 */
import type * as Schema from "effect/Schema"
import type { TaskId } from "../../TaskId.ts"

export interface Update {
  readonly _tag: "TaskUpdated"
  readonly taskId: TaskId
  version?: number
  status?: string
  updatedFields?: ReadonlyArray<string>
  updatedBy?: string
}

export interface Output {
  readonly _tag: "TaskOutput"
  readonly taskId: TaskId
  readonly messageType: string
  content: string
  toolName?: string
  toolInput?: Exclude<Schema.Json, null>
  isError?: boolean
  costUsd?: number
  durationMs?: number
  isPartial?: boolean
}

export interface ServerError {
  readonly _tag: "ServerError"
  readonly code: string
  readonly message: string
}

export interface AllAcknowledged {
  readonly _tag: "SubscribedAll" | "UnsubscribedAll"
}

export interface TaskAcknowledged {
  readonly _tag: "Subscribed" | "Unsubscribed" | "OutputSubscribed" | "OutputUnsubscribed"
  readonly taskId?: TaskId
}

export interface Unknown {
  readonly _tag: "UnknownMessage"
  readonly raw: { readonly [key: string]: Schema.Json; readonly type: string }
}

export type Message = Update | Output | ServerError | AllAcknowledged | TaskAcknowledged | Unknown
