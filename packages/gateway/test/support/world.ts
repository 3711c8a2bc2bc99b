/**
 * A gateway between a mock server and clients of this toolkit, with a proxy on each leg. Sockets are real, delays and
 * timers run on the test's clock.
 */
import * as GatewayMessages from "@makima-stream/core/GatewayMessages"
import * as MeshClient from "@makima-stream/core/MeshClient"
import type { MeshEvent } from "@makima-stream/core/MeshEvent"
import * as MeshSocket from "@makima-stream/core/MeshSocket"
import type * as ServerMessage from "@makima-stream/core/ServerMessage"
import * as TaskId from "@makima-stream/core/TaskId"
import * as NodeMeshSocket from "@makima-stream/node/NodeMeshSocket"
import * as ChaosProxy from "@makima-stream/test-kit/ChaosProxy"
import * as MockMeshServer from "@makima-stream/test-kit/MockMeshServer"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as Socket from "effect/socket/Socket"
import * as TestClock from "effect/testing/TestClock"
import { WebSocket } from "ws"
import * as Gateway from "../../src/Gateway.ts"

export const turn = Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))

const step = Effect.andThen(TestClock.adjust(5), turn)

/** Moves the clock in small steps until a condition holds. */
export const until = (condition: () => boolean): Effect.Effect<void> =>
  Effect.repeat(Effect.map(step, condition), { until: (holds) => holds }).pipe(Effect.asVoid)

/** Moves the clock in small steps, so that everything in flight arrives. */
export const rest: Effect.Effect<void> = Effect.asVoid(Effect.repeat(step, { times: 20 }))

export const policy = { schedule: Schedule.spaced("20 millis"), minDelay: 1 }

export const key = "the-key-of-the-server"

export interface ClientOptions {
  /** How the client learns of gaps. */
  readonly marks: boolean
  readonly url: string
  readonly token: Redacted.Redacted
  readonly options?: MeshClient.Options
  /** Called with each WebSocket. */
  readonly onSocket?: ((ws: WebSocket) => void) | undefined
  /** Further parameters of the URL. */
  readonly query?: Readonly<Record<string, string>>
}

/** Makes WebSockets that send a token. */
export const webSocketWith =
  (token: Redacted.Redacted, onSocket?: (ws: WebSocket) => void) =>
  (url: string, protocols: Array<string>): Socket.WebSocketLike => {
    const ws = new WebSocket(url, protocols, { headers: { authorization: `Bearer ${Redacted.value(token)}` } })
    onSocket?.(ws)
    // The type of `ws` has more overloads than the platform's.
    return ws as unknown as Socket.WebSocketLike
  }

/** A client of the gateway. */
export const makeClient = ({ marks, onSocket, options, query, token, url }: ClientOptions) =>
  Effect.gen(function* () {
    const socket = yield* MeshSocket.make({
      url,
      query: { ...(marks ? { marks: "1" } : {}), ...query },
      webSocket: webSocketWith(token, onSocket)
    })
    return yield* MeshClient.make({
      policy,
      ...(marks ? { extension: GatewayMessages.extension } : {}),
      ...options
    }).pipe(Effect.provideService(Socket.Socket, socket))
  })

/** Collects a stream in the background. */
export const collect = <E, R>(stream: Stream.Stream<MeshEvent, E, R>) =>
  Effect.gen(function* () {
    const events: Array<MeshEvent> = []
    yield* stream.pipe(
      Stream.runForEach((event) => Effect.sync(() => events.push(event))),
      Effect.forkScoped
    )
    return events
  })

interface Options extends Gateway.Options {
  readonly server?: MockMeshServer.Options
}

export const make = (options?: Options) =>
  Effect.gen(function* () {
    const { server: serverOptions, ...gatewayOptions } = options ?? {}
    const server = yield* MockMeshServer.make({ apiKey: Redacted.make(key), ...serverOptions })
    const upstream = yield* ChaosProxy.make({ target: server.port })
    const gateway = yield* Gateway.make({
      port: 0,
      hosts: ["127.0.0.1"],
      ...gatewayOptions,
      upstream: { policy, ...gatewayOptions.upstream }
    }).pipe(Effect.provide(NodeMeshSocket.layer({ url: upstream.url, apiKey: Redacted.make(key) })))
    const downstream = yield* ChaosProxy.make({ target: gateway.port })
    const client = (marks: boolean, onSocket?: (ws: WebSocket) => void) =>
      makeClient({
        marks,
        onSocket,
        url: downstream.url,
        token: gateway.token
      })
    return { server, upstream, gateway, downstream, client }
  })

export const updated = (task: string, version: number, status = "running"): ServerMessage.TaskUpdated => ({
  _tag: "TaskUpdated",
  taskId: TaskId.make(task),
  version,
  status
})

export const said = (task: string, content: string): ServerMessage.TaskOutput => ({
  _tag: "TaskOutput",
  taskId: TaskId.make(task),
  messageType: "assistant",
  content
})

/** Everything in one word each. */
export const shown = (events: ReadonlyArray<MeshEvent>): ReadonlyArray<string> =>
  events.map((event) => {
    switch (event._tag) {
      case "TaskUpdated":
        return `${event.taskId} ${event.version}`
      case "TaskOutput":
        return `${event.taskId}: ${event.content}`
      case "Resync":
        return event.reason._tag
      case "Restated":
        return `${event.taskId} = ${event.version}`
      default:
        return event._tag
    }
  })

/** Whether the events contain a mark, counted from 1. */
export const hasMark = (events: ReadonlyArray<MeshEvent>, reason: string, count = 1): boolean =>
  events.filter((event) => event._tag === "Resync" && event.reason._tag === reason).length >= count
