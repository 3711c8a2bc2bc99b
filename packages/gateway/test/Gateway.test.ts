import * as Audit from "@makima-stream/test-kit/Audit"
import type { MeshEvent } from "@makima-stream/core/MeshEvent"
import * as Interest from "@makima-stream/core/Interest"
import * as TaskId from "@makima-stream/core/TaskId"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { WebSocket } from "ws"
import { collect, hasMark, make, rest, said, shown, until, updated } from "./support/world.ts"

const a = TaskId.make("a")

/** Numbers the connections of a stream anew: one that the gateway reports counts like one of its own. */
const renumbered = (events: ReadonlyArray<MeshEvent>): ReadonlyArray<MeshEvent> => {
  let epoch = 0
  return events.map((event) => {
    if (event._tag === "Connected") epoch++
    return "epoch" in event ? { ...event, epoch } : event
  })
}

describe("Gateway", () => {
  it.effect("serves the updates and the output that a client has subscribed to", () =>
    Effect.gen(function* () {
      const { client, server } = yield* make()
      const one = yield* client(false)
      const events = yield* collect(one.task(a))
      yield* until(() => hasMark(events, "Started"))
      yield* server.emit(updated("a", 1))
      yield* server.emit(updated("b", 1))
      yield* server.emit(said("a", "x"))
      yield* server.emit(said("b", "y"))
      yield* rest
      assert.deepStrictEqual(shown(events), ["Connected", "Started", "a 1", "a: x"])
    }).pipe(Effect.scoped)
  )

  it.effect("has one connection to the server, however many clients it has", () =>
    Effect.gen(function* () {
      const { client, server } = yield* make()
      const streams: Array<ReadonlyArray<MeshEvent>> = []
      for (let i = 0; i < 5; i++) streams.push(yield* collect((yield* client(i % 2 === 0)).updates()))
      yield* until(() => streams.every((events) => hasMark(events, "Started")))
      yield* server.emit(updated("a", 1))
      yield* until(() => streams.every((events) => shown(events).includes("a 1")))
      assert.lengthOf(yield* server.connections, 1)
    }).pipe(Effect.scoped)
  )

  it.effect("acknowledges a request only when the server has confirmed it", () =>
    Effect.gen(function* () {
      const { client, server } = yield* make({ server: { acknowledge: "manual" } })
      const one = yield* client(false)
      const events = yield* collect(one.output(a))
      yield* server.awaitReceived(({ message }) => message._tag === "SubscribeOutput")
      yield* server.emit(said("a", "before"))
      yield* until(() => shown(events).includes("a: before"))
      assert.isFalse(hasMark(events, "Started"))
      yield* server.acknowledge()
      yield* server.emit(said("a", "after"))
      yield* until(() => shown(events).includes("a: after"))
      assert.deepStrictEqual(shown(events), ["Connected", "a: before", "Started", "a: after"])
    }).pipe(Effect.scoped)
  )

  it.effect("acknowledges a request at once if another client has the same subscription", () =>
    Effect.gen(function* () {
      const { client, server } = yield* make()
      const one = yield* collect((yield* client(false)).output(a))
      yield* until(() => hasMark(one, "Started"))
      yield* server.setAcknowledge("never")
      const two = yield* collect((yield* client(false)).output(a))
      yield* until(() => hasMark(two, "Started"))
      const requests = (yield* server.received).filter(({ message }) => message._tag === "SubscribeOutput")
      assert.lengthOf(requests, 1)
    }).pipe(Effect.scoped)
  )

  it.effect("unsubscribes at the server when the last client has left, and subscribes again for the next", () =>
    Effect.gen(function* () {
      const { client, server } = yield* make({ subscriptionIdleTimeToLive: "1 second" })
      const run = (content: string) =>
        Effect.gen(function* () {
          const events = yield* collect((yield* client(false)).output(a))
          yield* until(() => hasMark(events, "Started"))
          yield* server.emit(said("a", content))
          yield* until(() => shown(events).includes(`a: ${content}`))
        }).pipe(Effect.scoped)
      yield* run("x")
      let interest = Interest.output(a)
      yield* until(() => {
        interest = Effect.runSync(server.subscriptions)
        return !interest.output.has(a)
      })
      yield* run("y")
    }).pipe(Effect.scoped)
  )

  it.effect("marks a gap of its own connection at its place for a client with marks", () =>
    Effect.gen(function* () {
      const { client, server, upstream } = yield* make()
      const events = yield* collect((yield* client(true)).updates())
      yield* until(() => hasMark(events, "Started"))
      yield* server.emit(updated("a", 1))
      yield* until(() => shown(events).includes("a 1"))
      yield* upstream.kill()
      yield* until(() => hasMark(events, "Reconnected"))
      yield* server.emit(updated("a", 2))
      yield* until(() => shown(events).includes("a 2"))
      assert.deepStrictEqual(shown(events), [
        "Connected",
        "Started",
        "a 1",
        "Disconnected",
        "Connected",
        "Reconnected",
        "a 2"
      ])
    }).pipe(Effect.scoped)
  )

  it.effect("sends marks to a client that asks for them by a parameter, a subprotocol or a header", () =>
    Effect.gen(function* () {
      const { gateway, server } = yield* make()
      yield* until(() => Effect.runSync(gateway.stats).connected)
      const headers = { authorization: `Bearer ${Redacted.value(gateway.token)}` }
      const connect = (path: string, protocols: Array<string>, marks?: string) => {
        const ws = new WebSocket(`ws://127.0.0.1:${gateway.port}/api/v1/mesh/tasks/subscribe${path}`, protocols, {
          headers: { ...headers, ...(marks === undefined ? {} : { "x-makima-marks": marks }) }
        })
        const frames: Array<string> = []
        ws.on("message", (data) => frames.push(String(data)))
        return Effect.as(
          Effect.callback<void>((resume) => void ws.on("open", () => resume(Effect.void))),
          { frames, ws }
        )
      }
      const asking = [
        yield* connect("?marks=1", []),
        yield* connect("", ["other", "makima.marks"]),
        yield* connect("", [], "1")
      ]
      const others = [yield* connect("", []), yield* connect("?marks=0", [], "0")]
      yield* server.refuse(1, 503)
      yield* server.kill()
      yield* until(() => asking.every(({ frames }) => frames.some((frame) => frame.includes(`"disconnected"`))))
      yield* rest
      assert.deepStrictEqual(
        others.map(({ frames }) => frames),
        [[], []]
      )
      for (const { ws } of [...asking, ...others]) ws.terminate()
    }).pipe(Effect.scoped)
  )

  it.effect("closes a client without marks with 1012 after a gap, so that it marks the gap itself", () =>
    Effect.gen(function* () {
      const { client, gateway, server, upstream } = yield* make()
      const events = yield* collect((yield* client(false)).updates())
      yield* until(() => hasMark(events, "Started"))
      yield* upstream.kill()
      yield* until(() => hasMark(events, "Reconnected"))
      yield* server.emit(updated("a", 2))
      yield* until(() => shown(events).includes("a 2"))
      const ended = events.find((event) => event._tag === "Disconnected")
      assert(ended?._tag === "Disconnected" && ended.reason._tag === "ConnectionClosed")
      assert.strictEqual(ended.reason.code, 1012)
      assert.strictEqual((yield* gateway.stats).closedForGaps, 1)
    }).pipe(Effect.scoped)
  )

  it.effect("does not close a client without marks that has no confirmed subscription", () =>
    Effect.gen(function* () {
      const { client, gateway, server, upstream } = yield* make({ server: { acknowledge: "manual" } })
      const events = yield* collect((yield* client(false)).output(a))
      yield* server.awaitReceived(({ message }) => message._tag === "SubscribeOutput")
      yield* upstream.kill()
      yield* until(() => Effect.runSync(server.connections).some(({ id }) => id === 2))
      yield* server.setAcknowledge("auto")
      yield* server.acknowledge()
      yield* until(() => hasMark(events, "Started"))
      assert.strictEqual((yield* gateway.stats).closedForGaps, 0)
      assert.deepStrictEqual(shown(events), ["Connected", "Started"])
    }).pipe(Effect.scoped)
  )

  it.effect("marks a frame of the server that cannot be decoded for every client with marks", () =>
    Effect.gen(function* () {
      const { client, server } = yield* make()
      const events = yield* collect((yield* client(true)).updates())
      yield* until(() => hasMark(events, "Started"))
      yield* server.garbage()
      yield* until(() => hasMark(events, "BadFrame"))
    }).pipe(Effect.scoped)
  )

  it.effect("tells a client with marks that connects while the server is away, and confirms its requests later", () =>
    Effect.gen(function* () {
      const { client, server } = yield* make()
      const first = yield* collect((yield* client(true)).updates())
      yield* until(() => hasMark(first, "Started"))
      yield* server.refuse(Infinity, 503)
      yield* server.kill()
      yield* until(() => shown(first).includes("Disconnected"))
      const second = yield* collect((yield* client(true)).updates())
      yield* until(() => shown(second).includes("Disconnected"))
      assert.isFalse(hasMark(second, "Started"))
      yield* server.heal
      yield* until(() => hasMark(first, "Reconnected") && hasMark(second, "Started"))
      yield* server.emit(updated("a", 1))
      yield* until(() => shown(first).includes("a 1") && shown(second).includes("a 1"))
    }).pipe(Effect.scoped)
  )

  const itIsAudited = (title: string, chaos: (n: number) => boolean) =>
    it.effect(title, () =>
      Effect.gen(function* () {
        const { client, server, upstream } = yield* make()
        yield* upstream.shape({ latencyMillis: 20 })
        const events = yield* collect((yield* client(true)).everything())
        yield* until(() => hasMark(events, "Started"))
        let marks = 0
        for (let n = 1; n <= 60; n++) {
          const task = `task ${n % 6}`
          yield* server.emit(updated(task, n))
          for (let i = 0; i < 5; i++) yield* server.emit(said(task, `${n} ${i}`))
          yield* rest
          if (!chaos(n)) continue
          yield* server.emit(said(task, `in flight ${n}`))
          yield* server.kill()
          marks++
          const expected = marks
          yield* until(() => hasMark(events, "Reconnected", expected))
        }
        yield* server.emit(updated("last", 1, "done"))
        yield* until(() => shown(events).includes("last 1"))
        const report = Audit.compare(yield* server.log, renumbered(events), { wants: Audit.everything() })
        assert.isTrue(Audit.isClean(report), Audit.format(report))
        assert.isAbove(report.received, 300)
        assert.strictEqual(report.epochs, marks + 1)
      }).pipe(Effect.scoped)
    )

  itIsAudited("passes the audit of a client that follows everything", () => false)
  itIsAudited(
    "passes the audit of a client that follows everything while its own connection is cut",
    (n) => n % 9 === 0
  )
})
