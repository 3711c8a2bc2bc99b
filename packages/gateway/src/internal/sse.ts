/**
 * A client on server-sent events, which has subscribed in its URL. `id` is the number of the event. A client that comes back
 * with `Last-Event-ID` continues there, if everything since then is known; otherwise a `resync` says where its stream is
 * complete again. Comments are the heartbeat.
 */
import { encoder } from "effect/encoding/Sse"
import type { IncomingMessage, ServerResponse } from "node:http"
import type { ClientMessage } from "@makima-stream/core/ClientMessage"
import * as GatewayMessages from "@makima-stream/core/GatewayMessages"
import type { Lifecycle, MeshEvent, Restated } from "@makima-stream/core/MeshEvent"
import type * as MeshLog from "@makima-stream/log/MeshLog"
import * as TaskId from "@makima-stream/core/TaskId"
import * as Access from "./access.ts"
import * as Backlog from "./backlog.ts"
import { Message } from "./messages.ts"
import { closeMillis, pingMillis, type ClientOptions, type OpenClient } from "./webSocketClient.ts"

/** The position in a `Last-Event-ID` of a gateway with a log. */
export const lastPosition = (request: IncomingMessage): number | undefined =>
  position(String(request.headers["last-event-id"] ?? ""))

/** Reads a position of a log. */
export const position = (text: string): number | undefined => (/^\d{1,15}$/.test(text) ? Number(text) : undefined)

/** The header of a stream of events that comes from a log, so that a client knows that the gateway has the history. */
export const logHeaders: Readonly<Record<string, string>> = { "x-makima-log": "1" }

/** The filter of a log for what a URL subscribes to. Marks are kept: a gap of the log is a gap of the client. */
export const filter = (url: URL): MeshLog.Filter => {
  const tasks = url.searchParams.getAll("task").map((task) => TaskId.make(task))
  const [kind, other] = new Set(url.searchParams.getAll("kind"))
  // Without a task, only updates are subscribed.
  const only = tasks.length === 0 ? "updates" : other === undefined ? kind : undefined
  return {
    keep: "lifecycle",
    ...(tasks.length === 0 ? {} : { tasks }),
    ...(only === "updates" || only === "output" ? { kind: only } : {})
  }
}

/** What a URL subscribes to; a text that says what is wrong with it. */
export const subscriptions = (url: URL): ReadonlyArray<ClientMessage> | string => {
  const tasks = [...new Set(url.searchParams.getAll("task"))]
  const kinds = new Set(url.searchParams.getAll("kind"))
  for (const kind of kinds) if (kind !== "updates" && kind !== "output") return "kind is updates or output"
  if (tasks.includes("")) return "task is not empty"
  if (tasks.length === 0) {
    return kinds.has("output") ? "kind=output needs a task" : [{ _tag: "SubscribeAll" }]
  }
  const isWanted = (kind: string): boolean => kinds.size === 0 || kinds.has(kind)
  return tasks.flatMap((task): ReadonlyArray<ClientMessage> => {
    const taskId = TaskId.make(task)
    return [
      ...(isWanted("updates") ? [{ _tag: "Subscribe", taskId } as const] : []),
      ...(isWanted("output") ? [{ _tag: "SubscribeOutput", taskId } as const] : [])
    ]
  })
}

/** Returns the number in a `Last-Event-ID` of this gateway; `undefined` if the header is missing, or of another gateway. */
export const lastEvent = (request: IncomingMessage, instance: string): number | undefined => {
  const header = request.headers["last-event-id"]
  const [of, number = ""] = String(header ?? "").split(":")
  return of === instance && /^\d{1,15}$/.test(number) ? Number(number) : undefined
}

const nameOf = (event: MeshEvent): string | undefined => {
  switch (event._tag) {
    case "TaskUpdated":
      return "taskUpdated"
    case "TaskOutput":
      return "taskOutput"
    // They belong to no task, and the name of an unknown message could be anything.
    case "ServerError":
    case "UnknownMessage":
      return undefined
    default:
      return GatewayMessages.typeOf[event._tag]
  }
}

export interface Options extends ClientOptions {
  /** Identifies this gateway. Its numbers mean nothing to another one. */
  readonly instance: string
  /** The number of its subscriptions. */
  readonly requests: number
  /** The newest number. */
  readonly last: () => number
  /** Further headers of the response. */
  readonly headers: Readonly<Record<string, string>>
}

export interface SseClient extends OpenClient {
  /** Says that the stream continues where the client had left it, so no `resync` follows. */
  readonly resumed: (missed: ReadonlyArray<Message>) => void
  /** Sends a `resync` once every subscription is confirmed. */
  readonly started: () => void
}

export const make = (response: ServerResponse, options: Options): SseClient => {
  const { after, headers, instance, last, now, onEnd, onTooSlow } = options
  let unconfirmed = options.requests
  /** Whether the `resync` at the beginning is still to be sent. */
  let opens = false
  let hasEnded = false
  let writtenAt = now()

  const ended = (waiting: "drop" | "write" = "drop"): void => {
    if (hasEnded) return
    hasEnded = true
    backlog.end(waiting)
    onEnd(self)
  }

  const end = (waiting: "drop" | "write" = "write"): void => {
    if (hasEnded) return
    ended(waiting)
    response.end()
    // A client that does not read never takes the end.
    response.once(
      "close",
      after(closeMillis, () => response.destroy())
    )
  }

  const backlog = Backlog.make({
    ...options,
    marks: true,
    write(frames) {
      writtenAt = now()
      response.write(frames.join(""), () => backlog.written())
    },
    mark: (mark) => encode(new Message(mark)) ?? "",
    onTooSlow() {
      onTooSlow()
      end("drop")
    }
  })

  const encode = (message: Message): string | undefined => {
    const event = nameOf(message.event)
    if (event === undefined) return undefined
    const id = message.place === undefined ? `${instance}:${message.number ?? last()}` : `${message.place.position}`
    return encoder.write({ _tag: "Event", event, id, data: message.text })
  }

  const mark = (element: Restated | Lifecycle): void => self.control(new Message(element))

  const open = (): void => {
    if (!opens || unconfirmed > 0) return
    opens = false
    mark({ _tag: "Resync", epoch: 0, reason: { _tag: "JoinedLate" } })
  }

  const self: SseClient = {
    marks: true,
    deliver(message) {
      const frame = encode(message)
      if (frame !== undefined) backlog.deliver(frame)
    },
    control(message) {
      const frame = encode(message)
      if (frame !== undefined) backlog.control(frame)
    },
    acknowledge() {
      unconfirmed--
      open()
    },
    close: () => end(),
    append(message) {
      const frame = encode(message)
      if (frame !== undefined) backlog.append(frame)
    },
    hasRoom: () => backlog.hasRoom(),
    onRoom: (callback) => backlog.onRoom(callback),
    resumed: (missed) => missed.forEach(self.deliver),
    started() {
      opens = true
      open()
    },
    check() {
      backlog.check()
      if (!hasEnded && now() - writtenAt >= pingMillis) backlog.control(":\n\n")
    }
  }

  response.writeHead(200, {
    ...Access.securityHeaders,
    ...headers,
    "content-type": "text/event-stream; charset=utf-8"
  })
  response.flushHeaders()
  response.on("close", () => ended())
  response.on("error", () => {})
  return self
}
