/**
 * Connects the page to its gateway: the only module that runs effects. Everything that it receives goes into a `Sink`.
 */
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as HttpIncomingMessage from "effect/http/HttpIncomingMessage"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import * as Socket from "effect/socket/Socket"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as GatewayMessages from "@makima-stream/core/GatewayMessages"
import * as MeshClient from "@makima-stream/core/MeshClient"
import type { MeshEvent } from "@makima-stream/core/MeshEvent"
import * as MeshSocket from "@makima-stream/core/MeshSocket"
import * as MeshStream from "@makima-stream/core/MeshStream"
import * as Repair from "@makima-stream/core/Repair"
import * as RepairHttp from "@makima-stream/core/RepairHttp"
import * as TaskId from "@makima-stream/core/TaskId"

/** A task in the list of the gateway. */
export interface ListedTask extends Schema.Schema.Type<typeof ListedTask> {}

const ListedTask = Schema.Struct({
  taskId: TaskId.TaskId,
  version: Schema.optionalKey(Schema.Int),
  status: Schema.optionalKey(Schema.String),
  costUsd: Schema.Finite,
  firstEventAt: Schema.optionalKey(Schema.Finite),
  lastEventAt: Schema.optionalKey(Schema.Finite),
  startedAt: Schema.optionalKey(Schema.Finite),
  endedAt: Schema.optionalKey(Schema.Finite)
})

/** The last output of a task, as the gateway keeps it. */
export interface LastOutput extends Schema.Schema.Type<typeof LastOutput> {}

const LastOutput = Schema.Struct({
  messageType: Schema.String,
  content: Schema.String,
  toolName: Schema.optionalKey(Schema.String),
  toolInput: Schema.optionalKey(Schema.Json),
  isError: Schema.optionalKey(Schema.Boolean)
})

const Detail = Schema.Struct({ lastOutput: Schema.optionalKey(LastOutput) })

/** The answer for all tasks, and for one task. */
const Listing = Schema.Union([Schema.Struct({ tasks: Schema.Array(ListedTask) }), ListedTask])

/** Receives what the feed brings. Each function is called with a whole batch. */
export interface Sink {
  /** The events of a batch, as the gateway sent them. */
  readonly events: (batch: ReadonlyArray<MeshEvent>) => void
  /** The same events after the pieces of messages were joined. */
  readonly joined: (batch: ReadonlyArray<MeshEvent>) => void
  /** The tasks that the gateway knows. */
  readonly listed: (tasks: ReadonlyArray<ListedTask>) => void
  /** The last output of a task before the page was opened. */
  readonly said: (taskId: TaskId.TaskId, output: LastOutput) => void
  /** The state of the connection. `isUpstream` if the gateway reported it: the gateway lost the server. */
  readonly status: (status: MeshClient.Status, isUpstream: boolean) => void
  /** Whether the gateway refuses this browser. Asked after a failed attempt to connect. */
  readonly signedIn: (isSignedIn: boolean) => void
}

/** A running connection. */
export interface Feed {
  /** Dials now, or starts again after a final failure. */
  readonly reconnect: () => void
  /** Ends the connection. */
  readonly stop: () => void
}

const listPath = "/api/v1/mesh/tasks"

/** How many events wait while the page is busy. When there are more, the page reads its connection more slowly. */
const capacity = 4096

/** The extension of the gateway, which also remembers the reasons that came from the gateway. */
const extensionOf = (upstreamReasons: WeakSet<object>): GatewayMessages.Extension => ({
  decode(message, epoch, size) {
    const element = GatewayMessages.extension.decode(message, epoch, size)
    if (element?._tag === "Disconnected") upstreamReasons.add(element.reason)
    return element
  }
})

/** The most tasks whose last output is fetched when the page is opened: those that were active last. */
const maxDetails = 200

/** Fetches the last output of the live tasks. A failure is ignored, because the next output of the task replaces it. */
const fetchDetails = (sink: Sink, origin: string, tasks: ReadonlyArray<ListedTask>): Effect.Effect<void> => {
  const wanted = tasks
    .filter(({ endedAt }) => endedAt === undefined)
    .toSorted((a, b) => (b.lastEventAt ?? 0) - (a.lastEventAt ?? 0))
    .slice(0, maxDetails)
  return Effect.forEach(
    wanted,
    ({ taskId }) =>
      HttpClient.get(`${origin}${listPath}/${encodeURIComponent(taskId)}`).pipe(
        Effect.flatMap(HttpClientResponse.filterStatusOk),
        Effect.flatMap(HttpIncomingMessage.schemaBodyJson(Detail)),
        Effect.map(({ lastOutput }) => (lastOutput === undefined ? undefined : sink.said(taskId, lastOutput))),
        Effect.ignore
      ),
    { concurrency: 4, discard: true }
  ).pipe(Effect.provide(FetchHttpClient.layer))
}

/** Fetches the list of the gateway. `onFirst` is called with the first one. */
const repairOf = (sink: Sink, origin: string, onFirst: (tasks: ReadonlyArray<ListedTask>) => void): Repair.Repair => {
  let isFirst = true
  const fetch = RepairHttp.make({
    request: (ask) =>
      ask._tag === "All"
        ? HttpClientRequest.get(`${origin}${listPath}`)
        : ask.taskIds.map((taskId) => HttpClientRequest.get(`${origin}${listPath}/${encodeURIComponent(taskId)}`)),
    schema: Listing,
    tasks: (body) => {
      const tasks = "tasks" in body ? body.tasks : [body]
      sink.listed(tasks)
      if (isFirst && "tasks" in body) {
        isFirst = false
        onFirst(tasks)
      }
      return tasks
    }
  })
  return Repair.make({ fetch: (ask) => Effect.provide(fetch(ask), FetchHttpClient.layer), spread: "200 millis" })
}

/** Whether the gateway accepts the cookie of this browser. A gateway that does not answer does not count as a refusal. */
const probe = (origin: string): Effect.Effect<boolean> =>
  Effect.tryPromise(() => fetch(`${origin}${listPath}`, { method: "HEAD", cache: "no-store" })).pipe(
    Effect.timeout("5 seconds"),
    Effect.map(({ status }) => status !== 401 && status !== 403),
    Effect.orElseSucceed(() => true)
  )

const follow = (sink: Sink, origin: string, onClient: (client: MeshClient.Service) => void) =>
  Effect.gen(function* () {
    const upstreamReasons = new WeakSet<object>()
    const socket = yield* MeshSocket.make({ url: origin, query: { marks: "1" } })
    const first = yield* Deferred.make<ReadonlyArray<ListedTask>>()
    yield* Deferred.await(first).pipe(
      Effect.flatMap((tasks) => fetchDetails(sink, origin, tasks)),
      Effect.forkScoped
    )
    const client = yield* MeshClient.make({
      extension: extensionOf(upstreamReasons),
      repair: repairOf(sink, origin, (tasks) => Deferred.doneUnsafe(first, Effect.succeed(tasks))),
      keepAlive: true
    }).pipe(Effect.provideService(Socket.Socket, socket))
    onClient(client)
    yield* SubscriptionRef.changes(client.status).pipe(
      Stream.runForEach((status) => {
        const isUpstream = status._tag === "Offline" && upstreamReasons.has(status.reason)
        sink.status(status, isUpstream)
        if (status._tag === "Online" || isUpstream) sink.signedIn(true)
        return status._tag === "Offline" && !isUpstream ? Effect.map(probe(origin), sink.signedIn) : Effect.void
      }),
      Effect.forkScoped
    )
    yield* client.everything({ capacity, name: "the page" }).pipe(
      Stream.mapArray((batch) => {
        sink.events(batch)
        return batch
      }),
      MeshStream.joinPartials,
      Stream.runForEachArray((batch) => Effect.sync(() => sink.joined(batch)))
    )
  }).pipe(
    Effect.scoped,
    // The state of the client says why.
    Effect.ignore
  )

/** Connects to the gateway at `origin`, such as `http://127.0.0.1:8787`. */
export const start = (sink: Sink, origin: string): Feed => {
  let client: MeshClient.Service | undefined
  let isStopped = false
  const run = () => {
    const fiber = Effect.runFork(follow(sink, origin, (made) => (client = made)))
    fiber.addObserver(() => (client = undefined))
    return fiber
  }
  let fiber = run()
  return {
    reconnect() {
      if (isStopped) return
      if (client === undefined) fiber = run()
      else Effect.runFork(client.reconnect)
    },
    stop() {
      isStopped = true
      Effect.runFork(Fiber.interrupt(fiber))
    }
  }
}
