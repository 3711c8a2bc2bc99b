import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Socket from "effect/socket/Socket"
import * as ScriptedMesh from "@makima-stream/test-kit/ScriptedMesh"
import * as Interest from "../../../src/Interest.ts"
import type { MeshEvent } from "../../../src/MeshEvent.ts"
import * as MeshSocket from "../../../src/MeshSocket.ts"
import * as MeshStream from "../../../src/MeshStream.ts"
import { updated } from "../../support/client.ts"
import { follow, settle } from "../../support/follow.ts"
import { itLeavesNothing } from "../../support/leaves.ts"

const noTask = "00000000-0000-0000-0000-000000000000"

/** A feed over a transport without ping, with a heartbeat of 15 and 10 seconds. */
const setup = (options?: ScriptedMesh.Options) =>
  Effect.gen(function* () {
    const mesh = yield* ScriptedMesh.make({ heartbeat: false, ...options })
    const feed = MeshStream.connect({ interest: Interest.all }).pipe(
      Stream.provideService(Socket.Socket, MeshSocket.withHeartbeat(mesh.socket))
    )
    const asked = Effect.map(
      mesh.received,
      (received) =>
        received.filter(({ message }) => message._tag === "UnsubscribeOutput" && message.taskId === noTask).length
    )
    return { mesh, feed, asked }
  })

const ends = (events: ReadonlyArray<MeshEvent>): ReadonlyArray<string> =>
  events.flatMap((event) => (event._tag === "Disconnected" ? [event.reason._tag] : []))

describe("heartbeat", () => {
  itLeavesNothing("notices a silent server within interval plus deadline, and the feed comes back", () =>
    Effect.gen(function* () {
      const { feed, mesh } = yield* setup()
      const { events } = yield* follow(feed)
      yield* settle
      yield* mesh.freeze()
      yield* TestClock.adjust("24 seconds")
      assert.deepStrictEqual(ends(events), [])
      yield* TestClock.adjust("1 second")
      yield* settle
      assert.deepStrictEqual(ends(events), ["HeartbeatTimeout"])
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(
        events.map(({ _tag }) => _tag),
        ["Connected", "Resync", "Disconnected", "Connected", "Resync"]
      )
    })
  )

  itLeavesNothing("keeps a connection that is quiet as long as the server answers", () =>
    Effect.gen(function* () {
      const { asked, feed } = yield* setup()
      const { events } = yield* follow(feed)
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(ends(events), [])
      assert.isAbove(yield* asked, 100)
    })
  )

  itLeavesNothing("asks once after the first frame, and not while frames arrive", () =>
    Effect.gen(function* () {
      const { asked, feed, mesh } = yield* setup()
      yield* follow(feed)
      for (let version = 1; version <= 20; version++) {
        yield* TestClock.adjust("10 seconds")
        yield* mesh.emit(updated(version))
      }
      assert.strictEqual(yield* asked, 1)
    })
  )

  itLeavesNothing("does not judge a server that has never answered such a request", () =>
    Effect.gen(function* () {
      const { asked, feed, mesh } = yield* setup({ acknowledge: "never" })
      const { events } = yield* follow(feed)
      yield* settle
      yield* mesh.emit(updated(1))
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(ends(events), [])
      assert.isAbove(yield* asked, 1)
    })
  )

  itLeavesNothing("judges a later connection by what an earlier one has shown", () =>
    Effect.gen(function* () {
      const { feed, mesh } = yield* setup()
      const { events } = yield* follow(feed)
      yield* settle
      yield* mesh.setAcknowledge("never")
      yield* mesh.kill()
      yield* TestClock.adjust("10 seconds")
      yield* mesh.emit(updated(1))
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(ends(events).slice(0, 2), ["ConnectionLost", "HeartbeatTimeout"])
    })
  )

  itLeavesNothing("does not count the time in which the consumer does not pull", () =>
    Effect.gen(function* () {
      const { feed, mesh } = yield* setup()
      const { events } = yield* follow(
        Stream.tap(feed, ({ _tag }) => (_tag === "TaskUpdated" ? Effect.sleep("10 minutes") : Effect.void), {
          concurrency: 1
        })
      )
      yield* settle
      yield* mesh.emit(updated(1))
      yield* mesh.emit(updated(2))
      yield* TestClock.adjust("20 minutes")
      assert.deepStrictEqual(ends(events), [])
    })
  )

  itLeavesNothing("passes on everything but the answers to its own requests", () =>
    Effect.gen(function* () {
      const { mesh } = yield* setup()
      const socket = MeshSocket.withHeartbeat(mesh.socket)
      const { pull } = yield* socket.reader
      const writer = yield* socket.writer
      const frames: Array<string | Uint8Array> = []
      yield* Effect.forkScoped(
        Effect.forever(Effect.tap(pull, (batch) => Effect.sync(() => void frames.push(...batch)))),
        { startImmediately: true }
      )
      yield* writer.write(`{"type":"subscribeAll"}`)
      yield* settle
      yield* writer.write(`{"type":"unsubscribeOutput","taskId":"a"}`)
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(frames, [`{"type":"subscribedAll"}`, `{"type":"outputUnsubscribed","taskId":"a"}`])
    })
  )
})
