/**
 * Joins the files of the processes of a chaos run, and the faults that were injected,
 * into one log that `Audit` can compare with the consumer's events.
 *
 * The identity of a connection is the number of its dial: the client sends it as
 * its key, and the proxy numbers connections in the same order.
 */
import type * as MeshEvent from "@makima-stream/core/MeshEvent"
import type * as ChaosProxy from "@makima-stream/test-kit/ChaosProxy"
import type * as ServerLog from "@makima-stream/test-kit/ServerLog"
import type * as Lines from "./lines.ts"

/** One run of the server process. */
export interface Life {
  readonly log: ServerLog.ServerLog
  /** When it was killed, in milliseconds since 1970. */
  readonly killedAt: number | undefined
  /** The dial of each of its connections. */
  readonly dials: ReadonlyArray<Lines.Dial>
}

/** The proxy's connection of a dial. */
const linkOf = (
  links: ReadonlyArray<ChaosProxy.Connection>,
  dial: Lines.Dial | undefined
): ChaosProxy.Connection | undefined => (dial === undefined ? undefined : links.find(({ id }) => id === dial.dial))

/**
 * Joins the runs of the server into one log: numbers continue from one run to the next,
 * and a connection that was cut by the proxy, or by the end of the server's process,
 * counts as killed.
 */
export const join = (
  lives: ReadonlyArray<Life>,
  links: ReadonlyArray<ChaosProxy.Connection>
): ReadonlyArray<ServerLog.Entry> => {
  const joined: Array<ServerLog.Entry> = []
  let connections = 0
  let emissions = 0
  for (const { dials, killedAt, log } of lives) {
    const open = new Set<number>()
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
      if (moved._tag === "Opened") open.add(moved.connection)
      if (moved._tag === "Closed") {
        const number = moved.connection - connections
        const link = linkOf(
          links,
          dials.find(({ is }) => is === number)
        )
        open.delete(moved.connection)
        if (moved.by === "client" && moved.code === 1006 && link?.injury !== undefined) {
          add({ _tag: "Killed", connection: moved.connection, at: moved.at, seq: moved.seq })
          continue
        }
      }
      add(moved)
    }
    if (killedAt !== undefined) {
      for (const connection of open) add({ _tag: "Killed", connection, at: killedAt, seq: 0 })
    }
    connections += log.filter(({ _tag }) => _tag === "Opened").length
    emissions += lastEmission
  }
  return joined
}

/** Returns the connection of each epoch in the joined log, which has the same dial. */
export const connections = (
  lives: ReadonlyArray<Life>,
  epochs: ReadonlyArray<Lines.Dial>
): ((epoch: number) => number | undefined) => {
  const byDial = new Map<number, number>()
  let before = 0
  for (const { dials, log } of lives) {
    for (const { dial, is } of dials) byDial.set(dial, before + is)
    before += log.filter(({ _tag }) => _tag === "Opened").length
  }
  const byEpoch = new Map(epochs.map(({ dial, is }) => [is, byDial.get(dial)]))
  return (epoch) => byEpoch.get(epoch)
}

/** Returns the consumer's reasons for the ends of connections without an injected fault. */
export const unexplained = (
  events: ReadonlyArray<MeshEvent.MeshEvent>,
  epochs: ReadonlyArray<Lines.Dial>,
  lives: ReadonlyArray<Life>,
  links: ReadonlyArray<ChaosProxy.Connection>
): ReadonlyArray<string> => {
  const ends: Array<string> = []
  let connectedAt = 0
  for (const event of events) {
    if (event._tag === "Connected") connectedAt = event.at
    if (event._tag !== "Disconnected" || !event.opened) continue
    const dial = epochs.find(({ is }) => is === event.epoch)
    const injured = linkOf(links, dial)?.injury !== undefined
    const orphaned = lives.some(
      ({ killedAt }) => killedAt !== undefined && killedAt >= connectedAt && killedAt <= event.at
    )
    const closed = event.reason._tag === "ConnectionClosed" && event.reason.code === 1000
    if (!injured && !orphaned && !closed) ends.push(event.reason._tag)
  }
  return ends
}
