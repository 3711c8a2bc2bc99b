import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as Socket from "effect/socket/Socket"
import * as TestClock from "effect/testing/TestClock"
import * as ScriptedMesh from "@makima-stream/test-kit/ScriptedMesh"
import { DecodeError } from "../src/DecodeError.ts"
import * as Interest from "../src/Interest.ts"
import * as Merge from "../src/Merge.ts"
import type { Data, MeshEvent, Resync } from "../src/MeshEvent.ts"
import * as MeshStream from "../src/MeshStream.ts"
import { a, b, said, updated } from "./support/client.ts"
import { connected, disconnected } from "./support/events.ts"
import { follow, settle } from "./support/follow.ts"
import { closesEverything, itLeavesNothing } from "./support/leaves.ts"

const started: Resync = { _tag: "Resync", epoch: 1, reason: { _tag: "Started" } }

const badFrame: Resync = {
  _tag: "Resync",
  epoch: 1,
  reason: { _tag: "BadFrame", error: new DecodeError({ problem: "InvalidJson", path: [], expected: "JSON", size: 2 }) }
}

const word = (event: MeshEvent): string => {
  if (event._tag === "TaskOutput") return event.content
  if (event._tag === "TaskUpdated") return `v${event.version}`
  if (event._tag !== "Resync") return event._tag
  const cause = event.reason._tag === "Unaligned" ? ` ${event.reason.cause}` : ""
  return `${event.reason._tag}${cause}${event.taskId === undefined ? "" : ` ${event.taskId}`}`
}

// A server's message is data here: none is an acknowledgement.
const says = (...contents: ReadonlyArray<string>): ReadonlyArray<Data> =>
  contents.map((content) => said(content) as Data)
const updates = (...versions: ReadonlyArray<number>): ReadonlyArray<Data> =>
  versions.map((version) => updated(version) as Data)

/** Two confirmed inputs, aligned by boundaries at time 0. */
const aligned = (options?: Merge.MakeOptions): Merge.Merge => {
  const merge = Merge.make({ skew: Infinity, ...options })
  for (const input of [0, 1]) {
    merge.open(input, 0)
    merge.offer(input, [connected(), started], 0)
  }
  for (const kind of ["updates", "output"] as const) for (const input of [0, 1]) merge.boundary(input, kind, 0, 1)
  return merge
}

describe("Merge.make", () => {
  it("emits the first copy of a message and drops the second", () => {
    const merge = aligned()
    assert.isTrue(merge.isAligned(0) && merge.isAligned(1))
    assert.deepStrictEqual(merge.offer(0, says("x", "x"), 2).map(word), ["x", "x"])
    assert.deepStrictEqual(merge.offer(1, says("x", "x", "x"), 3).map(word), ["x"])
    assert.deepStrictEqual(merge.offer(0, says("x"), 4).map(word), [])
    assert.deepStrictEqual(merge.missing(0), [])
  })

  it("emits no mark when one of two aligned inputs is lost, and continues at the same position", () => {
    const merge = aligned()
    merge.offer(0, says("x", "x", "y"), 2)
    assert.deepStrictEqual(merge.offer(0, [disconnected()], 3), [])
    assert.deepStrictEqual(merge.offer(1, says("x", "x", "y", "z"), 4).map(word), ["z"])
  })

  it("does not take a match for the place of an input while the same may still come", () => {
    const merge = Merge.make({ skew: Infinity })
    merge.open(0, 0)
    merge.offer(0, [connected(), started], 0)
    merge.open(1, 1)
    merge.offer(1, [connected(), started], 2)
    assert.deepStrictEqual(merge.offer(0, says("x", "x"), 3).map(word), ["x", "x"])
    assert.deepStrictEqual(merge.offer(1, says("x", "x"), 4), [])
    assert.isFalse(merge.isAligned(1))
    // Input 1 had delivered two messages by time 5, and by then input 0 has delivered all of them.
    assert.deepStrictEqual(merge.boundary(0, "output", 5, 6), [])
    assert.deepStrictEqual(merge.boundary(1, "output", 5, 6), [])
    assert.deepStrictEqual(merge.offer(1, says("x"), 7).map(word), ["x"])
    assert.deepStrictEqual(merge.offer(0, says("x"), 8).map(word), [])
  })

  it("marks the place when the input that is left was not aligned", () => {
    const merge = Merge.make({ skew: Infinity })
    merge.open(0, 0)
    merge.offer(0, [connected(), started], 0)
    merge.open(1, 1)
    merge.offer(1, [connected(), started], 2)
    merge.offer(0, says("x", "y"), 3)
    merge.offer(1, says("y", "z"), 4)
    assert.deepStrictEqual(merge.offer(0, [disconnected()], 5).map(word), ["Unaligned ambiguous", "z"])
    assert.deepStrictEqual(merge.offer(1, says("z"), 6).map(word), ["z"])
  })

  it("aligns updates by an equal version, without boundaries", () => {
    const merge = Merge.make({ skew: Infinity })
    merge.open(0, 0)
    merge.offer(0, [connected(), started], 0)
    merge.offer(0, updates(1), 1)
    merge.open(1, 1)
    merge.offer(1, [connected(), started], 2)
    merge.offer(0, updates(2, 3), 3)
    assert.deepStrictEqual(merge.offer(1, updates(2, 3, 4), 4).map(word), ["v4"])
    assert.deepStrictEqual(merge.offer(0, updates(4, 5), 5).map(word), ["v5"])
  })

  it("marks a disagreement, and aligns again", () => {
    const merge = aligned()
    merge.offer(0, says("x", "z"), 2)
    assert.deepStrictEqual(merge.offer(1, says("x", "y"), 3).map(word), ["Unaligned disagreement a"])
    assert.strictEqual(merge.stats().disagreements, 1)
    merge.offer(1, says("z"), 4)
    merge.boundary(0, "output", 5, 6)
    merge.boundary(1, "output", 5, 6)
    assert.isTrue(merge.isAligned(1))
  })

  it("loses nothing when the server skips an update for the slower input", () => {
    const merge = aligned()
    assert.deepStrictEqual(merge.offer(0, updates(1, 2, 3), 2).map(word), ["v1", "v2", "v3"])
    assert.deepStrictEqual(merge.offer(1, updates(1, 3, 4), 3).map(word), ["v4"])
    assert.strictEqual(merge.stats().disagreements, 1)
  })

  it("notices by a boundary that the server skipped one of several equal messages", () => {
    const merge = aligned()
    merge.offer(0, says("x", "x"), 2)
    merge.offer(1, says("x"), 3)
    merge.boundary(1, "output", 4, 5)
    assert.strictEqual(merge.stats().disagreements, 1)
    assert.isFalse(merge.isAligned(1))
  })

  it("holds no more than its window, and aligns an input again that was further behind", () => {
    const merge = aligned({ window: 3 })
    merge.offer(0, says("1", "2", "3", "4", "5"), 2)
    assert.isAtMost(merge.stats().held, 3)
    assert.isFalse(merge.isAligned(1))
    assert.deepStrictEqual(merge.offer(0, [disconnected()], 3).map(word), ["Unaligned window a"])
  })

  it("marks a frame once that no input could decode", () => {
    const merge = aligned()
    assert.deepStrictEqual(merge.offer(0, [badFrame, ...says("x")], 2).map(word), ["BadFrame", "x"])
    assert.deepStrictEqual(merge.offer(1, [badFrame, ...says("x", "y")], 3).map(word), ["y"])
    assert.isTrue(merge.isAligned(0) && merge.isAligned(1))
  })

  it("goes on with an input that could not decode a frame which no other input has passed", () => {
    const merge = aligned()
    assert.deepStrictEqual(merge.offer(0, [badFrame, ...says("x")], 2).map(word), ["BadFrame", "x"])
    assert.deepStrictEqual(merge.offer(1, [disconnected()], 3), [])
    assert.deepStrictEqual(merge.offer(0, says("y"), 4).map(word), ["y"])
  })

  it("does not rely on one input after it failed to decode a frame that the other input may have decoded before", () => {
    const merge = aligned()
    merge.offer(1, says("x"), 2)
    merge.offer(0, [badFrame], 3)
    assert.deepStrictEqual(merge.offer(1, [disconnected()], 4).map(word), ["Unaligned disagreement"])
  })

  it("does not rely on one input after it failed to decode a frame that the other input has passed since", () => {
    const merge = aligned()
    merge.offer(0, [badFrame, ...says("x")], 2)
    merge.offer(1, says("x", "x"), 3)
    assert.deepStrictEqual(merge.offer(1, [disconnected()], 4).map(word), ["Unaligned disagreement"])
  })

  it("emits errors and unknown messages once for each time that one input delivers them", () => {
    const merge = aligned()
    const error: Data = { _tag: "ServerError", code: "ERROR", message: "no" }
    assert.lengthOf(merge.offer(0, [error, error], 2), 2)
    assert.lengthOf(merge.offer(1, [{ ...error }, { ...error }, { ...error }], 3), 1)
  })

  it("returns what an input has not delivered", () => {
    const merge = aligned()
    merge.offer(0, says("x", "y"), 2)
    merge.offer(1, says("x"), 3)
    const [missing] = merge.missing(1)
    assert.deepStrictEqual(missing?.messages?.map(word), ["y"])
  })

  it("keeps nothing of tasks in which all inputs stand at the same place", () => {
    const merge = aligned({ maxTasks: 2 })
    for (const input of [0, 1]) {
      for (let i = 0; i < 50; i++) merge.offer(input, [{ _tag: "TaskUpdated", taskId: i % 2 === 0 ? a : b }], i)
    }
    assert.strictEqual(merge.stats().held, 0)
    assert.isAtMost(merge.stats().sequences, 2)
  })
})

describe("Merge.merge", () => {
  itLeavesNothing("merges two streams of one server, and fills the gaps of each from the other", () =>
    Effect.gen(function* () {
      const mesh = yield* ScriptedMesh.make()
      yield* closesEverything(mesh)
      const one = MeshStream.connect({
        interest: Interest.union(Interest.all, Interest.output(a)),
        policy: { schedule: Schedule.spaced("3 seconds") }
      }).pipe(Stream.provideService(Socket.Socket, mesh.socket))
      const { events } = yield* follow(Merge.merge(one, one, { skew: "1 second" }))
      yield* settle
      // Both show life after the skew.
      for (let i = 0; i < 4; i++) {
        yield* mesh.emit(said(`${i}`))
        yield* settle
        yield* TestClock.adjust("1 second")
      }
      yield* mesh.kill(1)
      yield* mesh.emit(said("x"))
      yield* settle
      yield* TestClock.adjust("4 seconds")
      for (let i = 4; i < 8; i++) {
        yield* mesh.emit(said(`${i}`))
        yield* settle
        yield* TestClock.adjust("1 second")
      }
      yield* mesh.kill(2)
      yield* mesh.emit(said("x"))
      yield* settle
      assert.deepStrictEqual(events.map(word), [
        "Connected",
        "Started",
        "0",
        "1",
        "2",
        "3",
        "x",
        "4",
        "5",
        "6",
        "7",
        "x"
      ])
    })
  )

  it.effect("ends when both streams have ended, and fails if one has failed", () =>
    Effect.gen(function* () {
      const events = Stream.make<[MeshEvent, MeshEvent]>(connected(), started)
      const failing = Stream.concat(events, Stream.fail("no"))
      const exit = yield* Effect.exit(Stream.runCollect(Merge.merge(failing, events)))
      assert.strictEqual(exit._tag, "Failure")
      const seen = yield* events.pipe(Merge.merge(events), Stream.runCollect)
      // The stream that ended first left the other one before it was aligned.
      assert.deepStrictEqual(seen.map(word), ["Connected", "Started", "Unaligned ambiguous"])
    })
  )
})
