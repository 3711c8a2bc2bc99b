import type * as Endpoint from "@makima-stream/core/Endpoint"
import * as GatewayMessages from "@makima-stream/core/GatewayMessages"
import * as MeshClient from "@makima-stream/core/MeshClient"
import type { MeshEvent } from "@makima-stream/core/MeshEvent"
import * as Interest from "@makima-stream/core/Interest"
import * as MeshStream from "@makima-stream/core/MeshStream"
import * as MeshSocket from "@makima-stream/core/MeshSocket"
import * as TaskId from "@makima-stream/core/TaskId"
import * as MemoryLog from "@makima-stream/log/MemoryLog"
import * as RepairLog from "@makima-stream/log/RepairLog"
import * as NodeMeshSocket from "@makima-stream/node/NodeMeshSocket"
import * as ChaosProxy from "@makima-stream/test-kit/ChaosProxy"
import * as ScriptedMesh from "@makima-stream/test-kit/ScriptedMesh"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Redacted from "effect/Redacted"
import * as Ref from "effect/Ref"
import * as Socket from "effect/socket/Socket"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as http from "node:http"
import { WebSocket } from "ws"
import * as Gateway from "../src/Gateway.ts"
import { upgrade } from "./support/http.ts"
import {
  collect,
  hasMark,
  makeClient,
  policy,
  rest,
  said,
  shown,
  turn,
  until,
  updated,
  webSocketWith
} from "./support/world.ts"

type NodeError = NodeMeshSocket.InvalidOption | NodeMeshSocket.UnsupportedRuntime

const path = "/api/v1/mesh/tasks/subscribe"
const a = TaskId.make("a")

interface Frame {
  readonly type: string
  readonly position?: number
  readonly version?: number
  readonly content?: string
}

const setup = (options?: Gateway.Options & { readonly retention?: MemoryLog.Options["retention"] }) =>
  Effect.gen(function* () {
    const { retention, ...gatewayOptions } = options ?? {}
    const log = yield* MemoryLog.make({ retention })
    let id = 0
    const append = (...events: ReadonlyArray<MeshEvent>) =>
      log.append(events.map((event) => ({ id: `${id++}`, event })))
    const mesh = yield* ScriptedMesh.make()
    const gateway = yield* Gateway.make({ port: 0, log, ...gatewayOptions }).pipe(
      Effect.provideService(Socket.Socket, mesh.socket)
    )
    const headers = { authorization: `Bearer ${Redacted.value(gateway.token)}` }
    const connect = (query: string) =>
      Effect.gen(function* () {
        const frames: Array<Frame> = []
        const ws = new WebSocket(`ws://127.0.0.1:${gateway.port}${path}${query}`, { headers })
        ws.on("message", (data) => frames.push(JSON.parse(String(data)) as Frame))
        yield* Effect.addFinalizer(() => Effect.sync(() => ws.terminate()))
        yield* Effect.callback<void>((resume) => void ws.on("open", () => resume(Effect.void)))
        return { ws, frames, positions: () => frames.flatMap(({ position }) => position ?? []) }
      })
    return { append, connect, gateway, headers, log, mesh }
  })

const numbers = (from: number, to: number): ReadonlyArray<number> =>
  Array.from({ length: to - from + 1 }, (_, i) => from + i)

describe("a client with a position", () => {
  it.effect("receives everything after it, history and live, without a seam", () =>
    Effect.gen(function* () {
      const { append, connect } = yield* setup()
      for (let n = 1; n <= 500; n++) yield* append(n % 2 === 0 ? updated("a", n) : said("a", `${n}`))
      const one = yield* connect("?since=100")
      for (let n = 501; n <= 1000; n++) {
        yield* append(updated("a", n))
        if (n % 50 === 0) yield* rest
      }
      yield* until(() => one.frames.length === 900)
      assert.deepStrictEqual(one.positions(), numbers(101, 1000))
      assert.deepInclude(one.frames[0], { type: "taskOutput", content: "101" })
      assert.deepInclude(one.frames.at(-1), { type: "taskUpdated", version: 1000 })
    }).pipe(Effect.scoped)
  )

  it.effect("receives the marks of the log at their places", () =>
    Effect.gen(function* () {
      const { append, connect } = yield* setup()
      yield* append(updated("a", 1), { _tag: "Resync", epoch: 2, reason: { _tag: "Reconnected", downMillis: 5 } })
      yield* append(updated("a", 3))
      const one = yield* connect("?since=0")
      yield* until(() => one.frames.length === 3)
      assert.deepStrictEqual(
        one.frames.map(({ type }) => type),
        ["taskUpdated", "resync", "taskUpdated"]
      )
    }).pipe(Effect.scoped)
  )

  it.effect("learns that what it asks for is gone", () =>
    Effect.gen(function* () {
      const { append, connect } = yield* setup({ retention: { maxEntries: 3 } })
      for (let n = 1; n <= 10; n++) yield* append(updated("a", n))
      const one = yield* connect("?since=2")
      yield* until(() => one.frames.length === 4)
      assert.deepInclude(one.frames[0], { type: "resync", reason: { _tag: "LogTruncated", from: 3, to: 7 } } as never)
      assert.deepStrictEqual(one.positions().slice(-3), [8, 9, 10])
    }).pipe(Effect.scoped)
  )

  it.effect("receives a mark, and continues with new events, if its position is of another log", () =>
    Effect.gen(function* () {
      const { append, connect } = yield* setup()
      for (let n = 1; n <= 3; n++) yield* append(updated("a", n))
      const last = yield* connect("?since=3")
      const other = yield* connect("?since=4")
      yield* until(() => other.frames.length === 1)
      yield* append(updated("a", 4))
      yield* until(() => last.frames.length === 1 && other.frames.length === 2)
      assert.deepInclude(other.frames[0], { type: "resync", position: 3, reason: { _tag: "JoinedLate" } } as never)
      assert.deepInclude(other.frames[1], { type: "taskUpdated", position: 4 })
      assert.deepInclude(last.frames[0], { type: "taskUpdated", position: 4 })
    }).pipe(Effect.scoped)
  )

  it.effect("loses nothing when it is slow, and delays no other", () =>
    Effect.gen(function* () {
      const { append, connect, gateway } = yield* setup({ maxBufferedBytes: 100_000 })
      const slow = yield* connect("?since=0")
      const fast = yield* connect("?since=0")
      slow.ws.pause()
      const text = "x".repeat(50_000)
      for (let n = 1; n <= 400; n++) {
        yield* append(said("a", text))
        if (n % 10 === 0) yield* until(() => fast.frames.length === n)
      }
      assert.isBelow(slow.frames.length, 400)
      slow.ws.resume()
      yield* until(() => slow.frames.length === 400)
      assert.deepStrictEqual(slow.positions(), numbers(1, 400))
      assert.strictEqual((yield* gateway.stats).dropped, 0)
    }).pipe(Effect.scoped)
  )

  it.effect("can be a client of this toolkit, whose requests are acknowledged", () =>
    Effect.gen(function* () {
      const { append, gateway } = yield* setup()
      yield* append(updated("a", 1))
      const client = yield* makeClient({ marks: true, url: gateway.url, token: gateway.token, query: { since: "0" } })
      const events = yield* collect(client.task(a))
      yield* until(() => hasMark(events, "Started"))
      yield* append(updated("a", 2), said("a", "x"))
      yield* until(() => shown(events).includes("a: x"))
      assert.deepStrictEqual(
        shown(events).filter((name) => name.startsWith("a")),
        ["a 1", "a 2", "a: x"]
      )
    }).pipe(Effect.scoped)
  )

  it.effect("is refused with 400 if its position is invalid, or the gateway has no log", () =>
    Effect.gen(function* () {
      const { gateway, headers } = yield* setup()
      for (const since of ["", "-1", "x", "1.5", "99999999999999999999"]) {
        assert.strictEqual(yield* upgrade(gateway.port, headers, `${path}?since=${since}`), 400, since)
      }
      const other = yield* setup({ log: undefined })
      assert.strictEqual(yield* upgrade(other.gateway.port, other.headers, `${path}?since=1`), 400)
    }).pipe(Effect.scoped)
  )

  it.effect("continues a stream of events after its position", () =>
    Effect.gen(function* () {
      const { append, gateway, headers } = yield* setup()
      yield* append(updated("a", 1), said("a", "x"), updated("b", 1), said("b", "y"), said("a", "z"))
      const state = { text: "" }
      const request = http.get(
        {
          host: "127.0.0.1",
          port: gateway.port,
          path: "/api/v1/mesh/tasks/events?task=a&kind=output",
          headers: { ...headers, "last-event-id": "1" },
          agent: false
        },
        (response) => response.on("data", (data) => void (state.text += String(data))).on("error", () => {})
      )
      request.on("error", () => {})
      yield* Effect.addFinalizer(() => Effect.sync(() => request.destroy()))
      yield* until(() => state.text.includes("id: 5\n"))
      yield* append(said("a", "live"))
      yield* until(() => state.text.includes("id: 6\n"))
      assert.deepStrictEqual(state.text.match(/^id: \d+$/gm), ["id: 2", "id: 5", "id: 6"])
    }).pipe(Effect.scoped)
  )

  it.effect("receives the marks of the log in a stream of events, and when each event was stored", () =>
    Effect.gen(function* () {
      const { append, gateway, headers } = yield* setup()
      yield* TestClock.setTime(1000)
      yield* append(said("a", "x"))
      yield* TestClock.setTime(2000)
      yield* append({ _tag: "Resync", epoch: 2, reason: { _tag: "Reconnected", downMillis: 5 } }, said("b", "y"))
      const state = { text: "", header: "" }
      const request = http.get(
        {
          host: "127.0.0.1",
          port: gateway.port,
          path: "/api/v1/mesh/tasks/events?task=a",
          headers: { ...headers, "last-event-id": "0" },
          agent: false
        },
        (response) => {
          state.header = String(response.headers["x-makima-log"])
          response.on("data", (data) => void (state.text += String(data))).on("error", () => {})
        }
      )
      request.on("error", () => {})
      yield* Effect.addFinalizer(() => Effect.sync(() => request.destroy()))
      yield* until(() => state.text.includes("id: 2\n"))
      assert.strictEqual(state.header, "1")
      assert.deepStrictEqual(state.text.match(/^event: \w+$/gm), ["event: taskOutput", "event: resync"])
      assert.deepStrictEqual(state.text.match(/"storedAt":\d+,"position":\d+\}$/gm), [
        '"storedAt":1000,"position":1}',
        '"storedAt":2000,"position":2}'
      ])
    }).pipe(Effect.scoped)
  )

  it.effect("learns from a header whether a stream of events has a history", () =>
    Effect.gen(function* () {
      const headerOf = ({ gateway, headers }: Effect.Success<ReturnType<typeof setup>>) =>
        Effect.callback<unknown>((resume) => {
          const path = "/api/v1/mesh/tasks/events?task=a"
          http
            .request({ host: "127.0.0.1", port: gateway.port, path, method: "HEAD", headers, agent: false })
            .on("response", (response) => resume(Effect.succeed(response.resume().headers["x-makima-log"])))
            .end()
        })
      assert.strictEqual(yield* headerOf(yield* setup()), "1")
      assert.isUndefined(yield* headerOf(yield* setup({ log: undefined })))
    }).pipe(Effect.scoped)
  )
})

describe("a client that resumes", () => {
  interface Target {
    readonly url: string
    readonly token: Redacted.Redacted
  }
  const sockets: ReadonlyArray<
    readonly [
      string,
      (
        target: Target
      ) => (query: Effect.Effect<MeshSocket.Query>) => Effect.Effect<Socket.Socket, Endpoint.InvalidUrl | NodeError>
    ]
  > = [
    [
      "MeshSocket",
      ({ token, url }) =>
        (query) =>
          MeshSocket.make({ url, query, webSocket: webSocketWith(token) })
    ],
    [
      "NodeMeshSocket",
      ({ token, url }) =>
        (query) =>
          NodeMeshSocket.make({ url, query, apiKey: token })
    ]
  ]

  const resuming = (
    connect: (query: Effect.Effect<MeshSocket.Query>) => Effect.Effect<Socket.Socket, Endpoint.InvalidUrl | NodeError>,
    position?: Ref.Ref<number | undefined>
  ) =>
    Effect.gen(function* () {
      const socket = yield* GatewayMessages.resume(connect, { position })
      return yield* MeshClient.make({ policy, extension: GatewayMessages.extension }).pipe(
        Effect.provideService(Socket.Socket, socket)
      )
    })

  for (const [name, make] of sockets) {
    it.effect(`on a ${name} misses nothing and receives nothing twice, however often it is cut`, () =>
      Effect.gen(function* () {
        const { append, gateway } = yield* setup({ hosts: ["127.0.0.1"] })
        const proxy = yield* ChaosProxy.make({ target: gateway.port })
        yield* proxy.shape({ latencyMillis: 4, pieceBytes: 100 })
        const position = yield* Ref.make<number | undefined>(0)
        const client = yield* resuming(make({ url: proxy.url, token: gateway.token }), position)
        const events = yield* collect(client.task(a))
        const content = () => events.flatMap((event) => (event._tag === "TaskOutput" ? [Number(event.content)] : []))
        const total = 500
        let before = 0
        for (let n = 1; n <= total; n++) {
          yield* append(said("a", `${n}`), said("b", "of another task"))
          if ((yield* Random.next) < 0.2) yield* TestClock.adjust(3)
          yield* turn
          if (n % 25 !== 0) continue
          // A cut in the middle of what is on its way.
          yield* until(() => content().length > before)
          before = content().length
          if (n % 2 === 0) yield* client.reconnect
          else yield* proxy.kill()
        }
        yield* until(() => content().at(-1) === total)
        assert.deepStrictEqual(content(), numbers(1, total))
        assert.isAbove(events.filter(({ _tag }) => _tag === "Disconnected").length, 5)
        yield* until(() => Ref.getUnsafe(position) === 2 * total)
      }).pipe(Effect.scoped, Random.withSeed(name))
    )
  }

  it.effect("starts with what is new if it has no position, and continues after its first event", () =>
    Effect.gen(function* () {
      const { append, gateway } = yield* setup({ hosts: ["127.0.0.1"] })
      const proxy = yield* ChaosProxy.make({ target: gateway.port })
      yield* append(updated("a", 1))
      const client = yield* resuming((query) => NodeMeshSocket.make({ url: proxy.url, query, apiKey: gateway.token }))
      const events = yield* collect(client.updates())
      yield* until(() => hasMark(events, "Started"))
      yield* append(updated("a", 2))
      yield* until(() => shown(events).includes("a 2"))
      yield* proxy.kill()
      yield* append(updated("a", 3))
      yield* until(() => shown(events).includes("a 3"))
      assert.deepStrictEqual(
        shown(events).filter((name) => name.startsWith("a ")),
        ["a 2", "a 3"]
      )
    }).pipe(Effect.scoped)
  )

  it.effect("learns that the log has removed what it has missed", () =>
    Effect.gen(function* () {
      const { append, gateway } = yield* setup({ hosts: ["127.0.0.1"], retention: { maxEntries: 3 } })
      const proxy = yield* ChaosProxy.make({ target: gateway.port })
      const socket = yield* GatewayMessages.resume((query) =>
        NodeMeshSocket.make({ url: proxy.url, query, apiKey: gateway.token })
      )
      const events = yield* collect(
        MeshStream.connect({ interest: Interest.all, policy, extension: GatewayMessages.extension }).pipe(
          Stream.provideService(Socket.Socket, socket)
        )
      )
      yield* until(() => hasMark(events, "Started"))
      yield* append(updated("a", 1))
      yield* until(() => shown(events).includes("a 1"))
      yield* proxy.kill()
      for (let n = 2; n <= 10; n++) yield* append(updated("a", n))
      yield* until(() => shown(events).includes("a 10"))
      assert.isTrue(hasMark(events, "LogTruncated"))
    }).pipe(Effect.scoped)
  )
})

describe("a late client with marks", () => {
  it.effect("receives what the gateway knows of the tasks, newest by version, when its subscription is confirmed", () =>
    Effect.gen(function* () {
      const { gateway, mesh } = yield* setup({ log: undefined })
      yield* until(() => Effect.runSync(gateway.stats).connected)
      yield* rest
      yield* mesh.emit(updated("a", 3), updated("a", 2), updated("b", 5, "done"))
      yield* rest
      const client = yield* makeClient({ marks: true, url: gateway.url, token: gateway.token })
      const events = yield* collect(client.updates())
      yield* until(() => shown(events).includes("b = 5"))
      assert.deepStrictEqual(shown(events), ["Connected", "Started", "a = 3", "b = 5"])
      const one = yield* collect((yield* makeClient({ marks: true, url: gateway.url, token: gateway.token })).task(a))
      yield* until(() => shown(one).includes("a = 3"))
      const unmarked = yield* collect(
        (yield* makeClient({ marks: false, url: gateway.url, token: gateway.token })).updates()
      )
      yield* until(() => hasMark(unmarked, "Started"))
      yield* rest
      assert.deepStrictEqual(shown(unmarked), ["Connected", "Started"])
    }).pipe(Effect.scoped)
  )

  it.effect("receives what a repair from a log has found", () =>
    Effect.gen(function* () {
      const log = yield* MemoryLog.make()
      yield* log.append([{ id: "1", event: updated("a", 7) }])
      const { gateway } = yield* setup({ upstream: { repair: { fetch: RepairLog.make(log), spread: 0 } } })
      yield* until(() => Effect.runSync(gateway.stats).connected)
      yield* rest
      const client = yield* makeClient({ marks: true, url: gateway.url, token: gateway.token })
      const events = yield* collect(client.updates())
      yield* until(() => shown(events).includes("a = 7"))
    }).pipe(Effect.scoped)
  )

  it.effect("receives what the log knew before the gateway started", () =>
    Effect.gen(function* () {
      const log = yield* MemoryLog.make()
      yield* log.append([
        { id: "1", event: updated("a", 6) },
        { id: "2", event: updated("a", 7) }
      ])
      const { gateway, mesh } = yield* setup({ log })
      yield* until(() => Effect.runSync(gateway.stats).connected)
      yield* mesh.emit(updated("a", 5))
      yield* rest
      const client = yield* makeClient({ marks: true, url: gateway.url, token: gateway.token })
      const events = yield* collect(client.updates())
      yield* until(() => shown(events).includes("a = 7"))
      assert.deepStrictEqual(shown(events), ["Connected", "Started", "a = 7"])
    }).pipe(Effect.scoped)
  )

  it.effect("receives at most as many tasks as the board has", () =>
    Effect.gen(function* () {
      const { gateway, mesh } = yield* setup({ log: undefined, board: { maxTasks: 2 } })
      yield* until(() => Effect.runSync(gateway.stats).connected)
      yield* rest
      for (const task of ["a", "b", "c", "d"]) yield* mesh.emit(updated(task, 1))
      yield* rest
      const client = yield* makeClient({ marks: true, url: gateway.url, token: gateway.token })
      const events = yield* collect(client.updates())
      yield* until(() => shown(events).length === 4)
      yield* rest
      assert.lengthOf(
        shown(events).filter((name) => name.includes("=")),
        2
      )
    }).pipe(Effect.scoped)
  )
})
