import { assert, describe } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as Socket from "effect/socket/Socket"
import * as TestClock from "effect/testing/TestClock"
import * as ScriptedMesh from "@makima-stream/test-kit/ScriptedMesh"
import * as Interest from "../src/Interest.ts"
import * as MeshSession from "../src/MeshSession.ts"
import { TaskId } from "../src/TaskId.ts"
import { settle } from "./support/follow.ts"
import { closesEverything, itLeavesNothing } from "./support/leaves.ts"

const a = TaskId.make("a")
const b = TaskId.make("b")

const dial = (mesh: ScriptedMesh.ScriptedMesh["Service"], interest: Interest.Interest, options?: MeshSession.Options) =>
  MeshSession.make(interest, options).pipe(Effect.provideService(Socket.Socket, mesh.socket))

describe("MeshSession", () => {
  itLeavesNothing("sends the whole interest before make returns", () =>
    Effect.gen(function* () {
      const mesh = yield* ScriptedMesh.make()
      yield* closesEverything(mesh)
      yield* dial(mesh, Interest.union(Interest.all, Interest.output(a)))
      assert.deepStrictEqual(
        (yield* mesh.received).map(({ message }) => message._tag),
        ["SubscribeAll", "SubscribeOutput"]
      )
    })
  )

  itLeavesNothing("a session does not retry", () =>
    Effect.gen(function* () {
      const mesh = yield* ScriptedMesh.make()
      yield* closesEverything(mesh)
      yield* mesh.refuse(1, 503)
      const error = yield* Effect.flip(dial(mesh, Interest.all))
      assert.strictEqual(error.reason._tag, "HandshakeRejected")
      assert.strictEqual((yield* mesh.dials).length, 1)
    })
  )

  itLeavesNothing("emits an undecodable frame in its place, and continues", () =>
    Effect.gen(function* () {
      const mesh = yield* ScriptedMesh.make()
      yield* closesEverything(mesh)
      const session = yield* dial(mesh, Interest.all)
      yield* mesh.emit({ _tag: "TaskUpdated", taskId: a, version: 1 })
      yield* mesh.emitRaw("nonsense")
      yield* mesh.emit({ _tag: "TaskUpdated", taskId: a, version: 2 })
      const messages = yield* session.pull
      assert.deepStrictEqual(
        messages.map((message) => message._tag),
        ["Resync", "TaskUpdated", "DecodeError", "TaskUpdated"]
      )
    })
  )

  itLeavesNothing("handles acknowledgements itself, and distinguishes requested keys from confirmed ones", () =>
    Effect.gen(function* () {
      const mesh = yield* ScriptedMesh.make({ acknowledge: "manual" })
      yield* closesEverything(mesh)
      const session = yield* dial(mesh, Interest.output(a))
      assert.deepStrictEqual(yield* session.subscriptions, {
        epoch: 1,
        requested: Interest.output(a),
        confirmed: Interest.empty,
        unconfirmed: Interest.empty
      })
      const pulling = yield* Effect.forkChild(session.pull)
      yield* mesh.acknowledge()
      yield* settle
      assert.deepStrictEqual((yield* session.subscriptions).confirmed, Interest.output(a))
      assert.strictEqual(yield* session.received, 1)
      yield* mesh.emit({ _tag: "ServerError", code: "X", message: "" })
      assert.strictEqual((yield* Fiber.join(pulling)).length, 1)
    })
  )

  itLeavesNothing("keeps a subscribe and an unsubscribe of one task in order", () =>
    Effect.gen(function* () {
      const mesh = yield* ScriptedMesh.make({ acknowledge: "manual" })
      yield* closesEverything(mesh)
      const session = yield* dial(mesh, Interest.output(a))
      yield* Effect.forkChild(Effect.forever(session.pull))
      yield* session.setInterest(Interest.empty)
      yield* settle
      assert.strictEqual((yield* mesh.received).length, 1)
      yield* mesh.acknowledge()
      yield* mesh.awaitReceived(({ message }) => message._tag === "UnsubscribeOutput")
    })
  )

  itLeavesNothing("waits for an acknowledgement until the timeout, to the millisecond", () =>
    Effect.gen(function* () {
      const mesh = yield* ScriptedMesh.make({ acknowledge: "never" })
      yield* closesEverything(mesh)
      const session = yield* dial(mesh, Interest.output(a), { ackTimeout: "3 seconds" })
      yield* Effect.forkChild(Effect.forever(session.pull))
      yield* session.setInterest(Interest.empty)
      yield* TestClock.adjust(Duration.millis(2999))
      yield* settle
      assert.strictEqual((yield* mesh.received).length, 1)
      yield* TestClock.adjust(Duration.millis(1))
      yield* mesh.awaitReceived(({ message }) => message._tag === "UnsubscribeOutput")
    })
  )

  itLeavesNothing("does not count time without a pull towards the acknowledgement timeout", () =>
    Effect.gen(function* () {
      const mesh = yield* ScriptedMesh.make()
      yield* closesEverything(mesh)
      const session = yield* dial(mesh, Interest.output(a), { ackTimeout: "3 seconds" })
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual<unknown>(yield* session.pull, [{ _tag: "Resync", epoch: 1, reason: { _tag: "Started" } }])
      assert.strictEqual((yield* mesh.received).length, 1)
    })
  )

  itLeavesNothing(
    "emits Started when the last key of the interest is confirmed, and Subscribed for each later key",
    () =>
      Effect.gen(function* () {
        const mesh = yield* ScriptedMesh.make({ acknowledge: "manual" })
        yield* closesEverything(mesh)
        const session = yield* dial(mesh, Interest.union(Interest.all, Interest.output(a)))
        const seen: Array<string> = []
        yield* Effect.forkChild(
          Effect.forever(
            Effect.map(session.pull, (elements) =>
              seen.push(...elements.map((element) => (element._tag === "Resync" ? element.reason._tag : element._tag)))
            )
          )
        )
        yield* mesh.acknowledge(1)
        yield* mesh.emit({ _tag: "TaskUpdated", taskId: a, version: 1 })
        yield* settle
        assert.deepStrictEqual(seen, ["TaskUpdated"])
        yield* mesh.acknowledge(1)
        yield* mesh.emit({ _tag: "TaskUpdated", taskId: a, version: 2 })
        yield* settle
        assert.deepStrictEqual(seen.splice(0), ["TaskUpdated", "Started", "TaskUpdated"])
        yield* session.setInterest(Interest.union(Interest.all, Interest.output([a, b])))
        yield* settle
        yield* mesh.emit({ _tag: "TaskUpdated", taskId: a, version: 3 })
        yield* mesh.acknowledge(1)
        yield* settle
        assert.deepStrictEqual(seen, ["TaskUpdated", "Subscribed"])
      })
  )

  itLeavesNothing("keeps frames that arrived for an interrupted pull", () =>
    Effect.gen(function* () {
      const mesh = yield* ScriptedMesh.make()
      yield* closesEverything(mesh)
      const session = yield* dial(mesh, Interest.all)
      yield* session.pull
      const waiting = yield* Effect.forkChild(session.pull)
      yield* settle
      yield* Fiber.interrupt(waiting)
      yield* mesh.emit({ _tag: "TaskUpdated", taskId: a, version: 1 })
      yield* settle
      yield* mesh.emit({ _tag: "TaskUpdated", taskId: a, version: 2 })
      const elements = [...(yield* session.pull), ...(yield* session.pull)]
      assert.deepStrictEqual<unknown>(elements, [
        { _tag: "TaskUpdated", taskId: a, version: 1 },
        { _tag: "TaskUpdated", taskId: a, version: 2 }
      ])
    })
  )

  itLeavesNothing("fails a waiting pull when a write fails", () =>
    Effect.gen(function* () {
      const mesh = yield* ScriptedMesh.make()
      yield* closesEverything(mesh)
      const broken = Socket.make({
        reader: mesh.socket.reader,
        writer: Effect.map(mesh.socket.writer, (writer) => {
          let writes = 0
          return {
            ...writer,
            writeAll: (chunks) =>
              writes++ === 0
                ? writer.writeAll(chunks)
                : Effect.fail(new Socket.SocketError({ reason: new Socket.SocketWriteError({ cause: "broken" }) }))
          }
        })
      })
      const session = yield* MeshSession.make(Interest.all).pipe(Effect.provideService(Socket.Socket, broken))
      yield* session.pull
      const pulling = yield* Effect.forkChild(Effect.flip(session.pull))
      yield* settle
      yield* session.setInterest(Interest.output(a))
      yield* settle
      yield* TestClock.adjust("1 second")
      const error = yield* Fiber.join(pulling)
      assert.strictEqual(error.reason._tag, "ConnectionLost")
      assert.isFalse((yield* mesh.connections)[0]?.open)
    })
  )

  itLeavesNothing("emits what arrived before the end, and the server's reason, after a failed write", () =>
    Effect.gen(function* () {
      const mesh = yield* ScriptedMesh.make({ maxBatch: 1, acknowledge: "never" })
      yield* closesEverything(mesh)
      const session = yield* dial(mesh, Interest.all)
      for (const version of [1, 2]) yield* mesh.emit({ _tag: "TaskUpdated", taskId: a, version })
      yield* mesh.close(4403, "not yours any more")
      yield* session.setInterest(Interest.output(a))
      yield* settle
      assert.strictEqual((yield* session.pull).length, 1)
      assert.strictEqual((yield* session.pull).length, 1)
      const { reason } = yield* Effect.flip(session.pull)
      assert.isTrue(reason._tag === "ConnectionClosed" && reason.code === 4403)
    })
  )

  itLeavesNothing("ends with its scope, and sends no later change of interest", () =>
    Effect.gen(function* () {
      const mesh = yield* ScriptedMesh.make()
      yield* closesEverything(mesh)
      const scope = yield* Scope.make()
      const session = yield* dial(mesh, Interest.all).pipe(Scope.provide(scope))
      yield* Scope.close(scope, Exit.void)
      yield* session.setInterest(Interest.output(a))
      yield* settle
      assert.strictEqual((yield* mesh.received).length, 1)
      assert.isFalse((yield* mesh.connections)[0]?.open)
    })
  )
})
