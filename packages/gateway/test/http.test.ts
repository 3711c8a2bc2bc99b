import type { ServerMessage } from "@makima-stream/core/ServerMessage"
import * as ServerMessageCodec from "@makima-stream/core/ServerMessage"
import * as MeshArbitrary from "@makima-stream/test-kit/MeshArbitrary"
import * as ScriptedMesh from "@makima-stream/test-kit/ScriptedMesh"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as Socket from "effect/socket/Socket"
import * as TestClock from "effect/testing/TestClock"
import { makeParser, type Event } from "effect/encoding/Sse"
import * as http from "node:http"
import { WebSocket } from "ws"
import * as Gateway from "../src/Gateway.ts"
import { encodeMessage } from "../src/internal/messages.ts"
import { get } from "./support/http.ts"
import { rest, said, until, updated } from "./support/world.ts"

const path = "/api/v1/mesh/tasks"

const setup = (options?: Gateway.Options) =>
  Effect.gen(function* () {
    const mesh = yield* ScriptedMesh.make()
    const gateway = yield* Gateway.make({
      port: 0,
      ...options,
      upstream: { policy: { minDelay: 1 }, ...options?.upstream }
    }).pipe(Effect.provideService(Socket.Socket, mesh.socket))
    const headers = { authorization: `Bearer ${Redacted.value(gateway.token)}` }
    yield* until(() => Effect.runSync(gateway.stats).connected)
    yield* rest
    const stats = () => Effect.runSync(gateway.stats)
    const emit = (...messages: ReadonlyArray<ServerMessage>) =>
      Effect.gen(function* () {
        const before = stats().events
        const sent = yield* mesh.emit(...messages)
        yield* until(() => stats().events >= before + sent)
      })
    const json = (path: string) =>
      Effect.map(get(gateway.port, path, headers), ({ body }) => JSON.parse(body) as Record<string, unknown>)
    return { mesh, gateway, headers, emit, json, stats }
  })

/** Opens a stream of events. */
const open = (gateway: Gateway.Service, query: string, lastEventId?: string) =>
  Effect.gen(function* () {
    const events: Array<Event> = []
    const state = { text: "", ended: false, status: 0 }
    const parser = makeParser((event) => void (event._tag === "Event" && events.push(event)))
    const request = http.get(
      {
        host: "127.0.0.1",
        port: gateway.port,
        path: `${path}/events${query}`,
        agent: false,
        headers: {
          authorization: `Bearer ${Redacted.value(gateway.token)}`,
          ...(lastEventId === undefined ? {} : { "last-event-id": lastEventId })
        }
      },
      (response) => {
        state.status = response.statusCode ?? 0
        response.setEncoding("utf8")
        response.on("data", (text: string) => {
          state.text += text
          parser.feed(text)
        })
        response.on("error", () => {})
        response.on("close", () => void (state.ended = true))
      }
    )
    request.on("error", () => {})
    yield* Effect.addFinalizer(() => Effect.sync(() => request.destroy()))
    yield* until(() => state.status > 0)
    return { events, state, names: () => events.map(nameOf), close: Effect.sync(() => request.destroy()) }
  })

const nameOf = ({ data, event }: Event): string => {
  const value = JSON.parse(data) as Record<string, unknown>
  switch (event) {
    case "taskUpdated":
      return `${value.taskId} ${value.version}`
    case "taskOutput":
      return `${value.taskId}: ${value.content}`
    case "restated":
      return `${value.taskId} = ${value.version}`
    case "resync":
      return (value.reason as { _tag: string })._tag
    default:
      return event
  }
}

describe("events over HTTP", () => {
  it.effect("are the updates and the output of the tasks in the URL, after a mark where they are complete", () =>
    Effect.gen(function* () {
      const { emit, gateway } = yield* setup()
      const all = yield* open(gateway, "")
      const task = yield* open(gateway, "?task=a&task=c")
      const output = yield* open(gateway, "?task=a&kind=output")
      yield* until(() => [all, task, output].every(({ events }) => events.length === 1))
      yield* emit(updated("a", 1), said("a", "x"), said("b", "y"), updated("b", 1), updated("c", 1))
      yield* until(() => all.events.length === 4 && task.events.length === 4 && output.events.length === 2)
      assert.deepStrictEqual(all.names(), ["JoinedLate", "a 1", "b 1", "c 1"])
      assert.deepStrictEqual(task.names(), ["JoinedLate", "a 1", "a: x", "c 1"])
      assert.deepStrictEqual(output.names(), ["JoinedLate", "a: x"])
    }).pipe(Effect.scoped)
  )

  it.effect("begin with what the gateway knows of the tasks", () =>
    Effect.gen(function* () {
      const { emit, gateway } = yield* setup()
      yield* emit(updated("a", 3), updated("b", 2))
      const one = yield* open(gateway, "?task=a&kind=updates")
      yield* until(() => one.events.length === 2)
      assert.sameMembers(one.names(), ["a = 3", "JoinedLate"])
    }).pipe(Effect.scoped)
  )

  it.effect("continue after the last event of a client that comes back, without a mark", () =>
    Effect.gen(function* () {
      const { emit, gateway } = yield* setup()
      const first = yield* open(gateway, "?task=a")
      yield* until(() => first.events.length === 1)
      yield* emit(updated("a", 1), said("a", "x"))
      yield* until(() => first.events.length === 3)
      yield* first.close
      yield* until(() => Effect.runSync(gateway.stats).clients === 0)
      yield* emit(said("a", "y"), updated("b", 1), updated("a", 2))
      const second = yield* open(gateway, "?task=a", first.events.at(-1)?.id)
      yield* emit(said("a", "z"))
      yield* until(() => second.events.some(({ data }) => data.includes(`"z"`)))
      assert.deepStrictEqual(
        second.names().filter((name) => !name.includes("=")),
        ["a: y", "a 2", "a: z"]
      )
    }).pipe(Effect.scoped)
  )

  it.effect("begin with a mark if some of the missed events are not known", () =>
    Effect.gen(function* () {
      const { emit, gateway, stats } = yield* setup({ maxReplay: 3, subscriptionIdleTimeToLive: "10 seconds" })
      const first = yield* open(gateway, "?task=a&kind=output")
      yield* until(() => first.events.length === 1)
      yield* emit(said("a", "x"))
      yield* until(() => first.events.length === 2)
      const id = first.events.at(-1)?.id
      yield* first.close
      yield* until(() => stats().clients === 0)
      const beginning = (id: string | undefined) =>
        Effect.gen(function* () {
          const again = yield* open(gateway, "?task=a&kind=output", id)
          yield* rest
          return again.names()
        }).pipe(Effect.scoped)
      assert.deepStrictEqual(yield* beginning(id), [])
      assert.deepStrictEqual(yield* beginning("other:1"), ["JoinedLate"])
      assert.deepStrictEqual(yield* beginning(`${id}9`), ["JoinedLate"])
      yield* emit(updated("b", 1), updated("b", 2), updated("b", 3))
      assert.deepStrictEqual(yield* beginning(id), [])
      yield* emit(updated("b", 4))
      assert.deepStrictEqual(yield* beginning(id), ["JoinedLate"])
    }).pipe(Effect.scoped)
  )

  it.effect("begin with a mark if the output was not subscribed in between", () =>
    Effect.gen(function* () {
      const { emit, gateway, mesh } = yield* setup({ subscriptionIdleTimeToLive: "1 second" })
      const first = yield* open(gateway, "?task=a&kind=output")
      yield* until(() => first.events.length === 1)
      yield* emit(said("a", "x"))
      yield* until(() => first.events.length === 2)
      yield* first.close
      yield* until(() => !Effect.runSync(mesh.subscriptions).output.has("a" as never))
      yield* mesh.emit(said("a", "missed"))
      const second = yield* open(gateway, "?task=a&kind=output", first.events.at(-1)?.id)
      yield* until(() => second.events.length === 1)
      assert.deepStrictEqual(second.names(), ["JoinedLate"])
    }).pipe(Effect.scoped)
  )

  it.effect("contain the gaps of the gateway's connection", () =>
    Effect.gen(function* () {
      const { emit, gateway, mesh } = yield* setup()
      const one = yield* open(gateway, "?task=a")
      yield* until(() => one.events.length === 1)
      yield* mesh.kill()
      yield* until(() => one.names().includes("Reconnected"))
      yield* emit(updated("a", 2))
      yield* until(() => one.names().includes("a 2"))
      assert.deepStrictEqual(one.names(), ["JoinedLate", "disconnected", "connected", "Reconnected", "a 2"])
    }).pipe(Effect.scoped)
  )

  it.effect("contain no line that a message of the server has made up", () =>
    Effect.gen(function* () {
      const { emit, gateway, mesh } = yield* setup()
      const one = yield* open(gateway, "?task=a")
      yield* until(() => one.events.length === 1)
      yield* mesh.emitRaw(JSON.stringify({ type: "x\nevent: evil\ndata: 1\n\n" }))
      yield* emit(said("a", "line\r\ndata: evil\n\nevent: evil"))
      yield* until(() => one.events.length === 2)
      assert.deepStrictEqual(
        one.events.map(({ event }) => event),
        ["resync", "taskOutput"]
      )
    }).pipe(Effect.scoped)
  )

  it.effect("are kept alive by comments", () =>
    Effect.gen(function* () {
      const { gateway } = yield* setup()
      const one = yield* open(gateway, "")
      yield* TestClock.adjust("20 seconds")
      yield* until(() => one.state.text.includes(":\n\n"))
    }).pipe(Effect.scoped)
  )

  it.effect("are refused for a URL that makes no sense", () =>
    Effect.gen(function* () {
      const { gateway, headers } = yield* setup()
      for (const query of ["?kind=all", "?task=", "?kind=output", "?task=a&kind=updates&kind=x"]) {
        assert.strictEqual((yield* get(gateway.port, `${path}/events${query}`, headers)).status, 400, query)
      }
    }).pipe(Effect.scoped)
  )
})

describe("tasks over HTTP", () => {
  it.effect("are the board of the gateway", () =>
    Effect.gen(function* () {
      const { emit, gateway, headers, json } = yield* setup()
      yield* emit(updated("a", 1), updated("a/b", 7, "done"))
      const { tasks, updatesCompleteSince } = yield* json(path)
      assert.isNumber(updatesCompleteSince)
      assert.deepStrictEqual(
        (tasks as ReadonlyArray<Record<string, unknown>>).map(({ live, status, taskId, version }) => [
          taskId,
          version,
          status,
          live
        ]),
        [
          ["a", 1, "running", true],
          ["a/b", 7, "done", false]
        ]
      )
      assert.deepInclude(yield* json(`${path}/${encodeURIComponent("a/b")}`), { taskId: "a/b", version: 7 })
      for (const missing of [`${path}/c`, `${path}/`]) {
        assert.strictEqual((yield* get(gateway.port, missing, headers)).status, 404)
      }
    }).pipe(Effect.scoped)
  )

  it.effect("have their last output", () =>
    Effect.gen(function* () {
      const { emit, gateway, json } = yield* setup()
      const one = yield* open(gateway, "?task=a")
      yield* until(() => one.events.length === 1)
      yield* emit(updated("a", 1), said("a", "<b>hello</b>"))
      assert.deepInclude((yield* json(`${path}/a`)).lastOutput, { messageType: "assistant", content: "<b>hello</b>" })
    }).pipe(Effect.scoped)
  )
})

describe("a gateway", () => {
  it.effect("reports its health without credentials, and nothing else with it", () =>
    Effect.gen(function* () {
      const { gateway, mesh } = yield* setup()
      const health = Effect.map(get(gateway.port, "/health"), ({ body, status }) => [status, JSON.parse(body)])
      assert.deepStrictEqual(yield* health, [200, { status: "ok", online: true }])
      yield* mesh.refuse(Infinity, 503)
      yield* mesh.kill()
      yield* until(() => !Effect.runSync(gateway.stats).connected)
      assert.deepStrictEqual(yield* health, [200, { status: "ok", online: false }])
    }).pipe(Effect.scoped)
  )

  it.effect("fails with its connection, and closes its clients with 1011", () =>
    Effect.gen(function* () {
      const { gateway, headers, mesh } = yield* setup()
      const ended: Array<number> = []
      const ws = new WebSocket(`ws://127.0.0.1:${gateway.port}${path}/subscribe`, { headers })
      ws.on("close", (code) => ended.push(code))
      yield* Effect.callback<void>((resume) => void ws.on("open", () => resume(Effect.void)))
      const failed = yield* Effect.forkChild(Effect.flip(gateway.awaitFailure))
      yield* mesh.close(4401)
      yield* until(() => ended.length === 1)
      assert.deepStrictEqual(ended, [1011])
      assert.strictEqual((yield* get(gateway.port, "/health")).status, 503)
      assert.strictEqual((yield* Fiber.join(failed)).reason._tag, "ConnectionClosed")
    }).pipe(Effect.scoped)
  )

  it.effect("serves its metrics and those of the program", () =>
    Effect.gen(function* () {
      const { emit, gateway, headers } = yield* setup()
      const one = yield* open(gateway, "")
      yield* until(() => one.events.length === 1)
      yield* emit(updated("a", 1))
      const { body } = yield* get(gateway.port, "/metrics", headers)
      assert.match(body, /^makima_gateway_clients 1$/m)
      assert.match(body, /^makima_gateway_deliveries_total 1$/m)
      assert.match(body, /^makima_gateway_upstream_connected 1$/m)
      assert.match(body, /^# TYPE makima_connection_dials counter$/m)
    }).pipe(Effect.scoped)
  )

  it.effect("closes its clients with 1001 when its scope closes, and frees the port", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const { gateway, headers } = yield* Scope.provide(setup(), scope)
      const ended: Array<number> = []
      const ws = new WebSocket(`ws://127.0.0.1:${gateway.port}${path}/subscribe`, { headers })
      ws.on("close", (code) => ended.push(code))
      yield* Effect.callback<void>((resume) => void ws.on("open", () => resume(Effect.void)))
      const events = yield* open(gateway, "")
      yield* Scope.close(scope, Exit.void)
      yield* until(() => ended.length === 1 && events.state.ended)
      assert.deepStrictEqual(ended, [1001])
      yield* setup({ port: gateway.port })
    }).pipe(Effect.scoped)
  )
})

describe("a frame of the gateway", () => {
  it.effect.prop("is that of the codec", [MeshArbitrary.serverMessage], ([message]) =>
    Effect.sync(() => {
      const expected = Result.getOrThrow(ServerMessageCodec.encodeFrame(message))
      assert.deepStrictEqual(JSON.parse(encodeMessage(message)), JSON.parse(expected))
    })
  )
})
