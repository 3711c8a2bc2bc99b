/**
 * The upstream connection's lifecycle, for the clients: its gaps, its marks, and the confirmations of its subscriptions.
 *
 * `hub.ts` has the invariants. A client with marks sees a gap at its place. Another client is closed, connects again, and
 * marks the gap itself.
 */
import type { Interest } from "@makima-stream/core/Interest"
import type { Connected, Disconnected, MeshEvent, Resync } from "@makima-stream/core/MeshEvent"
import type { TaskId } from "@makima-stream/core/TaskId"
import type { Client, HubState, Member, UpstreamState } from "./hubState.ts"
import type * as Keys from "./keys.ts"
import { Message } from "./messages.ts"

type Key = Keys.Key<Client>

export class Marks {
  readonly #hub: HubState
  /** The newest `Disconnected`, while the upstream connection is down. */
  #offline: Disconnected | undefined
  #isConnected = false

  constructor(hub: HubState) {
    this.#hub = hub
  }

  /** Whether the upstream connection is open. */
  get isConnected(): boolean {
    return this.#isConnected
  }

  /** Returns what is known of a new client. If the upstream connection is down, a client with marks learns it. */
  join(client: Client): Member {
    const offline = client.marks ? this.#offline : undefined
    if (offline !== undefined) client.control(new Message(offline))
    return { keys: new Set(), stale: false, knowsOffline: offline !== undefined }
  }

  /** Sends a frame to every client that receives marks. */
  announce(event: MeshEvent): void {
    const message = this.#hub.number(event)
    for (const client of this.#hub.members.keys()) if (client.marks) client.control(message)
  }

  connected(event: Connected): void {
    this.#isConnected = true
    this.#offline = undefined
    const message = new Message(event)
    for (const [client, member] of this.#hub.members) {
      if (!member.knowsOffline) continue
      member.knowsOffline = false
      client.control(message)
    }
  }

  disconnected(event: Disconnected): void {
    const { keys, members } = this.#hub
    this.#offline = event
    const wasConnected = this.#isConnected
    this.#isConnected = false
    if (wasConnected) {
      for (const [client, member] of members) {
        if (!this.#hub.hasAcknowledged(client, member)) continue
        if (client.marks) member.stale = true
        else this.#closeForGap(client)
      }
      keys.reset()
    }
    for (const [client, member] of members) member.knowsOffline = client.marks
    this.announce(event)
  }

  /** `rest` are the events of the batch after the mark. */
  resync(mark: Resync, rest: ReadonlyArray<MeshEvent>, state: UpstreamState): void {
    switch (mark.reason._tag) {
      case "Started":
      case "Reconnected": {
        const later = new Set<Key>()
        for (const event of rest) {
          const key = event._tag === "Resync" ? this.#keyOf(event) : undefined
          if (key !== undefined) later.add(key)
        }
        return this.#replayed(mark, state, later)
      }
      case "Subscribed":
        return this.#subscribed(mark)
      default:
        return this.#gap(mark)
    }
  }

  /** The upstream has confirmed its whole interest, except the keys of `later`. */
  #replayed(mark: Resync, state: UpstreamState, later: ReadonlySet<Key>): void {
    const { keys, members } = this.#hub
    const all = keys.get("all", undefined)
    const confirmed = { ...state.confirmed, all: state.confirmed.all && (all === undefined || !later.has(all)) }
    for (const key of keys.values()) {
      if (key.state === "wanted" && !later.has(key) && isIn(key, confirmed)) this.#hub.confirm(key)
    }
    const message = this.#hub.number(mark)
    for (const [client, member] of members) {
      if (!member.stale) continue
      member.stale = false
      client.control(this.#forClient(message, mark, client, member))
    }
    for (const key of keys.values()) if (key.state === "confirmed") key.stale = false
  }

  /** Returns a mark with the number of the client's own subscriptions that are not confirmed. */
  #forClient(message: Message, mark: Resync, client: Client, { keys }: Member): Message {
    let unconfirmed = 0
    for (const key of keys) if (key.clients.get(client) === 0 && key.state !== "confirmed") unconfirmed++
    if (unconfirmed === (mark.unconfirmed ?? 0)) return message
    const { unconfirmed: _, ...rest } = mark
    return new Message({ ...rest, ...(unconfirmed > 0 ? { unconfirmed } : {}) })
  }

  #subscribed(mark: Resync): void {
    const key = this.#keyOf(mark)
    if (key === undefined || mark.unconfirmed !== undefined) return
    const known = key.stale ? [...key.clients].filter(([client, waiting]) => client.marks && waiting === 0) : []
    key.stale = false
    this.#hub.confirm(key)
    const message = new Message(mark)
    for (const [client] of known) client.control(message)
  }

  /** Marks a gap for the clients that it names. */
  #gap(mark: Resync): void {
    const message = this.#hub.number(mark)
    for (const [client, member] of this.#hub.members) {
      if (!this.#isNamed(client, member, mark.taskId)) continue
      if (client.marks) client.control(message)
      else this.#closeForGap(client)
    }
  }

  /** Whether a gap of a task, or of all tasks, concerns a client. */
  #isNamed(client: Client, member: Member, taskId: TaskId | undefined): boolean {
    const { keys } = this.#hub
    if (taskId === undefined) return this.#hub.hasAcknowledged(client, member)
    const named = [keys.get("all", undefined), keys.get("updates", taskId), keys.get("output", taskId)]
    return named.some((key) => key?.clients.get(client) === 0)
  }

  #closeForGap(client: Client): void {
    this.#hub.counts.closedForGaps++
    client.close(1012, "The connection of the gateway had a gap")
  }

  /** The key that a mark confirms. */
  #keyOf({ reason, taskId }: Resync): Key | undefined {
    return reason._tag === "Subscribed"
      ? this.#hub.keys.get(taskId === undefined ? "all" : reason.kind, taskId)
      : undefined
  }
}

/** Whether an interest includes a key. */
const isIn = (key: Key, interest: Interest): boolean => {
  if (key.taskId === undefined) return interest.all
  if (key.kind === "output") return interest.output.has(key.taskId)
  return interest.all || interest.updates.has(key.taskId)
}
