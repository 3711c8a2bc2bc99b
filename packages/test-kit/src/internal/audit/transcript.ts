/**
 * A server's log in the form that an audit needs: the requests, acknowledgements and
 * frames of each connection, and all emitted messages.
 *
 * A place is an index in the log. Places order everything that the server did.
 */
import * as Result from "effect/Result"
import type { ClientMessage } from "@makima-stream/core/ClientMessage"
import type { Data } from "@makima-stream/core/MeshEvent"
import { decodeFrame, type Acknowledgement, type ServerMessage } from "@makima-stream/core/ServerMessage"
import type { TaskId } from "@makima-stream/core/TaskId"
import type { ServerLog } from "../../ServerLog.ts"
import * as Feed from "../feed.ts"
import { fingerprint } from "../fingerprint.ts"

/** The key of all frames that cannot be decoded. No message has it. */
export const badFrameKey = "bad frame"

/** A sequence of the server: the updates of a task, the output of a task, or everything without a task. */
export interface Sequence {
  readonly kind: "updates" | "output" | "other"
  readonly taskId: TaskId | undefined
}

/** One frame that the server sent on a connection. */
export interface Slot {
  /** The message's fingerprint, or `badFrameKey`. */
  readonly key: string
  readonly sequence: Sequence
  readonly emission: number
  readonly place: number
}

/** A request that the server handled. */
interface Request {
  readonly message: ClientMessage
  readonly place: number
  /** Where the server acknowledged it. */
  acknowledgedAt: number | undefined
}

/** One connection. */
export interface Connection {
  readonly slots: Array<Slot>
  /** What is subscribed at the end of the log. */
  readonly feed: Feed.Feed
  readonly requests: Array<Request>
  /** The requests without an acknowledgement, oldest first. */
  readonly unanswered: Set<Request>
  opened: number | undefined
  ended: number | undefined
  /** Whether the server or the network ended it. Frames in flight may then be lost. */
  cut: boolean
  /** Where a fault began after which frames may be lost: a freeze, or a frame that cannot be decoded. */
  faultAt: number
  /** The code that the server closed it with. */
  closeCode: number | undefined
}

/** An emitted message, sent on any number of connections. */
export interface Emission {
  readonly emission: number
  readonly place: number
  readonly message: Data
}

export interface Transcript {
  readonly connections: ReadonlyMap<number, Connection>
  /** All emitted messages, in the order of the log. */
  readonly emissions: ReadonlyArray<Emission>
}

export const emptyConnection = (): Connection => ({
  slots: [],
  feed: Feed.make(),
  requests: [],
  unanswered: new Set(),
  opened: undefined,
  ended: undefined,
  cut: false,
  faultAt: Number.POSITIVE_INFINITY,
  closeCode: undefined
})

export const firstRequest = ({ requests }: Connection): number | undefined => requests[0]?.place

export const sequenceOf = (message: Data): Sequence => {
  switch (message._tag) {
    case "TaskUpdated":
      return { kind: "updates", taskId: message.taskId }
    case "TaskOutput":
      return { kind: "output", taskId: message.taskId }
    default:
      return other
  }
}

const other: Sequence = { kind: "other", taskId: undefined }

/** Reads a log. `only` selects the messages that count. */
export const read = (log: ServerLog, only: (message: Data) => boolean): Transcript => {
  const connections = new Map<number, Connection>()
  const emissions: Array<Emission> = []

  const get = (id: number): Connection => {
    let connection = connections.get(id)
    if (connection === undefined) {
      connection = emptyConnection()
      connections.set(id, connection)
    }
    return connection
  }
  const emitted = (emission: number, place: number, message: Data): void => {
    // The entries of a message that went to several connections are neighbours.
    if (emissions.at(-1)?.emission !== emission) emissions.push({ emission, place, message })
  }

  for (const [place, entry] of log.entries()) {
    switch (entry._tag) {
      case "Opened":
        get(entry.connection).opened = place
        break
      case "Received": {
        const { feed, requests, unanswered } = get(entry.connection)
        const request = { message: entry.message, place, acknowledgedAt: undefined }
        feed.handle(entry.message)
        requests.push(request)
        unanswered.add(request)
        break
      }
      case "Unheard":
        if (isData(entry.message) && only(entry.message)) emitted(entry.emission, place, entry.message)
        break
      case "Sent":
      case "SentRaw": {
        const { emission } = entry
        const connection = get(entry.connection)
        const message = entry._tag === "Sent" ? entry.message : Result.getOrUndefined(decodeFrame(entry.raw))
        if (message === undefined) {
          connection.slots.push({ key: badFrameKey, sequence: other, emission, place })
          connection.faultAt = Math.min(connection.faultAt, place)
        } else if (!isData(message)) {
          acknowledge(connection, message, place)
        } else if (only(message)) {
          connection.slots.push({ key: fingerprint(message), sequence: sequenceOf(message), emission, place })
          emitted(emission, place, message)
        }
        break
      }
      case "Frozen": {
        const connection = get(entry.connection)
        connection.faultAt = Math.min(connection.faultAt, place)
        break
      }
      case "Killed":
        Object.assign(get(entry.connection), { cut: true, ended: place })
        break
      case "Closed": {
        const connection = get(entry.connection)
        connection.ended = place
        if (entry.by === "server") {
          connection.cut = true
          connection.closeCode = entry.code
        }
        break
      }
    }
  }
  return { connections, emissions }
}

/** Records where the oldest matching request was acknowledged. */
const acknowledge = ({ unanswered }: Connection, message: Acknowledgement, place: number): void => {
  const named = "taskId" in message ? message.taskId : undefined
  for (const request of unanswered) {
    if (acknowledgementOf[request.message._tag] !== message._tag) continue
    if (named !== undefined && !("taskId" in request.message && request.message.taskId === named)) continue
    request.acknowledgedAt = place
    unanswered.delete(request)
    return
  }
}

const acknowledgementOf: Readonly<Record<ClientMessage["_tag"], Acknowledgement["_tag"]>> = {
  SubscribeAll: "SubscribedAll",
  UnsubscribeAll: "UnsubscribedAll",
  Subscribe: "Subscribed",
  Unsubscribe: "Unsubscribed",
  SubscribeOutput: "OutputSubscribed",
  UnsubscribeOutput: "OutputUnsubscribed"
}

/** Whether a request is a subscribe that covers a sequence. */
const subscribes = (message: ClientMessage, { kind, taskId }: Sequence): boolean => {
  switch (message._tag) {
    case "SubscribeAll":
      return kind === "updates"
    case "Subscribe":
      return kind === "updates" && message.taskId === taskId
    case "SubscribeOutput":
      return kind === "output" && message.taskId === taskId
    default:
      return false
  }
}

/** Whether the server sends a sequence on a connection at a place of the log. */
export const isSubscribed = (connection: Connection, sequence: Sequence, place: number): boolean => {
  if (sequence.kind === "other") return true
  let all = false
  let single = false
  for (const { message, place: handled } of connection.requests) {
    if (handled > place) break
    if (message._tag === "SubscribeAll") all = sequence.kind === "updates"
    else if (message._tag === "UnsubscribeAll") all = false
    else if (message.taskId !== sequence.taskId) continue
    else if (subscribes(message, sequence)) single = true
    else if (message._tag === (sequence.kind === "updates" ? "Unsubscribe" : "UnsubscribeOutput")) single = false
  }
  return all || single
}

/** The first subscribe that covers a sequence and that the server handled after a place of the log. */
export const subscribeAfter = (connection: Connection, sequence: Sequence, place: number): Request | undefined =>
  connection.requests.find(({ message, place: handled }) => handled > place && subscribes(message, sequence))

/** Where the server acknowledged the last subscribe that covers a sequence, before a place of the log. */
export const confirmedAt = (connection: Connection, sequence: Sequence, before: number): number | undefined => {
  if (sequence.kind === "other") return allConfirmedAt(connection)
  const { requests } = connection
  for (let i = requests.length - 1; i >= 0; i--) {
    const request = requests[i]
    if (request === undefined || !subscribes(request.message, sequence)) continue
    if (request.acknowledgedAt !== undefined && request.acknowledgedAt < before) return request.acknowledgedAt
  }
  return undefined
}

/** Where the last request of a connection was acknowledged; `undefined` without requests, or if one was not acknowledged. */
export const allConfirmedAt = ({ requests, unanswered }: Connection): number | undefined => {
  if (requests.length === 0 || unanswered.size > 0) return undefined
  return requests.reduce((last, { acknowledgedAt }) => Math.max(last, acknowledgedAt ?? 0), 0)
}

const isData = (message: ServerMessage): message is Data =>
  message._tag === "TaskUpdated" ||
  message._tag === "TaskOutput" ||
  message._tag === "ServerError" ||
  message._tag === "UnknownMessage"

/** Whether a frame of a connection is a message. */
export const isMessage = ({ key }: Slot): boolean => key !== badFrameKey
