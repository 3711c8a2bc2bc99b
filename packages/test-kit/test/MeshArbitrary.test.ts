import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as ClientMessage from "@makima-stream/core/ClientMessage"
import * as MeshEvent from "@makima-stream/core/MeshEvent"
import * as ServerMessage from "@makima-stream/core/ServerMessage"
import * as FaultSchedule from "../src/FaultSchedule.ts"
import * as MeshArbitrary from "../src/MeshArbitrary.ts"

const runs = { arbitrary: { runs: 300 } }

/** Compares messages by their frames, because JSON has no -0. */
const frameOf = (message: ServerMessage.ServerMessage) => Result.getOrThrow(ServerMessage.encodeFrame(message))

const sample = <A>(arbitrary: Arbitrary.Arbitrary<A>, count = 500) =>
  Arbitrary.sampleEffect(arbitrary, { count, seed: 1, size: 20 })

/** Returns the smallest value for which a property is false. */
const shrunk = <A>(arbitrary: Arbitrary.Arbitrary<A>, holds: (value: A) => boolean) =>
  Effect.map(Arbitrary.checkEffect(arbitrary, holds, { seed: 1, runs: 1000, maxShrinks: 2000 }), (result) =>
    result._tag === "Falsified" ? result.shrunkInput : assert.fail(`the property ${result._tag}`)
  )

describe("MeshArbitrary", () => {
  describe("messages", () => {
    it.effect("are of every kind", () =>
      Effect.gen(function* () {
        const tags = new Set((yield* sample(MeshArbitrary.serverMessage)).map((message) => message._tag))
        assert.strictEqual(tags.size, 10)
        const requests = new Set((yield* sample(MeshArbitrary.clientMessage)).map((message) => message._tag))
        assert.strictEqual(requests.size, 6)
      })
    )

    it.effect("shrink to the simplest one", () =>
      Effect.gen(function* () {
        const message = yield* shrunk(MeshArbitrary.serverMessage, (message) => message._tag !== "TaskOutput")
        assert.isTrue(message._tag === "TaskOutput" && message.content === "" && message.toolInput === undefined)
      })
    )
  })

  describe("frames", () => {
    it.prop(
      "that are valid decode",
      [MeshArbitrary.serverFrame, MeshArbitrary.clientFrame],
      ([server, client]) => {
        assert.isTrue(Result.isSuccess(ServerMessage.decodeFrame(server)))
        assert.isTrue(Result.isSuccess(ClientMessage.decodeFrame(client)))
      },
      runs
    )

    it.prop(
      "that are damaged have the damage that they name",
      [MeshArbitrary.damagedFrame],
      ([{ damage, frame, message }]) => {
        const result = ServerMessage.decodeFrame(frame)
        const original = new TextEncoder().encode(frameOf(message))
        switch (damage) {
          case "Prefix":
            assert.isTrue(Result.isFailure(result))
            assert.isBelow(frame.length, original.length)
            break
          case "BitFlip": {
            const bytes = typeof frame === "string" ? assert.fail("a flipped bit is in bytes") : frame
            const wrong = [...bytes].map((byte, index) => byte ^ (original[index] ?? 0)).filter((bits) => bits !== 0)
            assert.strictEqual(wrong.length, 1)
            assert.strictEqual(Math.log2(wrong[0] ?? 0) % 1, 0)
            break
          }
          case "TypeSwap": {
            const before: Record<string, unknown> = JSON.parse(frameOf(message))
            const after: Record<string, unknown> = JSON.parse(String(frame))
            assert.deepStrictEqual(Object.keys(after), Object.keys(before))
            const changed = Object.keys(before).filter(
              (key) => JSON.stringify(before[key]) !== JSON.stringify(after[key])
            )
            assert.isAtMost(changed.length, 1)
            break
          }
          case "HostileKey":
            assert.strictEqual(frameOf(Result.getOrThrow(result)), frameOf(message))
            assert.isFalse("polluted" in {})
        }
      },
      runs
    )

    it.effect("have every kind of damage, and some that only the schema detects", () =>
      Effect.gen(function* () {
        const frames = yield* sample(MeshArbitrary.damagedFrame)
        assert.strictEqual(new Set(frames.map(({ damage }) => damage)).size, 4)
        const problems = frames.flatMap(({ frame }) => {
          const result = ServerMessage.decodeFrame(frame)
          return Result.isFailure(result) ? [result.failure.problem] : []
        })
        assert.sameMembers([...new Set(problems)], ["InvalidJson", "InvalidMessage", "InvalidUtf8"])
      })
    )
  })

  describe("histories", () => {
    it.prop(
      "of messages number the updates and outputs of each task",
      [MeshArbitrary.messages],
      ([messages]) => {
        const next = new Map<string, number>()
        for (const message of messages) {
          if (message._tag !== "TaskUpdated" && message._tag !== "TaskOutput") continue
          const key = `${message._tag} ${message.taskId}`
          const place = (next.get(key) ?? 0) + 1
          next.set(key, place)
          if (message._tag === "TaskUpdated") assert.strictEqual(message.version, place)
          else assert.strictEqual(message.content, `${message.taskId}${place}`)
        }
      },
      runs
    )

    it.prop(
      "of events keep the promises of the stream",
      [MeshArbitrary.history],
      ([events]) => assertObeys(events),
      runs
    )

    it.effect("of events keep them when they shrink", () =>
      Effect.gen(function* () {
        const events = yield* shrunk(
          MeshArbitrary.history,
          (events) => !events.some((event) => event._tag === "Resync" && event.reason._tag === "Reconnected")
        )
        assertObeys(events)
        assert.deepStrictEqual(
          events.map((event) => event._tag),
          ["Connected", "Resync", "Disconnected", "Connected", "Resync"]
        )
      })
    )

    it.effect("of events contain gaps, bad frames and failed attempts", () =>
      Effect.gen(function* () {
        const events = (yield* sample(MeshArbitrary.history, 50)).flat()
        const kinds = new Set(events.map((event) => (event._tag === "Resync" ? event.reason._tag : event._tag)))
        assert.includeMembers(
          [...kinds],
          [
            "Connected",
            "Started",
            "Disconnected",
            "Reconnected",
            "BadFrame",
            "TaskUpdated",
            "TaskOutput",
            "ServerError"
          ]
        )
        assert.isTrue(events.some((event) => event._tag === "Disconnected" && !event.opened))
      })
    )
  })

  describe("fault schedules", () => {
    it.prop(
      "survive a round trip through JSON",
      [MeshArbitrary.faults],
      ([schedule]) => {
        const read = Schema.decodeUnknownSync(FaultSchedule.FaultSchedule)(JSON.parse(JSON.stringify(schedule)))
        assert.deepStrictEqual(read, schedule)
      },
      runs
    )

    it.effect("contain every fault, and shrink to the relevant one", () =>
      Effect.gen(function* () {
        const tags = new Set((yield* sample(MeshArbitrary.fault)).map((fault) => fault._tag))
        assert.strictEqual(tags.size, Object.keys(FaultSchedule.Fault.cases).length)
        const schedule = yield* shrunk(MeshArbitrary.faults, (faults) => !faults.some(({ _tag }) => _tag === "Freeze"))
        assert.deepStrictEqual(schedule, [{ _tag: "Freeze" }])
      })
    )
  })
})

function assertObeys(events: ReadonlyArray<MeshEvent.MeshEvent>): void {
  let epoch = 0
  let at = 0
  let attempt = 0
  const versions = new Map<string, number>()
  events.forEach((event, index) => {
    switch (event._tag) {
      case "Connected":
        assert.strictEqual(event.epoch, ++epoch)
        assert.isAtLeast(event.at, at)
        at = event.at
        attempt = 0
        const after = events[index + 1]
        assert.strictEqual(after?._tag === "Resync" && after.reason._tag, epoch === 1 ? "Started" : "Reconnected")
        versions.clear()
        break
      case "Disconnected":
        assert.deepStrictEqual(
          [event.epoch, event.attempt, event.opened, event.at >= at],
          [epoch, ++attempt, attempt === 1, true]
        )
        at = event.at
        break
      case "Resync":
        assert.strictEqual(event.epoch, epoch)
        break
      case "TaskUpdated": {
        const known = versions.get(event.taskId)
        if (known !== undefined) assert.strictEqual(event.version, known + 1)
        versions.set(event.taskId, event.version ?? 0)
      }
    }
  })
}
