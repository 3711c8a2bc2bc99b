/**
 * From what the processes of a chaos run wrote, and from what was done to them,
 * to one log that `Audit` can compare with the consumer's events.
 */
import type * as MeshEvent from "@makima-stream/core/MeshEvent"
import type * as ServerMessage from "@makima-stream/core/ServerMessage"
import type * as ChaosProxy from "@makima-stream/test-kit/ChaosProxy"
import type * as ServerLog from "@makima-stream/test-kit/ServerLog"

/** One life of the server process. */
export interface Life {
  readonly log: ServerLog.ServerLog
  /** When it was killed, in milliseconds since 1970. */
  readonly killedAt: number | undefined
}

/** The connection of the proxy that one of the server or the consumer went through: there is one client. */
const linkAt = (links: ReadonlyArray<ChaosProxy.Connection>, at: number): ChaosProxy.Connection | undefined =>
  links.findLast(({ openedAt }) => openedAt <= at)

/**
 * The lives of the server as one log: numbers go on from one life to the next,
 * and a connection that was cut by the proxy, or by the end of the server's
 * process, is one that was killed.
 */
export const join = (
  lives: ReadonlyArray<Life>,
  links: ReadonlyArray<ChaosProxy.Connection>
): ReadonlyArray<ServerLog.Entry> => {
  const joined: Array<ServerLog.Entry> = []
  let connections = 0
  let emissions = 0
  for (const { killedAt, log } of lives) {
    const open = new Map<number, number>()
    let lastEmission = 0
    const add = (entry: ServerLog.Entry): void => {
      joined.push({ ...entry, seq: joined.length + 1 })
    }
    for (const entry of log) {
      const moved = "connection" in entry ? { ...entry, connection: entry.connection + connections } : entry
      if ("emission" in moved) {
        lastEmission = Math.max(lastEmission, moved.emission)
        add({ ...moved, emission: moved.emission + emissions })
        continue
      }
      if (moved._tag === "Opened") open.set(moved.connection, moved.at)
      if (moved._tag === "Closed") {
        const link = linkAt(links, open.get(moved.connection) ?? 0)
        open.delete(moved.connection)
        if (moved.by === "client" && moved.code === 1006 && link?.injury !== undefined) {
          add({ _tag: "Killed", connection: moved.connection, at: moved.at, seq: moved.seq })
          continue
        }
      }
      add(moved)
    }
    if (killedAt !== undefined) {
      for (const connection of open.keys()) add({ _tag: "Killed", connection, at: killedAt, seq: 0 })
    }
    connections += log.filter(({ _tag }) => _tag === "Opened").length
    emissions += lastEmission
  }
  return joined
}

/** What tells a message of the run's server from every other one: it says each thing once. */
const numberOf = (message: MeshEvent.MeshEvent | ServerMessage.ServerMessage): string | undefined =>
  message._tag === "TaskUpdated" ? String(message.version) : message._tag === "TaskOutput" ? message.content : undefined

/**
 * The server's connection of each epoch: the one on which the epoch's first message was sent. The times of two processes
 * are not to be relied on for this: a client may be online before the server has come to write that down.
 */
export const connections = (
  log: ServerLog.ServerLog,
  events: ReadonlyArray<MeshEvent.MeshEvent>
): ((epoch: number) => number | undefined) => {
  const sentOn = new Map<string, number>()
  for (const entry of log) {
    const number = entry._tag === "Sent" ? numberOf(entry.message) : undefined
    if (number !== undefined && entry._tag === "Sent") sentOn.set(number, entry.connection)
  }
  const found = new Map<number, number>()
  let epoch = 0
  for (const event of events) {
    if (event._tag === "Connected") epoch = event.epoch
    const number = numberOf(event)
    const connection = number === undefined ? undefined : sentOn.get(number)
    if (connection !== undefined && !found.has(epoch)) found.set(epoch, connection)
  }
  return (epoch) => found.get(epoch)
}

/** The ends of connections that nothing was done to, each with the reason that the consumer gave. */
export const unexplained = (
  events: ReadonlyArray<MeshEvent.MeshEvent>,
  lives: ReadonlyArray<Life>,
  links: ReadonlyArray<ChaosProxy.Connection>
): ReadonlyArray<string> => {
  const ends: Array<string> = []
  let connectedAt = 0
  for (const event of events) {
    if (event._tag === "Connected") connectedAt = event.at
    if (event._tag !== "Disconnected" || !event.opened) continue
    const injured = linkAt(links, connectedAt)?.injury !== undefined
    const orphaned = lives.some(
      ({ killedAt }) => killedAt !== undefined && killedAt >= connectedAt && killedAt <= event.at
    )
    const closed = event.reason._tag === "ConnectionClosed" && event.reason.code === 1000
    if (!injured && !orphaned && !closed) ends.push(event.reason._tag)
  }
  return ends
}
