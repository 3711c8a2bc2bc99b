/**
 * A server's log, read for an audit: what was sent on each connection, and what
 * was emitted at all.
 */
import * as Result from "effect/Result"
import type { Data } from "@makima-stream/core/MeshEvent"
import { decodeFrame, type ServerMessage } from "@makima-stream/core/ServerMessage"
import type { ServerLog } from "../ServerLog.ts"
import * as Feed from "./feed.ts"
import { fingerprint } from "./fingerprint.ts"

/** The key of every frame that is no message. No message has it. */
export const badFrameKey = "bad frame"

/** One frame that the server sent on a connection. */
export interface Slot {
  /** The message's fingerprint, or `badFrameKey`. */
  readonly key: string
  readonly emission: number
  /** Where in the log it is. */
  readonly place: number
}

/** One connection. Places are places in the log. */
export interface Connection {
  readonly slots: Array<Slot>
  /** What its client asked for. */
  readonly feed: Feed.Feed
  firstRequest: number | undefined
  ended: number | undefined
  /** Whether the server did something to it that may cost its tail. */
  faulty: boolean
  /** The code that the server closed it with. */
  closeCode: number | undefined
}

/** A message that was emitted, whoever it went to. */
export interface Emission {
  readonly emission: number
  readonly place: number
  readonly message: Data
}

export interface Transcript {
  readonly connections: ReadonlyMap<number, Connection>
  /** In the order of the log. */
  readonly emissions: ReadonlyArray<Emission>
}

export const emptyConnection = (): Connection => ({
  slots: [],
  feed: Feed.make(),
  firstRequest: undefined,
  ended: undefined,
  faulty: false,
  closeCode: undefined
})

/** Reads a log; `only` says which messages count. */
export const read = (log: ServerLog, only: (message: Data) => boolean): Transcript => {
  const connections = new Map<number, Connection>()
  const emissions: Array<Emission> = []

  const get = (id: number): Connection => {
    let connection = connections.get(id)
    if (connection === undefined) {
      connection = emptyConnection()
      connections.set(id, connection)
    }
    return connection
  }
  const emitted = (emission: number, place: number, message: Data): void => {
    // A message to several connections has its entries side by side.
    if (emissions.at(-1)?.emission !== emission) emissions.push({ emission, place, message })
  }

  for (const [place, entry] of log.entries()) {
    switch (entry._tag) {
      case "Received": {
        const connection = get(entry.connection)
        connection.feed.handle(entry.message)
        connection.firstRequest ??= place
        break
      }
      case "Unheard":
        if (isData(entry.message) && only(entry.message)) emitted(entry.emission, place, entry.message)
        break
      case "Sent":
      case "SentRaw": {
        const { connection, emission } = entry
        const message = entry._tag === "Sent" ? entry.message : Result.getOrUndefined(decodeFrame(entry.raw))
        if (message === undefined) {
          const { slots } = get(connection)
          slots.push({ key: badFrameKey, emission, place })
          get(connection).faulty = true
        } else if (isData(message) && only(message)) {
          get(connection).slots.push({ key: fingerprint(message), emission, place })
          emitted(emission, place, message)
        }
        break
      }
      case "Frozen":
        get(entry.connection).faulty = true
        break
      case "Killed":
        Object.assign(get(entry.connection), { faulty: true, ended: place })
        break
      case "Closed": {
        const connection = get(entry.connection)
        connection.ended = place
        if (entry.by === "server") {
          connection.faulty = true
          connection.closeCode = entry.code
        }
        break
      }
    }
  }
  return { connections, emissions }
}

const isData = (message: ServerMessage): message is Data =>
  message._tag === "TaskUpdated" ||
  message._tag === "TaskOutput" ||
  message._tag === "ServerError" ||
  message._tag === "UnknownMessage"
