import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as Socket from "effect/socket/Socket"
import * as TestClock from "effect/testing/TestClock"
import * as ScriptedMesh from "@makima-stream/test-kit/ScriptedMesh"
import * as GatewayMessages from "../src/GatewayMessages.ts"
import * as Interest from "../src/Interest.ts"
import * as Merge from "../src/Merge.ts"
import * as MeshClient from "../src/MeshClient.ts"
import type { MeshEvent } from "../src/MeshEvent.ts"
import * as MeshStream from "../src/MeshStream.ts"
import type { ServerMessage } from "../src/ServerMessage.ts"
import { a, b, said, updated } from "./support/client.ts"
import { disconnected } from "./support/events.ts"
import { follow, settle } from "./support/follow.ts"
import { closesEverything, itLeavesNothing } from "./support/leaves.ts"

const shown = (events: ReadonlyArray<MeshEvent>): ReadonlyArray<string> =>
  events.map((event) => {
    switch (event._tag) {
      case "TaskUpdated":
        return `${event.taskId} ${event.version}`
      case "TaskOutput":
        return event.content
      case "Connected":
        return `Connected ${event.epoch}`
      case "Resync": {
        const task = event.taskId === undefined ? "" : ` ${event.taskId}`
        return `${event.reason._tag}${event.reason._tag === "Unaligned" ? ` ${event.reason.cause}` : ""}${task}`
      }
      default:
        return event._tag
    }
  })

const everything = Interest.union(Interest.all, Interest.output([a, b]))

/** A stream over two connections, once both are aligned. */
const twoConnections = (options?: Merge.ConnectionsOptions, extension?: GatewayMessages.Extension) =>
  Effect.gen(function* () {
    const mesh = yield* ScriptedMesh.make()
    yield* closesEverything(mesh)
    const connections = Merge.connections(options)
    const stream = MeshStream.connect({ interest: everything, connections, extension }).pipe(
      Stream.provideService(Socket.Socket, mesh.socket)
    )
    const following = yield* follow(stream)
    yield* settle
    return { mesh, following, shown: Effect.sync(() => shown(following.events)) }
  })

const align = Effect.andThen(TestClock.adjust("1 second"), settle)

describe("MeshStream.connect with several connections", () => {
  itLeavesNothing("emits each message once", () =>
    Effect.gen(function* () {
      const { mesh, shown } = yield* twoConnections()
      yield* mesh.emit(updated(1), said("one"))
      yield* align
      assert.lengthOf(yield* mesh.connections, 2)
      yield* mesh.emit(updated(2), said("two"), said("two"))
      yield* settle
      assert.deepStrictEqual(yield* shown, ["Connected 1", "Started", "a 1", "one", "a 2", "two", "two"])
    })
  )

  itLeavesNothing("loses nothing and says nothing when either connection is lost", () =>
    Effect.gen(function* () {
      const { mesh, shown } = yield* twoConnections()
      yield* align
      yield* mesh.kill(1)
      yield* mesh.emit(updated(1), said("x"))
      yield* settle
      yield* TestClock.adjust("5 seconds")
      yield* settle
      assert.lengthOf(
        (yield* mesh.connections).filter(({ open }) => open),
        2
      )
      yield* mesh.kill(2)
      yield* mesh.emit(updated(2), said("x"))
      yield* settle
      assert.deepStrictEqual(yield* shown, ["Connected 1", "Started", "a 1", "x", "a 2", "x"])
    })
  )

  itLeavesNothing("goes on with what the slower connection has when the faster one is lost", () =>
    Effect.gen(function* () {
      const { mesh, shown } = yield* twoConnections()
      yield* align
      yield* mesh.freeze(2)
      yield* mesh.emit(said("x"), said("x"))
      yield* settle
      yield* mesh.kill(1)
      yield* mesh.emit(said("x"))
      yield* settle
      assert.deepStrictEqual(yield* shown, ["Connected 1", "Started", "x", "x"])
      yield* mesh.thaw(2)
      yield* settle
      assert.deepStrictEqual(yield* shown, ["Connected 1", "Started", "x", "x", "x"])
    })
  )

  itLeavesNothing("marks the place when the other connection was not aligned", () =>
    Effect.gen(function* () {
      const { mesh, shown } = yield* twoConnections()
      // Boundaries need the acknowledgement of the first connection.
      yield* TestClock.adjust("500 millis")
      yield* mesh.freeze(1)
      yield* TestClock.adjust("500 millis")
      yield* settle
      yield* mesh.emit(said("x"))
      yield* settle
      yield* mesh.kill(1)
      yield* settle
      assert.deepStrictEqual(yield* shown, ["Connected 1", "Started", "Unaligned ambiguous", "x"])
    })
  )

  itLeavesNothing("marks the gap when both connections are lost", () =>
    Effect.gen(function* () {
      const { mesh, shown } = yield* twoConnections()
      yield* align
      yield* mesh.kill()
      yield* TestClock.adjust("10 seconds")
      yield* settle
      yield* mesh.emit(said("x"))
      yield* settle
      assert.deepStrictEqual(yield* shown, [
        "Connected 1",
        "Started",
        "Disconnected",
        "Connected 2",
        "Reconnected",
        "x"
      ])
    })
  )

  itLeavesNothing("never dials twice within a second", () =>
    Effect.gen(function* () {
      const { mesh } = yield* twoConnections()
      yield* align
      for (let i = 0; i < 10; i++) {
        yield* mesh.kill()
        yield* mesh.refuse(2, 503)
        yield* TestClock.adjust("40 seconds")
        yield* settle
      }
      const dials = yield* mesh.dials
      assert.isAbove(dials.length, 20)
      dials.forEach((at, i) => i > 0 && assert.isAtLeast(at - (dials[i - 1] ?? 0), 1000))
    })
  )

  itLeavesNothing("aligns where the server names no task in its acknowledgements", () =>
    Effect.gen(function* () {
      const { mesh, shown } = yield* twoConnections()
      yield* mesh.setNameTasks(false)
      yield* align
      yield* mesh.kill(1)
      yield* mesh.emit(said("x"))
      yield* settle
      assert.deepStrictEqual(yield* shown, ["Connected 1", "Started", "x"])
    })
  )

  itLeavesNothing("emits an element of an extension once, with the epoch of the stream", () =>
    Effect.gen(function* () {
      const { following, mesh } = yield* twoConnections(undefined, GatewayMessages.extension)
      yield* align
      // The second epoch of each connection, and the first one of the stream.
      yield* mesh.kill(1)
      yield* TestClock.adjust("5 seconds")
      yield* settle
      yield* mesh.kill(2)
      yield* TestClock.adjust("5 seconds")
      yield* settle
      yield* mesh.emit(said("x"))
      const mark = { _tag: "Resync", epoch: 7, reason: { _tag: "Overflow", dropped: 1 } } as const
      yield* mesh.emitRaw(GatewayMessages.encodeFrame(mark))
      yield* mesh.emit(said("y"))
      yield* settle
      assert.deepStrictEqual(shown(following.events), ["Connected 1", "Started", "x", "Overflow", "y"])
      assert.deepInclude(following.events[3], { epoch: 1 })
      yield* mesh.emitRaw(`{"type":"resync"}`)
      yield* settle
      assert.deepStrictEqual(shown(following.events).slice(5), ["BadFrame"])
    })
  )

  itLeavesNothing("uses the endpoints of a list, and loses nothing while one of them is gone", () =>
    Effect.gen(function* () {
      const east = yield* ScriptedMesh.make()
      const west = yield* ScriptedMesh.make()
      yield* closesEverything(east)
      yield* closesEverything(west)
      const emit = (...messages: ReadonlyArray<ServerMessage>) =>
        Effect.andThen(Effect.andThen(east.emit(...messages), west.emit(...messages)), settle)
      const { events } = yield* follow(
        MeshStream.connect({ interest: everything, connections: Merge.connections({ sockets: [west.socket] }) }).pipe(
          Stream.provideService(Socket.Socket, east.socket)
        )
      )
      yield* settle
      yield* align
      assert.lengthOf(yield* east.connections, 1)
      assert.lengthOf(yield* west.connections, 1)
      yield* emit(updated(1), said("x"))
      yield* east.refuse(Infinity, 503)
      yield* east.kill()
      yield* emit(updated(2), said("x"))
      yield* TestClock.adjust("1 minute")
      yield* emit(said("y"))
      assert.deepStrictEqual(shown(events), ["Connected 1", "Started", "a 1", "x", "a 2", "x", "y"])
    })
  )

  itLeavesNothing("divides the connections among the endpoints, and uses the first one for the others", () =>
    Effect.gen(function* () {
      const east = yield* ScriptedMesh.make()
      const west = yield* ScriptedMesh.make()
      const connections = Merge.connections({ sockets: [west.socket], count: 3 })
      yield* follow(
        MeshStream.connect({ interest: everything, connections }).pipe(
          Stream.provideService(Socket.Socket, east.socket)
        )
      )
      yield* settle
      yield* TestClock.adjust("5 seconds")
      yield* settle
      assert.lengthOf(yield* east.connections, 2)
      assert.lengthOf(yield* west.connections, 1)
    })
  )

  itLeavesNothing("fails when each connection has given up", () =>
    Effect.gen(function* () {
      const mesh = yield* ScriptedMesh.make()
      yield* closesEverything(mesh)
      yield* mesh.refuse(2, 404)
      const { events, exit } = yield* follow(
        MeshStream.connect({ interest: everything, connections: Merge.connections() }).pipe(
          Stream.provideService(Socket.Socket, mesh.socket)
        )
      )
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual((yield* exit)._tag, "Failure")
      assert.deepStrictEqual(shown(events), ["Disconnected", "Disconnected"])
    })
  )
})

describe("MeshClient with several connections", () => {
  const setup = (options?: MeshClient.Options & { readonly mesh?: ScriptedMesh.Options }) =>
    Effect.gen(function* () {
      const mesh = yield* ScriptedMesh.make(options?.mesh)
      yield* closesEverything(mesh)
      const client = yield* MeshClient.make({ connections: Merge.connections(), ...options }).pipe(
        Effect.provideService(Socket.Socket, mesh.socket)
      )
      return { client, mesh }
    })

  itLeavesNothing("requests what consumers want on each connection, and releases it", () =>
    Effect.gen(function* () {
      const { client, mesh } = yield* setup()
      const one = yield* follow(client.updates())
      yield* settle
      yield* align
      const two = yield* follow(client.output(a))
      yield* settle
      for (const { interest } of yield* mesh.connections) {
        assert.isTrue(interest.all)
        assert.deepStrictEqual([...interest.output], [a])
      }
      yield* mesh.emit(updated(1), said("x"))
      yield* settle
      assert.deepStrictEqual(shown(one.events), ["Connected 1", "Started", "a 1"])
      assert.deepStrictEqual(shown(two.events), ["JoinedLate", "x"])
      yield* client.close
      assert.lengthOf(
        (yield* mesh.connections).filter(({ open }) => open),
        0
      )
    })
  )

  itLeavesNothing("keeps what joined later complete when a connection is lost", () =>
    Effect.gen(function* () {
      const { client, mesh } = yield* setup()
      yield* follow(client.updates())
      yield* settle
      yield* align
      const late = yield* follow(client.output(a))
      yield* settle
      yield* TestClock.adjust("1 second")
      yield* settle
      yield* mesh.kill(1)
      yield* mesh.emit(said("x"))
      yield* settle
      assert.deepStrictEqual(shown(late.events), ["JoinedLate", "x"])
    })
  )

  itLeavesNothing("shows the state of each connection", () =>
    Effect.gen(function* () {
      const { client, mesh } = yield* setup()
      yield* follow(client.updates())
      yield* settle
      yield* align
      const tags = Effect.map(SubscriptionRef.get(client.status), (status) => [
        status._tag,
        ...(status.connections ?? []).map((each) =>
          each._tag === "Online" ? `Online ${each.epoch} ${each.isAligned}` : each._tag
        )
      ])
      assert.deepStrictEqual(yield* tags, ["Online", "Online 1 true", "Online 1 true"])
      yield* mesh.kill(1)
      yield* settle
      assert.deepStrictEqual(yield* tags, ["Online", "Offline", "Online 1 true"])
      yield* TestClock.adjust("5 seconds")
      yield* settle
      assert.deepStrictEqual(yield* tags, ["Online", "Online 2 true", "Online 1 true"])
    })
  )

  itLeavesNothing("reconnects one connection after the other, so that nothing is missing", () =>
    Effect.gen(function* () {
      const { client, mesh } = yield* setup()
      const one = yield* follow(client.updates())
      yield* settle
      yield* align
      yield* client.reconnect
      yield* mesh.emit(updated(1))
      yield* settle
      for (let i = 2; i < 12; i++) {
        yield* TestClock.adjust("500 millis")
        yield* mesh.emit(updated(i))
        yield* settle
      }
      assert.lengthOf(yield* mesh.connections, 4)
      assert.lengthOf(
        (yield* mesh.connections).filter(({ open }) => open),
        2
      )
      const versions = Array.from({ length: 11 }, (_, i) => `a ${i + 1}`)
      assert.deepStrictEqual(shown(one.events), ["Connected 1", "Started", ...versions])
    })
  )

  itLeavesNothing("reconnects every connection although none can replace the others", () =>
    Effect.gen(function* () {
      const { client, mesh } = yield* setup()
      yield* follow(client.updates())
      yield* settle
      yield* align
      // Both are half-open, so the new connection is never aligned.
      yield* mesh.freeze(2)
      yield* client.reconnect
      yield* mesh.freeze(1)
      yield* TestClock.adjust("12 seconds")
      yield* settle
      assert.isAtLeast((yield* mesh.connections).length, 4)
      const open = (yield* mesh.connections).filter(({ frozen, open }) => open && !frozen)
      assert.lengthOf(open, 2)
    })
  )

  itLeavesNothing("dials a connection that has given up again, while another one is up", () =>
    Effect.gen(function* () {
      const { client, mesh } = yield* setup()
      const one = yield* follow(client.updates())
      yield* settle
      yield* mesh.refuse(1, 404)
      yield* TestClock.adjust("2 seconds")
      yield* settle
      const tags = Effect.map(SubscriptionRef.get(client.status), ({ connections = [] }) =>
        connections.map(({ _tag }) => _tag)
      )
      assert.deepStrictEqual(yield* tags, ["Online", "Failed"])
      yield* TestClock.adjust("5 minutes")
      yield* settle
      yield* TestClock.adjust("1 second")
      yield* settle
      assert.deepStrictEqual(yield* tags, ["Online", "Online"])
      yield* mesh.kill(1)
      yield* mesh.emit(updated(1))
      yield* settle
      assert.deepStrictEqual(shown(one.events), ["Connected 1", "Started", "a 1"])
    })
  )

  itLeavesNothing("dials a connection that has given up at once when the program reconnects", () =>
    Effect.gen(function* () {
      const { client, mesh } = yield* setup()
      yield* follow(client.updates())
      yield* settle
      yield* mesh.refuse(1, 404)
      yield* TestClock.adjust("2 seconds")
      yield* settle
      yield* client.reconnect
      yield* TestClock.adjust("5 seconds")
      yield* settle
      assert.lengthOf(
        (yield* mesh.connections).filter(({ open }) => open),
        2
      )
    })
  )

  itLeavesNothing("shows a connection as aligned when a message has aligned it", () =>
    Effect.gen(function* () {
      const { client, mesh } = yield* setup({ mesh: { acknowledge: "manual" } })
      yield* follow(client.output(a))
      yield* settle
      yield* mesh.acknowledge()
      yield* settle
      yield* align
      yield* mesh.acknowledge()
      yield* settle
      yield* TestClock.adjust("1 second")
      yield* settle
      // The requests of boundaries are older than both messages, and their acknowledgements newer.
      yield* mesh.emit(said("x"), said("x"))
      yield* mesh.acknowledge()
      yield* settle
      const areAligned = Effect.map(SubscriptionRef.get(client.status), ({ connections = [] }) =>
        connections.map((each) => each._tag === "Online" && each.isAligned)
      )
      assert.deepStrictEqual(yield* areAligned, [true, false])
      yield* mesh.emit(said("y"))
      yield* settle
      yield* TestClock.adjust("5 seconds")
      yield* settle
      assert.deepStrictEqual(yield* areAligned, [true, true])
    })
  )

  itLeavesNothing("passes the elements of an extension on to the consumers and to the status", () =>
    Effect.gen(function* () {
      const { client, mesh } = yield* setup({ extension: GatewayMessages.extension })
      const one = yield* follow(client.updates())
      yield* settle
      yield* align
      yield* mesh.emitRaw(GatewayMessages.encodeFrame(disconnected()))
      yield* settle
      assert.strictEqual((yield* SubscriptionRef.get(client.status))._tag, "Offline")
      yield* mesh.emitRaw(GatewayMessages.encodeFrame({ _tag: "Connected", epoch: 9, at: 5 }))
      yield* mesh.emitRaw(
        GatewayMessages.encodeFrame({ _tag: "Resync", epoch: 9, reason: { _tag: "Reconnected", downMillis: 1 } })
      )
      yield* mesh.emit(updated(2))
      yield* settle
      assert.strictEqual((yield* SubscriptionRef.get(client.status))._tag, "Online")
      assert.deepStrictEqual(shown(one.events).slice(2), ["Disconnected", "Connected 1", "Reconnected", "a 2"])
    })
  )

  itLeavesNothing("follows the output of discovered tasks on each connection", () =>
    Effect.gen(function* () {
      const { client, mesh } = yield* setup()
      const all = yield* follow(client.everything())
      yield* settle
      yield* align
      yield* mesh.emit(updated(1))
      yield* settle
      yield* TestClock.adjust("1 second")
      yield* settle
      yield* mesh.kill(1)
      yield* mesh.emit(said("x"))
      yield* settle
      assert.deepStrictEqual(shown(all.events), ["Connected 1", "Started", "a 1", "Subscribed a", "x"])
    })
  )
})
