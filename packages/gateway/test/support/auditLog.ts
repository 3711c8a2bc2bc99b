/**
 * The server's log as a client of a gateway would have to see it, so that the audit can judge the client. The gateway and the
 * server are one server here, and each stretch between a `Connected` and a `Disconnected` of the client is one connection:
 * it opens where the one before it ended, acknowledges everything at the client's mark, and is cut at its end.
 */
import type { ClientMessage } from "@makima-stream/core/ClientMessage"
import type { MeshEvent } from "@makima-stream/core/MeshEvent"
import type { ServerMessage } from "@makima-stream/core/ServerMessage"
import type { Entry, ServerLog } from "@makima-stream/test-kit/ServerLog"
import { acknowledgementOf } from "../../src/internal/hub.ts"
import type { Seen } from "./judge.ts"

type Unstamped = Entry extends infer E ? (E extends Entry ? Omit<E, "seq" | "at"> : never) : never

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
  const open = (): void => {
    connection++
    isOpen = true
    isReported = false
    add({ _tag: "Opened", connection })
    for (const message of requests) add({ _tag: "Received", connection, message })
  }

  open()
  let next = 0
  const events: Array<MeshEvent> = []
  const emitUntil = (sent: number): void => {
    for (; next < sent; next++) {
      const message = emitted[next]
      if (message !== undefined) send(connection, next + 1, message)
    }
  }
  for (const { event, sent } of seen) {
    emitUntil(sent)
    if (event._tag === "Connected") {
      if (!isOpen) open()
      isReported = true
    }
    if (event._tag === "Resync" && (event.reason._tag === "Started" || event.reason._tag === "Reconnected")) {
      for (const message of requests) send(connection, 0, acknowledgementOf(message))
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
