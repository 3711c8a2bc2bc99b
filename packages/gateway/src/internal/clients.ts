/**
 * The open clients of a gateway: WebSockets and streams of events, each on the hub or on the log.
 */
import type * as Context from "effect/Context"
import type { IncomingMessage, ServerResponse } from "node:http"
import type { WebSocket } from "ws"
import * as MeshLog from "@makima-stream/log/MeshLog"
import * as History from "./history.ts"
import * as Http from "./http.ts"
import type * as Hub from "./hub.ts"
import type { LimitSettings } from "./options.ts"
import * as Requests from "./requests.ts"
import * as Sse from "./sse.ts"
import * as WebSocketClient from "./webSocketClient.ts"

export interface Options {
  readonly hub: Hub.Hub
  readonly log: History.Log | undefined
  readonly settings: LimitSettings
  /** The time in milliseconds. */
  readonly now: () => number
  /** Runs the callback after a time, unless the returned function is called before. */
  readonly after: WebSocketClient.ClientOptions["after"]
  /** Identifies this gateway in the ids of its events. */
  readonly instance: string
  /** For the readers of the log. */
  readonly context: Context.Context<never>
}

export interface Counts {
  /** Events that were dropped for slow clients, and marked. */
  readonly dropped: number
  /** Clients that were closed because they were too slow. */
  readonly closedAsSlow: number
}

export interface Clients {
  /** Whether no further client is accepted. */
  readonly isFull: () => boolean
  /** Whether the parameters of a WebSocket are understood. */
  readonly isValid: (url: URL) => boolean
  /** Adds a WebSocket. */
  readonly connect: (ws: WebSocket, options: { readonly marks: boolean; readonly url: URL }) => void
  /** Answers a request with a stream of events. */
  readonly events: (request: IncomingMessage, url: URL, response: ServerResponse) => void
  /** Closes clients that are too slow or dead. Called every second. */
  readonly check: () => void
  /** Closes all clients. */
  readonly close: (code: number, reason: string) => void
  readonly counts: () => Counts
}

/** Where a client of the log starts: after a position, or with what is appended from now on. */
const placeOf = (parameters: URLSearchParams): MeshLog.From | undefined => {
  const since = parameters.get("since") ?? ""
  const position = Sse.position(since)
  if (position !== undefined) return MeshLog.after(position)
  return since === "new" ? MeshLog.newest : undefined
}

export const make = ({ after, context, hub, instance, log, now, settings }: Options): Clients => {
  const clients = new Set<WebSocketClient.OpenClient>()
  /** How to stop the readers of the log. */
  const readers = new Map<WebSocketClient.OpenClient, () => void>()
  const counts = { dropped: 0, closedAsSlow: 0 }
  const clientOptions: WebSocketClient.ClientOptions = {
    maxBufferedBytes: settings.maxBufferedBytes,
    stallMillis: settings.stallMillis,
    now,
    after,
    onEnd(client) {
      clients.delete(client)
      readers.get(client)?.()
      readers.delete(client)
      hub.leave(client, now())
    },
    onDropped: (count) => void (counts.dropped += count),
    onTooSlow: () => void counts.closedAsSlow++
  }
  const isFull = () => clients.size >= settings.maxClients
  const readLog = (log: History.Log, client: WebSocketClient.OpenClient, place: History.Place): void => {
    clients.add(client)
    readers.set(client, History.follow(log, client, place, context))
  }

  return {
    isFull,
    isValid: ({ searchParams }) =>
      !searchParams.has("since") || (log !== undefined && placeOf(searchParams) !== undefined),
    connect(ws, { marks, url }) {
      const from = placeOf(url.searchParams)
      if (log !== undefined && from !== undefined) {
        // The marks are part of the log, so the client receives them in any case. It receives everything, so each request
        // is acknowledged at once.
        const client = WebSocketClient.make(ws, {
          ...clientOptions,
          marks: true,
          onRequest: (client, message) => client.acknowledge(Requests.acknowledgementOf(message))
        })
        return readLog(log, client, { from })
      }
      const client = WebSocketClient.make(ws, {
        ...clientOptions,
        marks,
        onRequest: (client, message) => hub.request(client, message, now())
      })
      clients.add(client)
      hub.join(client)
    },
    events(request, url, response) {
      const requests = Sse.subscriptions(url)
      if (typeof requests === "string") return Http.send(request, response, Http.text(requests, 400))
      if (isFull()) return Http.send(request, response, Http.text("There are too many clients", 503))
      const client = Sse.make(response, {
        ...clientOptions,
        instance,
        requests: requests.length,
        last: hub.last,
        headers: log === undefined ? {} : Sse.logHeaders
      })
      if (log !== undefined) {
        const position = Sse.lastPosition(request)
        const from = position === undefined ? MeshLog.newest : MeshLog.after(position)
        return readLog(log, client, { from, filter: Sse.filter(url) })
      }
      clients.add(client)
      hub.join(client)
      for (const message of requests) hub.request(client, message, now())
      const number = Sse.lastEvent(request, instance)
      const missed = number === undefined ? undefined : hub.missed(client, number)
      if (missed === undefined) client.started()
      else client.resumed(missed)
    },
    check() {
      for (const client of clients) client.check()
    },
    close(code, reason) {
      for (const client of clients) client.close(code, reason)
    },
    counts: () => counts
  }
}
