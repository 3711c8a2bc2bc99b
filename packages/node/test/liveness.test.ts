/**
 * Tests the detection of frozen peers, and that slow consumers do not look like them, from the socket to the consumer:
 * with real sockets and the test clock. The heartbeat has the default interval of 15 seconds and deadline of 10 seconds.
 */
import * as Interest from "@makima-stream/core/Interest"
import * as MeshClient from "@makima-stream/core/MeshClient"
import type * as MeshEvent from "@makima-stream/core/MeshEvent"
import * as MeshStream from "@makima-stream/core/MeshStream"
import * as MockMeshServer from "@makima-stream/test-kit/MockMeshServer"
import * as Workload from "@makima-stream/test-kit/Workload"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { follow } from "../../core/test/support/follow.ts"
import * as NodeMeshClient from "../src/NodeMeshClient.ts"
import * as NodeMeshSocket from "../src/NodeMeshSocket.ts"
import * as Servers from "./support/servers.ts"

const bound = 25

/** The two ways to follow a server. */
const ways: ReadonlyArray<readonly [string, (url: string) => Stream.Stream<MeshEvent.MeshEvent, unknown>]> = [
  [
    "a stream",
    (url) =>
      MeshStream.connect({ interest: Interest.all }).pipe(
        Stream.provide(NodeMeshSocket.layer({ url, highWaterBytes: 4096 }))
      )
  ],
  [
    "a client",
    (url) =>
      Stream.unwrap(Effect.map(MeshClient.MeshClient, (client) => client.events(undefined, { capacity: 16 }))).pipe(
        Stream.provide(NodeMeshClient.layer({ socket: { url, highWaterBytes: 4096 } }))
      )
  ]
]

const setup = Effect.fnUntraced(function* (make: (url: string) => Stream.Stream<MeshEvent.MeshEvent, unknown>) {
  const server = yield* MockMeshServer.make({ keepMessages: false })
  const gate = Latch.makeUnsafe(true)
  const { events } = yield* make(server.url).pipe(
    Stream.tap(() => gate.await),
    follow
  )
  yield* server.awaitReceived(({ message }) => message._tag === "SubscribeAll")
  yield* Servers.until(() => events.length > 0)
  return { server, gate, events }
})

type Setup = Effect.Success<ReturnType<typeof setup>>

/** Advances the clock second by second. In each second, the sockets finish their work. */
const seconds = (count: number, { events, server }: Setup, each: Effect.Effect<unknown> = Effect.void) =>
  Effect.gen(function* () {
    for (let i = 0; i < count; i++) {
      yield* each
      yield* TestClock.adjust("1 second")
      yield* Servers.settled(() => `${events.length} ${buffered(server)}`)
    }
  })

/**
 * Advances the clock until the connection ends, and fails after `bound` seconds without a byte. The kernel delivers its
 * buffers at any time, so bytes from before the freeze can arrive in any of these seconds, and count as signs of life.
 */
const silence = (made: Setup) =>
  Effect.gen(function* () {
    for (let silent = 0; disconnects(made.events).length === 0; silent++) {
      assert.isBelow(silent, bound)
      const before = made.events.length
      yield* seconds(1, made)
      if (made.events.length > before) silent = -1
    }
  })

const buffered = (server: MockMeshServer.Service): number => Effect.runSync(server.connections)[0]?.bufferedBytes ?? 0

const disconnects = (events: ReadonlyArray<MeshEvent.MeshEvent>) =>
  events.flatMap((event) => (event._tag === "Disconnected" ? [event.reason._tag] : []))

const messages = [...firstOf(Workload.endless({ tasks: 5 }), 20_000)].filter(({ _tag }) => _tag === "TaskUpdated")

/** Sends the messages of one second. */
const load = ({ server }: Setup) => server.emitAll(messages.slice(0, 200))

describe("liveness", () => {
  for (const [name, make] of ways) {
    describe(`of ${name}`, () => {
      it.effect("detects a peer that freezes on a quiet connection within interval plus deadline", () =>
        Effect.gen(function* () {
          const made = yield* setup(make)
          // A quiet connection stays open.
          yield* seconds(60, made)
          assert.deepStrictEqual(disconnects(made.events), [])
          yield* made.server.freeze()
          yield* seconds(bound, made)
          assert.deepStrictEqual(disconnects(made.events), ["HeartbeatTimeout"])
        })
      )

      it.effect("detects a peer that freezes in the middle of a flood within interval plus deadline", () =>
        Effect.gen(function* () {
          const made = yield* setup(make)
          yield* seconds(30, made, load(made))
          assert.deepStrictEqual(disconnects(made.events), [])
          yield* load(made)
          yield* made.server.freeze()
          yield* silence(made)
          assert.deepStrictEqual(disconnects(made.events), ["HeartbeatTimeout"])
          assert.isAtLeast(made.events.length, 30 * 200)
        })
      )

      it.effect("does not mistake a slow consumer for a dead peer, however long it pauses reads", () =>
        Effect.gen(function* () {
          const made = yield* setup(make)
          made.gate.closeUnsafe()
          yield* made.server.emitAll(messages)
          yield* made.server.emitRawAll(
            Array.from({ length: 2000 }, (_, i) => JSON.stringify({ type: "padding", i, text: "x".repeat(5000) }))
          )
          yield* seconds(100, made)
          assert.isAbove(buffered(made.server), 1_000_000)
          // One element in twenty seconds is slower than the deadline.
          for (let i = 0; i < 5; i++) {
            yield* made.gate.release
            yield* seconds(20, made)
          }
          made.gate.openUnsafe()
          yield* seconds(40, made)
          assert.deepStrictEqual(disconnects(made.events), [])
          assert.strictEqual(made.events.filter(({ _tag }) => _tag === "TaskUpdated").length, messages.length)
          assert.strictEqual(made.events.filter(({ _tag }) => _tag === "UnknownMessage").length, 2000)
        })
      )

      it.effect("detects a dead peer behind a slow consumer once reads resume", () =>
        Effect.gen(function* () {
          const made = yield* setup(make)
          made.gate.closeUnsafe()
          yield* made.server.emitAll(messages)
          yield* seconds(60, made)
          yield* made.server.freeze()
          yield* seconds(60, made)
          made.gate.openUnsafe()
          // The consumer receives the frames from before the freeze.
          yield* Servers.until(() => made.events.length > 100)
          yield* silence(made)
          assert.deepStrictEqual(disconnects(made.events), ["HeartbeatTimeout"])
          assert.isAbove(
            made.events.findIndex(({ _tag }) => _tag === "Disconnected"),
            100
          )
        })
      )

      it.effect("detects a dead peer behind a consumer that never pulls", () =>
        Effect.gen(function* () {
          const made = yield* setup(make)
          made.gate.closeUnsafe()
          yield* made.server.emitAll(messages.slice(0, 3))
          yield* seconds(1, made)
          yield* made.server.freeze()
          yield* seconds(bound, made)
          // The socket is closed although nothing was pulled.
          yield* made.server.thaw()
          yield* Servers.until(() => Effect.runSync(made.server.connections).length === 0)
          assert.deepStrictEqual(disconnects(made.events), [])
          made.gate.openUnsafe()
          yield* seconds(1, made)
          assert.deepStrictEqual(disconnects(made.events), ["HeartbeatTimeout"])
        })
      )
    })
  }
})

/** Returns the first items of an endless sequence. */
function* firstOf<A>(items: Iterable<A>, count: number): Iterable<A> {
  let taken = 0
  for (const item of items) {
    if (taken++ >= count) return
    yield item
  }
}
