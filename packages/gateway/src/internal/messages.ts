/**
 * The frames that the gateway sends. A message is encoded once, when the first client needs it.
 */
import * as GatewayMessages from "@makima-stream/core/GatewayMessages"
import type { Data, Lifecycle, MeshEvent, Restated } from "@makima-stream/core/MeshEvent"
import * as MeshError from "@makima-stream/core/MeshError"
import type { ServerMessage } from "@makima-stream/core/ServerMessage"

const typeOf = {
  TaskUpdated: "taskUpdated",
  TaskOutput: "taskOutput",
  ServerError: "error",
  SubscribedAll: "subscribedAll",
  UnsubscribedAll: "unsubscribedAll",
  Subscribed: "subscribed",
  Unsubscribed: "unsubscribed",
  OutputSubscribed: "outputSubscribed",
  OutputUnsubscribed: "outputUnsubscribed"
} as const

/**
 * Encodes a decoded message. Returns the same as `ServerMessage.encodeFrame`, without the schema: a decoded message is
 * valid, and its members have the names of the wire.
 */
export const encodeMessage = (message: ServerMessage, place?: Place): string => {
  if (message._tag === "UnknownMessage") return JSON.stringify({ ...message.raw, ...place })
  const { _tag, ...members } = message
  return JSON.stringify({ type: typeOf[_tag], ...members, ...place })
}

/** Where an event is in a log. These are members of its frame; `position` is the last one, where clients look for it. */
export interface Place {
  /** When the log stored it, in milliseconds since 1970. */
  readonly storedAt: number
  readonly position: number
}

/** Whether an event is a message of the server. */
const isData = (event: MeshEvent): event is Data =>
  event._tag === "TaskUpdated" ||
  event._tag === "TaskOutput" ||
  event._tag === "ServerError" ||
  event._tag === "UnknownMessage"

/** Encodes an event as the text of a frame. */
export const encode = (event: MeshEvent, place?: Place): string => {
  if (isData(event)) return encodeMessage(event, place)
  const frame = GatewayMessages.encodeFrame(publicElement(event))
  return place === undefined ? frame : `${frame.slice(0, -1)},${JSON.stringify(place).slice(1)}`
}

/** An event for the clients, and its frame. */
export class Message {
  readonly event: MeshEvent
  readonly place: Place | undefined
  /** Its number among those of the gateway, if it has one (see `ring`). */
  number: number | undefined
  #text: string | undefined
  #bytes: Buffer | undefined

  constructor(event: MeshEvent, place?: Place) {
    this.event = event
    this.place = place
  }

  /** The frame as text. */
  get text(): string {
    return (this.#text ??= encode(this.event, this.place))
  }

  /** The frame as UTF-8, which all clients share. */
  get bytes(): Buffer {
    return (this.#bytes ??= Buffer.from(this.text))
  }
}

/** An element without what only the operator of the gateway may see: errors can contain addresses and answers of proxies. */
const publicElement = (event: Restated | Lifecycle): Restated | Lifecycle => {
  switch (event._tag) {
    case "Disconnected":
      return { ...event, reason: publicReason(event.reason) }
    case "RepairFailed":
      return { ...event, error: "the snapshot could not be fetched" }
    default:
      return event
  }
}

const hidden = "hidden by the gateway"

const publicReason = (reason: MeshError.ConnectionReason): MeshError.ConnectionReason => {
  switch (reason._tag) {
    case "DialFailed":
      return new MeshError.DialFailed({ cause: hidden })
    case "TlsFailed":
    case "CredentialsFailed":
      return new MeshError.CredentialsFailed({ cause: hidden })
    case "ConnectionLost":
      return new MeshError.ConnectionLost({ cause: hidden })
    case "HandshakeRejected":
      return new MeshError.HandshakeRejected({ status: reason.status })
    case "ConnectionClosed":
      return new MeshError.ConnectionClosed({ code: reason.code, closeReason: "" })
    default:
      return reason
  }
}
