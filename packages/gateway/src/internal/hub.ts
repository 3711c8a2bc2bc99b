/**
 * Routes the events of the upstream connection to the clients that subscribed to them, and answers the requests of the
 * clients. Synchronous, no Effect: one event costs one encoding, and one call for each of its clients.
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
import type { Connected, Disconnected, MeshEvent, Resync } from "@makima-stream/core/MeshEvent"
import type { Acknowledgement } from "@makima-stream/core/ServerMessage"
import type { TaskId } from "@makima-stream/core/TaskId"
import * as Keys from "./keys.ts"
import { Message } from "./messages.ts"
import * as Ring from "./ring.ts"

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
interface Member {
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

export interface Options {
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
  readonly clients: number
  readonly subscriptions: number
  /** Events of the upstream connection. */
  readonly events: number
  /** Sends to clients. */
  readonly deliveries: number
  /** Clients that were closed after a gap, because they do not receive marks. */
  readonly closedForGaps: number
  /** Whether the upstream connection is open. */
  readonly connected: boolean
}

export interface Hub {
  /** Adds a client. If the upstream connection is down, a client with marks learns it. */
  readonly join: (client: Client) => void
  readonly leave: (client: Client, now: number) => void
  /** Handles a request of a client. */
  readonly request: (client: Client, message: ClientMessage, now: number) => void
  /**
   * Returns what a client has missed since the event with a number: events that it has subscribed to, and marks. Returns
   * `undefined` if some of it is not known, because it is not kept any more, or was not subscribed.
   */
  readonly missed: (client: Client, number: number) => ReadonlyArray<Message> | undefined
  /** The number of the newest event. */
  readonly last: () => number
  /** Subscribes the gateway itself. */
  readonly pin: (kind: Keys.Kind, taskId?: TaskId) => void
  /** Routes a batch of events. `state` is the state of the subscriptions after the batch. */
  readonly route: (batch: ReadonlyArray<MeshEvent>, state: UpstreamState) => void
  readonly observe: (state: UpstreamState) => void
  readonly sweep: (now: number, state: UpstreamState) => void
  readonly interest: () => Interest
  readonly clients: () => Iterable<Client>
  readonly stats: () => Stats
}

const kindOf = (message: ClientMessage): Keys.Kind => {
  switch (message._tag) {
    case "SubscribeAll":
    case "UnsubscribeAll":
      return "all"
    case "Subscribe":
    case "Unsubscribe":
      return "updates"
    case "SubscribeOutput":
    case "UnsubscribeOutput":
      return "output"
  }
}

/** The acknowledgement of a request. */
export const acknowledgementOf = (message: ClientMessage): Acknowledgement => {
  const key = { kind: kindOf(message), taskId: "taskId" in message ? message.taskId : undefined }
  return isSubscribe(message) ? subscribed(key) : unsubscribed(key.kind, key.taskId)
}

const subscribed = ({ kind, taskId }: Pick<Keys.Key<Client>, "kind" | "taskId">): Acknowledgement => {
  if (taskId === undefined) return { _tag: "SubscribedAll" }
  return { _tag: kind === "output" ? "OutputSubscribed" : "Subscribed", taskId }
}

const unsubscribed = (kind: Keys.Kind, taskId: TaskId | undefined): Acknowledgement => {
  if (taskId === undefined) return { _tag: "UnsubscribedAll" }
  return { _tag: kind === "output" ? "OutputUnsubscribed" : "Unsubscribed", taskId }
}

const isSubscribe = (message: ClientMessage): boolean =>
  message._tag === "SubscribeAll" || message._tag === "Subscribe" || message._tag === "SubscribeOutput"

export const make = ({ idleMillis, maxReplay, maxSubscriptions, onChanged, stateOf }: Options): Hub => {
  const keys = Keys.make<Client>({ idleMillis, onChanged })
  const members = new Map<Client, Member>()
  const ring = Ring.make(maxReplay)
  /** The newest `Disconnected`, while the upstream connection is down. */
  let offline: Disconnected | undefined
  let connected = false
  let events = 0
  let deliveries = 0
  let closedForGaps = 0

  // -------------------------------------------------------------------------
  // clients
  // -------------------------------------------------------------------------

  const leave = (client: Client, now: number): void => {
    const member = members.get(client)
    if (member === undefined) return
    members.delete(client)
    for (const key of member.keys) keys.remove(client, key, now)
  }

  /** Tells a client that its subscription is complete from here on. */
  const acknowledge = (client: Client, key: Keys.Key<Client>, count: number): void => {
    const message = subscribed(key)
    for (let i = 0; i < count; i++) client.acknowledge(message)
    if (client.marks && key.kind !== "output" && stateOf !== undefined) {
      for (const message of stateOf(key.taskId)) client.deliver(message)
    }
  }

  const confirm = (key: Keys.Key<Client>): void => {
    for (const confirmed of keys.confirm(key, ring.last())) {
      for (const [client, waiting] of confirmed.clients) {
        if (waiting === 0) continue
        confirmed.clients.set(client, 0)
        acknowledge(client, confirmed, waiting)
      }
    }
  }

  const request = (client: Client, message: ClientMessage, now: number): void => {
    const member = members.get(client)
    if (member === undefined) return
    const kind = kindOf(message)
    const taskId = "taskId" in message ? message.taskId : undefined
    if (!isSubscribe(message)) {
      const key = keys.get(kind, taskId)
      if (key !== undefined && member.keys.delete(key)) keys.remove(client, key, now)
      client.acknowledge(unsubscribed(kind, taskId))
      return
    }
    const present = keys.get(kind, taskId)
    if (member.keys.size >= maxSubscriptions && (present === undefined || !member.keys.has(present))) {
      const text = `A connection can have at most ${maxSubscriptions} subscriptions`
      client.control(new Message({ _tag: "ServerError", code: "TOO_MANY_SUBSCRIPTIONS", message: text }))
      return
    }
    const isConfirmed = keys.add(client, kind, taskId)
    const key = keys.obtain(kind, taskId)
    member.keys.add(key)
    if (isConfirmed) acknowledge(client, key, 1)
  }

  // -------------------------------------------------------------------------
  // data
  // -------------------------------------------------------------------------

  /** An event with its number, kept for clients that come back. */
  const numbered = (event: MeshEvent): Message => {
    const message = new Message(event)
    ring.push(message)
    return message
  }

  const send = (message: Message, key: Keys.Key<Client> | undefined, except?: Keys.Key<Client>): void => {
    if (key === undefined) return
    for (const client of key.clients.keys()) {
      if (except?.clients.has(client) === true) continue
      deliveries++
      client.deliver(message)
    }
  }

  /** Sends a message to the clients of a task's updates, to each once. */
  const sendUpdate = (message: Message, taskId: TaskId): void => {
    const all = keys.get("all", undefined)
    send(message, all)
    send(message, keys.get("updates", taskId), all)
  }

  // -------------------------------------------------------------------------
  // marks
  // -------------------------------------------------------------------------

  const hasAcknowledged = (client: Client, { keys }: Member): boolean => {
    for (const key of keys) if (key.clients.get(client) === 0) return true
    return false
  }

  /** Sends a frame to every client that receives marks. */
  const announce = (event: MeshEvent): void => {
    const message = numbered(event)
    for (const client of members.keys()) if (client.marks) client.control(message)
  }

  const closeForGap = (client: Client): void => {
    closedForGaps++
    client.close(1012, "The connection of the gateway had a gap")
  }

  /** Marks a gap for the clients that it names. */
  const markGap = (mark: Resync): void => {
    const message = numbered(mark)
    for (const [client, member] of members) {
      if (!isNamed(client, member, mark.taskId)) continue
      if (client.marks) client.control(message)
      else closeForGap(client)
    }
  }

  const isNamed = (client: Client, member: Member, taskId: TaskId | undefined): boolean => {
    if (taskId === undefined) return hasAcknowledged(client, member)
    const named = [keys.get("all", undefined), keys.get("updates", taskId), keys.get("output", taskId)]
    return named.some((key) => key?.clients.get(client) === 0)
  }

  const onConnected = (event: Connected): void => {
    connected = true
    offline = undefined
    const message = new Message(event)
    for (const [client, member] of members) {
      if (!member.knowsOffline) continue
      member.knowsOffline = false
      client.control(message)
    }
  }

  const onDisconnected = (event: Disconnected): void => {
    offline = event
    const wasConnected = connected
    connected = false
    if (wasConnected) {
      for (const [client, member] of members) {
        if (!hasAcknowledged(client, member)) continue
        if (client.marks) member.stale = true
        else closeForGap(client)
      }
      keys.reset()
    }
    for (const [client, member] of members) member.knowsOffline = client.marks
    announce(event)
  }

  /** The upstream has confirmed its whole interest, except the keys of `later`. */
  const onReplayed = (mark: Resync, state: UpstreamState, later: ReadonlySet<Keys.Key<Client>>): void => {
    const all = keys.get("all", undefined)
    const confirmed = { ...state.confirmed, all: state.confirmed.all && (all === undefined || !later.has(all)) }
    for (const key of keys.values()) {
      if (key.state === "wanted" && !later.has(key) && isIn(key, confirmed)) confirm(key)
    }
    const unmarked = numbered(mark)
    for (const [client, member] of members) {
      if (!member.stale) continue
      member.stale = false
      let unconfirmed = 0
      for (const key of member.keys) if (key.clients.get(client) === 0 && key.state !== "confirmed") unconfirmed++
      const { unconfirmed: _, ...rest } = mark
      const own = unconfirmed === (mark.unconfirmed ?? 0)
      client.control(own ? unmarked : new Message({ ...rest, ...(unconfirmed > 0 ? { unconfirmed } : {}) }))
    }
    for (const key of keys.values()) if (key.state === "confirmed") key.stale = false
  }

  const isIn = (key: Keys.Key<Client>, interest: Interest): boolean => {
    if (key.taskId === undefined) return interest.all
    if (key.kind === "output") return interest.output.has(key.taskId)
    return interest.all || interest.updates.has(key.taskId)
  }

  const keyOf = ({ reason, taskId }: Resync): Keys.Key<Client> | undefined =>
    reason._tag === "Subscribed" ? keys.get(taskId === undefined ? "all" : reason.kind, taskId) : undefined

  const onSubscribed = (mark: Resync): void => {
    const key = keyOf(mark)
    if (key === undefined || mark.unconfirmed !== undefined) return
    const known = key.stale ? [...key.clients].filter(([client, waiting]) => client.marks && waiting === 0) : []
    key.stale = false
    confirm(key)
    const message = new Message(mark)
    for (const [client] of known) client.control(message)
  }

  const onResync = (mark: Resync, rest: ReadonlyArray<MeshEvent>, state: UpstreamState): void => {
    switch (mark.reason._tag) {
      case "Started":
      case "Reconnected": {
        const later = new Set<Keys.Key<Client>>()
        for (const event of rest) {
          const key = event._tag === "Resync" ? keyOf(event) : undefined
          if (key !== undefined) later.add(key)
        }
        return onReplayed(mark, state, later)
      }
      case "Subscribed":
        return onSubscribed(mark)
      default:
        return markGap(mark)
    }
  }

  const routeOne = (event: MeshEvent, rest: () => ReadonlyArray<MeshEvent>, state: UpstreamState): void => {
    switch (event._tag) {
      case "TaskUpdated":
        return sendUpdate(numbered(event), event.taskId)
      case "TaskOutput":
        return send(numbered(event), keys.get("output", event.taskId))
      case "ServerError":
      case "UnknownMessage": {
        const isMark = event._tag === "UnknownMessage" && GatewayMessages.types.has(event.raw.type)
        const message = new Message(event)
        for (const client of members.keys()) {
          // The upstream's own message of such a type would be taken for a mark of this gateway.
          if (isMark && client.marks) continue
          deliveries++
          client.deliver(message)
        }
        return
      }
      case "Restated": {
        const message = numbered(event)
        const seen = new Set<Client>()
        for (const key of [keys.get("all", undefined), keys.get("updates", event.taskId)]) {
          for (const client of key?.clients.keys() ?? []) {
            if (!client.marks || seen.has(client)) continue
            seen.add(client)
            client.deliver(message)
          }
        }
        return
      }
      case "Connected":
        return onConnected(event)
      case "Disconnected":
        return onDisconnected(event)
      case "Repaired":
      case "RepairFailed":
        return announce(event)
      case "Resync":
        return onResync(event, rest(), state)
    }
  }

  /** Whether an event is for a client. */
  const isFor = (event: MeshEvent, { keys: own }: Member): boolean => {
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

  return {
    join(client) {
      const knowsOffline = offline !== undefined && client.marks
      members.set(client, { keys: new Set(), stale: false, knowsOffline })
      if (offline !== undefined && client.marks) client.control(new Message(offline))
    },
    leave,
    request,
    missed(client, number) {
      const member = members.get(client)
      if (member === undefined) return undefined
      for (const key of member.keys) if (key.state !== "confirmed" || key.confirmedAt > number) return undefined
      return ring.after(number)?.filter(({ event }) => isFor(event, member))
    },
    last: ring.last,
    pin: (kind, taskId) => keys.pin(kind, taskId),
    route(batch, state) {
      events += batch.length
      for (const [i, event] of batch.entries()) routeOne(event, () => batch.slice(i + 1), state)
    },
    observe: (state) => keys.observe(state.requested),
    sweep: (now, state) => keys.sweep(now, state.requested),
    interest: keys.interest,
    clients: () => members.keys(),
    stats: () => ({
      clients: members.size,
      subscriptions: keys.size(),
      events,
      deliveries,
      closedForGaps,
      connected
    })
  }
}
