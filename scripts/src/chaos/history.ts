/**
 * From what the processes of a chaos run wrote, and from what was done to them,
 * to one log that `Audit` can compare with the consumer's events.
 */
import type { MeshEvent } from "@makima-stream/core"
import type { ChaosProxy, ServerLog } from "@makima-stream/test-kit"

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
