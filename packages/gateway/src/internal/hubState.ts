/** What the parts of the hub share: its clients, their keys, and the newest events. */
import type { Interest } from "@makima-stream/core/Interest"
import type { MeshEvent } from "@makima-stream/core/MeshEvent"
import type { Acknowledgement } from "@makima-stream/core/ServerMessage"
import type { TaskId } from "@makima-stream/core/TaskId"
import type * as Keys from "./keys.ts"
import { Message } from "./messages.ts"
import type * as Ring from "./ring.ts"
import * as Requests from "./requests.ts"

/** A client, as the hub sees it. No method may call the hub, except `close`, which may call `leave`. */
export interface Client {
  /** Whether it receives the additional messages of `GatewayMessages`. */
  readonly marks: boolean
  /** Sends a message. May drop it, if the client marks the loss itself. */
  readonly deliver: (message: Message) => void
  /** Sends a message that must not be dropped, after everything that was delivered before. */
  readonly control: (message: Message) => void
  /** Answers a request, in the same order. */
  readonly acknowledge: (message: Acknowledgement) => void
  /** Ends the connection. */
  readonly close: (code: number, reason: string) => void
}

/** What the hub knows of a client. */
export interface Member {
  readonly keys: Set<Keys.Key<Client>>
  /** Whether acknowledged keys wait for the mark of the current connection. */
  stale: boolean
  /** Whether it knows that the upstream connection is down. */
  knowsOffline: boolean
}

/** What is requested and confirmed upstream. */
export interface UpstreamState {
  readonly requested: Interest
  readonly confirmed: Interest
}

/** What the hub counts. */
export interface Counts {
  events: number
  deliveries: number
  closedForGaps: number
}

/** The clients of the hub, with their keys. */
export class HubState {
  readonly keys: Keys.Keys<Client>
  readonly members = new Map<Client, Member>()
  readonly ring: Ring.Ring
  readonly counts: Counts = { events: 0, deliveries: 0, closedForGaps: 0 }
  readonly #stateOf: ((taskId: TaskId | undefined) => Iterable<Message>) | undefined

  constructor(
    keys: Keys.Keys<Client>,
    ring: Ring.Ring,
    stateOf: ((taskId: TaskId | undefined) => Iterable<Message>) | undefined
  ) {
    this.keys = keys
    this.ring = ring
    this.#stateOf = stateOf
  }

  /** Numbers an event, and keeps it for clients that come back. */
  number(event: MeshEvent): Message {
    const message = new Message(event)
    this.ring.push(message)
    return message
  }

  /** Confirms a key at this place among the events, and acknowledges the requests that waited for it. */
  confirm(key: Keys.Key<Client>): void {
    for (const confirmed of this.keys.confirm(key, this.ring.last())) {
      for (const [client, waiting] of confirmed.clients) {
        if (waiting === 0) continue
        confirmed.clients.set(client, 0)
        this.acknowledge(client, confirmed, waiting)
      }
    }
  }

  /** Acknowledges requests of a client: its subscription is complete from here on. */
  acknowledge(client: Client, key: Keys.Key<Client>, count: number): void {
    const message = Requests.subscribed(key)
    for (let i = 0; i < count; i++) client.acknowledge(message)
    if (client.marks && key.kind !== "output" && this.#stateOf !== undefined) {
      for (const message of this.#stateOf(key.taskId)) client.deliver(message)
    }
  }

  /** Whether a client has an acknowledged key. */
  hasAcknowledged(client: Client, { keys }: Member): boolean {
    for (const key of keys) if (key.clients.get(client) === 0) return true
    return false
  }
}
