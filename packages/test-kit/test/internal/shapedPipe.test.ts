import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Queue from "effect/Queue"
import * as TestClock from "effect/testing/TestClock"
import * as ShapedPipe from "../../src/internal/shapedPipe.ts"
import { turns } from "../../src/internal/turns.ts"

const perfect: ShapedPipe.Conditions = {
  latencyMillis: 0,
  jitterMillis: 0,
  bytesPerSecond: Number.POSITIVE_INFINITY,
  pieceBytes: 65_536
}

/** A running pipe: bytes go in by `send`, and `out` lists what left, with the time. */
const setup = (
  conditions: Partial<ShapedPipe.Conditions>,
  options?: { readonly maxInFlightBytes?: number; readonly random?: () => number; readonly taken?: Latch.Latch }
) =>
  Effect.gen(function* () {
    const clock = yield* Clock.Clock
    const input = yield* Queue.unbounded<Uint8Array | undefined>()
    const out: Array<string> = []
    let read = 0
    const note = (what: string) => out.push(`${clock.currentTimeMillisUnsafe()}:${what}`)
    const gate = Latch.makeUnsafe(true)
    const pipe = ShapedPipe.make(
      {
        read: Effect.tap(Queue.take(input), () => Effect.sync(() => read++)),
        write: (piece) =>
          Effect.andThen(
            options?.taken?.await ?? Effect.void,
            Effect.sync(() => note(Buffer.from(piece).toString()))
          ),
        end: () => note("end")
      },
      {
        clock,
        gate,
        random: options?.random ?? (() => 0),
        conditions: { ...perfect, ...conditions },
        maxInFlightBytes: options?.maxInFlightBytes ?? 1 << 20
      }
    )
    yield* Effect.forkScoped(pipe.run)
    const send = (text: string | undefined) =>
      Effect.andThen(Queue.offer(input, text === undefined ? undefined : Buffer.from(text)), turns(20))
    return { pipe, send, out, gate, read: () => read }
  })

describe("shapedPipe", () => {
  it.effect("delays each chunk by the latency from its arrival, so that latency does not limit the rate", () =>
    Effect.gen(function* () {
      const { out, send } = yield* setup({ latencyMillis: 100 })
      for (const text of ["a", "b", "c", "d"]) {
        yield* send(text)
        yield* TestClock.adjust(10)
      }
      yield* send(undefined)
      yield* TestClock.adjust(99)
      assert.deepStrictEqual(out, ["100:a", "110:b", "120:c", "130:d"])
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(out.at(-1), "140:end")
    })
  )

  it.effect("forwards chunks that arrived together after one latency", () =>
    Effect.gen(function* () {
      const { out, send } = yield* setup({ latencyMillis: 50 })
      for (let n = 0; n < 396; n++) yield* send(`${n}`)
      yield* TestClock.adjust(50)
      assert.deepStrictEqual(
        out,
        Array.from({ length: 396 }, (_, n) => `50:${n}`)
      )
    })
  )

  it.effect("keeps the order of bytes when the jitter would reverse it", () =>
    Effect.gen(function* () {
      const luck = [0.9, 0, 0.5]
      const { out, send } = yield* setup({ latencyMillis: 10, jitterMillis: 100 }, { random: () => luck.shift() ?? 0 })
      yield* send("a")
      yield* send("b")
      yield* TestClock.adjust(50)
      yield* send("c")
      yield* TestClock.adjust(1000)
      assert.deepStrictEqual(out, ["100:a", "100:b", "110:c"])
    })
  )

  it.effect("limits the rate independently of the latency", () =>
    Effect.gen(function* () {
      const { out, send } = yield* setup({ latencyMillis: 50, bytesPerSecond: 20 })
      yield* send("abcd")
      yield* TestClock.adjust(50)
      // The pieces need real turns of the event loop between them.
      for (let n = 0; n < 4; n++) {
        yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
        yield* TestClock.adjust(50)
      }
      assert.deepStrictEqual(
        out.map((line) => line.split(":")[1]),
        ["a", "b", "c", "d"]
      )
      const times = out.map((line) => Number(line.split(":")[0]))
      assert.isAtLeast((times[3] ?? 0) - (times[0] ?? 0), 130)
    })
  )

  it.effect("stops reading while the far side does not read, and resumes when it does", () =>
    Effect.gen(function* () {
      const taken = Latch.makeUnsafe(false)
      const { out, pipe, read, send } = yield* setup({ latencyMillis: 10 }, { taken })
      yield* send("a")
      yield* TestClock.adjust(10)
      // One read was already waiting when the first chunk was blocked.
      for (const text of ["b", "c", "d"]) yield* send(text)
      assert.strictEqual(read(), 2)
      assert.strictEqual(pipe.inFlight(), 2)
      taken.openUnsafe()
      for (let n = 0; n < 5; n++) yield* TestClock.adjust(10)
      assert.deepStrictEqual(
        out.map((line) => line.split(":")[1]),
        ["a", "b", "c", "d"]
      )
      assert.strictEqual(pipe.inFlight(), 0)
    })
  )

  it.effect("has no more than the given number of bytes in flight", () =>
    Effect.gen(function* () {
      const { out, pipe, read, send } = yield* setup({ latencyMillis: 1000 }, { maxInFlightBytes: 3 })
      for (const text of ["a", "b", "c", "d", "e"]) yield* send(text)
      assert.strictEqual(read(), 3)
      assert.strictEqual(pipe.inFlight(), 3)
      yield* TestClock.adjust(1000)
      yield* TestClock.adjust(1000)
      assert.strictEqual(out.length, 5)
    })
  )

  it.effect("applies new conditions to bytes in flight", () =>
    Effect.gen(function* () {
      const { out, pipe, send } = yield* setup({ latencyMillis: 60_000 })
      yield* send("a")
      pipe.setConditions(perfect)
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(out, ["0:a"])
    })
  )

  it.effect("measures delays on the monotonic clock", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(3_600_000)
      const taken = Latch.makeUnsafe(false)
      const { out, send } = yield* setup({ latencyMillis: 100 }, { taken })
      yield* send("a")
      yield* TestClock.adjust(100)
      yield* send("b")
      yield* TestClock.setTime(0)
      yield* TestClock.adjust(100)
      taken.openUnsafe()
      yield* TestClock.adjust(0)
      assert.deepStrictEqual(out, ["100:a", "100:b"])
    })
  )

  it.effect("forwards neither bytes nor the end while the gate is closed", () =>
    Effect.gen(function* () {
      const { gate, out, send } = yield* setup({})
      gate.closeUnsafe()
      yield* send("a")
      yield* TestClock.adjust(1000)
      assert.deepStrictEqual(out, [])
      gate.openUnsafe()
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(out, ["1000:a"])
      gate.closeUnsafe()
      yield* send(undefined)
      yield* TestClock.adjust(1000)
      assert.deepStrictEqual(out, ["1000:a"])
      gate.openUnsafe()
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(out, ["1000:a", "2001:end"])
    })
  )
})
