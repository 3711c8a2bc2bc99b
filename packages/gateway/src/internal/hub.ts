/**
 * Routes the events of the upstream connection to the clients that subscribed to them, and answers the requests of the
 * clients. Synchronous, no Effect: one event costs one encoding, and one call for each of its clients.
 *
 * `marks.ts` handles the lifecycle of the upstream connection, `keys.ts` has the subscriptions, `requests.ts` reads requests.
 *
 * Invariants:
 *
 * 1. A request is acknowledged only when its key is confirmed upstream, at the place of the confirmation among the events.
 *    So the mark that a client makes of the acknowledgement is true.
 * 2. A gap of the upstream connection reaches each client that has an acknowledged key which the gap names: as a mark at its
 *    place, or, without marks, by a close with 1012. Such a client connects again and marks the gap itself.
 * 3. A client whose key is subscribed but not yet confirmed receives the events of the key, which are true, but may have
 *    holes.
 */
import type { ClientMessage } from "@makima-stream/core/ClientMessage"
import * as GatewayMessages from "@makima-stream/core/GatewayMessages"
import type { Interest } from "@makima-stream/core/Interest"
import type { MeshEvent, Restated } from "@makima-stream/core/MeshEvent"
import type { ServerError, UnknownMessage } from "@makima-stream/core/ServerMessage"
import type { TaskId } from "@makima-stream/core/TaskId"
import { HubState, type Client, type Member, type UpstreamState } from "./hubState.ts"
import * as Keys from "./keys.ts"
import { Marks } from "./marks.ts"
import { Message } from "./messages.ts"
import * as Requests from "./requests.ts"
import * as Ring from "./ring.ts"

export type { Client, UpstreamState } from "./hubState.ts"

export interface Options {
  /** How long a subscription without clients stays active upstream, in milliseconds. */
  readonly idleMillis: number
  /** How many events are kept for clients that come back. */
  readonly maxReplay: number
  /** The most keys of one client. */
  readonly maxSubscriptions: number
  /** Called when the interest has changed. */
  readonly onChanged: () => void
  /** Returns the elements that a client with marks receives when a key of updates is confirmed for it. */
  readonly stateOf?: ((taskId: TaskId | undefined) => Iterable<Message>) | undefined
}

export interface Stats {
  /** Open clients. */
  readonly clients: number
  /** Subscriptions of all clients, each counted once. */
  readonly subscriptions: number
  /** Events of the upstream connection. */
  readonly events: number
  /** Events that were passed to clients. */
  readonly deliveries: number
  /** Clients that were closed after a gap, because they do not receive marks. */
  readonly closedForGaps: number
  /** Whether the upstream connection is open. */
  readonly connected: boolean
}

export interface Hub {
  /** Adds a client. If the upstream connection is down, a client with marks learns it. */
  readonly join: (client: Client) => void
  /** Removes a client and its subscriptions. */
  readonly leave: (client: Client, now: number) => void
  /** Handles a request of a client. */
  readonly request: (client: Client, message: ClientMessage, now: number) => void
  /**
   * Returns what a client has missed since the event with a number: events that it has subscribed to, and marks. Returns
   * `undefined` if some of it is not known, because it is not kept any more, or was not subscribed.
   */
  readonly missed: (client: Client, number: number) => ReadonlyArray<Message> | undefined
  /** Returns the number of the newest event. */
  readonly last: () => number
  /** Subscribes the gateway itself. */
  readonly pin: (kind: Keys.Kind, taskId?: TaskId) => void
  /** Routes a batch of events. `state` is the state of the subscriptions after the batch. */
  readonly route: (batch: ReadonlyArray<MeshEvent>, state: UpstreamState) => void
  /** Called when the state of the subscriptions has changed. */
  readonly observe: (state: UpstreamState) => void
  /** Gives up subscriptions without clients. Called every second. */
  readonly sweep: (now: number, state: UpstreamState) => void
  /** Returns what must be requested upstream. */
  readonly interest: () => Interest
  readonly clients: () => Iterable<Client>
  readonly stats: () => Stats
}

export const make = ({ idleMillis, maxReplay, maxSubscriptions, onChanged, stateOf }: Options): Hub => {
  const keys = new Keys.Keys<Client>({ idleMillis, onChanged })
  const ring = Ring.make(maxReplay)
  const hub = new HubState(keys, ring, stateOf)
  const marks = new Marks(hub)
  const { counts, members } = hub
  return {
    join: (client) => void members.set(client, marks.join(client)),
    leave(client, now) {
      const member = members.get(client)
      if (member === undefined) return
      members.delete(client)
      for (const key of member.keys) keys.remove(client, key, now)
    },
    request(client, message, now) {
      const member = members.get(client)
      if (member === undefined) return
      if (Requests.isSubscribe(message)) subscribe(hub, client, member, message, maxSubscriptions)
      else unsubscribe(hub, client, member, message, now)
    },
    missed(client, number) {
      const member = members.get(client)
      if (member === undefined) return undefined
      for (const key of member.keys) if (key.state !== "confirmed" || key.confirmedAt > number) return undefined
      return ring.after(number)?.filter(({ event }) => isFor(event, hub, member))
    },
    last: ring.last,
    pin: (kind, taskId) => keys.pin(kind, taskId),
    route(batch, state) {
      counts.events += batch.length
      for (const [i, event] of batch.entries()) route(hub, marks, event, () => batch.slice(i + 1), state)
    },
    observe: (state) => keys.observe(state.requested),
    sweep: (now, state) => keys.sweep(now, state.requested),
    interest: () => keys.interest(),
    clients: () => members.keys(),
    stats: () => ({
      clients: members.size,
      subscriptions: keys.size,
      ...counts,
      connected: marks.isConnected
    })
  }
}

// ---------------------------------------------------------------------------
// requests
// ---------------------------------------------------------------------------

/** Adds a subscription of a client. It is acknowledged once it is confirmed upstream. */
const subscribe = (
  hub: HubState,
  client: Client,
  member: Member,
  message: ClientMessage,
  maxSubscriptions: number
): void => {
  const { keys } = hub
  const { kind, taskId } = Requests.subjectOf(message)
  const present = keys.get(kind, taskId)
  if (member.keys.size >= maxSubscriptions && (present === undefined || !member.keys.has(present))) {
    const text = `A connection can have at most ${maxSubscriptions} subscriptions`
    client.control(new Message({ _tag: "ServerError", code: "TOO_MANY_SUBSCRIPTIONS", message: text }))
    return
  }
  const isConfirmed = keys.add(client, kind, taskId)
  const key = keys.obtain(kind, taskId)
  member.keys.add(key)
  if (isConfirmed) hub.acknowledge(client, key, 1)
}

/** Removes a subscription of a client, if there is one, and acknowledges the request at once. */
const unsubscribe = ({ keys }: HubState, client: Client, member: Member, message: ClientMessage, now: number): void => {
  const { kind, taskId } = Requests.subjectOf(message)
  const key = keys.get(kind, taskId)
  if (key !== undefined && member.keys.delete(key)) keys.remove(client, key, now)
  client.acknowledge(Requests.acknowledgementOf(message))
}

// ---------------------------------------------------------------------------
// events
// ---------------------------------------------------------------------------

/** Routes one event. `rest` returns the events of the batch after it. */
const route = (
  hub: HubState,
  marks: Marks,
  event: MeshEvent,
  rest: () => ReadonlyArray<MeshEvent>,
  state: UpstreamState
): void => {
  switch (event._tag) {
    case "TaskUpdated":
      return sendUpdate(hub, hub.number(event), event.taskId)
    case "TaskOutput":
      return send(hub, hub.number(event), hub.keys.get("output", event.taskId))
    case "ServerError":
    case "UnknownMessage":
      return sendToAll(hub, event)
    case "Restated":
      return sendRestated(hub, event)
    case "Connected":
      return marks.connected(event)
    case "Disconnected":
      return marks.disconnected(event)
    case "Repaired":
    case "RepairFailed":
      return marks.announce(event)
    case "Resync":
      return marks.resync(event, rest(), state)
  }
}

const send = (
  { counts }: HubState,
  message: Message,
  key: Keys.Key<Client> | undefined,
  except?: Keys.Key<Client>
): void => {
  if (key === undefined) return
  for (const client of key.clients.keys()) {
    if (except?.clients.has(client) === true) continue
    counts.deliveries++
    client.deliver(message)
  }
}

/** Sends a message to the clients of a task's updates, to each once. */
const sendUpdate = (hub: HubState, message: Message, taskId: TaskId): void => {
  const all = hub.keys.get("all", undefined)
  send(hub, message, all)
  send(hub, message, hub.keys.get("updates", taskId), all)
}

/** Sends an event that belongs to no task. */
const sendToAll = ({ counts, members }: HubState, event: ServerError | UnknownMessage): void => {
  const isMark = event._tag === "UnknownMessage" && GatewayMessages.types.has(event.raw.type)
  const message = new Message(event)
  for (const client of members.keys()) {
    // The upstream's own message of such a type would be taken for a mark of this gateway.
    if (isMark && client.marks) continue
    counts.deliveries++
    client.deliver(message)
  }
}

/** Sends a state from a snapshot to the clients of a task's updates that receive marks, to each once. */
const sendRestated = (hub: HubState, event: Restated): void => {
  const message = hub.number(event)
  const all = hub.keys.get("all", undefined)
  const ofTask = hub.keys.get("updates", event.taskId)
  for (const client of new Set([...(all?.clients.keys() ?? []), ...(ofTask?.clients.keys() ?? [])])) {
    if (client.marks) client.deliver(message)
  }
}

/** Whether an event is for a client. */
const isFor = (event: MeshEvent, { keys }: HubState, { keys: own }: Member): boolean => {
  const has = (kind: Keys.Kind, taskId: TaskId | undefined): boolean => {
    const key = keys.get(kind, taskId)
    return key !== undefined && own.has(key)
  }
  switch (event._tag) {
    case "TaskOutput":
      return has("output", event.taskId)
    case "TaskUpdated":
    case "Restated":
      return has("all", undefined) || has("updates", event.taskId)
    default:
      return true
  }
}
