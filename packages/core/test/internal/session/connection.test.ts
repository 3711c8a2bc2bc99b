import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as Socket from "effect/socket/Socket"
import * as TestClock from "effect/testing/TestClock"
import * as ScriptedMesh from "@makima-stream/test-kit/ScriptedMesh"
import * as Interest from "../../../src/Interest.ts"
import * as Connection from "../../../src/internal/session/connection.ts"
import { settings } from "../../../src/internal/session/options.ts"
import * as Subscriptions from "../../../src/internal/session/subscriptions.ts"
import { TaskId } from "../../../src/TaskId.ts"
import { settle } from "../../support/follow.ts"
import { closesEverything, itLeavesNothing } from "../../support/leaves.ts"

const a = TaskId.make("a")

const setup = (interest: Interest.Interest, options?: ScriptedMesh.Options) =>
  Effect.gen(function* () {
    const mesh = yield* ScriptedMesh.make(options)
    yield* closesEverything(mesh)
    const subscriptions = Subscriptions.make()
    subscriptions.setInterest(interest)
    let replays = 0
    const connection = yield* Connection.make({
      settings: settings(undefined),
      subscriptions,
      policy: { schedule: Schedule.spaced("1 hour") },
      onConfirmed: (key, epoch) => ({ _tag: "Confirmed" as const, key: `${key.kind} ${key.taskId ?? ""}`, epoch }),
      onReplay: () => replays++
    }).pipe(Effect.provideService(Socket.Socket, mesh.socket))
    return { mesh, connection, subscriptions, replays: () => replays }
  })

describe("Connection", () => {
  itLeavesNothing("dials at most once a second, however often it is asked to reconnect", () =>
    Effect.gen(function* () {
      const { connection, mesh } = yield* setup(Interest.all)
      yield* mesh.refuse(1000, 503)
      // A program that reconnects whenever it is offline.
      yield* connection.pull.pipe(Effect.andThen(connection.reconnect), Effect.forever, Effect.forkScoped)
      yield* TestClock.adjust("5 seconds")
      yield* settle
      assert.deepStrictEqual(yield* mesh.dials, [0, 1000, 2000, 3000, 4000, 5000])
    })
  )

  itLeavesNothing("does not dial before the server's Retry-After, however often it is asked to reconnect", () =>
    Effect.gen(function* () {
      const { connection, mesh } = yield* setup(Interest.all)
      yield* mesh.refuse(1, 503, { "retry-after": "30" })
      yield* connection.pull.pipe(Effect.andThen(connection.reconnect), Effect.forever, Effect.forkScoped)
      yield* TestClock.adjust("1 minute")
      yield* settle
      assert.deepStrictEqual((yield* mesh.dials).slice(0, 2), [0, 30_000])
    })
  )

  itLeavesNothing("puts what the caller wants for a confirmed key where it is confirmed, before its mark", () =>
    Effect.gen(function* () {
      const { connection, mesh, replays } = yield* setup(Interest.union(Interest.all, Interest.output(a)), {
        acknowledge: "manual"
      })
      const elements: Array<string> = []
      yield* connection.pull.pipe(
        Effect.map((batch) => {
          for (const element of batch) elements.push(element._tag === "Confirmed" ? element.key : element._tag)
        }),
        Effect.forever,
        Effect.forkScoped
      )
      yield* settle
      assert.strictEqual(replays(), 1)
      yield* mesh.acknowledge(1)
      yield* mesh.emit({ _tag: "TaskUpdated", taskId: a, version: 1 })
      yield* mesh.acknowledge(1)
      yield* settle
      assert.deepStrictEqual(elements, ["Connected", "all ", "TaskUpdated", "output a", "Resync"])
    })
  )
})
