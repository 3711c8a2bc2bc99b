import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Ref from "effect/Ref"
import * as Stream from "effect/Stream"
import * as Socket from "effect/socket/Socket"
import * as SubscriptionRef from "effect/SubscriptionRef"
import * as TestClock from "effect/testing/TestClock"
import * as ScriptedMesh from "@makima-stream/test-kit/ScriptedMesh"
import * as GatewayMessages from "../src/GatewayMessages.ts"
import * as Interest from "../src/Interest.ts"
import * as MeshError from "../src/MeshError.ts"
import type { MeshEvent } from "../src/MeshEvent.ts"
import * as MeshStream from "../src/MeshStream.ts"
import { a, b, data, said, setup, updated } from "./support/client.ts"
import { follow, settle } from "./support/follow.ts"
import { itLeavesNothing } from "./support/leaves.ts"

const disconnected: MeshEvent & { readonly _tag: "Disconnected" } = {
  _tag: "Disconnected",
  epoch: 7,
  opened: true,
  attempt: 1,
  reason: new MeshError.ConnectionClosed({ code: 1001, closeReason: "" }),
  retryInMillis: 2000,
  at: 5
}

const elements: ReadonlyArray<GatewayMessages.GatewayElement> = [
  { _tag: "Connected", epoch: 7, at: 5 },
  disconnected,
  { _tag: "Resync", epoch: 7, reason: { _tag: "Reconnected", downMillis: 12.5 }, unconfirmed: 2 },
  { _tag: "Resync", epoch: 7, taskId: a, reason: { _tag: "Subscribed", kind: "output" } },
  { _tag: "Resync", epoch: 7, reason: { _tag: "Overflow", dropped: 3 } },
  { _tag: "Restated", taskId: a, version: 3, status: "done", costUsd: 0.5 },
  { _tag: "Restated", taskId: a, gone: true },
  { _tag: "Repaired", epoch: 7, reasons: ["Reconnected"], restated: 1, unconfirmed: 0, absent: 0, open: 0 },
  { _tag: "RepairFailed", epoch: 7, reasons: ["Started"], attempts: 2, error: "timeout" }
]

const decode = (frame: string, epoch = 7) => GatewayMessages.extension.decode(JSON.parse(frame), epoch, frame.length)

const mark = (reason: "Reconnected" | "Overflow", unconfirmed?: number) =>
  GatewayMessages.encodeFrame({
    _tag: "Resync",
    epoch: 7,
    reason: reason === "Reconnected" ? { _tag: reason, downMillis: 1 } : { _tag: reason, dropped: 1 },
    ...(unconfirmed === undefined ? {} : { unconfirmed })
  })

const up = GatewayMessages.encodeFrame({ _tag: "Connected", epoch: 8, at: 9 })
const down = GatewayMessages.encodeFrame(disconnected)

/** Everything in one word each. */
const shown = (events: ReadonlyArray<MeshEvent>): ReadonlyArray<string> =>
  events.map((event) => (event._tag === "Resync" ? event.reason._tag : (data([event])[0] ?? event._tag)))

const extension = GatewayMessages.extension

describe("GatewayMessages", () => {
  it("decodes every element that it encodes", () => {
    for (const element of elements) assert.deepStrictEqual(decode(GatewayMessages.encodeFrame(element)), element)
  })

  it("encodes the tag as the type, and the position as a member that is ignored", () => {
    const frame = GatewayMessages.encodeFrame({ _tag: "Restated", taskId: a, status: "done" }, 12)
    assert.strictEqual(frame, `{"type":"restated","taskId":"a","status":"done","position":12}`)
    assert.deepStrictEqual(decode(frame), { _tag: "Restated", taskId: a, status: "done" })
  })

  it("sets the epoch of an element to that of the client's own connection", () => {
    const decoded = decode(mark("Overflow"), 2)
    assert.deepStrictEqual(decoded, { _tag: "Resync", epoch: 2, reason: { _tag: "Overflow", dropped: 1 } })
  })

  it("does not change a message of another type", () => {
    assert.isUndefined(decode(`{"type":"taskArchived","taskId":"a"}`))
  })

  it("reports a known type with an invalid member as a bad frame, without its content", () => {
    const decoded = decode(`{"type":"resync","reason":{"_tag":"secret"}}`)
    assert(decoded?._tag === "DecodeError")
    assert.notInclude(JSON.stringify(decoded), "secret")
  })

  const collect = (options: Partial<MeshStream.ConnectOptions>, frames: ReadonlyArray<string>, count: number) =>
    Effect.gen(function* () {
      const mesh = yield* ScriptedMesh.make()
      const fiber = yield* MeshStream.connect({ interest: Interest.all, ...options }).pipe(
        Stream.take(count),
        Stream.runCollect,
        Effect.provideService(Socket.Socket, mesh.socket),
        Effect.forkChild
      )
      yield* settle
      for (const frame of frames) yield* mesh.emitRaw(frame)
      return yield* Fiber.join(fiber)
    })

  it.effect("become elements of a stream with the extension", () =>
    Effect.gen(function* () {
      const events = yield* collect({ extension }, [mark("Overflow"), `{"type":"other"}`], 4)
      assert.deepStrictEqual(shown(events), ["Connected", "Started", "Overflow", "UnknownMessage"])
    })
  )

  it.effect("stay unknown messages without the extension", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(shown(yield* collect({}, [mark("Overflow")], 3)), [
        "Connected",
        "Started",
        "UnknownMessage"
      ])
    })
  )

  it.effect("mark a bad frame of a gateway at its place", () =>
    Effect.gen(function* () {
      const events = yield* collect({ extension }, [`{"type":"resync"}`], 3)
      assert.deepStrictEqual(shown(events), ["Connected", "Started", "BadFrame"])
    })
  )

  describe("in a client", () => {
    itLeavesNothing("make it offline while the gateway has no connection to the server", () =>
      Effect.gen(function* () {
        const { client, mesh } = yield* setup({ extension })
        yield* follow(client.updates())
        yield* settle
        yield* mesh.emitRaw(down)
        yield* settle
        assert.deepInclude(yield* SubscriptionRef.get(client.status), { _tag: "Offline", retryAt: 2005 })
        yield* mesh.emitRaw(up)
        yield* settle
        assert.deepInclude(yield* SubscriptionRef.get(client.status), { _tag: "Online", epoch: 1 })
      })
    )

    itLeavesNothing("reach every consumer at their place", () =>
      Effect.gen(function* () {
        const { client, mesh } = yield* setup({ extension })
        const one = yield* follow(client.updates())
        const two = yield* follow(client.output(a))
        yield* settle
        yield* mesh.emit(updated(1))
        yield* mesh.emitRaw(down)
        yield* mesh.emitRaw(up)
        yield* mesh.emit(updated(2))
        yield* mesh.emitRaw(mark("Reconnected"))
        yield* mesh.emit(updated(3), said("x"))
        yield* settle
        const marks = ["Disconnected", "Connected"]
        assert.deepStrictEqual(shown(one.events), [
          "Connected",
          "Started",
          "a 1",
          ...marks,
          "a 2",
          "Reconnected",
          "a 3"
        ])
        assert.deepStrictEqual(shown(two.events), ["Connected", "Started", ...marks, "Reconnected", "a: x"])
      })
    )

    itLeavesNothing("claim nothing to a consumer that joins while the gateway is disconnected", () =>
      Effect.gen(function* () {
        const { client, mesh } = yield* setup({ extension })
        yield* follow(client.updates())
        yield* settle
        yield* mesh.emitRaw(down)
        yield* settle
        const late = yield* follow(client.updates(a))
        yield* settle
        assert.deepStrictEqual(shown(late.events), ["Disconnected"])
        yield* mesh.emitRaw(up)
        yield* mesh.emitRaw(mark("Reconnected"))
        yield* mesh.emit(updated(4))
        yield* settle
        assert.deepStrictEqual(shown(late.events), ["Disconnected", "Connected", "Reconnected", "a 4"])
        const later = yield* follow(client.updates(a))
        yield* settle
        assert.deepStrictEqual(shown(later.events), ["JoinedLate"])
      })
    )

    itLeavesNothing("open no stretch for a consumer whose key is not confirmed", () =>
      Effect.gen(function* () {
        const { client, mesh } = yield* setup({ extension, mesh: { acknowledge: "manual" } })
        const one = yield* follow(client.updates(b))
        yield* settle
        yield* mesh.acknowledge()
        const late = yield* follow(client.output(a))
        yield* settle
        yield* mesh.emitRaw(mark("Overflow"))
        yield* settle
        assert.deepStrictEqual(shown(one.events), ["Connected", "Started", "Overflow"])
        assert.deepStrictEqual(shown(late.events), [])
        yield* mesh.acknowledge()
        yield* settle
        assert.deepStrictEqual(shown(late.events), ["JoinedLate"])
      })
    )

    itLeavesNothing("forget that the gateway was disconnected when the own connection ends", () =>
      Effect.gen(function* () {
        const { client, mesh } = yield* setup({ extension })
        const one = yield* follow(client.updates())
        yield* settle
        yield* mesh.emitRaw(down)
        yield* mesh.kill()
        yield* settle
        yield* settle
        yield* TestClock.adjust("2 seconds")
        yield* settle
        const late = yield* follow(client.updates(a))
        yield* settle
        assert.strictEqual(shown(one.events).at(-1), "Reconnected")
        assert.deepStrictEqual(shown(late.events), ["JoinedLate"])
      })
    )
  })
})

describe("GatewayMessages.resume", () => {
  it.effect("reads the position of the last frame that has one, wherever it stands in the frame", () =>
    Effect.gen(function* () {
      const mesh = yield* ScriptedMesh.make()
      const position = yield* Ref.make<number | undefined>(undefined)
      const queries: Array<unknown> = []
      const socket = yield* GatewayMessages.resume(
        (query) =>
          Effect.succeed(
            Socket.make({
              writer: mesh.socket.writer,
              reader: Effect.andThen(
                Effect.map(query, (each) => queries.push(each)),
                mesh.socket.reader
              )
            })
          ),
        { position }
      )
      const frames: ReadonlyArray<readonly [string, number | undefined]> = [
        [`{"type":"subscribedAll"}`, undefined],
        [`{"type":"taskOutput","content":"{\\"position\\":9}"}`, undefined],
        [`{"type":"taskOutput","toolInput":{"position":9}}`, undefined],
        [`{"type":"taskUpdated","taskId":"a","position":1}`, 1],
        [`{"position":2,"type":"taskUpdated","taskId":"a"}`, 2],
        [`{"type":"taskUpdated","taskId":"a", "position": 3 }`, 3],
        [`{"type":"unfinished","position":4`, 3],
        [`{"type":"taskUpdated","taskId":"a","position":"5"}`, 3]
      ]
      yield* Effect.gen(function* () {
        const { pull } = yield* socket.reader
        for (const [i, [frame, expected]] of frames.entries()) {
          yield* mesh.emitRaw(frame)
          yield* pull
          // It counts from the next pull on.
          assert.strictEqual(yield* Ref.get(position), frames[i - 1]?.[1], frame)
          yield* Effect.forkScoped(pull)
          yield* Effect.yieldNow
          assert.strictEqual(yield* Ref.get(position), expected, frame)
          yield* mesh.emitRaw(`{"type":"subscribedAll"}`)
        }
      }).pipe(Effect.scoped)
      yield* Effect.scoped(socket.reader)
      assert.deepStrictEqual(queries, [
        { marks: "1", since: "new" },
        { marks: "1", since: "3" }
      ])
    })
  )
})
