/**
 * The server's log as a client of a gateway would have to see it, so that the audit can judge the client. The gateway and the
 * server are one server here, and each stretch between a `Connected` and a `Disconnected` of the client is one connection:
 * it opens where the one before it ended, handles and acknowledges everything at the client's mark, and is cut at its end.
 * Before the mark nothing is claimed, so only what the client has seen was sent.
 */
import type { ClientMessage } from "@makima-stream/core/ClientMessage"
import type { MeshEvent } from "@makima-stream/core/MeshEvent"
import type { ServerMessage } from "@makima-stream/core/ServerMessage"
import type { Entry, ServerLog } from "@makima-stream/test-kit/ServerLog"
import { acknowledgementOf } from "../../src/internal/requests.ts"
import type { Seen } from "./judge.ts"

type Unstamped = Entry extends infer E ? (E extends Entry ? Omit<E, "seq" | "at"> : never) : never

/** The number of a message, which is its version or its content. */
const numberOf = (event: MeshEvent): number | undefined => {
  if (event._tag === "TaskUpdated") return event.version
  return event._tag === "TaskOutput" ? Number(event.content) : undefined
}

/**
 * The connection on which each message was seen first, counted as in `make`. A client with a backlog sees a message, and even
 * the end of a connection, long after the server has sent what belongs to the next one.
 */
const connectionsOf = (seen: ReadonlyArray<Seen>): ReadonlyMap<number, number> => {
  const found = new Map<number, number>()
  let connection = 1
  let isReported = false
  for (const { event } of seen) {
    const number = numberOf(event)
    if (number !== undefined && !found.has(number)) found.set(number, connection)
    if (event._tag === "Connected") isReported = true
    if (event._tag !== "Disconnected" || !isReported) continue
    connection++
    isReported = false
  }
  return found
}

export const make = (
  emitted: ReadonlyArray<ServerMessage>,
  seen: ReadonlyArray<Seen>,
  requests: ReadonlyArray<ClientMessage>
): { readonly log: ServerLog; readonly events: ReadonlyArray<MeshEvent> } => {
  const log: Array<Entry> = []
  // The stamps are those of the place in the log.
  const add = (entry: Unstamped): void => void log.push({ ...entry, seq: log.length, at: log.length } as Entry)
  const send = (connection: number, emission: number, message: ServerMessage): void =>
    add({ _tag: "Sent", connection, emission, message, as: "text", delivered: true })

  let connection = 0
  let isOpen = false
  let isReported = false
  let isMarked = false
  const arrived = connectionsOf(seen)
  const open = (): void => {
    connection++
    isOpen = true
    isReported = false
    isMarked = false
    add({ _tag: "Opened", connection })
  }

  open()
  let next = 0
  const events: Array<MeshEvent> = []
  const emitUntil = (sent: number): void => {
    for (; next < sent; next++) {
      const message = emitted[next]
      if (message === undefined) continue
      const emission = next + 1
      // It belongs to a later connection, as does everything after it.
      if ((arrived.get(emission) ?? 0) > connection) return
      if (isMarked || arrived.has(emission)) send(connection, emission, message)
      else add({ _tag: "Unheard", emission, message })
    }
  }
  for (const { event, sent } of seen) {
    emitUntil(sent)
    if (event._tag === "Connected") {
      if (!isOpen) open()
      isReported = true
    }
    if (event._tag === "Resync" && (event.reason._tag === "Started" || event.reason._tag === "Reconnected")) {
      if (!isMarked) for (const message of requests) add({ _tag: "Received", connection, message })
      if (!isMarked) for (const message of requests) send(connection, 0, acknowledgementOf(message))
      isMarked = true
    }
    if (event._tag === "Disconnected" && isReported) {
      add({ _tag: "Killed", connection })
      open()
    }
    events.push("epoch" in event ? { ...event, epoch: connection } : event)
  }
  emitUntil(emitted.length)
  return { log, events }
}
